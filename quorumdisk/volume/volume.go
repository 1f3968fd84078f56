// Package volume works on quorum disks: it makes them, opens them with every
// check of identity, reads and writes their regions, and says what is on them.
// What the bytes mean is package quorumdisk's; how they reach the device is
// package storage's.
//
// A Volume belongs to one goroutine, as its handle does. Every call takes the
// time that each single request to the disk may take; after an error of
// storage the outcome of a write is unknown.
package volume

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

// Why a disk was refused as a whole. A disk of another cluster is
// quorumdisk.ErrCluster, one with another key quorumdisk.ErrSeal, one of a newer
// format quorumdisk.ErrFormat, another disk of the cluster
// quorumdisk.ErrWrongDisk, an unsuitable handle quorumdisk.ErrSectorSize.
var (
	ErrUnformatted = errors.New("not a Holdfast quorum disk: neither superblock is there; to make a cluster on it: holdfast init")
	ErrDamaged     = errors.New("no superblock is whole: write nothing to it and keep a copy (dd); the state may still stand there, and on the other quorum disks")
	ErrIdentity    = errors.New("not the device that was formatted, but perhaps a clone or snapshot of it; if it shall take that one's place: holdfast disk adopt-clone")
	ErrOverwritten = errors.New("superblock A is gone, and only the copy at the end is left: somebody has overwritten the beginning of this disk, and perhaps what was decided there. It counts as failed: holdfast disk replace; or holdfast disk repair, if you know that nothing behind the superblock was touched")
	ErrTooSmall    = errors.New("the device is too small")
	ErrFormatted   = errors.New("already a Holdfast quorum disk: holdfast disk wipe first")
	ErrNotEmpty    = errors.New("the register already holds something: a new cluster begins on a new quorum disk")
	ErrStale       = errors.New("was replaced by another generation, or is damaged")
)

// Expect is what Open demands of a disk. The zero value demands nothing but
// that it is whole, and the device that was formatted.
type Expect struct {
	Cluster   ident.UUID // zero: any
	Epoch     uint32     // of the set of disks; only where Cluster is given
	Disk      ident.UUID // zero: any
	AnyDevice bool       // also on another device than was formatted: for looking at clones
	// Serve refuses a disk whose superblock A is not there: whoever decides by
	// what stands behind it must not take a wiped register for an empty one.
	Serve bool
}

// Volume is a quorum disk behind a handle.
type Volume struct {
	disk   storage.Disk
	super  quorumdisk.Superblock
	codec  *quorumdisk.Codec
	layout quorumdisk.Layout
	copy   uint8 // of the superblock that holds: 0 is A, 1 is B
	notes  []string
	table  []byte // room for the headers
}

// Open reads the superblocks and checks them against the device, the keys and
// what is expected. The errors that it wraps are those of this package and of
// quorumdisk; the caller adds which disk it is.
func Open(disk storage.Disk, keys quorumdisk.Keys, want Expect, timeout time.Duration) (*Volume, error) {
	f, err := findSuper(disk, timeout)
	if err != nil {
		return nil, err
	}
	s := &f.super
	if want.Serve && f.copy != 0 {
		return nil, fmt.Errorf("%w (%s)", ErrOverwritten, strings.Join(f.notes, "; "))
	}
	if !want.Cluster.IsZero() && s.Cluster != want.Cluster {
		return nil, fmt.Errorf("%w: %v, this node is of %v: check the disks in node.yaml", quorumdisk.ErrCluster, s.Cluster, want.Cluster)
	}
	codec, err := quorumdisk.NewCodec(keys, s.Cluster, s.Layout)
	if err == nil {
		err = codec.VerifySuperblock(f.raw, s, f.copy)
	}
	if err == nil && !want.Cluster.IsZero() {
		err = s.OfEpoch(want.Epoch)
	}
	if err != nil {
		return nil, err
	}
	if !want.Disk.IsZero() && s.Disk != want.Disk {
		return nil, fmt.Errorf("%w: it is %v, expected was %v", quorumdisk.ErrWrongDisk, s.Disk, want.Disk)
	}
	note, err := checkDevice(disk.Info(), s)
	if errors.Is(err, ErrIdentity) && want.AnyDevice {
		note = err.Error()
	} else if err != nil {
		return nil, err
	}
	if note != "" {
		f.notes = append(f.notes, note)
	}
	return &Volume{disk: disk, super: *s, codec: codec, layout: s.Layout, copy: f.copy, notes: f.notes}, nil
}

// checkDevice compares what a superblock recorded with the device that it was
// found on.
func checkDevice(info storage.Info, s *quorumdisk.Superblock) (note string, err error) {
	id := quorumdisk.Recorded(info.Identity)
	switch {
	case s.Layout.SectorSize%info.SectorSize != 0:
		return "", fmt.Errorf("%w: the disk was formatted with sectors of %d bytes, the handle works with %d", quorumdisk.ErrSectorSize, s.Layout.SectorSize, info.SectorSize)
	case info.Size < s.Layout.MinSize():
		return "", fmt.Errorf("%w: it has shrunk from %d to %d bytes, needed are %d", ErrTooSmall, s.Size, info.Size, s.Layout.MinSize())
	case s.Identity.Kind == "dev":
		return "the device had no identity of its own when it was formatted: a clone of it cannot be told from it", nil
	case id != s.Identity:
		return "", fmt.Errorf("%w: formatted was %v, this is %v", ErrIdentity, s.Identity, id)
	}
	return "", nil
}

