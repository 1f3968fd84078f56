package label

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// Options say what Create makes.
type Options struct {
	Cluster string // name of the cluster; it is shown to people only
	// SectorSize is that of the blocks of the table in bytes, for a file; 0 is
	// 512. A device has its own.
	SectorSize int
	Timeout    time.Duration // of each request to the disk
}

// Create writes a partition table with one partition for a quorum disk, over
// the whole of an empty device or file, and reads it back. It refuses a device
// that is in use (ErrInUse), is partitioned (ErrPartitioned) or carries anything
// (ErrNotEmpty), and one that cannot carry a table (ErrUnsuitable): a partition,
// or one that is too small. After another error the table may be half written.
//
// Notes says if the kernel shows no device for the partition, and what to do for
// one; Holdfast needs none.
func Create(path string, o Options) (place.Partition, error) {
	p, err := create(path, o)
	if err != nil {
		return place.Partition{}, fmt.Errorf("partition table on %s: %w", path, err)
	}
	return p, nil
}

func create(path string, o Options) (place.Partition, error) {
	// The names below /dev/disk are links; the kernel is asked by the device's own.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return place.Partition{}, err
	}
	dev, err := describe(real, o.SectorSize)
	if err == nil {
		err = mayCreate(real, o.Timeout)
	}
	if err != nil {
		return place.Partition{}, err
	}
	b, err := file.OpenFromPath(real, false) // exclusively: nobody mounts it meanwhile
	if err != nil {
		return place.Partition{}, err
	}
	note, err := write(b, dev, o.Cluster)
	if err := errors.Join(err, b.Close()); err != nil {
		return place.Partition{}, err
	}
	p, err := place.Find(real, o.Timeout)
	switch {
	case err != nil:
		return place.Partition{}, fmt.Errorf("read back: %w", err)
	case p.Offset != Start || p.Recovered || len(p.Notes) > 0:
		return place.Partition{}, fmt.Errorf("read back, it is another one (%+v): does somebody else write to the device?", p)
	}
	if note != "" {
		p.Notes = append(p.Notes, note)
	}
	return p, nil
}

// device is what has to be known of a device before a table is written on it.
type device struct {
	path   string
	block  bool
	mapper string // device-mapper uuid; empty: none
	sector int    // bytes of a logical block
	size   int64  // bytes
}

// describe finds out about a device, and refuses a partition.
func describe(path string, sector int) (device, error) {
	d := device{path: path, sector: sector}
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return d, fmt.Errorf("fstat: %w", err)
	}
	if d.size, err = f.Seek(0, 2); err != nil {
		return d, fmt.Errorf("size: %w", err)
	}
	if d.block = st.Mode&unix.S_IFMT == unix.S_IFBLK; d.block {
		if d.sector, err = unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err != nil {
			return d, fmt.Errorf("logical block size (BLKSSZGET): %w", err)
		}
		sys := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
			return d, fmt.Errorf("%w: it is a partition itself; name the whole device, or use the partition as it is", ErrUnsuitable)
		}
		uuid, err := os.ReadFile(filepath.Join(sys, "dm/uuid"))
		if err == nil {
			d.mapper = strings.TrimSpace(string(uuid))
		}
	}
	if d.sector == 0 {
		d.sector = 512
	}
	switch {
	case d.sector != 512 && d.sector != 4096:
		return d, fmt.Errorf("%w: blocks of %d bytes are neither 512 nor 4096", ErrUnsuitable, d.sector)
	case d.size < 4*Start:
		return d, fmt.Errorf("%w: it has %d bytes, and 4 MiB are the least", ErrUnsuitable, d.size)
	}
	return d, nil
}

// mayCreate refuses a device that somebody uses or that carries anything. blkid
// does not see a quorum disk, nor the second copy of a table whose first is gone.
func mayCreate(path string, timeout time.Duration) error {
	users, err := storage.InUse(path)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%w: %s", ErrInUse, strings.Join(users, "; "))
	}
	d, err := storage.Open(path, storage.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	if err := errors.Join(carries(d, timeout), d.Close()); err != nil {
		return err
	}
	found, err := storage.Signatures(context.Background(), path)
	what := strings.Join(found, ", ")
	switch {
	case err != nil:
		return err
	case strings.Contains(what, "partition table"):
		return fmt.Errorf("%w: it has %s", ErrPartitioned, what)
	case what != "":
		return fmt.Errorf("%w: it carries %s", ErrNotEmpty, what)
	}
	return nil
}

// carries refuses a table, one copy of it, and a quorum disk.
func carries(d storage.Disk, timeout time.Duration) error {
	switch _, err := place.ReadTable(d, timeout); {
	case err == nil:
		return fmt.Errorf("%w: it has a GPT", ErrPartitioned)
	case errors.Is(err, place.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrPartitioned, err)
	case !errors.Is(err, place.ErrNone):
		return err
	}
	s, _, err := volume.ReadSuperblock(d, timeout)
	switch {
	case err == nil:
		return fmt.Errorf("%w: it is quorum disk %v of the Holdfast cluster %v", ErrNotEmpty, s.Disk, s.Cluster)
	case errors.Is(err, volume.ErrUnformatted):
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotEmpty, err)
}

// write writes the table and lets the kernel know. The note says why it shows no
// device for the partition.
func write(b backend.Storage, d device, cluster string) (note string, err error) {
	w, err := b.Writable()
	if err != nil {
		return "", err
	}
	block := int64(d.sector)
	// The last MiB is the table's second copy, and what does not make a whole one.
	end := d.size/Start*Start - Start
	t := &gpt.Table{
		LogicalSectorSize: d.sector, PhysicalSectorSize: d.sector, ProtectiveMBR: true,
		Partitions: []*gpt.Partition{{Index: 1, Start: uint64(Start / block), End: uint64(end/block - 1), Type: place.Type, Name: partitionName(cluster)}},
	}
	if err := t.Write(w, d.size); err != nil {
		return "", err
	}
	switch {
	case !d.block:
		return "", nil
	case strings.HasPrefix(d.mapper, "mpath-"):
		return "no device for the partition of a multipath device appears by itself: kpartx -a " + d.path + " makes one; Holdfast needs none", nil
	case d.mapper != "":
		return "no device for the partition of a device-mapper device appears by itself: kpartx -a " + d.path + " makes one; Holdfast needs none", nil
	}
	f, err := b.Sys()
	if err != nil {
		return "", err
	}
	if err := addPartition(f, Start, end-Start); err != nil {
		return fmt.Sprintf("the kernel shows no device for the partition (%v): partprobe %s makes one; Holdfast needs none", err, d.path), nil
	}
	return "", nil
}

// addPartition tells the kernel about partition 1 (linux/blkpg.h). Unlike the
// reading of the whole table (BLKRRPART) that does not fail while udev looks at
// the device.
func addPartition(f *os.File, start, length int64) error {
	p := unix.BlkpgPartition{Start: start, Length: length, Pno: 1}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_ADD_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return fmt.Errorf("BLKPG: %w", errno)
	}
	return nil
}

// Forget lets the kernel take back its device for partition 1, before the table
// is erased. A device whose partition the kernel does not show is left alone.
func Forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p := unix.BlkpgPartition{Pno: 1}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_DEL_PARTITION, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	switch errno {
	case 0, unix.ENXIO, unix.ENOTTY, unix.EINVAL:
		return nil
	case unix.EBUSY:
		return fmt.Errorf("%w: the kernel's device for partition 1 of %s is open somewhere", ErrInUse, path)
	}
	return fmt.Errorf("the kernel's device for partition 1 of %s (BLKPG): %w", path, errno)
}
