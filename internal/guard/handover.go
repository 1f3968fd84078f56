package guard

import (
	"errors"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// An upgrade waits until nothing is in flight to a disk.
const (
	handoverTry  = 5 * time.Millisecond
	handoverWait = 100 // tries to find all workers between two cycles
)

// restore continues a lease. It counts from where it counted, so at most some
// cycles are forgotten.
func (s *state) restore(h *handover.Bundle) error {
	s.own.claimed = true
	snap, v := h.Snapshot, h.Snapshot.Lease
	if v.State == lease.Free {
		return nil
	}
	s.setPayload(snap.Payload, snap.Seq)
	s.params, s.killed = snap.Params, snap.Killed
	return s.with(func(l *lease.Lease) error {
		err := l.Claim(v.Start, v.Inc, max(v.Permission, v.Start), v.Params)
		if err == nil {
			err = l.Grace(v.Inc, v.Grace)
		}
		if err == nil {
			err = l.Change(snap.Now, v.Inc, v.Carry.New)
		}
		if err == nil && v.Frozen {
			err = l.Stopping(v.Inc)
		}
		if err == nil && v.Killed {
			l.Kill(v.Inc)
		}
		return err
	})
}

// upgrade replaces this program; it returns only if that failed, and everything
// goes on as before.
func (g *Guard) upgrade(path string) error {
	if g.deps.Upgrade == nil {
		return errUpgrade
	}
	if g.reading.Load() { // a thread that hangs in the kernel would hold up the exec, and nobody would feed
		return errors.New("the key files are being read, and their file system does not answer: try again when it does")
	}
	for n := 0; !g.cycles.TryLock(); n++ {
		if n == handoverWait {
			return errors.New("a disk request does not end: try again when all disks answer")
		}
		<-time.After(handoverTry)
	}
	defer g.cycles.Unlock()
	var err error
	g.each(func(w *worker) {
		if w.disk == nil || err != nil {
			return
		}
		if err = w.disk.Close(); err == nil {
			w.disk = nil // opened again by the next cycle, here or there
		}
	})
	if err != nil {
		return err
	}
	h := handover.Bundle{}
	if h.Snapshot, err = g.Snapshot(); err != nil {
		return err
	}
	for _, d := range g.armed.Dogs {
		n, err := watchdog.NameOf(d)
		if err != nil {
			return err
		}
		h.Dogs = append(h.Dogs, n)
	}
	return g.deps.Upgrade(path, h)
}