// found is the superblock that holds.
type found struct {
	super quorumdisk.Superblock
	raw   []byte
	copy  uint8
	notes []string
}

// ReadSuperblock says whose disk this is and how it is laid out; it needs no
// key, and so cannot tell whether the superblock is genuine. The notes name a
// copy that is damaged or out of step.
func ReadSuperblock(disk storage.Disk, timeout time.Duration) (quorumdisk.Superblock, []string, error) {
	f, err := findSuper(disk, timeout)
	return f.super, f.notes, err
}

// findSuper reads both copies and takes A, or B where A is not whole.
func findSuper(disk storage.Disk, timeout time.Duration) (found, error) {
	a, errA, err := readCopyA(disk, timeout)
	if err != nil {
		return found{}, err
	}
	b, errB, err := readCopyB(disk, a, errA, timeout)
	if err != nil {
		return found{}, err
	}
	switch {
	case errA == nil && errB == nil:
		if x, y := a.super, b.super; x != y {
			a.notes = append(a.notes, "the superblocks differ, A holds: holdfast disk repair")
		}
		if size, l := disk.Info().Size, a.super.Layout; l.BackupOffset(size) > l.BackupOffset(a.super.Size) {
			a.notes = append(a.notes, fmt.Sprintf("the device has grown from %d to %d bytes, and superblock B is no longer at its end: holdfast disk repair", a.super.Size, size))
		}
		return a, nil
	case errA == nil:
		a.notes = append(a.notes, fmt.Sprintf("%v; superblock A is used: holdfast disk repair", errB))
		return a, nil
	case errB == nil:
		b.notes = append(b.notes, fmt.Sprintf("%v; superblock B is used: holdfast disk repair", errA))
		return b, nil
	}
	for _, e := range []error{errA, errB} {
		if errors.Is(e, quorumdisk.ErrFormat) {
			return found{}, e
		}
	}
	if errors.Is(errA, quorumdisk.ErrMagic) && errors.Is(errB, quorumdisk.ErrMagic) {
		return found{}, ErrUnformatted
	}
	return found{}, fmt.Errorf("%w (%w; %w)", ErrDamaged, errA, errB)
}

// readCopyA returns what is wrong with the copy, and apart from that what went
// wrong with reading it.
func readCopyA(disk storage.Disk, timeout time.Duration) (f found, bad, err error) {
	info := disk.Info()
	if info.Size < quorumdisk.SuperOffset+quorumdisk.LargeSector {
		return f, quorumdisk.ErrMagic, nil
	}
	f.raw = make([]byte, quorumdisk.LargeSector)
	if err := disk.Read(f.raw, quorumdisk.SuperOffset, timeout); err != nil {
		return f, nil, err
	}
	f.super, bad = quorumdisk.DecodeSuperblock(f.raw, 0)
	return f, bad, nil
}

// readCopyB looks at the end of the device as it is and, where A says so, as it
// was when it was formatted.
func readCopyB(disk storage.Disk, a found, errA error, timeout time.Duration) (f found, bad, err error) {
	const large = quorumdisk.LargeSector
	f.copy = 1
	size := disk.Info().Size
	if size < large {
		return f, quorumdisk.ErrMagic, nil
	}
	ends := []int64{size}
	if errA == nil && a.super.Size < size && a.super.Size >= large {
		ends = append(ends, a.super.Size)
	}
	for _, end := range ends {
		// Whole large sectors, so that any handle can read them.
		last := make([]byte, 2*large)
		from := max(end/large*large-large, 0)
		last = last[:min(int64(len(last)), size/int64(disk.Info().SectorSize)*int64(disk.Info().SectorSize)-from)]
		if err := disk.Read(last, from, timeout); err != nil {
			return f, nil, err
		}
		for _, sector := range []int{quorumdisk.SmallSector, large} {
			at := quorumdisk.Layout{SectorSize: sector, Nmax: 1}.BackupOffset(end) - from
			if at < 0 || at+int64(sector) > int64(len(last)) {
				continue
			}
			f.raw = last[at : at+int64(sector)]
			s, e := quorumdisk.DecodeSuperblock(f.raw, 1)
			if e == nil && s.Layout.SectorSize == sector {
				f.super = s
				return f, nil, nil
			}
			if bad == nil || errors.Is(bad, quorumdisk.ErrMagic) {
				bad = e
			}
		}
	}
	return f, bad, nil
}

// Superblock returns what the superblock says.
func (v *Volume) Superblock() quorumdisk.Superblock { return v.super }

// Layout returns where things are.
func (v *Volume) Layout() quorumdisk.Layout { return v.layout }

// Codec returns the volume's codec, which belongs to the volume's goroutine.
func (v *Volume) Codec() *quorumdisk.Codec { return v.codec }

// Disk returns the handle.
func (v *Volume) Disk() storage.Disk { return v.disk }

// Notes says what was wrong with the superblocks without making the disk
// unusable, each with its remedy.
func (v *Volume) Notes() []string { return v.notes }
