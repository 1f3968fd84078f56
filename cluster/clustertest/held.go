package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/mind"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
)

// Decider is what steps in a daemon.
type Decider = mind.Decider

// mind is what steps in the node's daemon; nil while that does not run.
func (n *Node) mind() Decider {
	switch {
	case n.daemon.core != nil:
		return n.daemon.core
	case n.daemon.panics.Held != nil:
		return n.daemon.panics.Held
	}
	return nil
}

// Held says that the node's daemon keeps what runs and decides nothing.
func (n *Node) Held() bool { return n.daemon.panics.Held != nil }

// holds begins a life that is held, if the last ones have panicked too often.
func (n *Node) holds() bool {
	p := &n.daemon.panics
	if !p.Enough() || n.w.Held == nil {
		return false
	}
	p.Held = n.w.Held(n.ID, p.Ver, p.Count)
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
	n.daemon.panics.At(n.Poison)
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
	n.Poison, n.daemon.panics = 0, mind.Panics{}
	if held {
		n.again()
	}
}
