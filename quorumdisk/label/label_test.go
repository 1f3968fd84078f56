package label_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const (
	patience = 10 * time.Second
	mib      = int64(1 << 20)
	size     = 70*mib + 12288 // no whole number of MiB
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails the test unless err wraps want and says all of that.
func wants(t *testing.T, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("it does not say %q: %v", s, err)
		}
	}
}

func create(t *testing.T, path string, sector int) place.Partition {
	t.Helper()
	p, err := label.Create(path, label.Options{Cluster: "clinic", SectorSize: sector, Timeout: patience})
	must(t, err)
	return p
}

// poke writes through the file system, where a test wants bytes to be others.
func poke(t *testing.T, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(b, off)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

func peek(t *testing.T, path string, off int64, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	must(t, errors.Join(err, f.Close()))
	return b
}

// blkid asks libblkid for what it sees of a partition table.
func blkid(t *testing.T, path string, tag string) string {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/blkid")
	if err != nil {
		t.Skip("blkid is missing, so that nobody else has read the table: install util-linux")
	}
	out, err := exec.Command(program, "-p", "-o", "value", "-s", tag, path).Output()
	if err != nil {
		t.Errorf("blkid %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

func TestFile(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			path := storagetest.File(t, size)
			_, err := place.Find(path, patience)
			wants(t, err, place.ErrNone, path)
			got := create(t, path, sector)
			if got.Offset != mib || got.Size != 68*mib || got.Name != "quorum:clinic" || got.Recovered || len(got.Notes) > 0 {
				t.Errorf("made: %+v", got)
			}
			found, err := place.Find(path, patience)
			if err != nil || found.Offset != got.Offset || found.Size != got.Size || found.Name != got.Name {
				t.Errorf("found: %+v, %v", found, err)
			}
			_, err = label.Create(path, label.Options{Cluster: "clinic", SectorSize: sector, Timeout: patience})
			wants(t, err, label.ErrPartitioned, path)
			if sector == 512 {
				if got := blkid(t, path, "PTTYPE"); got != "gpt" {
					t.Errorf("blkid sees a table of type %q", got)
				}
			}
		})
	}
}

// TestVolume: a quorum disk lives in the partition, and nothing of it is outside.
func TestVolume(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			path := storagetest.File(t, size)
			create(t, path, sector)
			before, after := peek(t, path, 0, int(mib)), peek(t, path, 69*mib, int(size-69*mib))
			open := func(opts storage.Options) storage.Disk {
				opts.SectorSize = sector
				d, p, found, err := place.Open(path, opts, patience)
				must(t, err)
				if !found || p.Offset != mib || d.Info().Size != 68*mib {
					t.Errorf("opened %+v, %v, %+v", p, found, d.Info())
				}
				return d
			}
			id, err := storage.Identify(path)
			must(t, err)
			keys, cluster := quorumdisk.Keys{Current: quorumdisk.NewKey()}, quorumdisk.NewUUID()
			d := open(storage.Options{Sync: true})
			s, err := volume.Create(d, volume.Options{
				Keys: keys, Cluster: cluster, Disk: quorumdisk.NewUUID(), Created: time.Unix(1, 0), Timeout: patience,
			})
			must(t, errors.Join(err, d.Close()))
			if s.Identity != quorumdisk.Recorded(id) || s.Size != 68*mib {
				t.Errorf("formatted as %+v", s)
			}
			d = open(storage.Options{ReadOnly: true})
			v, err := volume.Open(d, keys, volume.Expect{Cluster: cluster, Disk: s.Disk}, patience)
			must(t, err)
			if found, err := v.Verify(patience); err != nil || len(found) > 0 {
				t.Errorf("verify: %v, %v", found, err)
			}
			must(t, d.Close())
			if !bytes.Equal(before, peek(t, path, 0, int(mib))) || !bytes.Equal(after, peek(t, path, 69*mib, int(size-69*mib))) {
				t.Error("the quorum disk has written outside its partition")
			}
			_, err = label.Create(path, label.Options{Timeout: patience})
			wants(t, err, label.ErrPartitioned)
		})
	}
}

