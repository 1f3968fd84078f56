package pages

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// soonest is the least time between two beats: what happens in quick succession is
// said together.
const soonest = 5 * time.Millisecond

// News counts what other nodes may wait for: a beat that tells of it is sent at once,
// not with the next period. Nothing rests on it but time: what is said is on the disks
// as well, or follows there.
type News struct {
	Chosen uint64 // the highest version that this node has had chosen itself
	Acked  uint64 // the view that it knows: a join waits for everybody's
	Served uint64 // what happened to its services, counted
}

// NewsOf is what a node may tell that has the newest version of the register from cl: s.
func NewsOf(self ident.NodeID, cl cluster.Claim, s *cluster.State, served uint64) News {
	n := News{Served: served}
	if cl.Node == self {
		n.Chosen = cl.Ver
	}
	if s != nil {
		n.Acked = s.View
	}
	return n
}

// past says that n tells of something that o does not.
func (n News) past(o News) bool {
	return n.Chosen > o.Chosen || n.Acked > o.Acked || n.Served > o.Served
}

// Pace says when a network beat is due: every period, and early for news. The zero
// value is due at once; it belongs to one goroutine.
type Pace struct {
	next ident.Instant
	last ident.Instant
	said News
}

// Due says that a beat is to be sent now, and counts it as sent.
func (p *Pace) Due(now ident.Instant, period time.Duration, n News) bool {
	early := n.past(p.said) && p.last != 0
	if early {
		p.next = min(p.next, p.last.Add(soonest))
	}
	if now < p.next {
		return false
	}
	p.next, p.last = now.Add(period), now
	p.said = News{max(n.Chosen, p.said.Chosen), max(n.Acked, p.said.Acked), max(n.Served, p.said.Served)}
	return true
}

// Next is when the next beat is due, as far as is known.
func (p *Pace) Next() ident.Instant { return p.next }
