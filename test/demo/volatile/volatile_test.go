package volatile

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
)

// TestMain is the process of a disk too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "volatile" {
		if err := Main(os.Args[2:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestCache: what is read is what was written; the medium has it only after a flush,
// or by chance and then in whole blocks.
func TestCache(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "medium"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const blocks = 64
	if err := f.Truncate(blocks * block); err != nil {
		t.Fatal(err)
	}
	c, err := newCache(f)
	if err != nil {
		t.Fatal(err)
	}
	wrote := bytes.Repeat([]byte{7}, (blocks-1)*block)
	if err := c.write(wrote, 512); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(wrote))
	if n, err := c.read(got, 512); err != nil || n != len(got) || !bytes.Equal(got, wrote) {
		t.Errorf("%d bytes are read back: %v", n, err)
	}
	medium := func(i int64) []byte {
		b := make([]byte, block)
		if _, err := f.ReadAt(b, i*block); err != nil {
			t.Fatal(err)
		}
		return b
	}
	old := 0
	for i := int64(1); i < blocks-1; i++ { // those at the ends are written in part
		switch b := medium(i); {
		case bytes.Equal(b, make([]byte, block)):
			old++
		case !bytes.Equal(b, wrote[:block]):
			t.Errorf("block %d on the medium is neither old nor new", i)
		}
	}
	if old == 0 || old == blocks-2 {
		t.Errorf("%d of %d blocks are old on the medium before a flush: want some", old, blocks-2)
	}
	if err := c.flush(); err != nil || len(c.dirty) > 0 {
		t.Errorf("%d blocks wait after a flush: %v", len(c.dirty), err)
	}
	if !bytes.Equal(medium(5), wrote[:block]) {
		t.Error("a block is not on the medium after a flush")
	}
	if err := c.write([]byte{1}, blocks*block); err == nil {
		t.Error("a write beyond the end is taken")
	}
}

// rig is a file system on a volatile disk.
type rig struct {
	dir  string
	dev  string
	disk *exec.Cmd
}

// plug puts the disk before this machine, and mounts it.
func (r *rig) plug(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.disk = exec.Command(self, "volatile", "-file", filepath.Join(r.dir, "medium"), "-at", filepath.Join(r.dir, "cache"))
	r.disk.Stderr = os.Stderr
	out, err := r.disk.StdoutPipe()
	if err == nil {
		err = r.disk.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the disk says %q: %v", line, err)
	}
	if r.dev, err = loop.Attach(Disk(filepath.Join(r.dir, "cache"))); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) mount(t *testing.T) {
	t.Helper()
	mounttest.Run(t, "mount", r.dev, filepath.Join(r.dir, "mnt"))
}

// unplug kills the disk's process and takes away what was on it.
func (r *rig) unplug(t *testing.T) {
	t.Helper()
	if r.disk == nil {
		return
	}
	_ = r.disk.Process.Kill()
	_ = r.disk.Wait() // it was killed
	r.disk = nil
	mnt := unix.Unmount(filepath.Join(r.dir, "mnt"), 0)
	if errors.Is(mnt, unix.EINVAL) {
		mnt = nil // it was not mounted
	}
	if err := errors.Join(mnt, loop.DetachAll(r.dir, 20*time.Second), unix.Unmount(filepath.Join(r.dir, "cache"), 0)); err != nil {
		t.Errorf("the disk does not go away: %v", err)
	}
}

// TestPowerLoss: of a file system on the disk there is after a loss of power what an
// fsync was asked for, and not what nobody asked for.
func TestPowerLoss(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: mounts and loop devices are root's to make; run as root")
	}
	if err := Able(); err != nil {
		t.Skipf("no FUSE on this machine: %v", err)
	}
	if testing.Short() {
		t.Skip("-short: it mounts a disk and loses it")
	}
	r := &rig{dir: t.TempDir()}
	for _, d := range []string{"cache", "mnt"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	medium := filepath.Join(r.dir, "medium")
	if err := os.WriteFile(medium, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(medium, 32<<20); err != nil {
		t.Fatal(err)
	}
	r.plug(t)
	t.Cleanup(func() { r.unplug(t) })
	mounttest.Run(t, "mkfs.ext4", "-q", r.dev)
	r.mount(t)
	kept, lost := filepath.Join(r.dir, "mnt", "kept"), filepath.Join(r.dir, "mnt", "lost")
	text := []byte(strings.Repeat("acknowledged ", 10000))
	f, err := os.Create(kept)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.WriteFile(lost, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.unplug(t)
	r.plug(t)
	r.mount(t)
	if got, err := os.ReadFile(kept); err != nil || !bytes.Equal(got, text) {
		t.Errorf("after the power loss %d bytes of what was synced are there: %v", len(got), err)
	}
	if got, err := os.ReadFile(lost); bytes.Equal(got, text) {
		t.Errorf("what was not synced has outlived the power loss: %v", err)
	}
}
