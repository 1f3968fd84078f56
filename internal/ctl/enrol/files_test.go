package enrol

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

// FS_IOC_SHUTDOWN of linux/fs.h, and its flag for no last flush of the log.
const fsShutdown, noLogFlush = 0x8004587d, 2

// TestFilesOutliveAPowerCut: a node that loses its power right after it has joined
// knows afterwards who it is.
func TestFilesOutliveAPowerCut(t *testing.T) {
	dev, at := mounttest.Device(t, "ext4"), t.TempDir()
	mounttest.Run(t, "mount", dev, at)
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	etc := filepath.Join(at, "etc", "holdfast")
	files := []file{
		{filepath.Join(etc, "node.yaml"), []byte("name: alpha\n"), 0o644},
		{filepath.Join(etc, "cluster.key"), []byte("secret\n"), 0o600},
	}
	if err := replaceFiles(files); err != nil {
		t.Fatal(err)
	}
	cutPower(t, at)
	mounttest.Run(t, "umount", at)
	mounttest.Run(t, "mount", dev, at)
	for _, f := range files {
		text, err := os.ReadFile(f.path)
		if err != nil || string(text) != string(f.text) {
			t.Errorf("%s has %q, %v after the power cut; want %q", f.path, text, err, f.text)
			continue
		}
		if st, err := os.Stat(f.path); err != nil || st.Mode().Perm() != f.mode {
			t.Errorf("%s: mode %v, %v; want %v", f.path, st.Mode(), err, f.mode)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(etc, "*.new")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// cutPower takes a file system off its disk: what was not written is lost.
func cutPower(t *testing.T, at string) {
	t.Helper()
	d, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), fsShutdown, noLogFlush); err != nil {
		t.Fatal(err)
	}
}
