package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

func section(t *testing.T, d storage.Disk, off, size int64) storage.Disk {
	t.Helper()
	s, err := storage.Section(d, off, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSection: a part passes the suite of a whole disk, in memory and on a file,
// and leaves what is around it alone.
func TestSection(t *testing.T) {
	for _, size := range []int{512, 4096} {
		t.Run(fmt.Sprintf("memory,sector=%d", size), func(t *testing.T) {
			t.Parallel()
			m := storagetest.NewMemory(4<<20, size)
			around := bytes.Repeat([]byte{0xaa}, 1<<20)
			m.Poke(0, around)
			m.Poke(3<<20, around)
			storagetest.TestDisk(t, func(t *testing.T) storage.Disk {
				t.Helper()
				return section(t, m.Open("a"), 1<<20, 2<<20)
			})
			if !bytes.Equal(m.Peek(0, 1<<20), around) || !bytes.Equal(m.Peek(3<<20, 1<<20), around) {
				t.Error("something was written outside the part")
			}
		})
		t.Run(fmt.Sprintf("file,sector=%d", size), func(t *testing.T) {
			t.Parallel()
			whole := opener(storagetest.File(t, 4<<20), storage.Options{SectorSize: size})
			storagetest.TestDisk(t, func(t *testing.T) storage.Disk {
				t.Helper()
				return section(t, whole(t), 1<<20, 2<<20)
			})
		})
	}
}

func TestSectionIsOfItsDisk(t *testing.T) {
	m := storagetest.NewMemory(4<<20, 512)
	d := m.Open("a")
	s := section(t, d, 1<<20, 512)
	want := d.Info()
	want.Size = 512
	if got := s.Info(); got != want {
		t.Errorf("info %+v, want %+v", got, want)
	}
	// A part of a part.
	in := section(t, section(t, m.Open("b"), 1<<20, 1<<20), 4096, 512)
	if err := in.Write(bytes.Repeat([]byte{7}, 512), 0, patience); err != nil {
		t.Fatal(err)
	}
	if got := m.Peek(1<<20+4096, 1); got[0] != 7 {
		t.Error("a part of a part writes elsewhere")
	}
	d.Inject(storagetest.WriteProtected())
	err := s.Write(make([]byte, 512), 0, patience)
	var op *storage.OpError
	if !errors.Is(err, syscall.EROFS) || !errors.As(err, &op) || op.Off != 0 || !strings.Contains(err.Error(), "begins at 1048576") {
		t.Errorf("a failed write: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Read(make([]byte, 512), 0, patience); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing the part left its disk open: %v", err)
	}
}

func TestSectionRefusals(t *testing.T) {
	d := storagetest.NewMemory(4<<20, 4096).Open("a")
	for _, c := range []struct {
		off, size int64
		want      error
	}{
		{512, 4096, storage.ErrAlignment},
		{0, 512, storage.ErrAlignment},
		{0, 0, storage.ErrRange},
		{-4096, 4096, storage.ErrRange},
		{0, 4<<20 + 4096, storage.ErrRange},
		{4 << 20, 4096, storage.ErrRange},
		{4096, 1<<63 - 4096, storage.ErrRange},
	} {
		if s, err := storage.Section(d, c.off, c.size); !errors.Is(err, c.want) {
			t.Errorf("part of %d at %d: %v, %v", c.size, c.off, s, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Errorf("a refusal took the handle: %v", err)
	}
}
