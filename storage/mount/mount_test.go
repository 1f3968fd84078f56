package mount_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage/mount"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

func TestParseOptions(t *testing.T) {
	for _, test := range []struct {
		list  string
		flags uintptr
		data  string
	}{
		{"", 0, ""},
		{"defaults", 0, ""},
		{"defaults,noatime,ro", unix.MS_NOATIME | unix.MS_RDONLY, ""},
		{"ro,rw", 0, ""},
		{"nodev, nosuid,noexec", unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC, ""},
		{"noatime,relatime", unix.MS_RELATIME, ""},
		{"sync,dirsync,lazytime", unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC | unix.MS_LAZYTIME, ""},
		{"_netdev,nofail,x-systemd.requires=a.service,user", 0, ""},
		{"noatime,data=journal,logbufs=8,errors=panic", unix.MS_NOATIME, "data=journal,logbufs=8,errors=panic"},
	} {
		o, err := mount.ParseOptions(test.list)
		if err != nil || o.Flags != test.flags || o.Data != test.data {
			t.Errorf("%q: flags %#x, data %q, %v; want %#x, %q", test.list, o.Flags, o.Data, err, test.flags, test.data)
		}
	}
	for _, bad := range []string{"bind", "ro,remount", "loop=/dev/loop1", "rbind", "shared"} {
		if _, err := mount.ParseOptions(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTopAndBelow(t *testing.T) {
	mounts := []mount.Mount{
		{ID: 1, Parent: 1, Point: "/"},
		{ID: 2, Parent: 1, Point: "/srv"},
		{ID: 3, Parent: 2, Point: "/srv/a"},
		{ID: 4, Parent: 1, Point: "/other"},
		{ID: 5, Parent: 3, Point: "/srv/a/b"},
		{ID: 6, Parent: 2, Point: "/srv"},
	}
	if top, found := mount.At(mounts, "/srv/"); !found || top.ID != 6 {
		t.Errorf("at /srv: %v, %v; want the one on top, 6", top, found)
	}
	var ids []int
	for _, m := range mount.Below(mounts, mounts[1]) {
		ids = append(ids, m.ID)
	}
	if len(ids) != 3 || slices.Index(ids, 5) > slices.Index(ids, 3) {
		t.Errorf("below /srv: %v; want 3, 5 and 6, 5 before 3", ids)
	}
}

func TestFindDeviceRefusesFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mount.FindDevice(file); err == nil || !strings.Contains(err.Error(), "not a block device") {
		t.Errorf("a file: %v", err)
	}
	if _, err := mount.FindDevice(file + "-absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent path: %v", err)
	}
}

// mounted makes a device, finds it and mounts it.
func mounted(t *testing.T) (mount.Device, string) {
	t.Helper()
	path := mounttest.Device(t, "ext4")
	dev, err := mount.FindDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Released(); err != nil {
		t.Fatalf("before the mount: %v", err)
	}
	at := filepath.Join(t.TempDir(), "at")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mounttest.Run(t, "mount", dev.Path, at)
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return dev, at
}

func own(t *testing.T) mount.Namespace {
	t.Helper()
	all, err := mount.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestAMountedDeviceIsNotReleased(t *testing.T) {
	dev, at := mounted(t)
	err := dev.Released()
	if !errors.Is(err, mount.ErrClaimed) || !strings.Contains(err.Error(), "at "+at) {
		t.Errorf("released: %v; want ErrClaimed and %s", err, at)
	}
	if err := dev.Unmount(own(t)); err != nil {
		t.Fatal(err)
	}
	if err := dev.Released(); err != nil {
		t.Errorf("after the unmount: %v", err)
	}
}

// A lazy unmount leaves no trace in any table while the file system goes on; only
// the claim tells.
func TestALazilyUnmountedDeviceIsNotReleased(t *testing.T) {
	dev, at := mounted(t)
	f, err := os.Create(filepath.Join(at, "open"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if tables, err := dev.Mounted(); err != nil || len(tables) != 0 {
		t.Errorf("tables: %v, %v; want nothing", tables, err)
	}
	if err := dev.Released(); !errors.Is(err, mount.ErrClaimed) {
		t.Errorf("released: %v; want ErrClaimed", err)
	}
	holders, err := dev.Holders()
	if err != nil || len(holders) != 1 || holders[0].PID != os.Getpid() || !strings.Contains(holders[0].Uses, "open file") {
		t.Errorf("holders: %v, %v; want this process", holders, err)
	}
	if len(holders) == 1 && !holders[0].Protected() {
		t.Error("this process is not protected from itself")
	}
	f.Close()
	eventually(t, "the device is released", func() bool { return dev.Released() == nil })
}

// elsewhere starts a shell line in a mount namespace of its own, private so that
// an unmount here does not reach it, and waits until it printed a line.
func elsewhere(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare is missing; install util-linux")
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", line+"; echo ready; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestAMountInAnotherNamespaceIsFoundAndUndone(t *testing.T) {
	dev, _ := mounted(t)
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	idle := elsewhere(t, "true")
	if err := dev.Unmount(own(t)); err != nil {
		t.Fatal(err)
	}
	spaces, err := dev.Mounted()
	if err != nil || len(spaces) != 1 || spaces[0].Own || spaces[0].PID != idle.Process.Pid {
		t.Fatalf("mounted: %+v, %v; want the namespace of process %d", spaces, err, idle.Process.Pid)
	}
	if err := dev.Released(); !errors.Is(err, mount.ErrClaimed) || !strings.Contains(err.Error(), "namespace of process") {
		t.Errorf("released: %v", err)
	}
	holders, err := dev.Holders()
	if err != nil || len(holders) != 1 || holders[0].PID != idle.Process.Pid || !holders[0].Namespace {
		t.Errorf("holders: %+v, %v; want process %d for its namespace", holders, err, idle.Process.Pid)
	}
	if err := dev.Unmount(spaces[0]); err != nil {
		t.Fatal(err)
	}
	if err := dev.Released(); err != nil {
		t.Errorf("after the unmount over there: %v", err)
	}
	// The first thread of the process is what others, and /proc/self, look at.
	for range 20 {
		if err := dev.Unmount(spaces[0]); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.Readlink("/proc/self/ns/mnt"); err != nil || now != own(t).ID || now != before {
		t.Errorf("this process moved from namespace %s to %s, %v", before, now, err)
	}
}

func TestABusyMountInAnotherNamespaceNamesItsHolder(t *testing.T) {
	dev, at := mounted(t)
	busy := elsewhere(t, "cd "+at)
	if err := dev.Unmount(own(t)); err != nil {
		t.Fatal(err)
	}
	spaces, err := dev.Mounted()
	if err != nil || len(spaces) != 1 {
		t.Fatalf("mounted: %+v, %v", spaces, err)
	}
	if err := dev.Unmount(spaces[0]); !errors.Is(err, unix.EBUSY) {
		t.Errorf("unmount: %v; want EBUSY", err)
	}
	holders, err := dev.Holders()
	if err != nil || len(holders) != 1 || holders[0].PID != busy.Process.Pid || holders[0].Namespace ||
		!strings.Contains(holders[0].Uses, "working directory") {
		t.Fatalf("holders: %+v, %v; want process %d for its working directory", holders, err, busy.Process.Pid)
	}
	if err := holders[0].Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is released", func() bool { return dev.Released() == nil })
	if holders[0].Exists() {
		t.Error("the holder is said to exist after its end")
	}
}

func TestWhatIsMountedOnTopGoesFirst(t *testing.T) {
	dev, at := mounted(t)
	upper := filepath.Join(at, "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	mounttest.Run(t, "mount", "-t", "tmpfs", "none", upper)
	if err := dev.Unmount(own(t)); err != nil {
		t.Fatal(err)
	}
	if err := dev.Released(); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
