package volatile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's protocol, of include/uapi/linux/fuse.h: numbers of requests, flags,
// and lengths of structures in bytes.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opRelease     = 18
	opFsync       = 20
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42

	major, minor  = 7, 31
	bigWrites     = 1 << 5
	maxPagesFlag  = 1 << 22
	directIO      = 1 // of an answer to open: no page of the file is cached in the kernel
	inHeader      = 40
	outHeader     = 16
	readWriteHead = 40 // of read and write requests, behind the header
	mostPages     = 256
	mostWrite     = mostPages * 4096
	forEver       = 1 << 30 // seconds for which names and attributes hold

	rootNode, diskNode = 1, 2
	diskName           = "disk"
)

// server answers the kernel's requests to a file system with one file.
type server struct {
	fuse  int // descriptor of /dev/fuse
	cache *cache
}

// mount makes the file system at a folder.
func mount(at string, c *cache) (*server, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w (modprobe fuse)", err)
	}
	how := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("hfdemo", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, how); err != nil {
		return nil, errors.Join(fmt.Errorf("mount a FUSE file system at %s: %w", at, err), unix.Close(fd))
	}
	return &server{fuse: fd, cache: c}, nil
}

// serve answers requests until the file system is unmounted.
func (s *server) serve() error {
	in := make([]byte, inHeader+readWriteHead+mostWrite)
	for {
		n, err := unix.Read(s.fuse, in)
		switch {
		case errors.Is(err, unix.ENODEV):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return fmt.Errorf("read a request: %w", err)
		case n < inHeader:
			return fmt.Errorf("a request of %d bytes", n)
		}
		op, unique := binary.NativeEndian.Uint32(in[4:]), binary.NativeEndian.Uint64(in[8:])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue // wants no answer
		}
		body, errno := s.answer(op, binary.NativeEndian.Uint64(in[16:]), in[inHeader:n])
		if errno != 0 {
			body = nil
		}
		out := make([]byte, outHeader, outHeader+len(body))
		binary.NativeEndian.PutUint32(out, uint32(outHeader+len(body)))
		binary.NativeEndian.PutUint32(out[4:], uint32(-int32(errno)))
		binary.NativeEndian.PutUint64(out[8:], unique)
		if _, err := unix.Write(s.fuse, append(out, body...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("answer request %d: %w", op, err)
		}
	}
}

func (s *server) answer(op uint32, node uint64, body []byte) ([]byte, unix.Errno) {
	le := binary.NativeEndian
	switch op {
	case opInit:
		out := make([]byte, 64)
		le.PutUint32(out, major)
		le.PutUint32(out[4:], minor)
		le.PutUint32(out[12:], (bigWrites|maxPagesFlag)&le.Uint32(body[12:]))
		le.PutUint16(out[16:], 64)
		le.PutUint16(out[18:], 48)
		le.PutUint32(out[20:], mostWrite)
		le.PutUint32(out[24:], 1)
		le.PutUint16(out[28:], mostPages)
		return out, 0
	case opLookup:
		if node != rootNode || string(body) != diskName+"\x00" {
			return nil, unix.ENOENT
		}
		out := make([]byte, 40)
		le.PutUint64(out, diskNode)
		le.PutUint64(out[16:], forEver)
		le.PutUint64(out[24:], forEver)
		return append(out, s.attributes(diskNode)...), 0
	case opGetattr:
		out := make([]byte, 16)
		le.PutUint64(out, forEver)
		return append(out, s.attributes(node)...), 0
	case opOpen:
		out := make([]byte, 16)
		le.PutUint32(out[8:], directIO)
		return out, 0
	case opRead:
		p := make([]byte, le.Uint32(body[16:]))
		n, err := s.cache.read(p, int64(le.Uint64(body[8:])))
		return p[:n], number(err)
	case opWrite:
		size := le.Uint32(body[16:])
		out := make([]byte, 8)
		le.PutUint32(out, size)
		return out, number(s.cache.write(body[readWriteHead:readWriteHead+size], int64(le.Uint64(body[8:]))))
	case opFsync:
		return nil, number(s.cache.flush())
	case opRelease, opFlush, opDestroy: // the close of a file is no flush of a disk
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// number is what the kernel is told of an error; what it was goes to the log.
func number(err error) unix.Errno {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "volatile:", err)
	return unix.EIO
}

// attributes is a struct fuse_attr.
func (s *server) attributes(node uint64) []byte {
	le, out := binary.NativeEndian, make([]byte, 88)
	mode, size := uint32(unix.S_IFDIR|0o755), int64(0)
	if node == diskNode {
		mode, size = unix.S_IFREG|0o600, s.cache.size
	}
	le.PutUint64(out, node)
	le.PutUint64(out[8:], uint64(size))
	le.PutUint64(out[16:], uint64(size/512))
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1)
	le.PutUint32(out[80:], block)
	return out
}
