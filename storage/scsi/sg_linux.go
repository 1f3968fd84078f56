package scsi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sgIO      = 0x2285 // SG_IO of <scsi/sg.h>
	sgNone    = -1
	sgToDev   = -2
	sgFromDev = -3

	// What the kernel gives a command. A PREEMPT AND ABORT may have to wait until the target
	// has given up a session whose node stopped in the middle of a write, which takes an LIO
	// target 45 s (docs/decisions/0018). Giving up before makes the kernel drop the path.
	hostTimely  = 5 * time.Second
	abortTimely = 60 * time.Second
)

// header is struct sg_io_hdr of <scsi/sg.h> on 64-bit machines: what is asked,
// and what the kernel answers.
type header struct {
	interfaceID int32
	direction   int32
	cmdLen      uint8
	maxSense    uint8
	iovecCount  uint16
	length      uint32
	data        unsafe.Pointer
	cmd         unsafe.Pointer
	sense       unsafe.Pointer
	timeout     uint32 // ms
	flags       uint32
	packID      int32
	usr         unsafe.Pointer
	answer
}

type answer struct {
	status         uint8
	maskedStatus   uint8
	msgStatus      uint8
	senseWritten   uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	duration, info uint32
}

var _ [88]struct{} = [unsafe.Sizeof(header{})]struct{}{}

// timely is the time that the kernel gives a command.
func timely(cdb []byte) time.Duration {
	if cdb[0] == opReserveOut && cdb[1]&0x1f == outPreemptAndAbort {
		return abortTimely
	}
	return hostTimely
}

// device is a path that the kernel knows as a block device.
type device struct {
	name string
	file *os.File
}

// OpenPath opens a device of the sd driver, as /dev/sdc, to be asked by SG_IO, or
// an NVMe namespace, as /dev/nvme0n1.
func OpenPath(name string) (Path, func() error, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if base := filepath.Base(name); isNVMe(base) {
		return &nvme{base, blockNamespace{f}}, f.Close, nil
	}
	return &device{filepath.Base(name), f}, f.Close, nil
}

// OpenLUN opens a disk or a multipath map of the kernel: by the paths that can be
// opened, if there is one, for the kernel lets nobody open a path that it has given up.
func OpenLUN(device string) (LUN, func(), error) {
	l := LUN{Name: device}
	var ends []func() error
	end := func() {
		for _, f := range ends {
			_ = f() // nothing was written through it
		}
	}
	names, err := PathsOf(device)
	if err != nil {
		return LUN{}, nil, err
	}
	var failed []error
	for _, name := range names {
		p, f, err := OpenPath(name)
		if err != nil {
			failed = append(failed, err)
			l.Paths = append(l.Paths, Unreachable(filepath.Base(name), err))
			continue
		}
		l.Paths, ends = append(l.Paths, p), append(ends, f)
	}
	if len(failed) == len(names) {
		return LUN{}, nil, errors.Join(failed...)
	}
	return l, end, nil
}

// Name implements Path.
func (d *device) Name() string { return d.name }

// Command implements Path. It waits as long as the kernel does: its caller keeps
// the deadline.
func (d *device) Command(cdb, send []byte, receive int) ([]byte, error) {
	sense, data := make([]byte, 64), send
	h := header{
		interfaceID: 'S', direction: sgNone, cmdLen: uint8(len(cdb)), maxSense: uint8(len(sense)),
		timeout: uint32(timely(cdb) / time.Millisecond), cmd: unsafe.Pointer(&cdb[0]), sense: unsafe.Pointer(&sense[0]),
	}
	if receive > 0 {
		data, h.direction = make([]byte, receive), sgFromDev
	} else if len(send) > 0 {
		h.direction = sgToDev
	}
	if len(data) > 0 {
		h.data, h.length = unsafe.Pointer(&data[0]), uint32(len(data))
	}
	errno := unix.EBADF
	if raw, err := d.file.SyscallConn(); err == nil { // no close comes between, and none gives the number to another file
		_ = raw.Control(func(fd uintptr) { _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, sgIO, uintptr(unsafe.Pointer(&h))) })
	}
	runtime.KeepAlive(cdb)
	runtime.KeepAlive(data)
	runtime.KeepAlive(sense)
	switch {
	case errno != 0:
		return nil, fmt.Errorf("SG_IO: %w", errno)
	case h.status != 0:
		return nil, parseSense(Status(h.status&0x3e), sense[:h.senseWritten])
	case h.hostStatus != 0 || h.driverStatus&0x0f != 0:
		return nil, fmt.Errorf("no answer from the device: host status %#x, driver status %#x", h.hostStatus, h.driverStatus)
	case receive > 0:
		return data[:max(0, receive-int(h.residual))], nil
	}
	return nil, nil
}

// PathsOf lists the devices of the sd driver below a block device: itself, or the
// paths of a multipath map. An NVMe namespace is its own path. The name may be a link, as those of /dev/disk/by-id.
func PathsOf(name string) ([]string, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(real)
	if isNVMe(base) {
		return []string{real}, nil
	}
	if !strings.HasPrefix(base, "dm-") {
		if _, err := os.Stat(filepath.Join("/sys/class/block", base, "device/scsi_level")); err != nil {
			return nil, fmt.Errorf("%s (%s) is neither a SCSI disk nor an NVMe namespace: persistent reservations are for whole ones, and for multipath maps of SCSI disks", name, real)
		}
		return []string{real}, nil
	}
	uuid, err := os.ReadFile(filepath.Join("/sys/class/block", base, "dm/uuid"))
	if err != nil || !strings.HasPrefix(string(uuid), "mpath-") {
		return nil, errors.Join(err, fmt.Errorf("%s (%s) is a device-mapper device but no multipath map", name, real))
	}
	entries, err := os.ReadDir(filepath.Join("/sys/class/block", base, "slaves"))
	if err != nil || len(entries) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s has no path", name))
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, "/dev/"+e.Name())
	}
	return paths, nil
}
