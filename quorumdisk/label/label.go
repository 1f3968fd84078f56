// Package label puts a quorum disk into a partition of its own. A bare quorum
// disk looks empty to every tool but Holdfast's, and somebody may take it for
// free; a GPT with one partition of Holdfast's type and the cluster's name is
// what installers, partitioners and lsblk show and leave alone.
//
// The quorum disk then begins at the partition and ends with it. It is reached
// through the whole device and not through the kernel's device for the
// partition: nodes whose kernel has not yet read the new table, and multipath
// devices that need kpartx for partitions, need nothing; and the device keeps
// the identity by which a clone is told from it. Open does all of that.
//
// The table is the GUID Partition Table of the UEFI specification, 5.3: a
// protective MBR, the header and the entries at the start, and a second copy of
// both at the end, from which a lost first one is recovered. It is read with
// direct I/O and bounded waits, and written, once, through the page cache.
package label

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/holdfast-ha/holdfast/storage"
)

// Type is the partition type of a quorum disk. It never changes.
const Type = "9B5A2C3E-7D41-4C0B-9E55-51D15C0A11A7"

// Start is where Create lets the partition begin, and its end is a multiple of
// it, in bytes: what arrays and partitioners align to.
const Start = 1 << 20

// namePrefix stands before the cluster's name in the name of the partition.
const namePrefix = "quorum:"

// maxName is the longest name of a partition in UTF-16 units.
const maxName = 36

// Why there is no partition to use, or none could be made.
var (
	ErrNone        = errors.New("no partition of a Holdfast quorum disk here")
	ErrSeveral     = errors.New("several partitions of Holdfast quorum disks on one device: a device holds one")
	ErrDamaged     = errors.New("the partition table is damaged, and so is its second copy")
	ErrPartitioned = errors.New("the device is partitioned already")
	ErrNotEmpty    = errors.New("the device is not empty")
	ErrInUse       = errors.New("the device is in use")
	ErrUnsuitable  = errors.New("the device cannot carry a partition table")
)

// Partition is the partition of a quorum disk.
type Partition struct {
	Offset int64  // bytes from the start of the device
	Size   int64  // bytes
	Name   string // quorum: and the cluster's name, which may be cut
	// Recovered says that the table at the start of the device is lost and was
	// read from the copy at the end. The quorum disk is not harmed; Repair
	// writes the table again.
	Recovered bool
	// Notes say what is not as it should be, each with its remedy.
	Notes []string
}

// Find looks for the partition of a quorum disk on the block device or file at
// path, which it opens for reading. Each request to the disk may take timeout.
// The errors that it wraps are ErrNone, ErrSeveral, ErrDamaged and those of
// package storage.
func Find(path string, timeout time.Duration) (Partition, error) {
	d, err := storage.Open(path, storage.Options{ReadOnly: true})
	if err != nil {
		return Partition{}, err
	}
	p, err := Read(d, timeout)
	return p, errors.Join(err, d.Close())
}

// Read is Find on a handle that is open.
func Read(d storage.Disk, timeout time.Duration) (Partition, error) {
	t, err := readTable(d, timeout)
	if err != nil {
		return Partition{}, fmt.Errorf("%s: %w", d.Info().Path, err)
	}
	p, err := t.partition(d.Info())
	if err != nil {
		return Partition{}, fmt.Errorf("%s: %w", d.Info().Path, err)
	}
	return p, nil
}

// Open opens the quorum disk at path: the partition where the device has one,
// and the whole device where it has no partition table. found says which, and
// what was found.
func Open(path string, opts storage.Options, timeout time.Duration) (d storage.Disk, p Partition, found bool, err error) {
	whole, err := storage.Open(path, opts)
	if err != nil {
		return nil, p, false, err
	}
	p, err = Read(whole, timeout)
	switch {
	case errors.Is(err, ErrNone):
		return whole, p, false, nil
	case err == nil:
		if d, err = storage.Section(whole, p.Offset, p.Size); err == nil {
			return d, p, true, nil
		}
	}
	return nil, p, false, errors.Join(err, whole.Close())
}

// partitionName is what a partitioner shows for a cluster.
func partitionName(cluster string) string {
	name := strings.ToValidUTF8(namePrefix+cluster, "?")
	for len(utf16.Encode([]rune(name))) > maxName {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	return name
}

// table is a partition table as it was read.
type table struct {
	*gpt.Table
	sector    int // bytes of a logical block
	secondBad error
}

// partition picks the one partition of the right type and checks its bounds.
func (t *table) partition(info storage.Info) (Partition, error) {
	var p Partition
	count := 0
	for _, e := range t.Partitions {
		if !strings.EqualFold(string(e.Type), Type) {
			continue
		}
		count++
		blocks := uint64(info.Size) / uint64(t.sector)
		if e.Start == 0 || e.End < e.Start || e.End >= blocks {
			return Partition{}, fmt.Errorf("%w: its partition %d reaches from block %d to %d, the device has %d", ErrDamaged, e.Index, e.Start, e.End, blocks)
		}
		p = Partition{
			Offset: int64(e.Start) * int64(t.sector), Size: int64(e.End-e.Start+1) * int64(t.sector),
			Name: e.Name, Recovered: t.RecoveredFromBackup,
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
		p.Notes = append(p.Notes, "the partition table at the start of the device is lost and was recovered from its copy at the end; it should be written again before that is lost as well")
	} else if t.secondBad != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("the copy of the partition table at the end of the device is not usable (%v); it should be written again", t.secondBad))
	}
	return p, nil
}
