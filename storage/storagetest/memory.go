// Package storagetest has what tests need in place of a SAN: a shared disk in
// memory that every node opens by a handle of its own and that goes wrong in
// the ways disks do, on the test's word and at no other time; and the suite
// that every storage.Disk passes.
//
// Nothing here sleeps or reads a clock. A request that hangs returns
// storage.ErrTimeout at once; a test in virtual time lets it take as long as
// it was given with SetElapse.
package storagetest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// pageSize is the unit in which memory is allocated: a quorum disk of 165 MiB
// is mostly empty. It is a multiple of both sector sizes.
const pageSize = 4096

// page is never changed once it is part of a disk: snapshots share it.
type page [pageSize]byte

// Memory is a disk that several nodes share. Its methods may be used from
// several goroutines; each Handle belongs to one. The zero value is not usable.
type Memory struct {
	mu      sync.Mutex
	info    storage.Info
	pages   map[int64]*page
	pending []*Pending // oldest first
	lastID  int
	before  func(Request)
	elapse  func(time.Duration)
}

// Request is one call on one handle.
type Request struct {
	Node string
	Op   Op
	Off  int64 // bytes
	Len  int   // bytes
}

// Op is a set of kinds of request.
type Op int

// The kinds of request. The zero value, like Both, means reads and writes.
const (
	Reads Op = 1 << iota
	Writes
	Both = Reads | Writes
)

// String is "read" or "write" for a single request.
func (o Op) String() string {
	switch o {
	case Reads:
		return "read"
	case Writes:
		return "write"
	}
	return "any"
}

// NewMemory returns an empty disk of size bytes with sectors of 512 or 4096
// bytes. It panics if size is no positive multiple of the sector size.
func NewMemory(size int64, sector int) *Memory {
	if (sector != 512 && sector != 4096) || size <= 0 || size%int64(sector) != 0 {
		panic(fmt.Sprintf("storagetest: a disk of %d bytes with sectors of %d", size, sector))
	}
	return &Memory{
		info: storage.Info{
			Path:       "memory",
			SectorSize: sector, LogicalSize: sector,
			Size:     size,
			Identity: storage.Identity{Kind: "naa", Value: "600000000000000000000000000000aa"},
			Block:    true,
		},
		pages: map[int64]*page{},
	}
}

// SetIdentity changes what handles opened from now on say in their Info: the
// path, and the identity of the device.
func (m *Memory) SetIdentity(path string, id storage.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.info.Path, m.info.Identity = path, id
}

// SetBefore has f called before each request is carried out, without a lock
// held, so that f may let other nodes read and write in between.
func (m *Memory) SetBefore(f func(Request)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = f
}

// SetElapse has f called with its timeout for each request that hangs or finds
// the handle busy: time.Sleep within testing/synctest, or the step of a test's
// own clock.
func (m *Memory) SetElapse(f func(time.Duration)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.elapse = f
}

// Open returns a new handle for a node. A node that boots again gets another
// handle: what its former life left in flight stays with the disk.
func (m *Memory) Open(node string) *Handle {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Handle{disk: m, node: node, info: m.info}
}

// Clone returns another disk with the same content and another identity: what
// a snapshot mapped to a host is. Requests in flight stay with the original.
func (m *Memory) Clone(id storage.Identity) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory(m.info.Size, m.info.SectorSize)
	c.pages = copyPages(m.pages)
	c.info.Identity = id
	return c
}

// Snapshot is the content of a disk at one time.
type Snapshot struct{ pages map[int64]*page }

// Snapshot returns the content as it is now.
func (m *Memory) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Snapshot{pages: copyPages(m.pages)}
}

// Restore puts a former content back, as an array does that is rolled back to a
// snapshot: acknowledged writes are forgotten.
func (m *Memory) Restore(s Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pages = copyPages(s.pages)
}

// Peek returns a copy of n bytes at off, past all faults. It panics beyond the
// end of the disk.
func (m *Memory) Peek(off int64, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside(off, n)
	buf := make([]byte, n)
	load(m.pages, buf, off)
	return buf
}

// Poke puts data at off, at any alignment and past all faults: bit rot, or
// somebody's dd. It panics beyond the end of the disk.
func (m *Memory) Poke(off int64, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside(off, len(data))
	m.store(data, off)
}

func (m *Memory) inside(off int64, n int) {
	if off < 0 || int64(n) > m.info.Size-off {
		panic(fmt.Sprintf("storagetest: %d bytes at %d on a disk of %d", n, off, m.info.Size))
	}
}

func copyPages(from map[int64]*page) map[int64]*page {
	to := make(map[int64]*page, len(from))
	for i, p := range from {
		to[i] = p
	}
	return to
}

// load fills buf from off; pages that were never written are zero.
func load(pages map[int64]*page, buf []byte, off int64) {
	for len(buf) > 0 {
		in := int(off % pageSize)
		n := min(len(buf), pageSize-in)
		if p := pages[off/pageSize]; p != nil {
			copy(buf[:n], p[in:])
		} else {
			clear(buf[:n])
		}
		buf, off = buf[n:], off+int64(n)
	}
}

