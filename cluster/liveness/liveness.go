// Package liveness weighs what one node has seen of one peer: when each quorum
// disk first showed the beat that it still shows, and whether the silence since
// then proves that the peer's incarnation is dead.
//
// The proof by time needs no message and no clock of the peer. Every feed of
// the peer's watchdogs happened at most F after the issue of a beat that a
// majority of the disks held; so once its beats have stood still on a majority
// for W, and one more read of all of them, issued after the verdict, shows no
// change, its watchdogs must have ended it. All disks are judged at one
// instant: verdicts of different instants must not be combined.
package liveness

import (
	"bytes"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// sight is the peer's beat sector on one disk, as last read.
type sight struct {
	known   bool
	sector  []byte
	inc     ident.Incarnation
	says    timing.Lease
	first   ident.Instant // completion of the read that first showed it
	checked ident.Instant // issue of the latest read that confirmed it in the round
	read    ident.Instant // completion of the latest read
}

// Peer is one observer's evidence on one peer. It is used by one goroutine.
type Peer struct {
	disks []sight
	sets  quorum.Sets   // a majority of each is needed
	round ident.Instant // the instant of judgement; 0: no round under way
	in    []bool        // disks judged stale at that instant
	// firsts is room for LastChange
	firsts []ident.Instant
}

// NewPeer returns evidence over n disks, with nothing seen yet.
func NewPeer(n int) *Peer {
	p := &Peer{}
	p.Use(n, quorum.Sets{quorum.All(n)})
	return p
}

// Use makes the evidence one over n disks, of every one of the sets of which a
// majority is needed; what was seen of the disks stays. A round under way is
// thrown away: a proof is judged over one and the same sets from its beginning.
func (p *Peer) Use(n int, sets quorum.Sets) {
	for len(p.disks) < n {
		p.disks, p.in, p.firsts = append(p.disks, sight{}), append(p.in, false), append(p.firsts, ident.LongAgo)
	}
	p.sets = append(p.sets[:0:0], sets...)
	p.round = 0
}

// Forget drops what one disk has shown: it was ejected.
func (p *Peer) Forget(disk int) {
	p.disks[disk], p.round = sight{}, 0
}

// Saw records one read of the peer's sector: issued and completed are the
// reader's stamps, inc is the zero value where the sector does not decode. Any
// changed byte is a sign of life. It returns true if the sector changed.
//
// A sector that does not decode, as one that a power loss tore, proves nothing:
// what it promised, and for whom, is not known. Where that is so on a majority of
// the disks another proof is needed than time.
func (p *Peer) Saw(disk int, issued, completed ident.Instant, sector []byte, inc ident.Incarnation) bool {
	p.Read(disk, completed)
	s := &p.disks[disk]
	if s.known && bytes.Equal(s.sector, sector) {
		s.checked = issued
		return false
	}
	s.known = true
	s.sector = append(s.sector[:0], sector...)
	s.inc = inc
	s.first = completed
	s.checked = 0
	p.round = 0
	return true
}

// Says notes what the beat promises that a disk shows.
func (p *Peer) Says(disk int, l timing.Lease) { p.disks[disk].says = l }

// Promise is the larger of each value among what the disks show of an
// incarnation. The newest beat alone is not enough: a node that has promised
// less since was held to more by those who see an older beat on another disk,
// and its latest feeds may have rested on that.
func (p *Peer) Promise(inc ident.Incarnation) timing.Lease {
	var l timing.Lease
	for i := range p.disks {
		if s := &p.disks[i]; s.known && s.inc == inc {
			l = l.Larger(s.says)
		}
	}
	return l
}

// LastChange is when the beat that stands still was first seen, on the disk
// that completes a majority of unchanged ones; ident.LongAgo while fewer than a
// majority were read at all.
func (p *Peer) LastChange() ident.Instant {
	for i := range p.disks {
		p.firsts[i] = ident.LongAgo
		if p.disks[i].known {
			p.firsts[i] = p.disks[i].first
		}
	}
	return p.sets.Since(p.firsts)
}

// Quiet is for how long no disk has shown a new beat of the peer; false if none
// has ever shown one.
func (p *Peer) Quiet(now ident.Instant) (time.Duration, bool) {
	latest := ident.LongAgo
	for i := range p.disks {
		if p.disks[i].known {
			latest = max(latest, p.disks[i].first)
		}
	}
	return now.Sub(latest), latest != ident.LongAgo
}

// Age is for how long the peer's beats have stood still; false while unknown.
func (p *Peer) Age(now ident.Instant) (time.Duration, bool) {
	c := p.LastChange()
	if c == ident.LongAgo {
		return 0, false
	}
	return now.Sub(c), true
}

// Read notes that a disk was read, whether it shows the peer or not: one that was
// read and shows nothing, as a new one does of a peer that was away when it came,
// does not speak for the peer.
func (p *Peer) Read(disk int, completed ident.Instant) {
	p.disks[disk].read = completed
}

// Silence is Age for a suspicion: a disk that this node has not read within the
// last recent says nothing against the peer, which may well beat there. Of three
// disks each of two nodes may reach another pair. It is false where the disks that
// were read show the peer on too few for a majority.
func (p *Peer) Silence(now ident.Instant, recent time.Duration) (time.Duration, bool) {
	known := false
	for i := range p.disks {
		s := &p.disks[i]
		known = known || s.known
		p.firsts[i] = ident.LongAgo
		switch {
		case now.Sub(s.read) > recent:
			p.firsts[i] = now
		case s.known:
			p.firsts[i] = s.first
		}
	}
	c := p.sets.Since(p.firsts) // of the disks that count: one that was exchanged is read no more
	if !known || c == ident.LongAgo {
		return 0, false
	}
	return now.Sub(c), true
}

// Judge begins a proof round at now, or goes on with the one under way, and
// returns true once the proof stands: a majority of the disks, all of the same
// incarnation, stood still for wait at one instant, and a read issued after it
// has confirmed each of them. While the set of disks is being changed it is a
// majority of the older and of the newer set, so that it meets every majority
// that a beat may have counted by. Each change aborts the round.
func (p *Peer) Judge(now ident.Instant, wait time.Duration) (ident.Incarnation, bool) {
	if (p.round == 0 || p.grown(now, wait)) && !p.begin(now, wait) {
		return ident.Incarnation{}, false
	}
	var confirmed quorum.Set
	inc := ident.Incarnation{}
	for i := range p.disks {
		if s := &p.disks[i]; p.in[i] && s.checked > p.round {
			confirmed |= 1 << i
			inc = s.inc
		}
	}
	if !p.sets.Met(confirmed) {
		return ident.Incarnation{}, false
	}
	return inc, true
}

// Waiting says that a round is under way and wants a fresh read.
func (p *Peer) Waiting() bool { return p.round != 0 }

// Restart throws the round away: its evidence is to be gathered anew.
func (p *Peer) Restart() { p.round = 0 }

// grown says that more disks are stale now than when the round began. It then
// begins anew with all of them: one of the first may never answer again.
func (p *Peer) grown(now ident.Instant, wait time.Duration) bool {
	var inc ident.Incarnation
	for i := range p.disks {
		if p.in[i] {
			inc = p.disks[i].inc
		}
	}
	for i := range p.disks {
		s := &p.disks[i]
		if !p.in[i] && s.known && s.inc == inc && now.Sub(s.first) >= wait {
			return true
		}
	}
	return false
}

// begin picks the disks that are stale at now: a majority, of one incarnation. A
// disk that the peer could not reach may still show an older one; it does not
// count, and it does not stand in the way.
func (p *Peer) begin(now ident.Instant, wait time.Duration) bool {
	for i := range p.disks {
		if p.sets.Met(p.pick(now, wait, p.disks[i].inc)) {
			p.round = now
			return true
		}
	}
	return false
}

// pick marks the disks that are stale at now and show inc, and returns them.
func (p *Peer) pick(now ident.Instant, wait time.Duration, inc ident.Incarnation) quorum.Set {
	var n quorum.Set
	for i := range p.disks {
		s := &p.disks[i]
		if p.in[i] = s.known && !inc.IsZero() && s.inc == inc && now.Sub(s.first) >= wait; p.in[i] {
			n |= 1 << i
		}
	}
	return n
}

// Deadline is when the majority-th disk becomes stale for wait; ident.Never if
// too few were read.
func (p *Peer) Deadline(wait time.Duration) ident.Instant {
	c := p.LastChange()
	if c == ident.LongAgo || p.round != 0 {
		return ident.Never
	}
	if end := c.Add(wait); end >= c {
		return end
	}
	return ident.Never // an unlimited wait
}
