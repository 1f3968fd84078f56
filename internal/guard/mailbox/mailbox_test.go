package mailbox_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guard/mailbox"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const (
	patience = 10 * time.Second
	sec      = ident.Instant(time.Second)
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// area makes an SBD area with sectors of size bytes in a file, and gives the
// file's path and a way to write to it.
func area(t *testing.T, size int, names ...string) (string, *sbd.Area) {
	t.Helper()
	path := storagetest.File(t, 4<<20)
	d, err := storage.Open(path, storage.Options{SectorSize: size})
	if err != nil && size == 512 {
		t.Skipf("sectors of 512 bytes cannot be had here (%v): run the tests with a TMPDIR on ext4 or xfs of a disk with such blocks", err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	must(t, sbd.Create(d, sbd.DefaultHeader(size, ident.UUID{1}), patience))
	a, err := sbd.Open(d, patience)
	must(t, err)
	for _, n := range names {
		_, _, err := a.Claim(n, patience)
		must(t, err)
	}
	return path, a
}

func open(t *testing.T, path string, size int) storage.Disk {
	t.Helper()
	d, err := storage.Open(path, storage.Options{SectorSize: size})
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

// The area's sectors are the device's logical blocks, the layout's the physical
// ones: on a 512e disk they differ.
func TestEverySectorSize(t *testing.T) {
	for _, c := range []struct{ area, handle int }{{512, 512}, {512, 4096}, {4096, 4096}} {
		path, a := area(t, c.area, "gamma", "alpha", "beta")
		disk := open(t, path, c.handle)
		b := mailbox.New("Beta", func(size int) (storage.Disk, error) {
			return storage.Open(path, storage.Options{SectorSize: size})
		})
		sector, err := b.Read(disk, 0, patience)
		must(t, err)
		if sbd.Command(sector[0]) != sbd.Clear || len(sector) != c.area {
			t.Fatalf("%+v: mailbox %v of %d bytes", c, sector[0], len(sector))
		}
		must(t, a.Send(2, sbd.Mail{Command: sbd.Reset, From: "admin"}, patience))
		must(t, a.Send(1, sbd.Mail{Command: sbd.Exit, From: "admin"}, patience))
		sector, err = b.Read(disk, 1, patience)
		must(t, err)
		if m, _ := sbd.DecodeMail(sector); m != (sbd.Mail{Command: sbd.Reset, From: "admin"}) {
			t.Errorf("%+v: %+v", c, m)
		}
		must(t, b.Clear(patience))
		for slot, want := range []sbd.Command{sbd.Clear, sbd.Exit, sbd.Clear} {
			if m, err := a.Mail(slot, patience); err != nil || m.Command != want {
				t.Errorf("%+v: slot %d has %+v, %v; want %v", c, slot, m, err, want)
			}
		}
		must(t, b.Forget())
	}
}

// Somebody makes the area anew, and later allocates the slot again, elsewhere.
func TestAreaMadeAnew(t *testing.T) {
	path, a := area(t, 4096, "beta")
	disk := open(t, path, 4096)
	b := mailbox.New("beta", nil)
	_, err := b.Read(disk, 0, patience)
	must(t, err)
	must(t, sbd.Create(disk, a.Header(), patience))
	sector, err := b.Read(disk, sec, patience)
	if err != nil || sector != nil || b.Problem() != mailbox.Lost {
		t.Fatalf("mailbox %v, problem %v, %v", sector, b.Problem(), err)
	}
	text := b.Problem().Sentence("/dev/q", "beta")
	if !strings.Contains(text, "holdfast sbd -d /dev/q allocate beta") {
		t.Errorf("no remedy in %q", text)
	}
	for _, n := range []string{"x", "y", "beta"} {
		_, _, err := a.Claim(n, patience)
		must(t, err)
	}
	_, err = b.Read(disk, 2*sec, patience) // looks once more at once, then not for a while
	must(t, err)
	sector, err = b.Read(disk, 30*sec, patience)
	if err != nil || sector == nil || b.Problem() != mailbox.None {
		t.Errorf("mailbox %v, problem %v, %v: the new slot was not found", sector, b.Problem(), err)
	}
}

func TestNoMailbox(t *testing.T) {
	path, _ := area(t, 4096, "alpha")
	b := mailbox.New("beta", nil)
	if sector, err := b.Read(open(t, path, 4096), 0, patience); err != nil || sector != nil || b.Problem() != mailbox.NoSlot {
		t.Errorf("mailbox %v, problem %v, %v", sector, b.Problem(), err)
	}
	blank := mailbox.New("beta", nil)
	if sector, err := blank.Read(open(t, storagetest.File(t, 4<<20), 4096), 0, patience); err != nil || sector != nil || blank.Problem() != mailbox.None {
		t.Errorf("without an area: mailbox %v, problem %v, %v", sector, blank.Problem(), err)
	}
	path, _ = area(t, 512, "beta")
	refused := mailbox.New("beta", func(int) (storage.Disk, error) { return nil, errors.New("4 KiB blocks only") })
	if sector, err := refused.Read(open(t, path, 4096), 0, patience); err != nil || sector != nil || refused.Problem() != mailbox.Unknown {
		t.Errorf("with other sectors: mailbox %v, problem %v, %v", sector, refused.Problem(), err)
	}
}

// The guard runs without a garbage collector.
func TestNothingIsAllocated(t *testing.T) {
	path, _ := area(t, 4096, "alpha", "beta")
	disk := open(t, path, 4096)
	b, missing := mailbox.New("beta", nil), mailbox.New("gamma", nil)
	now := ident.Instant(0)
	if n := testing.AllocsPerRun(20, func() {
		now += 60 * sec
		for _, box := range []*mailbox.Box{b, missing} {
			if _, err := box.Read(disk, now, patience); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations for two readings", n)
	}
}
