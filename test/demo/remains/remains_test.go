package remains

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestSweep: what a dead driver has left is removed, processes too; what a living
// one holds is not touched.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	dead, living := filepath.Join(root, Prefix+"0-0"), filepath.Join(root, Prefix+"0-1")
	for _, base := range []string{dead, living} {
		if err := os.MkdirAll(filepath.Join(base, "log"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(base+".lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := Claim(living + ".lock")
	if err != nil || lock == nil {
		t.Fatalf("the lock was not free: %v", err)
	}
	defer lock.Close()
	orphan := exec.Command("sleep", "600")
	orphan.Env = []string{Mark + "=" + filepath.Base(dead)}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }() // ends with the process
	swept, err := sweep(root)
	if err != nil || !slices.Contains(swept, filepath.Base(dead)) || slices.Contains(swept, filepath.Base(living)) {
		t.Errorf("swept %v, %v", swept, err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = orphan.Process.Kill()
		t.Error("a process of the dead stage was left running")
	}
	for path, want := range map[string]bool{dead: false, dead + ".lock": false, living: true, living + ".lock": true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}
