package storage

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDescriptorFlags guards what no reading and writing shows: that the page
// cache is not in the way, that Sync is durable, and that children inherit no
// disk.
func TestDescriptorFlags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, opts := range []Options{{}, {Sync: true}, {ReadOnly: true}} {
		d, err := open(path, opts)
		if err != nil {
			t.Skipf("no direct I/O in %s (set TMPDIR to a directory on ext4 or xfs): %v", filepath.Dir(path), err)
		}
		flags, err := unix.FcntlInt(uintptr(d.fd), unix.F_GETFL, 0)
		if err != nil {
			t.Fatal(err)
		}
		onExec, err := unix.FcntlInt(uintptr(d.fd), unix.F_GETFD, 0)
		if err != nil {
			t.Fatal(err)
		}
		access := unix.O_RDWR
		if opts.ReadOnly {
			access = unix.O_RDONLY
		}
		if flags&unix.O_DIRECT == 0 || (flags&unix.O_DSYNC != 0) != opts.Sync || flags&unix.O_ACCMODE != access || onExec&unix.FD_CLOEXEC == 0 {
			t.Errorf("%+v: flags %#x, on exec %#x", opts, flags, onExec)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChooseSector(t *testing.T) {
	for _, c := range []struct {
		need, want, got int
		ok              bool
	}{
		{need: 512, want: 0, got: 512, ok: true},
		{need: 512, want: 4096, got: 4096, ok: true},
		{need: 1, want: 0, got: 512, ok: true},
		{need: 1024, want: 0, got: 4096, ok: true},
		{need: 4096, want: 0, got: 4096, ok: true},
		{need: 4096, want: 512},
		{need: 8192, want: 0},
	} {
		got, err := chooseSector(c.need, c.want)
		if got != c.got || (err == nil) != c.ok {
			t.Errorf("need %d, want %d: %d, %v", c.need, c.want, got, err)
		}
	}
}
