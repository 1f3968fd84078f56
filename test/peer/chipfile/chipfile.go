// Package chipfile makes a file that answers as /dev/watchdog does (the kernel's
// Documentation/watchdog/watchdog-api.rst) and feeds a watchdog of the power
// emulator: so that programs which know the device alone, as sbd(8), are bitten by
// the same chip as everybody else. It is a file system of this process (fuse(4))
// that consists of one file.
package chipfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// defaultTimeout is that of a device that nobody has set, as with many drivers.
const defaultTimeout = 30 * time.Second

// Chip is a watchdog of the power emulator.
type Chip struct {
	Socket func() string // of the emulator, asked for when the file is opened
	Node   string
	Name   string // of the chip
}

// File is the file. Its methods are called by one goroutine; another answers the
// kernel until Close.
type File struct {
	path  string
	dev   int
	ended chan struct{}
	chip  Chip

	// Of the goroutine that answers.
	open     bool
	magic    bool // the last write was the one that allows the close to stop it
	timeout  time.Duration
	device   watchdog.Device // armed: open, or closed without the magic
	lastFeed time.Time
}

// Mount makes the file at path, which must not exist.
func Mount(path string, c Chip) (*File, error) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w (modprobe fuse)", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other", dev, unix.S_IFREG|0o600)
	if err := unix.Mount("watchdog", path, "fuse.watchdog", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount a watchdog at %s: %w", path, err), unix.Close(dev))
	}
	f := &File{path: path, dev: dev, chip: c, ended: make(chan struct{}), timeout: defaultTimeout}
	go f.serve() // ends when the file is unmounted
	return f, nil
}

// Close removes the file. A watchdog that is armed runs on.
func (f *File) Close() error {
	err := unix.Unmount(f.path, unix.MNT_FORCE)
	err = errors.Join(err, unix.Unmount(f.path, unix.MNT_DETACH))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY) {
		err = nil // the first has done it, or the second has
	}
	select {
	case <-f.ended:
	case <-time.After(5 * time.Second):
		return errors.Join(err, fmt.Errorf("%s: the kernel still holds the file system", f.path))
	}
	return errors.Join(err, unix.Close(f.dev), os.Remove(f.path))
}

// Requests of the kernel (linux/fuse.h), as far as a device without content needs
// them.
const (
	opForget  = 2
	opGetattr = 3
	opSetattr = 4
	opOpen    = 14
	opWrite   = 16
	opStatfs  = 17
	opRelease = 18
	opFlush   = 25
	opInit    = 26
	opIoctl   = 39
	opForgets = 42

	headerBytes = 40
	writeBytes  = 40 // of struct fuse_write_in
	ioctlBytes  = 32 // of struct fuse_ioctl_in
	bufferBytes = 1<<17 + 4096
)

func (f *File) serve() {
	defer close(f.ended)
	b := make([]byte, bufferBytes)
	for {
		n, err := unix.Read(f.dev, b)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n < headerBytes:
			return
		}
		op, unique := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
		if op == opForget || op == opForgets {
			continue // they want no answer
		}
		out, errno := f.answer(op, b[headerBytes:n])
		head := binary.LittleEndian.AppendUint32(nil, uint32(16+len(out)))
		head = binary.LittleEndian.AppendUint32(head, uint32(-int32(errno)))
		head = binary.LittleEndian.AppendUint64(head, unique)
		_, _ = unix.Write(f.dev, append(head, out...)) // it fails for a request whose asker has gone
	}
}

func (f *File) answer(op uint32, args []byte) ([]byte, unix.Errno) {
	switch op {
	case opInit:
		out := make([]byte, 64)
		for i, v := range []uint32{7, 31, 1 << 16, 0, 16<<16 | 16, 1 << 16} {
			binary.LittleEndian.PutUint32(out[4*i:], v)
		}
		return out, 0
	case opGetattr, opSetattr:
		return append(make([]byte, 16), attributes()...), 0
	case opStatfs:
		return make([]byte, 80), 0
	case opFlush:
		return nil, 0
	case opOpen:
		return f.opened()
	case opWrite:
		n := binary.LittleEndian.Uint32(args[16:])
		return f.written(args[writeBytes : writeBytes+n])
	case opIoctl:
		n := binary.LittleEndian.Uint32(args[24:])
		out, errno := f.control(binary.LittleEndian.Uint32(args[12:]), args[ioctlBytes:ioctlBytes+n])
		if errno != 0 {
			return nil, errno
		}
		return append(make([]byte, 16), out...), 0 // struct fuse_ioctl_out, all zero
	case opRelease:
		f.released()
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// attributes are struct fuse_attr of an empty file.
func attributes() []byte {
	b := make([]byte, 88)
	binary.LittleEndian.PutUint64(b, 1)
	binary.LittleEndian.PutUint32(b[60:], unix.S_IFREG|0o600)
	binary.LittleEndian.PutUint32(b[64:], 1)
	binary.LittleEndian.PutUint32(b[80:], 4096)
	return b
}