// TestRecovered: the first copy is lost, header or entries, and the second one
// holds; or the other way round; Repair writes both again.
func TestRecovered(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		last := size/int64(sector)*int64(sector) - int64(sector)
		for name, c := range map[string]struct {
			off       int64
			n         int
			recovered bool
		}{
			"primary header":  {int64(sector), sector, true},
			"primary entries": {2 * int64(sector), 16, true},
			"first MiB":       {0, int(mib), true},
			"one bit of it":   {int64(sector) + 60, 1, true},
			"second header":   {last, sector, false},
		} {
			t.Run(fmt.Sprintf("%s,%d", name, sector), func(t *testing.T) {
				t.Parallel()
				path := storagetest.File(t, size)
				made := create(t, path, sector)
				whole := peek(t, path, 0, int(mib))
				lost := peek(t, path, c.off, c.n)
				for i := range lost {
					lost[i] ^= 0xff
				}
				poke(t, path, c.off, lost)
				p, err := place.Find(path, patience)
				must(t, err)
				if p.Offset != made.Offset || p.Size != made.Size || p.Recovered != c.recovered || len(p.Notes) != 1 {
					t.Errorf("found %+v", p)
				}
				_, err = label.Create(path, label.Options{Timeout: patience})
				wants(t, err, label.ErrPartitioned)
				must(t, label.Repair(path, patience))
				p, err = place.Find(path, patience)
				if err != nil || p.Recovered || len(p.Notes) > 0 || p.Offset != made.Offset || p.Size != made.Size {
					t.Errorf("repaired: %+v, %v", p, err)
				}
				// The boot code, before the protective MBR's entries, is nobody's.
				if name != "first MiB" && !bytes.Equal(peek(t, path, 0, int(mib)), whole) {
					t.Error("the repaired table has other bytes")
				}
			})
		}
	}
}

func TestDamaged(t *testing.T) {
	path := storagetest.File(t, size)
	create(t, path, 512)
	poke(t, path, 512+60, []byte{0xee})
	poke(t, path, size-512+60, []byte{0xee})
	_, err := place.Find(path, patience)
	wants(t, err, place.ErrDamaged, path)
	_, _, _, err = place.Open(path, storage.Options{}, patience)
	wants(t, err, place.ErrDamaged)
	wants(t, label.Repair(path, patience), place.ErrDamaged)
	_, err = label.Create(path, label.Options{Timeout: patience})
	wants(t, err, label.ErrPartitioned)
}

// header changes a header of a table with 512-byte blocks and makes it whole again.
func header(t *testing.T, path string, off int64, change func(b []byte)) {
	t.Helper()
	b := peek(t, path, off, 92)
	change(b)
	clear(b[16:20])
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
	poke(t, path, off, b)
}

