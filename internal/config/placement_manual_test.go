package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// The example of the page on placement is a whole configuration.
func TestPlacementManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/manual/placement.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("there is no example")
	}
	conf, err := config.ParseCluster("placement.md", []byte(example), config.KnownNodes([]string{"alpha", "beta"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.Services) != 5 || len(conf.Offers) != 2 {
		t.Errorf("%d services, %d nodes with offers", len(conf.Services), len(conf.Offers))
	}
}
