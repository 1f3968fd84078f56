// Package storage reads and writes shared disks in a way that can be reasoned
// about: aligned direct I/O through the kernel's native AIO, one request in
// flight per handle, a deadline on every wait, buffers outside the Go heap, and
// the identity of the device behind a path. It also answers what an admin must
// know before a disk is written for the first time: who uses it and what it
// carries.
//
// Open gives a Disk; package storagetest has one in memory with faults, and the
// suite that both pass.
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
// away: it never counts as the result of a later call. Nothing is submitted
// once the timeout has passed. Errors are *OpError.
//
// A Read or Write is all or nothing in its result, not in its effect: after an
// error buf (Read) or the range on the disk (Write) may hold a part. An empty
// buf at a valid offset succeeds without I/O.
type Disk interface {
	// Info says what the handle is open on. It never changes.
	Info() Info
	// Read fills buf from off, bytes from the start of the disk.
	Read(buf []byte, off int64, timeout time.Duration) error
	// Write puts buf at off, bytes from the start of the disk. The disk has
	// a copy of its own: buf belongs to the caller again at return, also
	// after ErrTimeout.
	Write(buf []byte, off int64, timeout time.Duration) error
	// Close gives the handle back. It returns ErrBusy while a request is in
	// flight: memory that the kernel may still write to is never freed. After
	// it has succeeded every call fails with os.ErrClosed.
	Close() error
}

// Info says what a handle is open on.
type Info struct {
	Path       string // as given to Open
	SectorSize int    // bytes, 512 or 4096: the larger of logical and physical block, and of what direct I/O needs
	// LogicalSize is the bytes of a logical block, 512 or 4096: what direct I/O
	// needs, and what sbd(8) calls a sector. A disk with 512 logical and 4096
	// physical bytes is called 512e.
	LogicalSize int
	Size        int64    // bytes at the time of Open, whole sectors
	Identity    Identity // of the device itself, not of what is written on it
	Block       bool     // a block device, not a regular file
}

// Check returns ErrAlignment or ErrRange if a request for n bytes at off does
// not fit the disk, and nil otherwise. Every Disk refuses such a request before
// it does anything else.
func (i Info) Check(off int64, n int) error {
	sector := int64(i.SectorSize)
	switch {
	case off%sector != 0 || int64(n)%sector != 0:
		return ErrAlignment
	case off < 0 || off > i.Size || int64(n) > i.Size-off:
		return ErrRange
	}
	return nil
}

// Identity names the device behind a path in a form that a clone or a snapshot
// mapped elsewhere does not share. It is the same over every path to the device
// and on every host: a multipath device and each of its paths, a loop device,
// a second loop device and the file behind both, have one identity.
//
// Kind is one of
//
//	naa     SCSI: NAA designator of VPD page 0x83, hex
//	eui     SCSI or NVMe: EUI-64 based designator, hex
//	nguid   NVMe: namespace globally unique identifier, hex
//	uuid    NVMe: namespace UUID
//	nvme    NVMe without any of these: vendor, serial, model, namespace
//	t10     SCSI without NAA and EUI: vendor and serial number
//	serial  virtio: the serial that the hypervisor's admin gave
//	dm      device-mapper uuid (LVM: volume group and volume), not multipath
//	file    inode and the identity of the device its file system is on
//	dev     device number only: nothing better was found; never to be trusted
//	        across a reboot
//
// A partition's Value ends in -partN, a loop device's that starts inside its
// file in +bytes.
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
	ErrReadOnly  = errors.New("the handle was opened for reading only")
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
