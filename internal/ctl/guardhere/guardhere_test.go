package guardhere

import (
	"os"
	"testing"
)

// TestRunning looks for guards below a directory that stands for /proc.
func TestRunning(t *testing.T) {
	proc := t.TempDir()
	for pid, comm := range map[string]string{"1": "systemd", "12": "holdfast-guard", "13": "holdfastd", "self": "holdfast-guard"} {
		if err := os.Mkdir(proc+"/"+pid, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(proc+"/"+pid+"/comm", []byte(comm+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Running(proc)
	if err != nil || len(found) != 1 || found[0] != "holdfast-guard runs as process 12" {
		t.Errorf("%q, %v", found, err)
	}
}

// Whoever keeps guards away is noticed by the next one, and by nobody afterwards.
func TestKeep(t *testing.T) {
	run := t.TempDir()
	release, err := Keep(run)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(run); err == nil {
		t.Error("two hold the lock of the one guard")
	}
	release()
	again, err := Keep(run)
	if err != nil {
		t.Fatal(err)
	}
	again()
	none, err := Keep(run + "/none")
	if err != nil {
		t.Fatal(err)
	}
	none()
}
