package storagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Stuck makes a file of size bytes whose kernel really waits for an answer once
// stop was called: reads and writes then neither succeed nor fail, and a process
// that has asked cannot end. It is a file system of this process (fuse(4)), and
// needs root and /dev/fuse. The file answers again, with errors, when the test
// ends.
func Stuck(t *testing.T, size int64) (path string, stop func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a file system of our own needs root: run this test as root")
	}
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no /dev/fuse here (modprobe fuse; in a container: --device /dev/fuse): %v", err)
	}
	dir := t.TempDir()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", dev)
	if err := unix.Mount("stuck", dir, "fuse.stuck", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		_ = unix.Close(dev)
		t.Skipf("mount of a file system of our own (CAP_SYS_ADMIN): %v", err)
	}
	s := &stuck{dev: dev, size: size, data: make([]byte, size), ended: make(chan struct{})}
	go s.serve() // ends when the file system is unmounted
	t.Cleanup(func() {
		// That ends every request that waits, and the server with them.
		if err := unix.Unmount(dir, unix.MNT_FORCE); err != nil && !errors.Is(err, unix.EBUSY) {
			t.Error(err)
		}
		<-s.ended
		if err := unix.Close(dev); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "disk"), func() { s.stopped.Store(true) }
}

// stuck is the file system: a directory with one file, "disk".
type stuck struct {
	dev     int
	size    int64
	data    []byte
	stopped atomic.Bool
	ended   chan struct{}
}

// What the kernel asks for (linux/fuse.h), as far as a plain file needs it.
const (
	fuseLookup  = 1
	fuseForget  = 2
	fuseGetattr = 3
	fuseOpen    = 14
	fuseRead    = 15
	fuseWrite   = 16
	fuseStatfs  = 17
	fuseRelease = 18
	fuseFsync   = 20
	fuseFlush   = 25
	fuseInit    = 26
	fuseForgets = 42

	fuseHeader = 40 // bytes before the arguments of a request
	fuseArgs   = 40 // bytes of the arguments of a read and of a write
	fuseRoot   = 1
	fuseFile   = 2
)

func (s *stuck) serve() {
	defer close(s.ended)
	b := make([]byte, 1<<20+fuseHeader+fuseArgs+4096)
	for {
		n, err := unix.Read(s.dev, b)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n < fuseHeader:
			return
		}
		op, unique, node := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
		if op == fuseForget || op == fuseForgets || (op == fuseRead || op == fuseWrite) && s.stopped.Load() {
			continue // the first two want no answer, the others get none
		}
		out, errno := s.answer(op, node, b[fuseHeader:n])
		head := binary.LittleEndian.AppendUint32(nil, uint32(16+len(out)))
		head = binary.LittleEndian.AppendUint32(head, uint32(-int32(errno)))
		head = binary.LittleEndian.AppendUint64(head, unique)
		_, _ = unix.Write(s.dev, append(head, out...)) // it fails for a request whose asker has gone
	}
}

func (s *stuck) answer(op uint32, node uint64, args []byte) ([]byte, unix.Errno) {
	switch op {
	case fuseInit:
		out := make([]byte, 64)
		const asyncRead, bigWrites, asyncDIO = 1, 1 << 5, 1 << 15
		for i, v := range []uint32{7, 31, 1 << 17, asyncRead | bigWrites | asyncDIO, 64<<16 | 64, 1 << 17} {
			binary.LittleEndian.PutUint32(out[4*i:], v)
		}
		return out, 0
	case fuseLookup:
		if node != fuseRoot || string(args) != "disk\x00" {
			return nil, unix.ENOENT
		}
		out := make([]byte, 40)
		binary.LittleEndian.PutUint64(out, fuseFile)
		return append(out, s.attributes(fuseFile)...), 0
	case fuseGetattr:
		return append(make([]byte, 16), s.attributes(node)...), 0
	case fuseOpen:
		return make([]byte, 16), 0
	case fuseRead:
		off, n := int64(binary.LittleEndian.Uint64(args[8:])), int64(binary.LittleEndian.Uint32(args[16:]))
		return s.data[min(off, s.size):min(off+n, s.size)], 0
	case fuseWrite:
		off, n := int64(binary.LittleEndian.Uint64(args[8:])), binary.LittleEndian.Uint32(args[16:])
		if off+int64(n) > s.size {
			return nil, unix.ENOSPC
		}
		copy(s.data[off:], args[fuseArgs:fuseArgs+n])
		return append(binary.LittleEndian.AppendUint32(nil, n), 0, 0, 0, 0), 0
	case fuseStatfs:
		return make([]byte, 80), 0
	case fuseRelease, fuseFsync, fuseFlush:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// attributes are struct fuse_attr.
func (s *stuck) attributes(node uint64) []byte {
	b := make([]byte, 88)
	mode, size := uint32(unix.S_IFDIR|0o755), int64(0)
	if node == fuseFile {
		mode, size = unix.S_IFREG|0o600, s.size
	}
	binary.LittleEndian.PutUint64(b, node)
	binary.LittleEndian.PutUint64(b[8:], uint64(size))
	binary.LittleEndian.PutUint64(b[16:], uint64(size/512))
	binary.LittleEndian.PutUint32(b[60:], mode)
	binary.LittleEndian.PutUint32(b[64:], 1)
	binary.LittleEndian.PutUint32(b[80:], 4096)
	return b
}
