package export_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/export"
)

// The promises of every kind, over the kernel's own server.
func TestRealServer(t *testing.T) {
	disk := os.Getenv("HOLDFAST_EXPORT_DISK")
	if disk == "" {
		t.Skip("HOLDFAST_EXPORT_DISK names no empty disk: it takes one, and an NFS server that runs; make vm RUN=TestKindsOnRealThings has both")
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
	}
	path := filepath.Join(t.TempDir(), "orders")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", disk)
	run("mount", disk, path)
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	spec := map[string]any{"path": path, "clients": []string{"127.0.0.1"}, "options": "rw,no_subtree_check,no_root_squash,insecure"}
	agenttest.Run(t, export.Agent{}, spec)
	agenttest.Lives(t, agenttest.Case{Kind: "export", Spec: spec, Brief: true, Lose: func(*testing.T) { run("exportfs", "-u", "127.0.0.1:"+path) }})
}
