package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// patience bounds requests that must succeed.
const patience = 30 * time.Second

// opener returns what storagetest.TestDisk wants.
func opener(path string, opts storage.Options) func(*testing.T) storage.Disk {
	return func(t *testing.T) storage.Disk {
		t.Helper()
		d, err := storage.Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// open opens path and closes it after the test.
func open(t testing.TB, path string, opts storage.Options) storage.Disk {
	t.Helper()
	d, err := storage.Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return d
}

func TestFile(t *testing.T) {
	for _, opts := range []storage.Options{
		{SectorSize: 512},
		{SectorSize: 4096},
		{Sync: true},
		{SectorSize: 512, MaxIO: 1}, // one page: everything larger is split
	} {
		t.Run(fmt.Sprintf("sector=%d,sync=%v,max=%d", opts.SectorSize, opts.Sync, opts.MaxIO), func(t *testing.T) {
			t.Parallel() // closing a handle waits for the kernel, not for a processor
			storagetest.TestDisk(t, opener(storagetest.File(t, 4<<20), opts))
		})
	}
}

func TestLoop(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			device := storagetest.Loop(t, storagetest.File(t, 4<<20), sector)
			storagetest.TestDisk(t, opener(device, storage.Options{Sync: true}))
			info := open(t, device, storage.Options{}).Info()
			if info.SectorSize != sector || !info.Block || info.Size != 4<<20 || info.Path != device {
				t.Errorf("info: %+v", info)
			}
		})
	}
}

// TestScratchDisk runs the suite on a disk of the machine, if one is named.
func TestScratchDisk(t *testing.T) {
	name := os.Getenv("HOLDFAST_SCRATCH_DISK")
	if name == "" {
		t.Skip("no disk of this machine to write on: set HOLDFAST_SCRATCH_DISK to one whose content may be lost; make vm runs this on a SCSI disk")
	}
	storagetest.TestDisk(t, opener(name, storage.Options{}))
	storagetest.TestDisk(t, opener(name, storage.Options{Sync: true}))
}