// TestImplausible: a table that is whole but made to do harm.
func TestImplausible(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"entries without number": func(b []byte) { binary.LittleEndian.PutUint64(b[80:], 1<<64-1) },
		"entries of no size":     func(b []byte) { binary.LittleEndian.PutUint32(b[84:], 0) },
		"no entries":             func(b []byte) { binary.LittleEndian.PutUint32(b[80:], 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := storagetest.File(t, size)
			create(t, path, 512)
			header(t, path, 512, change)
			p, err := place.Find(path, patience)
			if err != nil || !p.Recovered {
				t.Errorf("the second copy is whole: %+v, %v", p, err)
			}
			header(t, path, size/512*512-512, change)
			_, err = place.Find(path, patience)
			wants(t, err, place.ErrDamaged)
		})
	}
	// A partition that reaches beyond the device.
	path := storagetest.File(t, size)
	create(t, path, 512)
	entries := peek(t, path, 1024, 128*128)
	for _, end := range []uint64{uint64(size / 512), 1 << 63, 0} {
		binary.LittleEndian.PutUint64(entries[40:], end)
		poke(t, path, 1024, entries)
		header(t, path, 512, func(b []byte) { binary.LittleEndian.PutUint32(b[88:], crc32.ChecksumIEEE(entries)) })
		_, err := place.Find(path, patience)
		wants(t, err, place.ErrDamaged, "its partition 1")
	}
	// Two of them, and one of another type.
	copy(entries[128:], entries[:128])
	poke(t, path, 1024, entries)
	header(t, path, 512, func(b []byte) { binary.LittleEndian.PutUint32(b[88:], crc32.ChecksumIEEE(entries)) })
	binary.LittleEndian.PutUint64(entries[40:], 4095)
	copy(entries[128:], entries[:128])
	poke(t, path, 1024, entries)
	header(t, path, 512, func(b []byte) { binary.LittleEndian.PutUint32(b[88:], crc32.ChecksumIEEE(entries)) })
	_, err := place.Find(path, patience)
	wants(t, err, place.ErrSeveral)
	entries[0]++
	entries[128]++
	poke(t, path, 1024, entries)
	header(t, path, 512, func(b []byte) { binary.LittleEndian.PutUint32(b[88:], crc32.ChecksumIEEE(entries)) })
	_, err = place.Find(path, patience)
	wants(t, err, place.ErrNone)
}

func TestRefusals(t *testing.T) {
	fresh := func() string { return storagetest.File(t, size) }
	refused := func(path string, want error, says ...string) {
		t.Helper()
		before := peek(t, path, 0, int(mib))
		_, err := label.Create(path, label.Options{Timeout: patience})
		wants(t, err, want, says...)
		if !bytes.Equal(before, peek(t, path, 0, int(mib))) {
			t.Errorf("%v: the refused device has other bytes", want)
		}
	}
	mbr := fresh()
	entry := []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0}
	poke(t, mbr, 446, entry)
	poke(t, mbr, 510, []byte{0x55, 0xaa})
	refused(mbr, label.ErrPartitioned, "MBR")
	data := fresh()
	poke(t, data, 5000, []byte("x"))
	refused(data, label.ErrNotEmpty, "unknown data")
	lvm := fresh()
	poke(t, lvm, 512, []byte("LABELONE\x01\x00\x00\x00\x00\x00\x00\x00"))
	refused(lvm, label.ErrNotEmpty)
	quorum := fresh()
	d, err := storage.Open(quorum, storage.Options{})
	must(t, err)
	_, err = volume.Create(d, volume.Options{
		Keys: quorumdisk.Keys{Current: quorumdisk.NewKey()}, Cluster: quorumdisk.NewUUID(), Disk: quorumdisk.NewUUID(),
		Created: time.Unix(1, 0), Timeout: patience,
	})
	must(t, errors.Join(err, d.Close()))
	refused(quorum, label.ErrNotEmpty, "quorum disk")
	refused(storagetest.File(t, 3*mib), label.ErrUnsuitable)
	_, err = label.Create(filepath.Join(t.TempDir(), "gone"), label.Options{Timeout: patience})
	wants(t, err, os.ErrNotExist)
	_, err = label.Create(fresh(), label.Options{SectorSize: 1024, Timeout: patience})
	wants(t, err, label.ErrUnsuitable)
}

