package storage

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's native asynchronous I/O, from include/uapi/linux/aio_abi.h and
// io_setup(2), io_submit(2), io_getevents(2). It is used rather than pread and
// pwrite because a thread inside those cannot be called back from a dead path:
// it sits in uninterruptible sleep, and with it everything it holds. A native
// request is left behind instead and reaped when the kernel lets go of it.
//
// io_cancel(2) is not used: it does nothing for block devices.
//
// io_submit itself can still block, when the device's request queue is full or
// when a file has a hole where the write goes. Callers that must not block put
// one goroutine in front of each disk.

// IOCB_CMD_PREAD and IOCB_CMD_PWRITE.
const (
	opRead  uint16 = 0
	opWrite uint16 = 1
)

// iocb is struct iocb. On big-endian machines key and rwFlags change places:
// key belongs to the kernel and rwFlags stays zero, so that the order does not
// matter here. Durable writes come from O_DSYNC on the descriptor instead.
type iocb struct {
	data    uint64
	key     uint32
	rwFlags uint32
	opcode  uint16
	reqprio int16
	fildes  uint32
	buf     uint64
	nbytes  uint64
	offset  int64
	_       uint64
	flags   uint32
	resfd   uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	data uint64
	obj  uint64
	res  int64
	res2 int64
}

// control is what the system calls read and write besides the data. It lies in
// front of the data in memory of its own, outside the Go heap, because the
// kernel keeps using the iocb's buffer after the call that named it.
type control struct {
	cb    iocb
	list  [1]uintptr
	event ioEvent
	wait  unix.Timespec
}

var (
	_ [64]struct{} = [unsafe.Sizeof(iocb{})]struct{}{}
	_ [32]struct{} = [unsafe.Sizeof(ioEvent{})]struct{}{}
	_ [16]struct{} = [unsafe.Offsetof(iocb{}.opcode)]struct{}{}
	_ [40]struct{} = [unsafe.Offsetof(iocb{}.offset)]struct{}{}
)

// queue is one AIO context with room for one request and its buffer.
type queue struct {
	ctx  uintptr
	mem  []byte // the whole mapping
	ctl  *control
	buf  []byte // the data part of mem
	busy bool   // a request is in flight: mem belongs to the kernel
	tag  uint64 // of the latest request
}

// newQueue makes a context with a buffer of size bytes, a multiple of the page
// size, and touches all of its memory.
func newQueue(size int) (*queue, error) {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, page+size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("no memory for a buffer of %d bytes: %w", size, err)
	}
	q := &queue{mem: mem, ctl: (*control)(unsafe.Pointer(&mem[0])), buf: mem[page:]}
	q.ctl.list[0] = uintptr(unsafe.Pointer(&q.ctl.cb))
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&q.ctx)), 0)
	if errno == 0 {
		return q, nil
	}
	_ = unix.Munmap(mem)
	if errno == unix.EAGAIN {
		return nil, fmt.Errorf("io_setup: %w: all asynchronous I/O contexts of this host are taken; raise fs.aio-max-nr with sysctl", errno)
	}
	return nil, fmt.Errorf("io_setup: %w", errno)
}

// submit hands the first n bytes of q.buf to the kernel. The caller has made
// sure that the queue is not busy.
func (q *queue) submit(op uint16, fd, n int, off int64) error {
	q.tag++
	q.ctl.cb = iocb{
		data:   q.tag,
		opcode: op,
		fildes: uint32(fd),
		buf:    uint64(uintptr(unsafe.Pointer(&q.buf[0]))),
		nbytes: uint64(n),
		offset: off,
	}
	for {
		got, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.ctx, 1, uintptr(unsafe.Pointer(&q.ctl.list)))
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case got != 1:
			return fmt.Errorf("io_submit took %d of 1 request", got)
		default:
			q.busy = true
			return nil
		}
	}
}

// reap waits for the request in flight until deadline, looking at least once,
// and returns how many bytes it moved. After ErrTimeout it is still in flight.
func (q *queue) reap(deadline time.Time) (int64, error) {
	for {
		left := max(time.Until(deadline), 0)
		q.ctl.wait = unix.NsecToTimespec(int64(left))
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, q.ctx, 1, 1,
			uintptr(unsafe.Pointer(&q.ctl.event)), uintptr(unsafe.Pointer(&q.ctl.wait)), 0)
		switch {
		case errno == unix.EINTR:
			if left == 0 {
				return 0, ErrTimeout
			}
		case errno != 0:
			return 0, fmt.Errorf("io_getevents: %w", errno)
		case n == 0:
			return 0, ErrTimeout
		case q.ctl.event.data == q.tag:
			q.busy = false
			if res := q.ctl.event.res; res < 0 {
				return 0, unix.Errno(-res)
			}
			return q.ctl.event.res, nil
		}
	}
}

// close frees the context and the memory. It must not be called while a
// request is in flight: io_destroy would wait for it without end.
func (q *queue) close() error {
	_, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, q.ctx, 0, 0)
	if err := unix.Munmap(q.mem); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	if errno != 0 {
		return fmt.Errorf("io_destroy: %w", errno)
	}
	return nil
}
