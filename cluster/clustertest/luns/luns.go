// Package luns is the data LUNs of a simulated cluster: targets with persistent
// reservations. What a LUN lets a node do depends on nothing but the keys that it
// holds; it knows neither time nor who sends.
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
	Cut     []bool        // per LUN of a service: it does not answer this node
	Aborts  bool          // PREEMPT AND ABORT hangs: the key goes, and nobody knows of the commands
	Dropped bool          // a REGISTER is answered with "good" and does nothing
}

// Off says that LUN i of a service does not answer.
func (f *Faults) Off(i int) bool { return i < len(f.Cut) && f.Cut[i] }

// Watch is told of every key that a LUN takes or loses.
type Watch func(id ident.NodeID, lun string, on bool)

// Store is all LUNs, by service. It is used by one goroutine.
type Store struct {
	watch Watch
	all   map[string][]*LUN
}

// LUN is one of them.
type LUN struct {
	Name  string
	keys  map[ident.NodeID]uint64 // by initiator
	watch Watch
}

// New returns LUNs without a key.
func New(w Watch) *Store { return &Store{w, map[string][]*LUN{}} }

// Of returns those below a service.
func (s *Store) Of(service string) []*LUN {
	for i := len(s.all[service]); i < PerService; i++ {
		l := &LUN{fmt.Sprintf("%s/%d", service, i+1), map[ident.NodeID]uint64{}, s.watch}
		s.all[service] = append(s.all[service], l)
	}
	return s.all[service]
}

// Forget is a target that was reset and kept nothing: no key is there any more.
func (s *Store) Forget(service string) {
	for _, l := range s.Of(service) {
		l.Preempt(0, nil)
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
	l.watch(id, l.Name, true)
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

// Preempt takes the keys of the Others away, with everything that was on its way.
func (l *LUN) Preempt(by ident.NodeID, keep []uint64) {
	for _, id := range l.Others(by, keep) {
		delete(l.keys, id)
		l.watch(id, l.Name, false)
	}
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
