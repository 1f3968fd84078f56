package sbdcmd

import (
	"os"
	"testing"
)

// TestGuards looks for guards below a directory that stands for /proc.
func TestGuards(t *testing.T) {
	proc := t.TempDir()
	for pid, comm := range map[string]string{"1": "systemd", "12": "holdfast-guard", "13": "holdfastd", "self": "holdfast-guard"} {
		if err := os.Mkdir(proc+"/"+pid, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(proc+"/"+pid+"/comm", []byte(comm+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := guards(proc)
	if err != nil || len(found) != 1 || found[0] != "holdfast-guard runs as process 12" {
		t.Errorf("%q, %v", found, err)
	}
}
