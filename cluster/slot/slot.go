// Package slot says whether this machine may use its node's slot on the quorum
// disks: the sector of its beats, and its block of the register. Both have one
// writer, and much rests on that; so a machine that was given another one's disk
// or identity, or a virtual machine that was started twice, has to be noticed
// before it writes anything, and by what it can read alone.
package slot

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Still is how long a slot has to stand still under another boot before the
// register's block is written: two beats at the slowest pace that there is.
const Still = 2 * time.Second

// Twice is what is said where the node's block of the register was written by
// somebody else.
const Twice = "somebody else has written this node's block of the register: a late write of a former boot or, if it goes on, a second machine with this node's identity; switch one of them off"

// Pause is how long nothing is written after that: long enough for the other
// machine to beat in the slot, and not the same for two of them.
func Pause(life uint64) time.Duration {
	return 5*time.Second + time.Duration(life%8)*500*time.Millisecond
}

// Use is a machine that is about to use the slot of a node.
type Use struct {
	Node ident.NodeID
	Name string
	Boot ident.BootID
	Host ident.UUID
	Beat *cluster.Beat // the latest in the slot; nil: there never was one
	// Quiet is for how long no disk has shown a new one.
	Quiet time.Duration
	Dead  uint32 // the highest incarnation of the node that the cluster holds for dead
	// Joined is the incarnation that has joined last, unless it is known to be dead.
	Joined ident.Incarnation
	Own    bool // this process has used the slot already: what follows is settled
	Read   bool // a majority of the disks was read twice
	Said   bool // an operator has said here that the other machine is off
}

// Dead is the highest incarnation of a node that s holds for dead; s may be nil.
func Dead(s *cluster.State, id ident.NodeID) uint32 {
	if s == nil || s.Node(id) == nil {
		return 0
	}
	return s.Node(id).Dead
}

// Joined is the incarnation of a node that has joined last, zero if it is known to
// be dead; s may be nil.
func Joined(s *cluster.State, id ident.NodeID) ident.Incarnation {
	if s == nil || s.Node(id) == nil || s.Node(id).Dead >= s.Node(id).Inc.N || s.Node(id).Phase == cluster.Out {
		return ident.Incarnation{}
	}
	return s.Node(id).Inc
}

// Foreign says that the slot was used last by another machine which may still
// run. That this one has booted says nothing about it.
func (u *Use) Foreign() bool {
	return u.Beat != nil && u.Beat.Host != u.Host && u.Beat.State != cluster.GuardRetired && u.Dead < u.Beat.Inc.N
}

// Block says why the register's block may not be written yet; empty if it may.
// Nobody can have agreed on anything before, so this rests on the slot alone: on
// its standing still, for as long as an outsider would wait for the death of
// another machine.
func (u *Use) Block() string {
	switch {
	case u.Own:
		return ""
	case !u.Read:
		return "a majority of the quorum disks has not been read twice"
	}
	still := Still
	if u.Foreign() && !u.Said {
		still = max(still, timing.WaitOutsider(u.Beat.Lease.Timing(), timing.Lease{}, timing.Site{Tz: timing.DefaultTz, Rho: timing.DefaultRho}))
		if u.Quiet < still {
			return u.Other() + waits(u.Quiet, still)
		}
	}
	return u.Moves(still)
}

// Moves says that the slot has not stood still for so long; empty if it has, or
// if it was this boot that beat there.
func (u *Use) Moves(still time.Duration) string {
	if u.Beat == nil || u.Beat.Inc.Boot == u.Boot || u.Quiet >= still {
		return ""
	}
	return fmt.Sprintf("the slot of node %d must stand still for %s: another machine may be using it", u.Node, round(still))
}

// Taken is Moves for a claim, which has to wait for longer where the beat that stands
// is of an incarnation that was never let in: while it stood another machine may have
// claimed the same number, and its beats were overwritten here. Nobody consents to its
// living on without the disks, so within its lease, and the time of its watchdogs, it
// beats here again or has ended (test/model/slot.pml).
func (u *Use) Taken(still time.Duration) string {
	if u.Beat == nil || u.Said || u.Beat.Inc.N <= max(u.Joined.N, u.Dead) {
		return u.Moves(still)
	}
	l := u.Beat.Lease.Timing()
	l.G = 0
	still = max(still, timing.WaitOutsider(l, timing.Lease{}, timing.Site{Tz: timing.DefaultTz, Rho: timing.DefaultRho}))
	if u.Quiet < still {
		return fmt.Sprintf("what has beaten in the slot of node %d was never let in: another machine may have claimed the same; it is seen, or has ended, once the slot has stood still for %s", u.Node, round(still))
	}
	return ""
}

// Rival says that the incarnation which has joined is not the one whose beat stands
// in the slot, nor one before it: two machines have beaten there, and the one that has
// joined may still run, for nobody can see its silence any more. Empty if it is.
func (u *Use) Rival() string {
	if u.Joined.IsZero() || u.Beat == nil || u.Said || u.Beat.Inc == u.Joined || u.Beat.Inc.N > u.Joined.N {
		return ""
	}
	return fmt.Sprintf("node %d has joined as %v from another machine, and something else has beaten in its slot since: it has to be proven dead by its power; if it is off: holdfast node confirm-off %s", u.Node, u.Joined, u.Name)
}

// Other says what has to be proven before a foreign slot is used.
func (u *Use) Other() string {
	return fmt.Sprintf("node %d ran on another machine (%s) last, which has to be proven dead first; if it is off: holdfast node confirm-off %s", u.Node, u.Beat.Host, u.Name)
}

// Wait adds to Other by when silence will have proven it: after wait, of which
// the slot has stood still for quiet on a majority of the disks.
func (u *Use) Wait(quiet, wait time.Duration, known bool) string {
	if !known || !u.Beat.Lease.Class.CarriesTime() {
		return u.Other() + "; its watchdogs do not let silence prove it"
	}
	return u.Other() + waits(quiet, wait)
}

// ever is longer than any lease but one without an end.
const ever = 1000 * time.Hour

func waits(quiet, wait time.Duration) string {
	if wait > ever {
		return "; its silence never proves it, for it may go on without the quorum disks for as long as the others consent (on_disk_loss: keep)"
	}
	return fmt.Sprintf("; its silence proves it after %s, in %s", round(wait), round(max(0, wait-quiet)))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
