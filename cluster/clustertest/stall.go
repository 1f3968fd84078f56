package clustertest

import (
	"time"
)

// stall is where a stop of the guard, or of the whole node, has to strike: between
// two lines of the feeding loop.
type stall struct {
	at     int // step of the loop; 0: none is planned
	freeze bool
}

// StallGuard stops the guard, and nothing else, from a random line of its feeding
// loop on, until ResumeGuard.
func (n *Node) StallGuard() { n.plan(stall{}) }

// FreezeInLoop is Freeze at a random line of the feeding loop.
func (n *Node) FreezeInLoop() { n.plan(stall{freeze: true}) }

func (n *Node) plan(s stall) {
	if n.machine.up && !n.guard.dead {
		s.at = 1 + n.w.rng.IntN(max(1, 2*len(n.guard.dogs)))
		n.guard.stall = s
	}
}

// stallsAt says that the planned stop is here, and begins it.
func (n *Node) stallsAt(step int) bool {
	g := &n.guard
	if g.stall.at != step {
		return false
	}
	if g.stall.freeze {
		n.Freeze()
	} else {
		g.stalled = true
	}
	g.stall = stall{}
	return true
}

// ResumeGuard lets a stalled guard go on, with everything that waited.
func (n *Node) ResumeGuard() {
	g := &n.guard
	g.stall = stall{}
	if !g.stalled {
		return
	}
	g.stalled = false
	back := g.backlog
	g.backlog = nil
	for _, f := range back {
		n.guardAfter(0, f)
	}
}

// guardAfter is after for what the guard does.
func (n *Node) guardAfter(d time.Duration, f func()) {
	life := n.guard.life
	n.after(d, func() {
		g := &n.guard
		switch {
		case g.dead || g.life != life:
		case g.stalled:
			g.backlog = append(g.backlog, f)
		default:
			f()
		}
	})
}

// Suspend puts the machine to sleep, watchdogs and all, until Wake. Its clock goes
// on. A guard that was bound ends the node when it wakes up, before anything else:
// others may own what it held.
func (n *Node) Suspend() {
	if n.machine.up && !n.Frozen {
		n.Frozen, n.machine.asleep, n.machine.slept = true, true, n.w.Now
	}
}

// SuspendAll is Suspend of a machine whose watchdogs sleep with it, all of them.
func (n *Node) SuspendAll() {
	if n.Suspend(); n.machine.asleep {
		n.machine.deep = true
		n.w.judge.Sleeps(n.body, n.w.Now)
	}
}

// Wake ends a Suspend.
func (n *Node) Wake() {
	if !n.machine.asleep {
		return
	}
	slept := n.w.Now - n.machine.slept
	deep := n.machine.deep
	n.machine.asleep, n.machine.deep = false, false
	n.guard.dogs.Sleep(slept)
	if n.guard.lease.OverAfter(slept) {
		n.reset()
		return
	}
	if n.Thaw(); deep {
		n.w.judge.Wakes(n.body)
	}
}
