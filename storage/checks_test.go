package storage_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

func identify(t *testing.T, path string) storage.Identity {
	t.Helper()
	id, err := storage.Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestFileAndItsLoopDevicesAreOneDisk guards against giving the same disk twice
// as two of three quorum disks.
func TestFileAndItsLoopDevicesAreOneDisk(t *testing.T) {
	file, other := storagetest.File(t, 1<<20), storagetest.File(t, 1<<20)
	want := identify(t, file)
	if want.Kind != "file" || identify(t, other) == want {
		t.Errorf("a file is %v, another %v", want, identify(t, other))
	}
	if got := open(t, file, storage.Options{}).Info().Identity; got != want {
		t.Errorf("opened: %v, want %v", got, want)
	}
	first, second := storagetest.Loop(t, file, 512), storagetest.Loop(t, file, 4096)
	for _, device := range []string{first, second} {
		if got := open(t, device, storage.Options{}).Info().Identity; got != want {
			t.Errorf("%s on %s: %v, want %v", device, file, got, want)
		}
	}
}

func TestIdentifyRefuses(t *testing.T) {
	for _, path := range []string{"/dev/null", t.TempDir(), "/nowhere"} {
		var opErr *storage.OpError
		if id, err := storage.Identify(path); !errors.As(err, &opErr) {
			t.Errorf("%s: %v, %v", path, id, err)
		}
	}
}

// finds checks that there is a finding with the words want, or none for "".
func finds(t *testing.T, got []string, err error, want string) {
	t.Helper()
	all := strings.Join(got, "; ")
	if err != nil || (want == "") != (all == "") || !strings.Contains(all, want) {
		t.Errorf("found %q (%v), want %q", got, err, want)
	}
}

func TestInUse(t *testing.T) {
	file := storagetest.File(t, 16<<20)
	got, err := storage.InUse(file)
	finds(t, got, err, "")
	device := storagetest.Loop(t, file, 512)
	got, err = storage.InUse(file)
	finds(t, got, err, "the loop device "+device+" is on it")
	got, err = storage.InUse(device)
	finds(t, got, err, "")

	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err = storage.InUse(device)
	finds(t, got, err, "claimed by a program")
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}

	run(t, "mkfs.ext4", "-q", device)
	dir := t.TempDir()
	if err := unix.Mount(device, dir, "ext4", 0, ""); err != nil {
		t.Skipf("mount of ext4 (the kernel's, with CAP_SYS_ADMIN) is needed: %v", err)
	}
	got, err = storage.InUse(device)
	finds(t, got, err, "it is mounted at "+dir+" (ext4)")
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	got, err = storage.InUse(device)
	finds(t, got, err, "")
}

// run runs a program that the test needs.
func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is needed (packages util-linux and e2fsprogs): %v", program, err)
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
}

func TestSignatures(t *testing.T) {
	if _, err := exec.LookPath("blkid"); err != nil {
		t.Skip("blkid is needed (package util-linux)")
	}
	for _, c := range []struct {
		what string
		make func(t *testing.T, file string)
		want string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"unknown data", func(t *testing.T, file string) {
			t.Helper()
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte("hello"), 70000)
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}, "not zero at 70000"},
		{"file system", func(t *testing.T, file string) { t.Helper(); run(t, "mkfs.ext4", "-q", "-L", "my data", file) }, `a file system (ext4), label "my data", UUID `},
		{"swap", func(t *testing.T, file string) { t.Helper(); run(t, "mkswap", "-q", file) }, "swap space"},
	} {
		t.Run(c.what, func(t *testing.T) {
			file := storagetest.File(t, 8<<20)
			c.make(t, file)
			got, err := storage.Signatures(t.Context(), file)
			finds(t, got, err, c.want)
		})
	}
}

func TestSignaturesEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if got, err := storage.Signatures(ctx, storagetest.File(t, 1<<20)); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("got %q, %v", got, err)
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	if got, err := storage.Signatures(canceled, storagetest.File(t, 1<<20)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v", got, err)
	}
}
