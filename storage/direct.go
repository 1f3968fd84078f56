package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// direct is a Disk on a file descriptor. It is used by one goroutine at a time.
type direct struct {
	info     Info
	fd       int
	readOnly bool
	closed   bool
	queue    *queue
}

var _ Disk = (*direct)(nil)

// Info implements Disk.
func (d *direct) Info() Info { return d.info }

// Read implements Disk.
func (d *direct) Read(buf []byte, off int64, timeout time.Duration) error {
	if err := d.transfer(opRead, buf, off, timeout); err != nil {
		return d.failed("read", off, len(buf), err)
	}
	return nil
}

// Write implements Disk.
func (d *direct) Write(buf []byte, off int64, timeout time.Duration) error {
	if err := d.transfer(opWrite, buf, off, timeout); err != nil {
		return d.failed("write", off, len(buf), err)
	}
	return nil
}

// Close implements Disk.
func (d *direct) Close() error {
	if d.closed {
		return d.failed("close", 0, 0, os.ErrClosed)
	}
	if err := d.settle(time.Now()); err != nil {
		return d.failed("close", 0, 0, err)
	}
	d.closed = true
	err := d.queue.close()
	if closing := unix.Close(d.fd); err == nil {
		err = closing
	}
	if err != nil {
		return d.failed("close", 0, 0, err)
	}
	return nil
}

// failed says what was asked for when err came.
func (d *direct) failed(op string, off int64, n int, err error) error {
	return &OpError{Op: op, Path: d.info.Path, Off: off, Len: n, Err: err}
}

// transfer moves buf in pieces of at most the queue's buffer, one after the
// other, under one deadline.
func (d *direct) transfer(op uint16, buf []byte, off int64, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	if d.closed {
		return os.ErrClosed
	}
	if op == opWrite && d.readOnly {
		return ErrReadOnly
	}
	if err := d.info.Check(off, len(buf)); err != nil {
		return err
	}
	if err := d.settle(deadline); err != nil {
		return err
	}
	for len(buf) > 0 {
		if !time.Now().Before(deadline) {
			return ErrTimeout
		}
		n := min(len(buf), len(d.queue.buf))
		if err := d.piece(op, buf[:n], off, deadline); err != nil {
			return err
		}
		buf, off = buf[n:], off+int64(n)
	}
	return nil
}

// settle waits for an earlier request that missed its deadline. Its result is
// thrown away, whatever it was: nobody asks for it any more.
func (d *direct) settle(deadline time.Time) error {
	if !d.queue.busy {
		return nil
	}
	_, err := d.queue.reap(deadline)
	switch {
	case !d.queue.busy:
		return nil
	case errors.Is(err, ErrTimeout):
		return ErrBusy
	}
	return err
}

// piece does one request that fits the buffer. The data is copied on both ways,
// so that a request left behind never owns memory of the caller.
func (d *direct) piece(op uint16, buf []byte, off int64, deadline time.Time) error {
	if op == opWrite {
		copy(d.queue.buf, buf)
	}
	if err := d.queue.submit(op, d.fd, len(buf), off); err != nil {
		return err
	}
	n, err := d.queue.reap(deadline)
	if err != nil {
		return err
	}
	if n != int64(len(buf)) {
		return fmt.Errorf("%w: %d of %d bytes at %d; was the device made smaller?", io.ErrUnexpectedEOF, n, len(buf), off)
	}
	if op == opRead {
		copy(buf, d.queue.buf)
	}
	return nil
}
