// Package oracle judges a simulated cluster from outside. A simulator tells it
// what truly happens: when a beat was issued, when a watchdog was fed, when a
// process may write first and last, what was decided. The oracle works out for
// itself what every node was allowed to do and what it may still be doing at the
// worst, and speaks when the cluster did more than that, or believed less.
//
// It shares no arithmetic with what it judges: it imports neither the package
// that derives the timeouts nor the one that keeps the lease, and gets true
// times, which no node of the cluster knows.
package oracle

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Kind names the rule that was broken.
type Kind string

// The rules. All but the last three are about safety.
const (
	TwoOwners    Kind = "two owners"               // a service could write from two nodes
	Ghost        Kind = "dead too early"           // a death was asserted by time while the victim could legally still run
	PowerEarly   Kind = "off too early"            // power was called off while the machine was on, or its last writes could land
	FedDead      Kind = "the dead feed"            // an incarnation proven dead feeds its watchdogs
	FedLate      Kind = "fed outside the lease"    // a watchdog was fed after a check that should have failed
	BothLate     Kind = "both watchdogs fed late"  // nothing is left that would end the node in time
	NoGrant      Kind = "start without a grant"    // nothing that was decided allows this start
	NoProof      Kind = "grant without a proof"    // a term began although the one before had not ended
	TwoDecisions Kind = "two decisions"            // one version of the register, or one term, with two meanings
	Backwards    Kind = "undone"                   // what may only grow has shrunk
	NotStopped   Kind = "released but not stopped" // an incarnation retired, or a term was released, while it could write
	Lost         Kind = "a block is lost"          // a write to the register has replaced a block that somebody relies on
	NotApart     Kind = "on one node"              // two services that must be apart
	NotTogether  Kind = "not together"             // two services that must be on one node
	Words        Kind = "no explanation"           // an action nobody explains
)

// Violation is what an oracle says.
type Violation struct {
	Kind Kind
	Text string
}

// Error makes a violation an error.
func (v Violation) Error() string { return string(v.Kind) + ": " + v.Text }

// Limits are what the world promises the cluster, whatever else goes wrong.
type Limits struct {
	Nodes, Disks int
	Rho          float64       // no clock is further off than this share
	Drain        time.Duration // no write of a host lands later than this after its end
}

// Judge follows one world. It is used by one goroutine.
type Judge struct {
	limits   Limits
	fail     func(Violation)
	nodes    []*node // by node id
	services map[string]*service
	stalls   []span // in the order of their ends
	luns     map[string]*lun
	versions map[uint64]decision
	newest   uint64
	phases   map[ident.NodeID]*phase // by machine
	held     map[ring]Block
	rules    beside
	// Leases counts the cycles that were judged, Feeds the feeds.
	Leases, Feeds uint64
}

// New returns a judge that tells fail of every violation.
func New(l Limits, fail func(Violation)) *Judge {
	j := &Judge{limits: l, fail: fail, services: map[string]*service{}, versions: map[uint64]decision{}, phases: map[ident.NodeID]*phase{}, held: map[ring]Block{}}
	for id := range l.Nodes + 1 {
		j.nodes = append(j.nodes, newNode(ident.NodeID(id)))
	}
	return j
}

func newNode(id ident.NodeID) *node {
	return &node{id: id, bound: map[ident.Incarnation]*bond{}, dead: map[ident.Incarnation]bool{}}
}

// Twin says that there is another machine with a node's name and disk, and returns
// the number by which it is told of.
func (j *Judge) Twin(of ident.NodeID) ident.NodeID {
	j.nodes = append(j.nodes, newNode(of))
	return ident.NodeID(len(j.nodes) - 1)
}

func (j *Judge) say(k Kind, format string, args ...any) {
	j.fail(Violation{k, fmt.Sprintf(format, args...)})
}

// Moment is one instant on two clocks.
type Moment struct {
	True time.Duration // of the world
	Own  ident.Instant // of the node's clock
}

// node is one machine.
type node struct {
	id    ident.NodeID // whose slot, disk and name it has
	up    bool
	now   *bond   // the bound incarnation; nil if free
	sets  [][]int // by which its lease counts; nil: by all disks
	bound map[ident.Incarnation]*bond
	dead  map[ident.Incarnation]bool // asserted by time
	late  []bool                     // per watchdog: fed after the end of the lease that holds now
}

// Promise is what an incarnation's beats promise, and what its machine keeps.
type Promise struct {
	F, G    time.Duration // by the node's own clock
	TMax    time.Duration // true: the longest that any of its watchdogs takes
	Periods int           // watchdog periods that may follow the end of the lease
	Pause   time.Duration // true: how long the whole machine may be stopped
}

// said is what the beats carry from an instant on.
type said struct {
	from Moment
	f, g time.Duration
}

