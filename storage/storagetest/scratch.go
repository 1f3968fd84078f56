package storagetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// File makes a file of size bytes that storage.Open accepts, its blocks
// allocated and zero, in the test's temporary directory. Where that is in
// memory (tmpfs) it looks at /var/tmp, and else skips the test.
func File(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(diskDir(t), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatalf("%d bytes for %s: %v", size, path, err)
	}
	return path
}

// diskDir returns a directory that offers direct I/O and is removed after the
// test.
func diskDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if directIO(dir) {
		return dir
	}
	other, err := os.MkdirTemp("/var/tmp", "storagetest")
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(other) })
		if directIO(other) {
			return other
		}
	}
	t.Skipf("neither %s nor /var/tmp offers direct I/O: set TMPDIR to a directory on ext4 or xfs", dir)
	return ""
}

// directIO says if files in dir can be opened with O_DIRECT and are not in
// memory.
func directIO(dir string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || uint32(fs.Type) == unix.TMPFS_MAGIC || uint32(fs.Type) == unix.RAMFS_MAGIC {
		return false
	}
	probe := filepath.Join(dir, "probe")
	fd, err := unix.Open(probe, unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	_ = os.Remove(probe)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// Loop puts a loop device with sectors of 512 or 4096 bytes and direct I/O on a
// file, and takes it off after the test. It skips the test where the caller is
// not root or the kernel has no loop devices.
func Loop(t testing.TB, file string, sector int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root: run the tests with sudo")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("this kernel has no loop devices: modprobe loop")
	}
	out, err := exec.Command("losetup", "--direct-io=on", "--sector-size", fmt.Sprint(sector), "-f", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup on %s: %v: %s", file, err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("losetup -d %s: %v: %s", device, err, out)
		}
	})
	return device
}
