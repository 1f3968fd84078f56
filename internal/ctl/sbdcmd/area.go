package sbdcmd

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// openError says that a device could not be opened, which sbd(8) tells apart
// from one without a valid header.
type openError struct{ error }

// Unwrap returns the cause.
func (e openError) Unwrap() error { return e.error }

func isOpenError(err error) bool {
	var e openError
	return errors.As(err, &e)
}

// open opens a device with the sectors that sbd(8) would use, those of its
// logical block: 512 bytes where they will do. Requests wait for the handle's
// deadline, but the opening itself may hang on a path that is dead.
func (c *command) open(path string, readOnly bool) (storage.Disk, error) {
	type result struct {
		disk storage.Disk
		err  error
	}
	done := make(chan result, 1)
	go func() { // ends with the opening, or with this process
		opts := storage.Options{ReadOnly: readOnly, Sync: !readOnly, SectorSize: quorumdisk.SmallSector}
		disk, err := c.Open(path, opts)
		if err != nil {
			opts.SectorSize = quorumdisk.LargeSector
			if large, errLarge := c.Open(path, opts); errLarge == nil {
				disk, err = large, nil
			}
		}
		done <- result{disk, err}
	}()
	patience := max(c.io, defaultIO)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, openError{r.err}
		}
		return r.disk, nil
	case <-limit.C:
		return nil, openError{fmt.Errorf("open %s: no answer within %v", path, patience)}
	}
}

// onArea opens the SBD area of a device, does something with it and closes it.
func (c *command) onArea(path string, readOnly bool, do func(*sbd.Area, storage.Disk) error) error {
	return c.onDevice(path, readOnly, func(disk storage.Disk) error {
		area, err := sbd.Open(disk, c.io)
		if err != nil {
			return err
		}
		// A file takes the header's word for it. So does a device with smaller
		// blocks: a quorum disk is laid out in physical blocks.
		if info, h := disk.Info(), area.Header(); info.Block && h.SectorSize < info.SectorSize {
			return fmt.Errorf("%w: the header says %d bytes, the device has %d", sbd.ErrSectorSize, h.SectorSize, info.SectorSize)
		}
		return do(area, disk)
	})
}

func (c *command) onDevice(path string, readOnly bool, do func(storage.Disk) error) error {
	disk, err := c.open(path, readOnly)
	if err != nil {
		return err
	}
	err = do(disk)
	// After a timeout a request is left in flight and the handle with it; the
	// timeout is what there is to say then.
	if closing := disk.Close(); closing != nil && !errors.Is(closing, storage.ErrBusy) {
		err = errors.Join(err, closing)
	}
	return err
}

// quorumDisk returns a description if the device is a quorum disk of Holdfast,
// whole or damaged, and "" if it is none.
func (c *command) quorumDisk(disk storage.Disk) (string, error) {
	s, _, err := volume.ReadSuperblock(disk, c.io)
	switch {
	case err == nil:
		return fmt.Sprintf("quorum disk %v of the Holdfast cluster %v", s.Disk, s.Cluster), nil
	case errors.Is(err, volume.ErrUnformatted):
		return "", nil
	case errors.Is(err, volume.ErrDamaged), errors.Is(err, quorumdisk.ErrFormat):
		return fmt.Sprintf("a Holdfast quorum disk (%v)", err), nil
	}
	return "", err
}
