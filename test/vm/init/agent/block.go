package agent

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// alignment is that of direct I/O: no disk has larger sectors.
const alignment = 4096

// block reads or writes a disk past the cache of the kernel.
func block(r wire.Request) ([]byte, error) {
	f, err := os.OpenFile(r.Args[0], os.O_RDWR|unix.O_DIRECT|unix.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	b := aligned(max(r.Length, len(r.Data)))
	var n int
	if r.Op == wire.Put {
		n, err = f.WriteAt(b[:copy(b, r.Data)], r.Offset)
	} else {
		n, err = f.ReadAt(b, r.Offset)
	}
	if err == nil && n < len(b) {
		err = fmt.Errorf("%d of %d bytes", n, len(b))
	}
	if err = errors.Join(err, f.Close()); err != nil || r.Op == wire.Put {
		return nil, err
	}
	return b, nil
}

// aligned gives memory that direct I/O takes.
func aligned(n int) []byte {
	b := make([]byte, n+alignment)
	skip := alignment - int(uintptr(unsafe.Pointer(&b[0]))%alignment)
	return b[skip : skip+n : skip+n]
}
