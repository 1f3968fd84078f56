package scsi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of <linux/nvme_ioctl.h>, and opcodes of the NVMe specifications.
const (
	nvmeIoctlID    = 0x4e40
	nvmeIoctlAdmin = 0xc0484e41
	nvmeIoctlIO    = 0xc0484e43

	nvmeIdentify          = 0x06
	nvmeReservationReport = 0x0e

	nvmeExtended   = 1 // of cdw11: host identifiers of 128 bits
	nvmeReportSize = 16 << 10
	nvmeConflict   = 0x83 // Reservation Conflict, without the bits beside the code
)

// passthrough is struct nvme_passthru_cmd.
type passthrough struct {
	opcode, flags uint8
	_             uint16
	nsid          uint32
	_             [2]uint32 // cdw2, cdw3
	_             uint64    // metadata
	addr          unsafe.Pointer
	metadataLen   uint32
	dataLen       uint32
	cdw           [6]uint32 // 10 to 15
	milliseconds  uint32    // of time
	result        uint32
}

var _ [72]struct{} = [unsafe.Sizeof(passthrough{})]struct{}{}

// blockNamespace is a namespace that the kernel knows as a block device.
type blockNamespace struct{ file *os.File }

// isNVMe says whether a block device, as nvme0n1, is a namespace: the whole of
// one, by the name of its driver's class.
func isNVMe(base string) bool {
	_, part := os.Stat(filepath.Join("/sys/class/block", base, "partition"))
	target, err := filepath.EvalSymlinks(filepath.Join("/sys/class/block", base, "device/subsystem"))
	class := filepath.Base(target)
	return err == nil && part != nil && (class == "nvme" || class == "nvme-subsystem")
}

// change implements namespace: IOC_PR_REGISTER, IOC_PR_RESERVE and
// IOC_PR_PREEMPT_ABORT of <linux/pr.h>. A positive answer is the status of the
// namespace, as older kernels give it, or of the block layer.
func (n blockNamespace) change(c change) error {
	if c.request != prRegister && c.kind == 0 {
		return errNoCommand()
	}
	data := [3]uint64{c.old, c.new, uint64(c.kind) | uint64(c.flags)<<32}
	size := 24
	switch c.request {
	case prReserve:
		data, size = [3]uint64{c.old, uint64(c.kind) | uint64(c.flags)<<32}, 16
	case prRegister:
		data[2] = uint64(c.flags)
	}
	request := uintptr(1<<30 | size<<16 | 'p'<<8 | int(c.request)) // _IOW
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, n.file.Fd(), request, uintptr(unsafe.Pointer(&data[0])))
	runtime.KeepAlive(&data)
	return verdict(r, errno)
}

// verdict makes an error of what a reservation ioctl returned: 24 is the block
// layer's own word for a conflict, EBADE its errno.
func verdict(r uintptr, errno unix.Errno) error {
	switch {
	case errno == unix.EBADE, errno == 0 && (r == uintptr(Conflict) || r&0x7ff == nvmeConflict):
		return &StatusError{Status: Conflict}
	case errno == unix.EOPNOTSUPP, errno == unix.ENOTTY:
		return errNoCommand()
	case errno != 0:
		return fmt.Errorf("reservation ioctl: %w", errno)
	case r != 0:
		return fmt.Errorf("reservation ioctl: NVMe status %#x", r)
	}
	return nil
}

// report implements namespace, first as a host with an identifier of 128 bits
// asks, then as one with 64.
func (n blockNamespace) report() (nvmeStatus, error) {
	var errs []error
	for _, extended := range []uint32{nvmeExtended, 0} {
		b := make([]byte, nvmeReportSize)
		err := n.pass(nvmeIoctlIO, passthrough{opcode: nvmeReservationReport, cdw: [6]uint32{uint32(len(b)/4 - 1), extended}}, b)
		if err == nil {
			return parseNVMeStatus(b, extended != 0)
		}
		errs = append(errs, err)
	}
	return nvmeStatus{}, fmt.Errorf("reservation report: %w", errors.Join(errs...))
}

// rescap implements namespace.
func (n blockNamespace) rescap() (byte, error) {
	b := make([]byte, 4096)
	if err := n.pass(nvmeIoctlAdmin, passthrough{opcode: nvmeIdentify}, b); err != nil {
		return 0, fmt.Errorf("identify namespace: %w", err)
	}
	return b[31], nil
}

// pass sends one command of the NVMe specifications that reads into b.
func (n blockNamespace) pass(request uintptr, c passthrough, b []byte) error {
	id, _, errno := unix.Syscall(unix.SYS_IOCTL, n.file.Fd(), nvmeIoctlID, 0)
	if errno != 0 {
		return fmt.Errorf("namespace: %w", errno)
	}
	c.nsid, c.addr, c.dataLen = uint32(id), unsafe.Pointer(&b[0]), uint32(len(b))
	c.milliseconds = uint32(hostTimely / time.Millisecond)
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, n.file.Fd(), request, uintptr(unsafe.Pointer(&c)))
	runtime.KeepAlive(b)
	switch {
	case errno != 0:
		return errno
	case r&0x7ff == 0x01 || r&0x7ff == 0x02: // Invalid Command Opcode, Invalid Field
		return errNoCommand()
	case r != 0:
		return fmt.Errorf("NVMe status %#x", r)
	}
	return nil
}
