package volume_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

var (
	images = flag.Bool("images", false, "write new golden images of quorum disks into testdata: only while the format was never released")
	update = flag.Bool("update", false, "write what the golden images look like in a dump into testdata")
)

// An image is one whole quorum disk, compressed. What was once written by a
// released version is read for ever.
type image struct {
	sector, disk, disks int
}

func (i image) path(end string) string {
	return filepath.Join("testdata", fmt.Sprintf("disk-%d-%d-of-%d.%s", i.sector, i.disk+1, i.disks, end))
}

func (i image) uuid() ident.UUID { return uuid(byte(0xd0 + i.disk)) }

func eachImage(t *testing.T, f func(t *testing.T, i image)) {
	for _, sector := range []int{512, 4096} {
		for _, disks := range []int{1, 3} {
			for disk := range disks {
				i := image{sector, disk, disks}
				t.Run(fmt.Sprintf("S=%d/disk %d of %d", sector, disk+1, disks), func(t *testing.T) { f(t, i) })
			}
		}
	}
}

// make writes something of every kind onto a new disk.
func (i image) make(t *testing.T) *storagetest.Memory {
	t.Helper()
	m := storagetest.NewMemory((q.Layout{SectorSize: i.sector, Nmax: q.DefaultNodes}).MinSize(), i.sector)
	o := options()
	o.Disk, o.Index = i.uuid(), uint8(i.disk)
	_, err := volume.Create(m.Open("alpha"), o)
	must(t, err)
	v, err := volume.Open(m.Open("alpha"), testKeys(), volume.Expect{Cluster: o.Cluster, Disk: o.Disk}, wait)
	must(t, err)
	s := firstState()
	s.Disks = nil
	for d := range i.disks {
		s.Disks = append(s.Disks, image{disk: d}.uuid())
	}
	must(t, v.Bootstrap(s, 1, wait))
	beat(t, v, 1, 100)
	beat(t, v, 2, 101)
	inc := ident.Incarnation{N: 4, Boot: ident.BootID(uuid(0xb0))}
	must(t, v.WriteBlob(&cluster.Blob{
		Node: 2, Inc: inc, Gen: 1<<40 + 1, Released: []cluster.Released{{Service: "orders", Term: 1}},
		Services: []cluster.RunState{{Service: "reports", Term: 7, State: cluster.Up, Text: "since 3 h"}},
	}, wait))
	must(t, v.WriteProbe(1, uuid2(3), wait))
	return m
}

func (i image) load(t *testing.T) *storagetest.Memory {
	t.Helper()
	packed, err := os.ReadFile(i.path("zst"))
	must(t, err)
	z, err := zstd.NewReader(nil)
	must(t, err)
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	must(t, err)
	m := storagetest.NewMemory(int64(len(raw)), i.sector)
	m.Poke(0, raw)
	return m
}

func (i image) save(t *testing.T) {
	t.Helper()
	m := i.make(t)
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	must(t, err)
	defer z.Close()
	size := int(m.Open("a").Info().Size)
	must(t, os.WriteFile(i.path("zst"), z.EncodeAll(m.Peek(0, size), nil), 0o644))
}

// Every golden image opens, checks without a finding, and holds what was written;
// its dump is the one that is kept beside it.
func TestGoldenImages(t *testing.T) {
	const remedy = "\nwhat was written once must be readable for ever: add a format instead. As long as no version was released with format 1: go test ./quorumdisk/volume -run GoldenImages -images -update"
	eachImage(t, func(t *testing.T, i image) {
		if *images {
			i.save(t)
		}
		m := i.load(t)
		v, err := volume.Open(m.Open("alpha"), testKeys(), volume.Expect{Cluster: uuid(0xc0), Disk: i.uuid()}, wait)
		if err != nil {
			t.Fatal(err, remedy)
		}
		if found, err := v.Verify(wait); err != nil || len(found) > 0 || len(v.Notes()) > 0 {
			t.Errorf("findings %v, %v, notes %v%s", found, err, v.Notes(), remedy)
		}
		s, h, err := v.NewestState(wait)
		if err != nil || s == nil || s.Ver != 1 || h.Gen != 1 || len(s.Disks) != i.disks || s.Services[0].Owner != 1 {
			t.Fatalf("state %+v, header %+v, %v%s", s, h, err, remedy)
		}
		b, err := v.NewestBlob(2, wait)
		if err != nil || b.Gen != 1<<40+1 || b.Released[0].Term != 1 || b.Services[0].Text != "since 3 h" {
			t.Errorf("blob %+v, %v%s", b, err, remedy)
		}
		if nonce, ok, err := v.ReadProbe(1, wait); !ok || err != nil || nonce != uuid2(3) {
			t.Errorf("probe %x, %v, %v", nonce, ok, err)
		}
		var dump strings.Builder
		must(t, v.Dump(&dump, wait))
		if *update {
			must(t, os.WriteFile(i.path("txt"), []byte(dump.String()), 0o644))
		}
		want, err := os.ReadFile(i.path("txt"))
		must(t, err)
		if dump.String() != string(want) {
			t.Errorf("the dump is\n%s\nwant\n%s\nif that is meant: go test ./quorumdisk/volume -run GoldenImages -update", dump.String(), want)
		}
	})
}

// A disk of a format to come is refused in one sentence, before anything else of
// it is believed.
func TestNewerDiskIsRefused(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		m, _ := formatted(t, sector)
		for _, at := range []int64{q.SuperOffset, m.Open("a").Info().Size - int64(sector)} {
			m.Poke(at+8, []byte{byte(q.Newest) + 1})
		}
		_, err := volume.Open(m.Open("alpha"), testKeys(), expect(), wait)
		want := fmt.Sprintf("format %d is newer than format %d, the newest that this holdfast reads: upgrade holdfast", q.Newest+1, q.Newest)
		if !errors.Is(err, q.ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	})
}
