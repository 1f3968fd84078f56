package place_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const patience = 10 * time.Second

// TestEveryScratchOfOneCopyIsSurvived: whatever bytes of one copy are lost, the
// partition is found, and never another one.
func TestEveryScratchOfOneCopyIsSurvived(t *testing.T) {
	const size = 8 << 20
	path := storagetest.File(t, size)
	made, err := label.Create(path, label.Options{Cluster: "clinic", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	d, err := storage.Open(path, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	sector := d.Info().SectorSize
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		off := random.Int64N(34 * 512)
		if random.IntN(2) == 1 {
			off = size - 1 - off
		}
		b := make([]byte, sector)
		at := off / int64(sector) * int64(sector)
		if err := d.Read(b, at, patience); err != nil {
			t.Fatal(err)
		}
		b[off-at] ^= 1 << random.IntN(8)
		if err := d.Write(b, at, patience); err != nil {
			t.Fatal(err)
		}
		p, err := place.Read(d, patience)
		if err != nil || p.Offset != made.Offset || p.Size != made.Size || p.Name != made.Name {
			t.Fatalf("bit flipped at %d: %+v, %v", off, p, err)
		}
		plan, err := label.PlanRepair(d, patience)
		if err != nil {
			t.Fatalf("bit flipped at %d: %v", off, err)
		}
		for _, w := range plan {
			if err := d.Write(w.New, w.Off, patience); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := label.PlanRepair(d, patience); err != nil || len(again) > 0 {
			t.Fatalf("after the repair of a bit at %d there is still to do: %v, %v", off, again, err)
		}
	}
}

// FuzzTable: no bytes crash the reader or let it reach outside the device.
func FuzzTable(f *testing.F) {
	f.Add(int64(512), []byte("EFI PART"))
	f.Add(int64(4096), []byte("EFI PART"))
	f.Fuzz(func(t *testing.T, off int64, b []byte) {
		m := storagetest.NewMemory(1<<20, 512)
		h := m.Open("a")
		if off < 0 || len(b) == 0 {
			return
		}
		off = off % (1 << 20) / 512 * 512
		if n := (len(b) + 511) / 512 * 512; int64(n)+off <= 1<<20 {
			whole := make([]byte, n)
			copy(whole, b)
			if err := h.Write(whole, off, patience); err != nil {
				t.Fatal(err)
			}
		}
		p, err := place.Read(h, patience)
		if err == nil && (p.Offset < 0 || p.Size <= 0 || p.Offset+p.Size > 1<<20) {
			t.Errorf("%+v", p)
		}
		if err != nil && !errors.Is(err, place.ErrNone) && !errors.Is(err, place.ErrDamaged) && !errors.Is(err, place.ErrSeveral) {
			t.Error(err)
		}
	})
}
