// Package mounttest makes block devices with real file systems on them for
// tests: loop devices over sparse files, taken away again with the test.
package mounttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// NeedRoot skips the test unless it may mount.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: loop devices and mounts cannot be made; run this test as root")
	}
}

// Device returns the path of a new loop device with a file system of the type,
// ext4 or xfs. It skips, saying why, where the machine has no means for it.
func Device(t testing.TB, fsType string) string {
	t.Helper()
	NeedRoot(t)
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil || !bytes.Contains(known, []byte("\t"+fsType+"\n")) {
		t.Skipf("this kernel has no %s; load it (modprobe %s)", fsType, fsType)
	}
	size, options := int64(32<<20), []string{"-q", "-F"}
	if fsType == "xfs" {
		size, options = 320<<20, []string{"-q", "-f"} // mkfs.xfs refuses less than 300 MiB
	}
	if _, err := exec.LookPath("mkfs." + fsType); err != nil {
		t.Skipf("mkfs.%s is missing; install e2fsprogs and xfsprogs", fsType)
	}
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs."+fsType, append(options, image)...)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices here: %v (modprobe loop)", err)
	}
	dev := strings.TrimSpace(Run(t, "losetup", "--find", "--show", image))
	t.Cleanup(func() { Run(t, "losetup", "--detach", dev) })
	return dev
}

// Run executes a command and fails the test if it does not succeed.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