// TestReadErrors: what the disk does not answer is not a missing table.
func TestReadErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fault storagetest.Fault
		want  error
	}{
		"error":     {storagetest.Fault{Op: storagetest.Reads, Err: syscall.EIO}, syscall.EIO},
		"no answer": {storagetest.Fault{Op: storagetest.Reads, Kind: storagetest.Hang}, storage.ErrTimeout},
	} {
		h := storagetest.NewMemory(8*mib, 512).Open("a")
		h.Inject(c.fault)
		_, err := place.Read(h, patience)
		if !errors.Is(err, c.want) || errors.Is(err, place.ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenWholeDisk(t *testing.T) {
	path := storagetest.File(t, 8*mib)
	d, p, found, err := place.Open(path, storage.Options{}, patience)
	must(t, err)
	if found || p.Size != 0 || d.Info().Size != 8*mib {
		t.Errorf("a device without a table: %+v, %v, %+v", p, found, d.Info())
	}
	must(t, d.Close())
}

func TestNames(t *testing.T) {
	for cluster, want := range map[string]string{
		"":                       "quorum:",
		"straße":                 "quorum:straße",
		strings.Repeat("x", 29):  "quorum:" + strings.Repeat("x", 29),
		strings.Repeat("x", 100): "quorum:" + strings.Repeat("x", 29),
		strings.Repeat("😀", 20):  "quorum:" + strings.Repeat("😀", 14), // two units each
		"bad\xffname":            "quorum:bad?name",
	} {
		path := storagetest.File(t, 8*mib)
		p, err := label.Create(path, label.Options{Cluster: cluster, Timeout: patience})
		if err != nil || p.Name != want {
			t.Errorf("cluster %q: %q, %v", cluster, p.Name, err)
		}
	}
}

// device makes a loop device that shows partitions, and whose partitions end with
// it: the next user of the device would find them.
func device(t *testing.T, sector int) string {
	t.Helper()
	path := storagetest.Loop(t, storagetest.File(t, size), sector)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	status, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	must(t, err)
	status.Flags |= unix.LO_FLAGS_PARTSCAN
	must(t, errors.Join(unix.IoctlLoopSetStatus64(int(f.Fd()), status), f.Close()))
	return path
}

// TestLoop: the same on a device, through a link, and seen by the kernel and by
// blkid.
func TestLoop(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			path := device(t, sector)
			link := filepath.Join(t.TempDir(), "by-id")
			must(t, os.Symlink(path, link))
			p := create(t, link, 0)
			if p.Offset != mib || p.Size != 68*mib || len(p.Notes) > 0 {
				t.Errorf("made: %+v", p)
			}
			kernel := "/sys/block/" + filepath.Base(path) + "/" + filepath.Base(path) + "p1/"
			start, err := os.ReadFile(kernel + "start")
			must(t, err)
			length, err := os.ReadFile(kernel + "size")
			must(t, err)
			if string(start) != "2048\n" || string(length) != "139264\n" {
				t.Errorf("the kernel's partition begins at %s and has %s sectors", start, length)
			}
			if got := blkid(t, path, "PTTYPE"); got != "gpt" {
				t.Errorf("blkid sees a table of type %q", got)
			}
			_, err = label.Create(path, label.Options{Timeout: patience})
			wants(t, err, label.ErrPartitioned)
			if _, err := os.Stat(path + "p1"); err == nil { // not in a container with a /dev of its own
				_, err = label.Create(path+"p1", label.Options{Timeout: patience})
				wants(t, err, label.ErrUnsuitable, "partition itself")
			}
			d, _, found, err := place.Open(path, storage.Options{Sync: true}, patience)
			must(t, err)
			if !found {
				t.Error("not found")
			}
			want := bytes.Repeat([]byte{7}, 4096)
			must(t, errors.Join(d.Write(want, 0, patience), d.Close()))
			if !bytes.Equal(peek(t, path, mib, 4096), want) {
				t.Error("the partition does not begin where the table says")
			}
		})
	}
}

// TestInUse: a device that somebody has claimed is refused. One whose old
// partition the kernel still shows gets its table, and it is said.
func TestInUse(t *testing.T) {
	path := device(t, 512)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	must(t, err)
	_, err = label.Create(path, label.Options{Timeout: patience})
	wants(t, err, label.ErrInUse)
	must(t, unix.Close(fd))
	create(t, path, 0)
	// Wiped, but the kernel does not know yet.
	poke(t, path, 0, make([]byte, mib))
	poke(t, path, size-mib, make([]byte, mib))
	if p := create(t, path, 0); len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "partprobe "+path) {
		t.Errorf("the kernel refused the partition, and that is not said: %+v", p)
	}
}
