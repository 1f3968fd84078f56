package process_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/daemon/process"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyOneDaemon(t *testing.T) {
	dir := t.TempDir()
	first, err := process.Lock(dir)
	must(t, err)
	if _, err := process.Lock(dir); err == nil || !strings.Contains(err.Error(), "another holdfastd") {
		t.Errorf("a second daemon: %v", err)
	}
	must(t, first.Close())
	again, err := process.Lock(dir)
	must(t, err)
	must(t, again.Close())
}
