package config_test

import (
	"cmp"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/members"
	"github.com/holdfast-ha/holdfast/resources"
)

// Every example of the manual is a configuration that is accepted, and every kind
// has one under a heading of its own.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/manual/services.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("no examples were found")
	}
	for _, b := range blocks {
		src := "cluster: {name: c, failover_within: 10s}\nservices:\n  a:\n    stack:\n      " +
			strings.ReplaceAll(strings.TrimSpace(b[1]), "\n", "\n      ") + "\n"
		if _, err := config.ParseCluster("services.md", []byte(src)); err != nil {
			t.Errorf("an example is refused: %v\n%s", err, b[1])
		}
	}
	for _, k := range members.All() {
		_, section, found := strings.Cut(string(text), "\n## "+k.Name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found || !strings.Contains(section, "- "+k.Name+":") {
			t.Errorf("the manual has no section on %s with an example", k.Name)
		}
		row := "| " + k.Name
		for _, limit := range []time.Duration{
			cmp.Or(k.Usual.Start, resources.DefaultStart), cmp.Or(k.Usual.Stop, resources.DefaultStop), cmp.Or(k.Usual.Check, resources.DefaultCheck),
		} {
			row += " | " + strings.TrimSuffix(limit.String(), "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(limit.String(), "m0s")]
		}
		if k.Name != "ocf" && !strings.Contains(string(text), row+" |\n") {
			t.Errorf("the table of limits has no row %q", row)
		}
	}
}
