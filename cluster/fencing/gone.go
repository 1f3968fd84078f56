package fencing

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Without the quorum disks no fencing can be chosen, so nobody is switched off. But a
// member that is silent then may be without power, and one without power need not be
// asked for its consent: its machine holds nothing, and what it boots again is another
// incarnation, which nobody lets in without the disks. So its power is looked at, and
// nothing but looked at.

// goneHold is the time between two readings that count, at least.
const goneHold = 2 * time.Second

// goneSilent is for how long a member must not have been heard before its power is
// looked at: five network beats.
const goneSilent = time.Second

// gone is what looking at one way of a node has shown of its incarnation.
type gone struct {
	inc  ident.Incarnation
	at   ident.Instant // of the first of two readings in a row that said off; 0: none
	last ident.Instant // of the second; 0: none
	on   bool          // it has said on, of a machine that ran: it looks at the right one
}

// look is what a check adds. It says whether the second of two readings was it.
func (g *gone) look(inc ident.Incarnation, e *cluster.FenceDone) (news bool) {
	works, off := e.Outcome == cluster.FenceProven, e.First
	switch {
	case g.inc != inc || works && off == 0:
		*g = gone{inc: inc, on: g.on || works && off == 0}
	case !works && g.last == 0:
		g.at = 0 // not in a row
	}
	switch {
	case !works || off == 0:
	case g.at == 0:
		g.at = off
	case g.last == 0 && off.Sub(g.at) >= goneHold:
		g.last = off
		return true
	}
	return false
}

// Gone says that this node itself has read that the machine of n's registered
// incarnation is off, twice, over a way that has said on of it before, and that
// nothing was seen of it since: it does not live any more. It is no proof, for nobody has decided
// that n is to be fenced: nothing starts elsewhere because of it.
func (s *Set) Gone(env Env, n *cluster.NodeState) bool {
	for _, c := range s.checks {
		if g := &c.gone; c.node == n.ID && g.inc == n.Inc && g.on && !c.lies && g.last != 0 && env.seen(n.ID) <= g.at {
			return true
		}
	}
	return false
}

// due says that a way is to be asked now: in its turn or, while nothing can be
// decided, because its node is silent.
func (s *Set) due(c *check) bool {
	dark := s.env.Dark && s.env.Now.Sub(s.env.seen(c.node)) >= goneSilent
	return s.env.Now >= c.next || dark && s.env.Now.Sub(c.at) >= goneHold
}
