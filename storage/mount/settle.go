package mount

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Drain is for how long what a host has sent to a disk may land after the end of that
// host, at most, if the disk answers meanwhile. Whoever starts a service elsewhere has
// waited for it.
const Drain = time.Second

// Settle reads one block of the device, past this host's cache, and returns once nothing can land any more
// that its former user had sent. A disk that answers at once has carried that out by
// now. One that lets the read wait for more than half of Drain, as while the controllers
// of an array fail over, may have let the other host's requests wait as well: from the
// end of such a stall Drain passes once more. Call it before the first use of a new owner.
func (d Device) Settle(ctx context.Context) error {
	if err := settle(ctx, d.readPastCache); err != nil {
		return fmt.Errorf("device %s: %w", d.Path, err)
	}
	return nil
}

func settle(ctx context.Context, read func() error) error {
	began := time.Now()
	if err := read(); err != nil {
		return err
	}
	took := time.Since(began)
	if took <= Drain/2 {
		return nil
	}
	t := time.NewTimer(Drain)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("its first read took %s, and what was on its way to it needs %s more: %w", took.Round(time.Millisecond), Drain, ctx.Err())
	}
}

// readPastCache reads the first 4096 bytes with O_DIRECT; where a device knows no such
// thing, as it can.
func (d Device) readPastCache() error {
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // as aligned as any device wants it
	if err != nil {
		return fmt.Errorf("room for one block: %w", err)
	}
	defer func() { _ = unix.Munmap(block) }()
	fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.Open(d.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return fmt.Errorf("open to read: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Pread(fd, block, 0); err != nil {
		return fmt.Errorf("read the first block: %w", err)
	}
	return nil
}
