// Package peer is what one node knows of another: its beats on the quorum disks,
// its network beats, what it has published of its services, and whether that it
// has ended was said. It keeps what was seen and answers questions about it;
// what follows from the answers is decided elsewhere.
package peer

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
	"github.com/holdfast-ha/holdfast/cluster/liveness"
	"github.com/holdfast-ha/holdfast/cluster/pages"
	"github.com/holdfast-ha/holdfast/cluster/published"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Peer is everything that a node knows of another. It is used by one goroutine.
type Peer struct {
	ID        ident.NodeID
	Disk      *liveness.Peer
	Beat      *cluster.Beat // the latest that decoded, of any disk; nil: none
	Msg       *cluster.Message
	Heard     ident.Instant // when Msg arrived
	Blob      published.Peer
	Acked     ident.Instant // when the acknowledgement of its kill was read first
	AckedInc  ident.Incarnation
	Suspected bool // that it falls silent was told
	Joined    Joined
	Word      cluster.Proof // the operator's word, waiting to be committed
	Odd       Odd
	wait      timing.Waiter
	lacks     []cluster.RunState // as Msg says
}

// Joined is the incarnation as the register showed it last, and since when.
type Joined struct {
	Inc   ident.Incarnation
	Since ident.Instant
	Spoke ident.Instant // when a network beat of it came last, also one that does not count
}

// Odd is what does not fit of a node, for people.
type Odd struct {
	Conflict bool          // it claims a lease that these disks do not show
	unread   string        // why its latest network beat cannot be read here
	at       ident.Instant // when that came
	unseen   string        // why its sector on the disk read last is no beat
}

// New returns what is known of a node at first: nothing. Its beats are looked for on
// so many disks, of every one of sets on a majority.
func New(id ident.NodeID, disks int, sets quorum.Sets) *Peer {
	p := &Peer{ID: id, Disk: liveness.NewPeer(0), Heard: ident.LongAgo, Joined: Joined{Spoke: ident.LongAgo}}
	p.Disk.Use(disks, sets)
	return p
}

// See takes the node's sector of one read of a disk, and says whether it is a beat
// that the disk has not shown before.
func (p *Peer) See(e *cluster.Table, s *cluster.SeenBeat) (changed bool) {
	var inc ident.Incarnation
	if s.Beat != nil {
		inc = s.Beat.Inc
	}
	p.Odd.unseen = s.Err
	changed = p.Disk.Saw(e.Disk, e.ReadIssued, e.Completed, s.Sector, inc)
	if s.Beat == nil || !changed {
		return false
	}
	p.Disk.Says(e.Disk, s.Beat.Lease.Timing())
	if p.Beat == nil || s.Beat.Supersedes(p.Beat) {
		p.Beat = s.Beat
	}
	return true
}

// Hear takes a network beat, and says whether it counts. One of an earlier
// incarnation does not while a later one is heard: it is old, or comes from the other
// of two machines with one identity. Once the later one has been silent for that long
// it is not the one to listen to any more; what it has said stays true of itself.
func (p *Peer) Hear(now ident.Instant, m *cluster.Message, silent time.Duration) bool {
	if m.Inc == p.Joined.Inc {
		p.Joined.Spoke = now
	}
	if p.Msg != nil && m.Inc.N < p.Msg.Inc.N && now.Sub(p.Heard) < silent {
		return false
	}
	p.Msg, p.Heard = pages.Join(p.Msg, m), now
	p.lacks = cluster.Lacking(p.Msg.Services)
	if m.Ack && p.AckedInc != m.Inc {
		p.AckedInc, p.Acked = m.Inc, now
	}
	return true
}

// Lacks is what an incarnation says that it could not run: in its latest network beat
// or, where that does not count any more, in its status blob.
func (p *Peer) Lacks(onNet bool, inc ident.Incarnation) []cluster.RunState {
	switch b := p.Blob.Blob; {
	case onNet && p.Msg != nil && p.Msg.Inc == inc:
		return p.lacks
	case b != nil && b.Inc == inc:
		return cluster.Lacking(b.Services)
	}
	return nil
}

