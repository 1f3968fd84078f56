// Package luns is the data LUNs of a simulated cluster: targets with persistent
// reservations. What a LUN lets a node do depends on nothing but the keys that it
// holds; it knows no time. A write is accepted when it arrives with a key there, and
// lands later, unless somebody has taken the key away and aborted it meanwhile.
package luns

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// PerService is how many LUNs are below the storage of a guarded service.
const PerService = 3

// Faults are what goes wrong between a node and the LUNs.
type Faults struct {
	Late    time.Duration // a REGISTER arrives this much later, whatever becomes of the daemon, but for the drain time after a reset
	Hang    time.Duration // so does a PREEMPT AND ABORT
	Cut     []bool        // per LUN of a service: it does not answer this node
	Aborts  bool          // PREEMPT AND ABORT hangs: the key goes, and nobody knows of the commands
	Kept    bool          // PREEMPT AND ABORT is answered with "good" and does nothing
	Dropped bool          // a REGISTER is answered with "good" and does nothing
	Queued  bool          // what this node writes waits in the target, for up to the drain time
}

// Off says that LUN i of a service does not answer.
func (f *Faults) Off(i int) bool { return i < len(f.Cut) && f.Cut[i] }

// Watch is told what truly happens to a LUN.
type Watch struct {
	Key    func(id ident.NodeID, lun string, on bool)     // it takes or loses a key
	Loose  func(id ident.NodeID, lun string)              // it is about to lose one, and commands of that node are not aborted
	Landed func(id ident.NodeID, lun string, term uint64) // a write has landed
}

// Counts are what became of the writes of processes.
type Counts struct {
	Landed  int
	Refused int // at their arrival, for there was no key
	Aborted int // by who took the key away
	Late    int // landed after the key was taken away, for nobody aborted them
	Hung    int // attempts to take keys away that were given up
}

// Store is all LUNs, by service. It is used by one goroutine.
type Store struct {
	Counts Counts
	watch  Watch
	all    map[string][]*LUN
}

// LUN is one of them.
type LUN struct {
	Name  string
	keys  map[ident.NodeID]uint64 // by initiator
	queue []*Write
	store *Store
}

// Write is a command that a LUN has accepted.
type Write struct {
	id   ident.NodeID
	term uint64
	over bool // landed, or aborted
	late bool
}

// New returns LUNs without a key.
func New(w Watch) *Store { return &Store{watch: w, all: map[string][]*LUN{}} }

// Of returns those below a service.
func (s *Store) Of(service string) []*LUN {
	for i := len(s.all[service]); i < PerService; i++ {
		l := &LUN{Name: fmt.Sprintf("%s/%d", service, i+1), keys: map[ident.NodeID]uint64{}, store: s}
		s.all[service] = append(s.all[service], l)
	}
	return s.all[service]
}

// Names are those of the LUNs below a service.
func (s *Store) Names(service string) []string {
	var names []string
	for _, l := range s.Of(service) {
		names = append(names, l.Name)
	}
	return names
}

// Forget is a target that was reset and kept no key. What was on its way is gone
// too, and nobody may write before a key is there again.
func (s *Store) Forget(service string) {
	for _, l := range s.Of(service) {
		l.Preempt(l.Others(0, nil), true)
	}
}

// Registered says on how many LUNs of a service a node has a key.
func (s *Store) Registered(service string, id ident.NodeID) int {
	n := 0
	for _, l := range s.Of(service) {
		if _, ok := l.keys[id]; ok {
			n++
		}
	}
	return n
}

// Register gives a node a key.
func (l *LUN) Register(id ident.NodeID, key uint64) {
	l.keys[id] = key
	l.store.watch.Key(id, l.Name, true)
}

// Others lists the nodes, but for one, whose keys are none of keep.
func (l *LUN) Others(but ident.NodeID, keep []uint64) []ident.NodeID {
	var list []ident.NodeID
	for id, k := range l.keys {
		if id != but && !slices.Contains(keep, k) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

// Preempt takes the keys of nodes away, and aborts what of theirs was on its way,
// or leaves that to land.
func (l *LUN) Preempt(of []ident.NodeID, abort bool) {
	for _, id := range of {
		if !abort {
			l.store.watch.Loose(id, l.Name)
		}
		for _, w := range l.queue {
			if w.id != id {
				continue
			}
			if w.late = true; abort {
				w.over = true
				l.store.Counts.Aborted++
			}
		}
		delete(l.keys, id)
		l.store.watch.Key(id, l.Name, false)
	}
}

// Take is a PREEMPT AND ABORT of every key that is not to stay, as they are now. It
// returns what happens when the command arrives: sure is false if what the victim,
// or another whose key went, had on its way was not aborted on every LUN.
func (s *Store) Take(a cluster.Reserve, by ident.NodeID, f *Faults) (arrives func() (sure bool)) {
	list := s.Of(a.Service.Name)
	old := make([]map[ident.NodeID]uint64, len(list))
	for i, l := range list {
		old[i] = map[ident.NodeID]uint64{}
		for _, id := range l.Others(by, a.Keep) {
			old[i][id] = l.keys[id]
		}
	}
	return func() bool {
		sure := !f.Aborts
		for i, l := range list {
			if f.Off(i) || f.Kept || !l.Has(by, a.Key) {
				continue
			}
			met := a.Victim == 0
			var of []ident.NodeID
			for _, id := range l.Others(by, a.Keep) {
				if key, was := old[i][id]; was && l.keys[id] == key {
					of = append(of, id)
					met = met || key == a.Victim
				}
			}
			l.Preempt(of, !f.Aborts)
			sure = sure && met
		}
		return sure
	}
}

// Accept takes a write at its arrival; nil if the node has no key.
func (l *LUN) Accept(id ident.NodeID, term uint64) *Write {
	if _, ok := l.keys[id]; !ok {
		l.store.Counts.Refused++
		return nil
	}
	w := &Write{id: id, term: term}
	l.queue = append(l.queue, w)
	return w
}

// Land lands a write, unless it was aborted.
func (l *LUN) Land(w *Write) {
	l.queue = slices.DeleteFunc(l.queue, func(o *Write) bool { return o == w || o.over })
	if w.over {
		return
	}
	w.over = true
	l.store.Counts.Landed++
	if w.late {
		l.store.Counts.Late++
	}
	l.store.watch.Landed(w.id, l.Name, w.term)
}

// Has says that a node is registered with this key.
func (l *LUN) Has(id ident.NodeID, key uint64) bool { return l.keys[id] == key }

// ReadBack reads the keys of every LUN for a node: what a Reserve has shown.
func ReadBack(a cluster.Reserve, list []*LUN, id ident.NodeID, f *Faults) cluster.ReserveDone {
	e := cluster.ReserveDone{Op: a.Op, Outcome: cluster.FenceProven, Text: "registered, type 7, kept over a loss of power"}
	for i, l := range list {
		e.LUNs = append(e.LUNs, l.Name)
		others := l.Others(id, a.Keep)
		switch {
		case f.Off(i):
			e.Outcome, e.Text = cluster.FenceUnknown, l.Name+": does not answer"
		case e.Outcome != cluster.FenceProven:
		case !l.Has(id, a.Key):
			e.Outcome, e.Text = cluster.FenceFailed, l.Name+": this node's key is not there"
		case a.Kind == cluster.ReserveTake && len(others) > 0:
			e.Outcome, e.Text = cluster.FenceUnknown, l.Name+": still there: "+cluster.KeyText(l.keys[others[0]])
		}
	}
	return e
}
