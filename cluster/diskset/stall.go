package diskset

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// What a machine has sent lands at most T_z after its end, on disks that answer. While
// a disk holds this node's requests back it may hold back those of the machine that has
// ended, too: from the end of such a stall T_z counts anew. A stall is a request
// that takes longer than T_z/2.
//
// A disk that is slow all the time must not put off every proof for ever, so after
// fewStalls of them only one counts that takes twice as long as any before; and one that
// answers nobody any more has no end to count from. Whoever starts something on the
// array behind it has to read there first, and waits.

const (
	mostStalls = 8 // that are remembered of one disk
	fewStalls  = 4 // that count in a row, whatever they take
)

// stall is a time in which a disk did not answer.
type stall struct{ from, to ident.Instant }

// stalls are the latest stalls of one disk. The zero value has seen none.
type stalls struct {
	list [mostStalls]stall
	n    int           // how many there ever were
	lost ident.Instant // issue of the first request that has failed since one succeeded; 0: none has
}

// saw takes the end of a request. What fails ends no stall: only an answer does.
func (s *stalls) saw(e *cluster.Table, tz time.Duration) {
	from := e.ReadIssued
	if e.Wrote && e.ReadIssued.Sub(e.Issued) > tz/2 {
		from = e.Issued
	}
	switch {
	case s.lost == 0 && e.Err != "":
		s.lost = from
		return
	case e.Err != "":
		return
	case s.lost != 0:
		from, s.lost = min(s.lost, from), 0
	}
	if e.Completed.Sub(from) > tz/2 {
		s.list[s.n%mostStalls] = stall{from, e.Completed}
		s.n++
	}
}

// landed is when everything has landed that a machine had sent which ended at end.
func (s *stalls) landed(end ident.Instant, tz time.Duration) ident.Instant {
	at, counted, longest := end.Add(tz), 0, time.Duration(0)
	for i := max(0, s.n-mostStalls); i < s.n; i++ {
		k := s.list[i%mostStalls]
		took := k.to.Sub(k.from)
		if k.to <= end || k.from >= at || counted >= fewStalls && took < 2*longest {
			continue
		}
		at, counted, longest = max(at, k.to.Add(tz)), counted+1, max(longest, took)
	}
	return at
}

// Answered takes the end of a request to a disk, for Landed.
func (w *Watch) Answered(e *cluster.Table, tz time.Duration) {
	w.Disks[e.Disk].stalls.saw(e, tz)
}

// Landed is the instant by which everything has landed that a machine had sent which
// ended at end: tz later, or tz after the end of a stall of any disk in use.
func (w *Watch) Landed(end ident.Instant, tz time.Duration) ident.Instant {
	at := end.Add(tz)
	for d := range w.Disks {
		if w.Used(d) && w.Disks[d].Ejected == "" {
			at = max(at, w.Disks[d].stalls.landed(end, tz))
		}
	}
	return at
}
