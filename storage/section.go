package storage

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// section is a part of another Disk. Like that one it is used by one goroutine
// at a time.
type section struct {
	disk   Disk
	info   Info
	start  int64
	closed bool
}

var _ Disk = (*section)(nil)

// Section returns the part of disk that begins at off and is size bytes long, as
// a Disk of its own: a partition, without the kernel's device for it. Offsets
// are relative to the part, nothing outside can be reached through it, and its
// Info has the part's size and everything else, the identity too, of the whole
// disk. The handle goes over to the part: closing the part closes it, and it
// must not be used beside it, for a handle has one request in flight.
//
// It fails with ErrAlignment if off or size is no multiple of the sector size,
// and with ErrRange if the part is empty or not inside the disk; disk is the
// caller's then.
func Section(disk Disk, off, size int64) (Disk, error) {
	info := disk.Info()
	sector := int64(info.SectorSize)
	var err error
	switch {
	case off%sector != 0 || size%sector != 0:
		err = ErrAlignment
	case off < 0 || size <= 0 || off > info.Size || size > info.Size-off:
		err = ErrRange
	}
	if err != nil {
		return nil, &OpError{Op: "open", Path: info.Path, Err: fmt.Errorf("part of %d bytes at %d of a disk of %d bytes with sectors of %d: %w", size, off, info.Size, info.SectorSize, err)}
	}
	info.Size = size
	return &section{disk: disk, info: info, start: off}, nil
}

// Info implements Disk.
func (s *section) Info() Info { return s.info }

// Read implements Disk.
func (s *section) Read(buf []byte, off int64, timeout time.Duration) error {
	if err := s.check("read", off, len(buf)); err != nil {
		return err
	}
	return s.relative(s.disk.Read(buf, s.start+off, timeout))
}

// Write implements Disk.
func (s *section) Write(buf []byte, off int64, timeout time.Duration) error {
	if err := s.check("write", off, len(buf)); err != nil {
		return err
	}
	return s.relative(s.disk.Write(buf, s.start+off, timeout))
}

// Close implements Disk.
func (s *section) Close() error {
	err := s.disk.Close()
	s.closed = s.closed || err == nil
	return err
}

// check refuses what does not fit the part: the whole disk would carry it out.
func (s *section) check(op string, off int64, n int) error {
	err := s.info.Check(off, n)
	if s.closed {
		err = os.ErrClosed
	}
	if err != nil {
		return &OpError{Op: op, Path: s.info.Path, Off: off, Len: n, Err: err}
	}
	return nil
}

// relative lets an error speak of the offset that the caller asked for, and says
// where the part begins.
func (s *section) relative(err error) error {
	var op *OpError
	if !errors.As(err, &op) || s.start == 0 {
		return err
	}
	of := *op
	of.Off -= s.start
	of.Err = fmt.Errorf("%w (in the part that begins at %d)", op.Err, s.start)
	return &of
}