// store replaces the pages that data touches by changed copies.
func (m *Memory) store(data []byte, off int64) {
	for len(data) > 0 {
		in := int(off % pageSize)
		n := min(len(data), pageSize-in)
		fresh := new(page)
		if p := m.pages[off/pageSize]; p != nil {
			*fresh = *p
		}
		copy(fresh[in:], data[:n])
		m.pages[off/pageSize] = fresh
		data, off = data[n:], off+int64(n)
	}
}

// Pending is a request that the disk still has: it hangs, or it was
// acknowledged and has not landed, or it landed and a copy of it is still
// underway somewhere.
type Pending struct {
	Request
	ID     int
	Landed bool // it has taken effect at least once

	data   []byte  // of a write
	handle *Handle // that waits for it, or nil
}

// Pending lists the requests that the disk still has, oldest first.
func (m *Memory) Pending() []Pending {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Pending
	for _, p := range m.pending {
		list = append(list, *p)
	}
	return list
}

// Land lets a pending request take effect now and ends it: a handle that waits
// for it is free again. Landing a newer write before an older one is how writes
// are reordered. It panics if no such request is pending.
func (m *Memory) Land(id int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.take(id)
	if p.Op == Writes {
		m.store(p.data, p.Off)
	}
}

// LandQuietly lets a pending request take effect now and keeps it: the handle
// stays busy, and it may land again.
func (m *Memory) LandQuietly(id int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.find(id)
	if p.Op == Writes {
		m.store(p.data, p.Off)
	}
	p.Landed = true
}

// Drop ends a pending request without any further effect: a handle that waits
// for it is free again.
func (m *Memory) Drop(id int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(id)
}

func (m *Memory) find(id int) *Pending {
	i := slices.IndexFunc(m.pending, func(p *Pending) bool { return p.ID == id })
	if i < 0 {
		panic(fmt.Sprintf("storagetest: no request %d is pending", id))
	}
	return m.pending[i]
}

func (m *Memory) take(id int) *Pending {
	p := m.find(id)
	m.pending = slices.DeleteFunc(m.pending, func(q *Pending) bool { return q == p })
	if p.handle != nil {
		p.handle.waiting = nil
	}
	return p
}

// keep makes a request pending. Writes keep a copy of their data.
func (m *Memory) keep(r Request, data []byte, waiting *Handle) *Pending {
	m.lastID++
	p := &Pending{Request: r, ID: m.lastID, handle: waiting}
	if r.Op == Writes {
		p.data = slices.Clone(data)
	}
	m.pending = append(m.pending, p)
	if waiting != nil {
		waiting.waiting = p
	}
	return p
}

// Handle is one node's handle on a Memory disk.
type Handle struct {
	disk *Memory
	node string
	info storage.Info

	// Under disk.mu.
	waiting *Pending // the request in flight
	faults  []*Fault
	closed  bool
}

var _ storage.Disk = (*Handle)(nil)

// Info implements storage.Disk.
func (h *Handle) Info() storage.Info { return h.info }

// Read implements storage.Disk.
func (h *Handle) Read(buf []byte, off int64, timeout time.Duration) error {
	return h.request(Reads, buf, off, timeout)
}

// Write implements storage.Disk.
func (h *Handle) Write(buf []byte, off int64, timeout time.Duration) error {
	return h.request(Writes, buf, off, timeout)
}

// Close implements storage.Disk.
func (h *Handle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	switch {
	case h.closed:
		return h.failed("close", 0, 0, os.ErrClosed)
	case h.waiting != nil:
		return h.failed("close", 0, 0, storage.ErrBusy)
	}
	h.closed = true
	return nil
}

func (h *Handle) failed(op string, off int64, n int, err error) error {
	return &storage.OpError{Op: op, Path: h.info.Path, Off: off, Len: n, Err: err}
}

func (h *Handle) request(op Op, buf []byte, off int64, timeout time.Duration) error {
	r := Request{Node: h.node, Op: op, Off: off, Len: len(buf)}
	h.disk.mu.Lock()
	before, elapse := h.disk.before, h.disk.elapse
	h.disk.mu.Unlock()
	if before != nil {
		before(r)
	}
	hung, err := h.carryOut(r, buf, timeout)
	if hung && elapse != nil {
		elapse(timeout)
	}
	if err != nil {
		return h.failed(op.String(), off, len(buf), err)
	}
	return nil
}

// carryOut does the request under the disk's lock, and says if it took all of
// its timeout.
func (h *Handle) carryOut(r Request, buf []byte, timeout time.Duration) (hung bool, err error) {
	m := h.disk
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.closed {
		return false, os.ErrClosed
	}
	if err := h.info.Check(r.Off, r.Len); err != nil {
		return false, err
	}
	switch {
	case h.waiting != nil:
		return true, storage.ErrBusy
	case r.Len == 0:
		return false, nil
	case timeout <= 0:
		return false, storage.ErrTimeout
	}
	if f := h.match(r); f != nil {
		return h.goWrong(f, r, buf)
	}
	if r.Op == Writes {
		m.store(buf, r.Off)
	} else {
		load(m.pages, buf, r.Off)
	}
	return false, nil
}
