// Package mind is what decides in a simulated daemon: the core, or what stands in
// for one that panicked too often on one version of the register, and what a node's
// own disk remembers of such panics.
package mind

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Decider is what steps in a daemon.
type Decider interface {
	// Step takes one event and returns what is to be done.
	Step(now ident.Instant, ev cluster.Event) []cluster.Action
	// NextDeadline is when it wants a Tick.
	NextDeadline() ident.Instant
	// View is what it knows.
	View(now ident.Instant) cluster.View
}

// Panics is what a node's own disk remembers of the panics of its core.
type Panics struct {
	Ver   uint64  // the version of the register that they were at
	Count int     // one after the other
	Held  Decider // what stands in for the core; nil: nothing does
}

// most is from how many panics on one version on a daemon comes up held.
const most = 2

// Enough says that no core is tried any more.
func (p *Panics) Enough() bool { return p.Count >= most }

// At takes note of another one.
func (p *Panics) At(ver uint64) {
	if p.Ver != ver {
		*p = Panics{Ver: ver}
	}
	p.Count++
}