func TestLargeBlocksRefuseSmallSectors(t *testing.T) {
	device := storagetest.Loop(t, storagetest.File(t, 1<<20), 4096)
	_, err := storage.Open(device, storage.Options{SectorSize: 512})
	if err == nil || !strings.Contains(err.Error(), "blocks of 4096") {
		t.Errorf("sectors of 512 on blocks of 4096: %v", err)
	}
	small := storagetest.Loop(t, storagetest.File(t, 1<<20), 512)
	if got := open(t, small, storage.Options{SectorSize: 4096}).Info().SectorSize; got != 4096 {
		t.Errorf("sectors of 4096 on blocks of 512: got %d", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := storagetest.File(t, 1<<20)
	dir := filepath.Dir(file)
	tiny, pipe := filepath.Join(dir, "tiny"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(tiny, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		opts storage.Options
		want string
	}{
		{dir, storage.Options{}, "is a directory"},
		{pipe, storage.Options{}, "neither a block device nor a regular file"},
		{"/dev/null", storage.Options{}, "neither a block device nor a regular file"},
		{filepath.Join(dir, "none"), storage.Options{}, "no such file"},
		{tiny, storage.Options{}, "give it its size first"},
		{file, storage.Options{SectorSize: 1024}, "neither 512 nor 4096"},
		{file, storage.Options{MaxIO: -1}, "negative"},
	} {
		d, err := storage.Open(c.path, c.opts)
		var opErr *storage.OpError
		if d != nil || !errors.As(err, &opErr) || opErr.Op != "open" || opErr.Path != c.path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open %s with %+v: %v, want %q", c.path, c.opts, err, c.want)
		}
	}
}

func TestFileInMemoryIsRefused(t *testing.T) {
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) != nil || uint32(fs.Type) != unix.TMPFS_MAGIC {
		t.Skip("/dev/shm is no tmpfs here: mount one to run this test")
	}
	f, err := os.CreateTemp("/dev/shm", "storage-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	if err := errors.Join(f.Truncate(1<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Open(f.Name(), storage.Options{}); err == nil || !strings.Contains(err.Error(), "use a block device") {
		t.Errorf("a file on tmpfs: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	file := storagetest.File(t, 1<<20)
	d := open(t, file, storage.Options{ReadOnly: true})
	buf := make([]byte, 4096)
	if err := d.Write(buf, 0, patience); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := d.Read(buf, 0, patience); err != nil {
		t.Error(err)
	}
}

func TestShortReadIsAnError(t *testing.T) {
	file := storagetest.File(t, 1<<20)
	d := open(t, file, storage.Options{SectorSize: 4096})
	if err := os.Truncate(file, 6<<10); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{4096, 8192} { // half a sector left, nothing left
		if err := d.Read(make([]byte, 4096), off, patience); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read at %d of a file cut to 6 KiB: %v", off, err)
		}
	}
}

// TestNoAllocation guards the promise that the guard process relies on: its
// loop never wakes the garbage collector.
func TestNoAllocation(t *testing.T) {
	d := open(t, storagetest.File(t, 1<<20), storage.Options{})
	buf := make([]byte, d.Info().SectorSize)
	large := make([]byte, 512<<10)
	n := testing.AllocsPerRun(50, func() {
		err := d.Write(buf, 0, patience)
		if err == nil {
			err = d.Read(buf, 0, patience)
		}
		if err == nil {
			err = d.Read(large, 0, patience)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in a write and two reads, want none", n)
	}
}

// frozen is a file system that can be stopped: writes to files in it hang in
// the kernel, as they do on a dead path, until it is thawed.
type frozen struct {
	t   *testing.T
	dir int
}

// newFrozen makes one, with a file in it, and returns the file. It is not
// frozen yet.
func newFrozen(t *testing.T) (*frozen, string) {
	t.Helper()
	device := storagetest.Loop(t, storagetest.File(t, 32<<20), 512)
	if out, err := exec.Command("mkfs.ext4", "-q", device).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4 (package e2fsprogs) is needed: %v: %s", err, out)
	}
	dir := t.TempDir()
	if err := unix.Mount(device, dir, "ext4", 0, ""); err != nil {
		t.Skipf("mount of ext4 (the kernel's, with CAP_SYS_ADMIN) is needed: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &frozen{t: t, dir: fd}
	t.Cleanup(func() {
		f.thaw()
		_ = unix.Close(fd)
	})
	file := filepath.Join(dir, "lun")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Syncfs(fd); err != nil {
		t.Fatal(err)
	}
	return f, file
}

// _IOWR('X', 119, int) and _IOWR('X', 120, int) of linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func (f *frozen) freeze() {
	f.t.Helper()
	if err := unix.IoctlSetInt(f.dir, fiFreeze, 0); err != nil {
		f.t.Fatalf("FIFREEZE: %v", err)
	}
}

// thaw may be called when nothing is frozen.
func (f *frozen) thaw() {
	if err := unix.IoctlSetInt(f.dir, fiThaw, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
		f.t.Errorf("FITHAW: %v", err)
	}
}

// TestHangingWrite has a real write hang in the kernel: the device under test
// is a loop device whose file lies in a frozen file system.
func TestHangingWrite(t *testing.T) {
	fs, file := newFrozen(t)
	device := storagetest.Loop(t, file, 512)
	d := open(t, device, storage.Options{})
	one, two, got := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 512), make([]byte, 512)
	if err := d.Write(one, 0, patience); err != nil {
		t.Fatal(err)
	}

	fs.freeze()
	quiet := disturb(t)
	err := d.Write(two, 0, 50*time.Millisecond)
	quiet()
	if !errors.Is(err, storage.ErrTimeout) {
		t.Fatalf("write to a frozen disk: %v", err)
	}
	clear(two) // the caller's again
	if err := d.Read(got, 512, 20*time.Millisecond); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("read while the write hangs: %v", err)
	}
	if err := d.Write(one, 512, 0); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("write while the write hangs: %v", err)
	}
	if err := d.Close(); !errors.Is(err, storage.ErrBusy) {
		t.Errorf("close while the write hangs: %v", err)
	}

	fs.thaw()
	if err := d.Read(got, 512, patience); err != nil || got[0] != 0 {
		t.Errorf("read of another sector after the thaw: %d, %v", got[0], err)
	}
	if err := d.Read(got, 0, patience); err != nil || got[0] != 2 {
		t.Errorf("the late write left %d (%v), want 2", got[0], err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// Stop and Go implement storagetest.Stall.
func (f *frozen) Stop() { f.freeze() }
func (f *frozen) Go()   { f.thaw() }

// TestLate is the suite's part about late requests with a real device that is
// stopped and goes on.
func TestLate(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			fs, file := newFrozen(t)
			device := storagetest.Loop(t, file, sector)
			storagetest.TestLate(t, func(t *testing.T) (storage.Disk, storagetest.Stall) {
				return opener(device, storage.Options{Sync: true})(t), fs
			})
		})
	}
}

// disturb interrupts the caller's system calls by signals until the returned
// function is called on the same goroutine.
func disturb(t *testing.T) (quiet func()) {
	t.Helper()
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR1)
	runtime.LockOSThread()
	thread := unix.Gettid()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Tgkill(unix.Getpid(), thread, unix.SIGUSR1); err != nil {
				t.Error(err)
				return
			}
			<-caught // one after the other: each finds the thread in a wait again
		}
	}()
	return func() {
		close(stop)
		<-stopped
		runtime.UnlockOSThread()
		signal.Stop(caught)
	}
}

// BenchmarkRound is what a node does in each heartbeat round: write its own
// sector durably, read it back.
func BenchmarkRound(b *testing.B) {
	for _, c := range []struct {
		name string
		path func() string
	}{
		{"file", func() string { return storagetest.File(b, 1<<20) }},
		{"loop", func() string { return storagetest.Loop(b, storagetest.File(b, 1<<20), 512) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := open(b, c.path(), storage.Options{SectorSize: 512, Sync: true})
			buf := make([]byte, 512)
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				if err := d.Write(buf, 0, patience); err != nil {
					b.Fatal(err)
				}
				if err := d.Read(buf, 0, patience); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