// Mute is for how long the registered incarnation has not spoken while a later one
// does, which says nothing of it; zero where there is no later one.
func (p *Peer) Mute(now ident.Instant) time.Duration {
	if p.Msg == nil || p.Msg.Inc.N <= p.Joined.Inc.N {
		return 0
	}
	return now.Sub(p.Joined.Spoke)
}

// Unread takes a network beat that this version cannot read, and says whether that is
// news. It is no sign of life that anything rests on: all goes through the disks.
func (p *Peer) Unread(now ident.Instant, why string) (news bool) {
	news = p.Odd.unread != why
	p.Odd.unread, p.Odd.at = why, now
	return news
}

// Problem says what of a node cannot be read here, heard or seen less than recent ago;
// empty if everything can.
func (p *Peer) Problem(now ident.Instant, recent time.Duration) string {
	switch {
	case p.Odd.Conflict:
		return "it says over the network that it holds its lease on these very disks, and they have shown no beat of it for long: one of the two nodes looks at a copy of a quorum disk " +
			"(a clone, a snapshot). Nobody is fenced for that; compare them: holdfast disk verify"
	case p.Odd.unread != "" && now.Sub(p.Odd.at) < recent && p.Odd.at > p.Heard:
		return "its network beats cannot be read here, so that everything between the two goes through the quorum disks: " + p.Odd.unread
	case p.Odd.unseen != "":
		return "its beat on the quorum disk cannot be read here: " + p.Odd.unseen
	}
	return ""
}

// Takes says that the node, to which a service is to go, has said of the term of its
// owner that it could run there.
func (p *Peer) Takes(onNet bool, g *cluster.Grant) bool {
	var list []cluster.RunState
	switch {
	case onNet && p.Msg != nil:
		list = p.Msg.Services
	case p.Blob.Blob != nil:
		list = p.Blob.Blob.Services
	}
	r, ok := cluster.FindState(list, g)
	return ok && r.State == cluster.Starting
}

// Over says that an incarnation holds nothing any more, or is another machine's past:
// by its own word, which is no proof.
func (p *Peer) Over(inc ident.Incarnation) bool {
	return p.AckedInc == inc || p.Msg != nil && p.Msg.Inc.N > inc.N || p.Beat != nil && p.Beat.Inc == inc && p.Beat.State == cluster.GuardRetired
}

// HasRetired says that an incarnation holds nothing and never will again, by its own
// word, over the network or by its guard's retirement on the disk, and that its last
// writes have landed since that was read.
func (p *Peer) HasRetired(now ident.Instant, inc ident.Incarnation, s *landing.Stalls, tz time.Duration) bool {
	if p.Beat != nil && p.Beat.Inc == inc && p.Beat.State == cluster.GuardRetired && p.AckedInc != inc {
		p.AckedInc, p.Acked = inc, now
	}
	return p.AckedInc == inc && s.Landed(p.Acked, now, tz)
}

// ClaimsLease says that the node's incarnation claims, authenticated and heard within
// f, to hold a lease younger than f on these very disks: then one of the two nodes is
// looking at a clone.
func (p *Peer) ClaimsLease(now ident.Instant, inc ident.Incarnation, disks cluster.Digest, f time.Duration) bool {
	m := p.Msg
	return m != nil && m.Inc == inc && now.Sub(p.Heard) < f && m.Disks == disks && m.LeaseAge >= 0 && m.LeaseAge < f
}

// Wait is how long the node must have been silent to be proven dead by time: from
// what its beats say and what this node's own configuration says, whichever demands
// more. An outsider waits by the node's network grace.
func (p *Peer) Wait(ours timing.Lease, outsider bool, site timing.Site) time.Duration {
	theirs := ours
	if p.Beat != nil {
		theirs = p.Beat.Lease.Timing().Larger(p.Disk.Promise(p.Beat.Inc))
	}
	if p.wait.Of(theirs, ours, outsider, site) {
		p.Disk.Restart() // a round that was begun by a shorter wait proves nothing
	}
	return p.wait.Wait
}
