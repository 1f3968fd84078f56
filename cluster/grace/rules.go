// Package grace is what lets services outlive the quorum disks: a node that
// cannot reach a majority of them may go on while every other member of the
// membership it has acknowledged promises, over the network, not to declare it
// dead. It holds three small things, none of which knows a disk or a clock: what
// this node asks for (Asker), what it has promised (Promises), and how long it
// bears with a peer that alone has lost its disks (Patience). Node joins them
// for one node.
//
// Why it is safe: a renewal of the right to go on needs a majority of the disks
// or all members; a proof of death by time needs a majority of the disks and the
// prover's own silence, which is no promise for the wait W. Any two of these
// have a disk or a member in common, so every single member can refuse. A node
// that is not a member was never asked; it waits for the longer W_c, which
// counts from the bound G of the grace instead of the lease F, and it becomes a
// member only once every member has acknowledged the view in which it joins, so
// that from then on it is asked too.
package grace

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// open is how many requests may be unanswered at a time. A reply that takes
// longer than so many requests comes too late to be of use.
const open = 16

// nodes is a set of node ids.
type nodes [(ident.MaxNodes + 8) / 8]byte

func (s *nodes) add(id ident.NodeID)  { s[id/8] |= 1 << (id % 8) }
func (s *nodes) drop(id ident.NodeID) { s[id/8] &^= 1 << (id % 8) }
func (s *nodes) empty() bool          { return *s == nodes{} }

// request is one question to every other member.
type request struct {
	id   uint64 // 0: none
	view uint64
	sent ident.Instant
	wait nodes // who has not promised yet
}

// Asker is the side of the node that needs grace. The zero value has asked
// nothing; it is used by one goroutine.
type Asker struct {
	last     uint64
	requests [open]request
}

// Ask begins a request at now, just before it is sent: the promise that comes of
// it counts from the sending, never from a reply. life makes the number unique
// among all lives of the daemon in one boot; view is the membership that this
// node has acknowledged, and need is every other node in it. It returns the
// number that the request and its replies carry, and whether nobody has to be
// asked.
func (a *Asker) Ask(now ident.Instant, life, view uint64, need []ident.NodeID) (id uint64, alone bool) {
	a.last = max(a.last+1, life)
	r := &a.requests[a.last%open]
	*r = request{id: a.last, view: view, sent: now}
	for _, n := range need {
		r.wait.add(n)
	}
	return a.last, r.wait.empty()
}

// Promised takes one reply. Once every node has replied to one request it
// returns when that request was sent, and true; a later reply to it returns
// false, as does one to a request that is not known (any more) or was made under
// another view.
func (a *Asker) Promised(from ident.NodeID, id, view uint64) (ident.Instant, bool) {
	r := &a.requests[id%open]
	if id == 0 || r.id != id || r.view != view || r.wait.empty() {
		return 0, false
	}
	r.wait.drop(from)
	return r.sent, r.wait.empty()
}

// Missing lists, in order, who has not replied to any of the open requests that
// were sent in the last patience before now: for people.
func (a *Asker) Missing(now ident.Instant, patience time.Duration) []ident.NodeID {
	var all nodes
	asked := false
	for i := range a.requests {
		r := &a.requests[i]
		age := now.Sub(r.sent)
		if r.id == 0 || age > patience || age < patience/4 {
			continue // too old, or too young to be answered
		}
		if !asked {
			all, asked = r.wait, true
			continue
		}
		for b := range all {
			all[b] &= r.wait[b]
		}
	}
	var list []ident.NodeID
	for id := 1; id <= ident.MaxNodes; id++ {
		if all[id/8]&(1<<(id%8)) != 0 {
			list = append(list, ident.NodeID(id))
		}
	}
	return list
}

// Promises is when this node has promised last, to each of the others, not to
// declare it dead. The zero value has promised nothing; it is used by one
// goroutine.
type Promises struct {
	floor ident.Instant
	made  [ident.MaxNodes + 1]ident.Instant
}

// Renew counts every promise as made at now. That is so at the beginning of a
// daemon's life, which does not know what the one before has promised, and when
// this node becomes a member, for grace that was granted without it may still
// last.
func (p *Promises) Renew(now ident.Instant) { p.floor = max(p.floor, now) }

// Make promises to a node at now.
func (p *Promises) Make(to ident.NodeID, now ident.Instant) { p.made[to] = max(p.made[to], now) }

// Last is when the latest promise to a node was made, or counts as made.
func (p *Promises) Last(to ident.NodeID) ident.Instant { return max(p.floor, p.made[to]) }

// Known is what a node knows of the one that asks it for a promise.
type Known struct {
	Registered ident.Incarnation // by the register; zero: none
	Fencing    ident.Incarnation // being fenced; zero: none
	Dead       uint32            // highest dead number
	Unwanted   bool              // this node waits for its death
}

// Refuse says why the incarnation gets no promise; empty if it does. A refusal
// is not what makes a proof safe (the book of promises is), but without it a
// node could live on for ever after its death was decided.
func (k Known) Refuse(inc ident.Incarnation) string {
	switch {
	case inc.IsZero() || k.Registered != inc:
		return "this incarnation is not registered"
	case k.Dead >= inc.N:
		return "this incarnation is dead"
	case k.Fencing == inc:
		return "this incarnation is being fenced"
	case k.Unwanted:
		return "it was asked to release its services and has not"
	}
	return ""
}

// Demand is what is wanted of a peer that alone has lost its disks.
type Demand uint8

// Bear asks for nothing; Release asks it over the network to stop its services
// in order and to retire; after Refuse it gets no promise any more.
const (
	Bear Demand = iota
	Release
	Refuse
)

// Patience is how long a node that decides bears with one peer whose beats stand
// still although its links work and the disks answer everybody else. The zero
// value begins anew.
type Patience struct {
	since ident.Instant
}

// Judge says what to demand at now. lost says that the peer alone is without
// disks at this moment: with false the patience begins anew. It bears with the
// peer for asym, demands the release for span, and refuses from then on.
func (p *Patience) Judge(now ident.Instant, lost bool, asym, span time.Duration) Demand {
	switch {
	case !lost:
		p.since = 0
		return Bear
	case p.since == 0:
		p.since = now
	}
	switch waited := now.Sub(p.since); {
	case waited < asym:
		return Bear
	case waited < asym+span:
		return Release
	}
	return Refuse
}

// End is the last instant at which a node may go on: start is the start of its
// lease, f and g are what its beats promise, and until is how long the latest
// promise of all members lasts. It is the rule of the guard (package lease),
// for the daemon that must know it beforehand.
func End(start, until ident.Instant, f, g time.Duration) ident.Instant {
	return max(After(start, f), min(until, After(start, g)))
}

// After is t+d; ident.Never where d is unlimited and the sum would overflow.
func After(t ident.Instant, d time.Duration) ident.Instant {
	if s := t.Add(d); s >= t {
		return s
	}
	return ident.Never
}

// StopAt is the age of the lease at which a node on grace begins to stop its
// services in order, so that it is done before g ends and nothing has to be
// reset: a sixth of g is kept for that, at most half a minute. Unlimited grace
// never ends.
func StopAt(g time.Duration) time.Duration {
	return g - min(g/6, 30*time.Second)
}
