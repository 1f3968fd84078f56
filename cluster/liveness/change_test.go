package liveness_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/liveness"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// pair is an owner whose promise changes, and an observer of its disks: the real
// lease and the real evidence, without watchdogs, clock errors and drain, so that
// a proof must not stand a moment before the lease has ended.
type pair struct {
	rng    *rand.Rand
	now    ident.Instant
	lease  *lease.Lease
	peer   *liveness.Peer
	disks  []medium
	newest timing.Lease  // of the newest beat that the observer has seen
	seq    ident.Instant // and its number
	dead   ident.Instant // when the proof stood; 0: it does not
}

// medium is one disk: what it shows, and the owner's request in flight.
type medium struct {
	shows, going beat
	landed       bool
	slow         int // the owner's requests take so much longer
}

type beat struct {
	issued ident.Instant
	says   lease.Params
}

func newPair(rng *rand.Rand) *pair {
	n := 1 + 2*rng.IntN(2)
	p := &pair{rng: rng, now: at(100), lease: lease.New(n), peer: liveness.NewPeer(n), disks: make([]medium, n)}
	for d := range p.disks {
		p.disks[d].slow = 1 + rng.IntN(2)*rng.IntN(30)
	}
	if err := p.lease.Claim(p.now, inc(7), ident.Never, p.promise()); err != nil {
		panic(err)
	}
	return p
}

func (p *pair) promise() lease.Params {
	f := time.Duration(1+p.rng.IntN(3)*4) * time.Second
	return lease.Params{F: f, G: f}
}

func (p *pair) step(wait func(*pair) time.Duration) {
	p.now += ident.Instant(p.rng.IntN(400)) * ident.Instant(time.Millisecond)
	for d := range p.disks {
		p.owner(d)
	}
	if p.rng.IntN(12) == 0 {
		_ = p.lease.Change(p.now, inc(7), p.promise())
	}
	p.observe(p.rng.IntN(len(p.disks)))
	if _, ok := p.peer.Judge(p.now, wait(p)); ok && p.dead == 0 {
		p.dead = p.now
	}
}

// owner goes on with the request that is in flight to a disk, or begins one.
func (p *pair) owner(d int) {
	m := &p.disks[d]
	if p.rng.IntN(m.slow) != 0 {
		return
	}
	switch {
	case m.going.issued == 0:
		m.going, m.landed = beat{p.now, p.lease.View().Carry.New}, false
	case !m.landed:
		m.shows, m.landed = m.going, true
	default:
		p.lease.CycleCompleted(d, inc(7), m.going.issued)
		m.going = beat{}
	}
}

func (p *pair) observe(d int) {
	b := p.disks[d].shows
	if b.issued == 0 {
		return
	}
	if p.peer.Saw(d, p.now-1, p.now, fmt.Append(nil, b.issued), inc(7)) {
		says := timing.Lease{F: b.says.F, G: b.says.G}
		p.peer.Says(d, says)
		if b.issued > p.seq {
			p.seq, p.newest = b.issued, says
		}
		p.peer.Restart()
	}
}

// ghost looks for a history in which a proof stands while the lease lasts.
func ghost(wait func(*pair) time.Duration, histories int) (proofs int, found bool) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range histories {
		p := newPair(rng)
		for range 150 {
			p.step(wait)
			if p.dead == 0 {
				continue
			}
			proofs++
			if p.now <= p.lease.End() {
				return proofs, true
			}
			break
		}
	}
	return proofs, false
}

// TestProofWhileThePromiseChanges: what the disks show together is waited for.
func TestProofWhileThePromiseChanges(t *testing.T) {
	proofs, found := ghost(func(p *pair) time.Duration { return p.newest.Larger(p.peer.Promise(inc(7))).F }, 6000)
	if found {
		t.Error("a proof of death stands while the lease lasts")
	}
	if proofs < 500 {
		t.Errorf("%d proofs: the histories say nothing", proofs)
	}
	if _, found := ghost(func(p *pair) time.Duration { return p.newest.F }, 100000); !found {
		t.Error("waiting for what the newest beat says is not enough, and no history shows it")
	}
}
