package manual_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/manual"
)

// TestPages: every page is written, the reference pages carry keys of every
// depth, two runs are the same, and man(1) has nothing to say against any.
func TestPages(t *testing.T) {
	t.Parallel()
	one, other := t.TempDir(), t.TempDir()
	set := manual.Set{Version: "0.9.0", Date: time.Unix(1763800000, 0)}
	for _, dir := range []string{one, other} {
		if err := set.Write(dir, &cobra.Command{Use: "holdfast", Short: "short", Run: func(*cobra.Command, []string) {}}); err != nil {
			t.Fatal(err)
		}
	}
	has := map[string][]string{
		"man5/holdfast.yaml.5":       {"services.NAME.stack", "cluster.failover_within", "fencing.ways.NAME[].agent", "3 in 15m"},
		"man5/node.yaml.5":           {"quorum_disks[].uuid", "watchdogs[].device", "softdog", "required"},
		"man5/holdfast-quorumdisk.5": {"superblock"},
		"man7/holdfast.7":            {"holdfast-operate"},
		"man8/holdfastd.8":           {"SIGTERM"},
		"man8/holdfast-guard.8":      {"SIGTERM"},
		"man8/holdfast.8":            {"short"},
	}
	for name, words := range has {
		text, err := os.ReadFile(filepath.Join(one, name))
		if err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(filepath.Join(other, name))
		if err != nil || string(again) != string(text) {
			t.Errorf("%s differs in the second run (%v)", name, err)
		}
		plain := strings.NewReplacer(`\-`, "-", `\(`, "(").Replace(string(text))
		for _, w := range words {
			if !strings.Contains(plain, w) {
				t.Errorf("%s: no %q", name, w)
			}
		}
		if strings.Contains(plain, "@reference") {
			t.Errorf("%s: the table is missing", name)
		}
		read(t, filepath.Join(one, name))
	}
}

func read(t *testing.T, page string) {
	t.Helper()
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("man(1) is missing: test/setup.sh installs it (package man-db)")
	}
	cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Errorf("%s: %v\n%s", page, err, said.String())
	}
}
