package chipfile

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// opened arms the chip; one that somebody has open is busy.
func (f *File) opened() ([]byte, unix.Errno) {
	if f.open {
		return nil, unix.EBUSY
	}
	if errno := f.arm(f.timeout); errno != 0 {
		return nil, errno
	}
	f.open, f.magic = true, false
	out := make([]byte, 16)
	const directIO, notSeekable = 1, 4
	binary.LittleEndian.PutUint32(out[8:], directIO|notSeekable)
	return out, 0
}

// How often and how long a close is waited for.
const (
	busyTries = 100
	busyPause = 5 * time.Millisecond
)

// arm sets the timeout, with a connection of its own, and feeds.
func (f *File) arm(timeout time.Duration) unix.Errno {
	if f.device != nil && timeout == f.timeout {
		return f.feed()
	}
	if f.device != nil {
		_ = f.device.Close() // without the magic: it runs on until the next one has it
		f.device = nil
	}
	d, err := watchdog.OpenEmulated(f.chip.Socket(), f.chip.Node, f.chip.Name, timeout)
	for range busyTries {
		if !errors.Is(err, watchdog.ErrBusy) {
			break
		}
		time.Sleep(busyPause) // the emulator notices a close a moment later
		d, err = watchdog.OpenEmulated(f.chip.Socket(), f.chip.Node, f.chip.Name, timeout)
	}
	if err != nil {
		return unix.EIO
	}
	f.device, f.timeout = d, timeout
	return f.feed()
}

func (f *File) feed() unix.Errno {
	if f.device == nil || f.device.Feed() != nil {
		return unix.EIO
	}
	f.lastFeed = time.Now()
	return 0
}

// written is a write to the device: each feeds, and 'V' in the last one before the
// close lets that stop it.
func (f *File) written(b []byte) ([]byte, unix.Errno) {
	f.magic = false
	for _, c := range b {
		f.magic = f.magic || c == 'V'
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(len(b))), f.feed()
}

// released is the last close.
func (f *File) released() {
	f.open = false
	if f.device == nil {
		return
	}
	if f.magic {
		_ = f.device.Disarm()
	} else {
		_ = f.device.Close()
	}
	f.device = nil
}

// Numbers of linux/watchdog.h, without direction and size.
const (
	wdGetSupport  = 'W'<<8 | iota
	wdGetStatus   // 1
	wdGetBoot     // 2
	wdGetTemp     // 3
	wdSetOptions  // 4
	wdKeepalive   // 5
	wdSetTimeout  // 6
	wdGetTimeout  // 7
	wdSetPre      // 8
	wdGetPre      // 9
	wdGetTimeleft // 10

	featSetTimeout, featMagic, featKeepalive = 0x80, 0x100, 0x8000
)

// control answers an ioctl. The kernel has read what its number says that it takes.
func (f *File) control(command uint32, in []byte) ([]byte, unix.Errno) {
	number := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	switch command & 0xffff {
	case wdGetSupport:
		info := make([]byte, 40)
		binary.LittleEndian.PutUint32(info, featSetTimeout|featMagic|featKeepalive)
		copy(info[8:], "Emulated TCO")
		return info, 0
	case wdGetStatus, wdGetBoot:
		return number(0), 0
	case wdSetOptions:
		return nil, 0 // 'V' and the close are what stops it
	case wdKeepalive:
		return number(0), f.feed()
	case wdSetTimeout:
		if len(in) < 4 || binary.LittleEndian.Uint32(in) == 0 {
			return nil, unix.EINVAL
		}
		v := binary.LittleEndian.Uint32(in)
		return number(v), f.arm(time.Duration(v) * time.Second)
	case wdGetTimeout:
		return number(uint32(f.timeout / time.Second)), 0
	case wdGetTimeleft:
		return number(uint32(max(0, f.timeout-time.Since(f.lastFeed)) / time.Second)), 0
	}
	return nil, unix.ENOTTY
}
