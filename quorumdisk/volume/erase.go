package volume

import (
	"errors"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

// tail is how much is erased at the end of a disk: the second copies of
// superblocks, partition tables and RAID members stand there.
const tail = 2 << 20

// Erase makes a disk an empty one. Of a quorum disk all regions become zeros,
// bodies and SBD area too, the superblocks first: one that was half erased is no
// quorum disk. Of anything else the first 6 MiB and the last 2 MiB, where formats
// leave their marks, do. Whether somebody needs the disk is for the caller to
// find out first.
func Erase(disk storage.Disk, timeout time.Duration) error {
	upto := int64(6 << 20)
	f, err := findSuper(disk, timeout)
	switch {
	case err == nil:
		upto = f.super.Layout.End()
	case errors.Is(err, ErrDamaged), errors.Is(err, quorumdisk.ErrFormat):
		// How many nodes it has room for is not known.
		upto = quorumdisk.Layout{SectorSize: quorumdisk.LargeSector, Nmax: ident.MaxNodes}.End()
	case !errors.Is(err, ErrUnformatted):
		return err
	}
	if err := Wipe(disk, timeout); err != nil && !errors.Is(err, ErrTooSmall) {
		return err
	}
	size := disk.Info().Size
	upto = min(upto, size)
	if err := Zero(disk, 0, upto, timeout); err != nil {
		return err
	}
	from := max(size-tail, upto) / chunk * chunk
	return Zero(disk, from, size-from, timeout)
}

// Zero writes n bytes of zeros from off on, in whole sectors, a piece at a time,
// each of which may take timeout.
func Zero(disk storage.Disk, off, n int64, timeout time.Duration) error {
	zero := make([]byte, chunk)
	for end := off + n; off < end; off += chunk {
		if err := disk.Write(zero[:min(chunk, end-off)], off, timeout); err != nil {
			return err
		}
	}
	return nil
}
