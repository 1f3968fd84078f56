package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Decider is what steps in a daemon: the core, or what stands in for one that
// panicked too often on one version of the register.
type Decider interface {
	// Step takes one event and returns what is to be done.
	Step(now ident.Instant, ev cluster.Event) []cluster.Action
	// NextDeadline is when it wants a Tick.
	NextDeadline() ident.Instant
	// View is what it knows.
	View(now ident.Instant) cluster.View
}

// panics is what a node's own disk remembers of the panics of its core.
type panics struct {
	ver   uint64 // the version of the register that they were at
	count int    // one after the other
	held  Decider
}

// mostPanics is from how many panics on one version on a daemon comes up held.
const mostPanics = 2

// mind is what steps in the node's daemon; nil while that does not run.
func (n *Node) mind() Decider {
	switch {
	case n.daemon.core != nil:
		return n.daemon.core
	case n.daemon.panics.held != nil:
		return n.daemon.panics.held
	}
	return nil
}

// Held says that the node's daemon keeps what runs and decides nothing.
func (n *Node) Held() bool { return n.daemon.panics.held != nil }

// holds begins a life that is held, if the last ones have panicked too often.
func (n *Node) holds() bool {
	p := &n.daemon.panics
	if p.count < mostPanics || n.w.Held == nil {
		return false
	}
	p.held = n.w.Held(n.ID, p.ver, p.count)
	n.w.Tally.Effect(tally.HeldUp)
	return true
}

// panicked says that the core cannot digest the version that it knows (see Poison):
// its process ends, and is started again.
func (n *Node) panicked() bool {
	if n.Poison == 0 || n.daemon.core == nil {
		return false
	}
	if s := n.View().State; s == nil || s.Ver != n.Poison {
		return false
	}
	if p := &n.daemon.panics; p.ver == n.Poison {
		p.count++
	} else {
		*p = panics{ver: n.Poison, count: 1}
	}
	n.w.happened(n, "its core panicked")
	n.again()
	return true
}

// again ends the daemon, which its supervisor starts again.
func (n *Node) again() {
	n.KillDaemon()
	n.after(time.Second, n.StartDaemon)
}

// Repair is an administrator who installs a program that digests every version.
func (n *Node) Repair() {
	held := n.Held()
	n.Poison, n.daemon.panics = 0, panics{}
	if held {
		n.again()
	}
}