// bond is one incarnation that a guard was bound to.
type bond struct {
	inc     ident.Incarnation
	p       Promise // F and G are what may be lived by now
	says    []said
	legal   ident.Instant // checks until then were in order, by what was promised then
	claimed Moment
	done    []Moment // per disk: issue of the latest completed cycle
	start   Moment   // what the lease counts from
	grace   ident.Instant
	consent time.Duration // true time at which that has come at the latest
	until   time.Duration // true time until which it could go on at the worst, watchdogs included
	permit  ident.Instant
	frozen  bool
	retired bool
	ended   time.Duration // when its machine ended
}

// Boots says that a machine begins to run.
func (j *Judge) Boots(id ident.NodeID) {
	n := j.nodes[id]
	n.up, n.now, n.late = true, nil, nil
}

// Ends says that a machine executes nothing any more. What it wrote last may
// still land during the drain.
func (j *Judge) Ends(id ident.NodeID, at time.Duration) {
	n := j.nodes[id]
	if n.now != nil {
		n.now.ended = at
	}
	n.up, n.now = false, nil
	j.lunsEnd(id, at)
	for _, s := range j.services {
		if h := s.holders[id]; h != nil && h.running {
			h.running, h.until = false, at+j.limits.Drain
		}
	}
}

// Binds says that a guard was bound to an incarnation.
func (j *Judge) Binds(id ident.NodeID, inc ident.Incarnation, at Moment, permit ident.Instant, p Promise) {
	n := j.nodes[id]
	if n.bound[inc] != nil {
		j.say(Backwards, "node %d is bound to %v a second time", id, inc)
	}
	b := &bond{inc: inc, p: p, claimed: at, start: at, permit: permit, grace: ident.LongAgo, done: make([]Moment, mostDisks), legal: ident.LongAgo, says: []said{{at, p.F, p.G}}}
	for d := range b.done {
		b.done[d] = Moment{True: -1 << 62, Own: ident.LongAgo}
	}
	n.now, n.bound[inc], n.late = b, b, nil
	j.extend(b)
}

// Promises says that every beat of an incarnation that is issued from at on
// carries other values. Whoever has seen one that carries less saw it no earlier,
// so until that instant the former values were in order, and from then on less is.
func (j *Judge) Promises(id ident.NodeID, inc ident.Incarnation, at Moment, f, g time.Duration) {
	b := j.nodes[id].now
	if b == nil || b.inc != inc {
		return
	}
	b.legal = max(b.legal, min(at.Own, b.end()))
	b.says = append(b.says, said{at, f, g})
	b.live()
	b.grace = min(b.grace, at.Own.Add(b.p.F))
	b.consent = min(b.consent, at.True+j.slow(b.p.F))
	rest := time.Duration(b.p.Periods)*b.p.TMax + b.p.Pause
	b.until = min(b.until, at.True+rest)
	j.extend(b)
}

// live works out what may be lived by: the least that any beat says which was
// issued since the lease started, for an observer may have seen just that one.
func (b *bond) live() {
	b.p.F, b.p.G = 1<<63-1, 1<<63-1
	for i, s := range b.says {
		if later := i+1 < len(b.says); later && b.says[i+1].from.True < b.start.True {
			continue // no beat behind the lease carries it
		}
		b.p.F, b.p.G = min(b.p.F, s.f), min(b.p.G, s.g)
	}
}

// end is the last instant at which the lease may be relied on.
func (b *bond) end() ident.Instant {
	end := b.start.Own.Add(b.p.F)
	if b.grace > b.start.Own {
		end = max(end, min(b.grace, graceEnd(b)))
	}
	return max(end, b.legal)
}

// Cycled says that a cycle on a disk is complete: a beat that was issued then
// was written and the table read back. A majority of the disks counts.
func (j *Judge) Cycled(id ident.NodeID, disk int, inc ident.Incarnation, issued Moment) {
	b := j.nodes[id].now
	if b == nil || b.inc != inc || b.frozen || issued.True < b.claimed.True || issued.True <= b.done[disk].True {
		return
	}
	j.Leases++
	b.done[disk] = issued
	j.vouched(id)
}

// Counts says by which sets of disks a node's lease counts from now on; a
// majority of each is needed. Until it is said it counts by all the disks that
// there were at the beginning.
func (j *Judge) Counts(id ident.NodeID, sets ...[]int) {
	j.nodes[id].sets = sets
	if b := j.nodes[id].now; b != nil && !b.frozen {
		j.vouched(id)
	}
}

// vouched moves the start of the lease to the latest beat that a majority of
// every set held. What it had been before counts too, for it was relied upon.
func (j *Judge) vouched(id ident.NodeID) {
	b, sets := j.nodes[id].now, j.nodes[id].sets
	if sets == nil {
		sets = [][]int{make([]int, j.limits.Disks)}
		for d := range sets[0] {
			sets[0][d] = d
		}
	}
	for _, m := range b.done {
		held := true
		for _, set := range sets {
			fresh := 0
			for _, d := range set {
				if b.done[d].True >= m.True {
					fresh++
				}
			}
			held = held && fresh >= len(set)/2+1
		}
		if held && m.True > b.start.True {
			b.start = m
			b.live()
			j.nodes[id].late = nil
		}
	}
	j.extend(b)
}

