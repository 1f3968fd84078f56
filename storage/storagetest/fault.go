package storagetest

import (
	"slices"
	"syscall"

	"github.com/holdfast-ha/holdfast/storage"
)

// Kind is a way in which a request goes wrong.
type Kind int

// The ways in which a request goes wrong.
const (
	// Fail: no effect; the error is Fault.Err, EIO by default.
	Fail Kind = iota
	// FailAfter: a write takes effect, and returns Fault.Err all the same.
	FailAfter
	// FailLate: a write returns Fault.Err and is pending all the same: it
	// takes effect if the test lands it (a path failed over, and the array
	// still has the command).
	FailLate
	// Hang: ErrTimeout; the handle is busy and the request pending until the
	// test lands or drops it.
	Hang
	// HangAfter: like Hang, but the write has taken effect: only the answer
	// is missing.
	HangAfter
	// Torn: only the first Fault.Sectors sectors and Fault.Bytes bytes of a
	// write take effect; it returns Fault.Err, EIO by default, or success
	// where Fault.Silent (a disk that lies).
	Torn
	// Lost: the write is acknowledged and never takes effect.
	Lost
	// Late: the write is acknowledged and pending: it takes effect when the
	// test lands it, and a newer one may be landed first.
	Late
	// Ghost: the write is acknowledged and takes effect, and a copy of it is
	// pending that may land again (a command replayed over a failed path).
	Ghost
	// Stale: a read is answered with what was on the disk when the fault was
	// injected.
	Stale
	// Misdirected: the request goes to its offset plus Fault.Shift, and
	// returns success.
	Misdirected
)

// Fault lets requests of one handle go wrong. Of several faults that match a
// request the one injected first counts.
type Fault struct {
	Kind Kind
	Op   Op    // zero: reads and writes
	Off  int64 // bytes: requests that touch [Off, Off+Len)
	Len  int64 // bytes; zero: the whole disk

	Skip  int // so many matching requests pass first
	Times int // so many go wrong, then the fault is gone; zero: all, until Heal

	Err     error // Fail, FailAfter, FailLate, Torn
	Sectors int   // Torn
	Bytes   int   // Torn, in addition: a sector that is not atomic
	Silent  bool  // Torn: it returns success
	Shift   int64 // Misdirected, bytes, a multiple of the sector size

	past Snapshot // Stale
}

// NoSpace is a fault for a thinly provisioned disk that is full: writes fail,
// reads go on.
func NoSpace() Fault { return Fault{Op: Writes, Err: syscall.ENOSPC} }

// WriteProtected is a fault for a disk that the array made read-only: writes
// fail, reads go on.
func WriteProtected() Fault { return Fault{Op: Writes, Err: syscall.EROFS} }

// Inject adds a fault to the handle. It panics if the fault makes no sense.
func (h *Handle) Inject(f Fault) {
	switch f.Kind {
	case FailAfter, FailLate, HangAfter, Torn, Lost, Late, Ghost:
		if f.Op == Reads {
			panic("storagetest: a fault of writes injected into reads")
		}
		f.Op = Writes
	case Stale:
		if f.Op == Writes {
			panic("storagetest: a fault of reads injected into writes")
		}
		f.Op = Reads
		f.past = h.disk.Snapshot()
	case Misdirected:
		if f.Shift == 0 || f.Shift%int64(h.info.SectorSize) != 0 {
			panic("storagetest: Shift is no multiple of the sector size")
		}
	}
	if f.Op == 0 {
		f.Op = Both
	}
	if f.Err == nil && !f.Silent {
		f.Err = syscall.EIO
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.faults = append(h.faults, &f)
}

// Heal takes all faults off the handle. What is pending stays pending.
func (h *Handle) Heal() {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.faults = nil
}

// match returns the fault for a request and counts it, or nil.
func (h *Handle) match(r Request) *Fault {
	for _, f := range h.faults {
		end := f.Off + f.Len
		if f.Op&r.Op == 0 || (f.Len != 0 && (r.Off >= end || r.Off+int64(r.Len) <= f.Off)) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				h.faults = slices.DeleteFunc(h.faults, func(g *Fault) bool { return g == f })
			}
		}
		return f
	}
	return nil
}

// goWrong carries out a request under a fault, with the disk's lock held.
func (h *Handle) goWrong(f *Fault, r Request, buf []byte) (hung bool, err error) {
	m := h.disk
	switch f.Kind {
	case Fail:
		return false, f.Err
	case FailAfter:
		m.store(buf, r.Off)
		return false, f.Err
	case FailLate:
		m.keep(r, buf, nil)
		return false, f.Err
	case Hang:
		m.keep(r, buf, h)
		return true, storage.ErrTimeout
	case HangAfter:
		m.store(buf, r.Off)
		m.keep(r, buf, h).Landed = true
		return true, storage.ErrTimeout
	case Torn:
		m.store(buf[:min(len(buf), f.Sectors*h.info.SectorSize+f.Bytes)], r.Off)
		return false, f.Err
	case Late:
		m.keep(r, buf, nil)
	case Ghost:
		m.store(buf, r.Off)
		m.keep(r, buf, nil).Landed = true
	case Stale:
		load(f.past.pages, buf, r.Off)
	case Misdirected:
		return false, h.misdirect(f.Shift, r, buf)
	}
	return false, nil // Lost has no effect, and says that it had
}

// misdirect carries a request out at another place of the disk. Outside of it
// there is no place to go: the request fails.
func (h *Handle) misdirect(shift int64, r Request, buf []byte) error {
	to := r.Off + shift
	if h.info.Check(to, r.Len) != nil {
		return syscall.EIO
	}
	if r.Op == Writes {
		h.disk.store(buf, to)
	} else {
		load(h.disk.pages, buf, to)
	}
	return nil
}
