package ctl_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/storage"
)

// loop makes a loop device of a file; root only.
func loop(t *testing.T, file string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices and mounts need root: run this test as root")
	}
	device := strings.TrimSpace(string(runTool(t, "losetup", "--find", "--show", file)))
	t.Cleanup(func() { runTool(t, "losetup", "--detach", device) })
	return device
}

func runTool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing: install mount and util-linux", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "losetup: cannot find an unused loop device") {
		t.Skipf("no loop devices here (modprobe loop; in a container: --privileged): %s", out)
	}
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// TestInitBusyDisk: nothing overrides a disk that is in use.
func TestInitBusyDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	file := s.disk("q", 70)
	mkfs(t, file)
	device := loop(t, file)
	id, err := storage.Identify(device)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(s.dir, "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	runTool(t, "mount", device, at)
	mounted := true
	unmount := func() {
		if mounted {
			runTool(t, "umount", at)
			mounted = false
		}
	}
	t.Cleanup(unmount)
	s.init("--disk", device).says(t, 1, device+" is in use", "mounted at "+at)
	s.init("--disk", device, "--force-wipe", id.String()).says(t, 1, "is in use", "no option overrides it")
	unmount()
	s.init("--disk", file).says(t, 1, "the loop device "+device+" is on it")
	s.init("--disk", device).says(t, 1, "ext4", "--force-wipe="+id.String())
	nothingIn(t, s.etc("alpha"))
	s.init("--disk", device, "--force-wipe", id.String()).says(t, 0, device)
	s.at("", "disk", "verify").says(t, 0, "everything on it checks")
}
