// Package storage reads and writes shared disks in a way that can be reasoned
// about: aligned direct I/O through the kernel's native AIO, one request in
// flight per handle, a deadline on every wait, buffers outside the Go heap, and
// the identity of the device behind a path.
package storage

import (
	"errors"
	"fmt"
	"time"
)

// Disk is one handle on one block device or regular file. A handle is used by
// one goroutine at a time and never has more than one request in flight.
//
// Read and Write take offsets and lengths that are multiples of
// Info().SectorSize. A request that misses its deadline returns ErrTimeout and
// stays in flight: what it wrote is unknown, it may take effect at any later
// time, and until the kernel returns it every further call first waits for it,
// within its own timeout, and else returns ErrBusy. A late completion is thrown
// away: it never counts as the result of a later call. Errors are *OpError.
type Disk interface {
	Info() Info
	Read(buf []byte, off int64, timeout time.Duration) error
	Write(buf []byte, off int64, timeout time.Duration) error
	// Close gives the handle back. It returns ErrBusy while a request is in
	// flight: memory that the kernel may still write to is never freed.
	Close() error
}

// Info says what a handle is open on.
type Info struct {
	Path       string   // as given to Open
	SectorSize int      // bytes, 512 or 4096: the larger of logical and physical block, and of what direct I/O needs
	Size       int64    // bytes
	Identity   Identity // of the device itself, not of what is written on it
	Block      bool     // a block device, not a regular file
}

// Identity names the device behind a path in a form that a clone or a snapshot
// mapped elsewhere does not share. Kind is "naa", "eui", "nguid", "dm",
// "loop-file" (the inode behind a loop device), "file" (inode and file system)
// or "dev" (nothing better was found; never trusted across a reboot).
type Identity struct {
	Kind  string
	Value string
}

// String is kind:value.
func (i Identity) String() string { return i.Kind + ":" + i.Value }

// The kinds of failure that callers tell apart with errors.Is.
var (
	ErrTimeout   = errors.New("no answer within the deadline; the request is still in flight and its effect unknown")
	ErrBusy      = errors.New("an earlier request is still in flight")
	ErrAlignment = errors.New("offset or length is no multiple of the sector size")
	ErrRange     = errors.New("beyond the end of the device")
)

// OpError says which operation failed, on what, where and why.
type OpError struct {
	Op   string // "open", "read", "write", "close"
	Path string
	Off  int64
	Len  int
	Err  error
}

// Error reads "write /dev/sdb at 4194304, 512 bytes: input/output error".
func (e *OpError) Error() string {
	if e.Len == 0 {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("%s %s at %d, %d bytes: %v", e.Op, e.Path, e.Off, e.Len, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }
