package upgrade_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/daemon/upgrade"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// A newer daemon that cannot read the kept state would stop every service that it
// finds: it does not take over.
func TestTakes(t *testing.T) {
	dir := t.TempDir()
	if err := upgrade.Takes(guardwire.Version, dir); err != nil {
		t.Errorf("a node that has kept nothing yet: %v", err)
	}
	if err := journal.Put(dir, &cluster.State{Ver: 7}); err != nil {
		t.Fatal(err)
	}
	if err := upgrade.Takes(guardwire.Version, dir); err != nil {
		t.Errorf("a kept state: %v", err)
	}
	if err := upgrade.Takes(guardwire.Version+1000, dir); err == nil {
		t.Error("takes over from a guard whose protocol it does not speak")
	}
	if err := os.WriteFile(filepath.Join(dir, journal.StateFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := upgrade.Takes(guardwire.Version, dir); err == nil || !strings.Contains(err.Error(), "would be stopped") {
		t.Errorf("a damaged state: %v", err)
	}
	if err := upgrade.Takes(0, dir); err != nil {
		t.Errorf("nobody asked: %v", err)
	}
}
