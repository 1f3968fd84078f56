// Package place finds the quorum disk on a device. It stands on the whole device,
// or in a partition of its own type that a GPT describes; then it begins at the
// partition and ends with it.
//
// It is reached through the whole device and not through the kernel's device for
// the partition: nodes whose kernel has not yet read the new table, and multipath
// devices that need kpartx for partitions, need nothing; and the device keeps the
// identity by which a clone is told from it. A path to the kernel's partition
// works as well: it has no table of its own, so that it is taken as it is.
//
// The table is the GUID Partition Table of the UEFI specification, 5.3: a
// protective MBR, the header and the entries at the start, and a second copy of
// both at the end, from which a lost first one is recovered. Everybody who opens
// a quorum disk reads it, the guard too, which is why this package is small and
// its own: tables are made by package label.
package place

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/holdfast-ha/holdfast/storage"
)

// Type is the partition type of a quorum disk. It never changes.
const Type = "9B5A2C3E-7D41-4C0B-9E55-51D15C0A11A7"

// Why there is no partition to use.
var (
	ErrNone    = errors.New("no partition of a Holdfast quorum disk here")
	ErrSeveral = errors.New("several partitions of Holdfast quorum disks on one device: a device holds one")
	ErrDamaged = errors.New("the partition table is damaged, and so is its second copy")
)

// Partition is the partition of a quorum disk.
type Partition struct {
	Offset int64  // bytes from the start of the device
	Size   int64  // bytes
	Name   string // quorum: and the cluster's name, which may be cut
	// Recovered says that the table at the start of the device is lost and was
	// read from the copy at the end. The quorum disk is not harmed; holdfast
	// disk repair writes the table again.
	Recovered bool
	// Notes say what is not as it should be, each with its remedy.
	Notes []string
}

// Read looks for the partition of a quorum disk on an open device. Each request
// may take timeout. The errors that it wraps are ErrNone, ErrSeveral, ErrDamaged
// and those of package storage.
func Read(d storage.Disk, timeout time.Duration) (Partition, error) {
	t, err := ReadTable(d, timeout)
	var p Partition
	if err == nil {
		p, err = t.Partition()
	}
	if err != nil {
		return Partition{}, fmt.Errorf("%s: %w", d.Info().Path, err)
	}
	return p, nil
}

// Find is Read on the block device or file at path, which it opens for reading.
func Find(path string, timeout time.Duration) (Partition, error) {
	d, err := storage.Open(path, storage.Options{ReadOnly: true})
	if err != nil {
		return Partition{}, err
	}
	p, err := Read(d, timeout)
	return p, errors.Join(err, d.Close())
}

// Open opens the quorum disk at path: the partition where the device has one, and
// the whole device where it has none. found says which, and what was found. A
// handle whose request is still in flight stays open after an error.
func Open(path string, opts storage.Options, timeout time.Duration) (d storage.Disk, p Partition, found bool, err error) {
	whole, err := storage.Open(path, opts)
	if err != nil {
		return nil, p, false, err
	}
	d, p, found, err = On(whole, timeout)
	if err != nil {
		if closing := whole.Close(); !errors.Is(closing, storage.ErrBusy) {
			err = errors.Join(err, closing)
		}
		return nil, p, false, err
	}
	return d, p, found, nil
}

// Handle is Open for those who want the handle alone.
func Handle(path string, opts storage.Options, timeout time.Duration) (storage.Disk, error) {
	d, _, _, err := Open(path, opts, timeout)
	return d, err
}

// On is Open on a device that is open. The device stays the caller's after an
// error, and belongs to what is returned else.
func On(whole storage.Disk, timeout time.Duration) (d storage.Disk, p Partition, found bool, err error) {
	p, err = Read(whole, timeout)
	switch {
	case errors.Is(err, ErrNone):
		return whole, p, false, nil
	case err != nil:
		return nil, p, false, err
	}
	d, err = storage.Section(whole, p.Offset, p.Size)
	return d, p, err == nil, err
}

// Partition picks the one partition of the right type and checks its bounds. It
// fails with ErrNone, ErrSeveral or ErrDamaged.
func (t *Table) Partition() (Partition, error) {
	var p Partition
	count := 0
	good := t.Good()
	for i := 0; i+EntrySize <= len(good.Entries); i += EntrySize {
		e := good.Entries[i : i+EntrySize]
		if typeText(e[:16]) != Type {
			continue
		}
		count++
		first, last := binary.LittleEndian.Uint64(e[offFirst:]), binary.LittleEndian.Uint64(e[offLast:])
		if first == 0 || last < first || last > uint64(t.Last) {
			return Partition{}, fmt.Errorf("%w: its partition %d reaches from block %d to %d, the device has %d", ErrDamaged, i/EntrySize+1, first, last, t.Last+1)
		}
		p = Partition{
			Offset: int64(first) * int64(t.Sector), Size: int64(last-first+1) * int64(t.Sector),
			Name: nameText(e[offName:]), Recovered: t.Recovered,
		}
	}
	switch count {
	case 0:
		return Partition{}, ErrNone
	case 1:
	default:
		return Partition{}, fmt.Errorf("%w: %d", ErrSeveral, count)
	}
	if p.Recovered {
		p.Notes = append(p.Notes, fmt.Sprintf("the partition table at the start of the device is lost (%v) and was recovered from its copy at the end; before that is lost as well: holdfast disk repair", t.First.Err))
	} else if t.Second.Err != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("the copy of the partition table at the end of the device is not usable (%v): holdfast disk repair", t.Second.Err))
	}
	return p, nil
}

// typeText writes a GUID as UEFI has it on disk: the first three groups are
// little endian.
func typeText(b []byte) string {
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}

// nameText reads a partition's name, which ends at the first zero.
func nameText(b []byte) string {
	var units []uint16
	for i := 0; i+2 <= len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