// mostDisks is how many disks a cluster may ever have had.
const mostDisks = 16

// extend keeps until when an incarnation could go on: its lease, by the slowest
// clock that is allowed, and then the watchdogs.
func (j *Judge) extend(b *bond) {
	end := b.start.True + j.slow(b.p.F)
	if b.grace > b.start.Own {
		end = max(end, min(b.consent, b.start.True+j.slow(min(b.p.G, 1000*time.Hour))))
	}
	b.until = max(b.until, end+time.Duration(b.p.Periods)*b.p.TMax+b.p.Pause)
}

// slow is the longest that so much of a node's clock may be in truth.
func (j *Judge) slow(d time.Duration) time.Duration {
	return time.Duration(float64(d) / (1 - j.limits.Rho))
}

// Permits says that the daemon permits an incarnation until then.
func (j *Judge) Permits(id ident.NodeID, inc ident.Incarnation, until ident.Instant) {
	if b := j.nodes[id].now; b != nil && b.inc == inc {
		b.permit = max(b.permit, until)
	}
}

// Graces says that every other member has promised not to call an incarnation
// dead, so that it may go on until then. What its clock has done before that is
// known: only from now on may it be slow.
func (j *Judge) Graces(id ident.NodeID, inc ident.Incarnation, at Moment, until ident.Instant) {
	if b := j.nodes[id].now; b != nil && b.inc == inc && !b.frozen {
		b.grace = max(b.grace, until)
		b.consent = max(b.consent, at.True+j.slow(until.Sub(at.Own)))
		j.nodes[id].late = nil
		j.extend(b)
	}
}

// Freezes says that an incarnation is stopping, or obeys a kill record: its
// lease moves no more.
func (j *Judge) Freezes(id ident.NodeID, inc ident.Incarnation) {
	if b := j.nodes[id].now; b != nil && b.inc == inc {
		b.frozen = true
	}
}

// Retires says that a guard was freed of an incarnation, which holds nothing.
func (j *Judge) Retires(id ident.NodeID, inc ident.Incarnation) {
	n := j.nodes[id]
	for name, s := range j.services {
		if h := s.holders[id]; h != nil && h.running {
			j.say(NotStopped, "node %d retires %v while %s runs on it", id, inc, name)
		}
	}
	if b := n.bound[inc]; b != nil {
		b.retired = true
	}
	n.now = nil
}

// Fed says that watchdog dog of a node was fed at fed, after a check of the lease
// at checked. While nothing is bound everything may be fed.
func (j *Judge) Fed(id ident.NodeID, dog, dogs int, checked, fed Moment) {
	n := j.nodes[id]
	j.Feeds++
	b := n.now
	if b == nil {
		return
	}
	if n.dead[b.inc] {
		j.say(FedDead, "node %d %v feeds its watchdogs although it was proven dead by time", id, b.inc)
	}
	end := b.end()
	if checked.Own > end || checked.Own > b.permit {
		j.say(FedLate, "node %d %v feeds watchdog %d after a check %v after the end of its lease and %v after that of its permission",
			id, b.inc, dog, checked.Own.Sub(end), checked.Own.Sub(b.permit))
	}
	if fed.Own <= end {
		return
	}
	if n.late == nil {
		n.late = make([]bool, dogs)
	}
	n.late[dog] = true
	for _, l := range n.late {
		if !l {
			return
		}
	}
	if dogs > 1 {
		j.say(BothLate, "node %d %v has fed every watchdog after the end of its lease", id, b.inc)
	}
}

// graceEnd is the last instant that network grace can reach.
func graceEnd(b *bond) ident.Instant {
	if e := b.start.Own.Add(b.p.G); e >= b.start.Own {
		return e
	}
	return ident.Never
}

// CalledDead says that a node asserts, by time, that an incarnation has ended.
// That is wrong as long as the incarnation could legally go on, or its last
// writes land, even where it has long been dead.
func (j *Judge) CalledDead(id ident.NodeID, inc ident.Incarnation, at time.Duration, by ident.NodeID) {
	for _, n := range j.nodes {
		if n.id != id {
			continue
		}
		n.dead[inc] = true
		if b := n.bound[inc]; b != nil && !b.retired && at < j.landed(b.until) {
			j.say(Ghost, "node %d calls node %d %v dead by time %v before it must have ended", by, id, inc, j.landed(b.until)-at)
		}
	}
}

// CalledOff says that a node asserts that an incarnation has no power: then its
// machine must be off, or have begun another boot, and its last writes have landed.
func (j *Judge) CalledOff(id ident.NodeID, inc ident.Incarnation, at time.Duration, by ident.NodeID) {
	for _, n := range j.nodes {
		switch b := n.bound[inc]; {
		case n.id != id || b == nil || b.retired:
		case n.now == b:
			j.say(PowerEarly, "node %d calls node %d %v off, and it is on", by, id, inc)
		case at < j.landed(b.ended):
			j.say(PowerEarly, "node %d calls node %d %v off %v before its last writes had to be there", by, id, inc, j.landed(b.ended)-at)
		}
	}
}
