package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Controller is what a node's management controller does.
type Controller = controller.Kind

// The kinds of controller, as package controller tells them.
const (
	Honest, Unreachable, Hanging, SaysOffOnce = controller.Honest, controller.Unreachable, controller.Hanging, controller.SaysOffOnce
	SaysOff, SaysOn, DiesWithNode             = controller.SaysOff, controller.SaysOn, controller.DiesWithNode
)

const (
	bmcLatency = 300 * time.Millisecond
	bmcHold    = 2 * time.Second // between the two readings that count
	agentHold  = 200 * time.Millisecond
)

// attempt is one Fence under way.
type attempt struct {
	op     uint64
	from   *Node
	to     *Node
	end    time.Duration // true time
	reads  int
	hold   time.Duration // between two readings
	first  ident.Instant // of two readings in a row that say off; 0: none
	ended  bool
	inLife func(func()) func()
}

// fence is the daemon's side of the controllers.
func (n *Node) fence(a cluster.Fence) {
	t := &attempt{op: a.Op, from: n, to: n.w.Nodes[a.Node-1], end: n.w.Now + a.Within, hold: bmcHold, inLife: n.inLife}
	if a.Way.Kind == cluster.WayAgent {
		t.hold = agentHold // an agent asks as it likes
	}
	n.attempts = append(n.attempts, t)
	n.later(a.Within, func() { t.done(cluster.FenceUnknown, "no answer in time") })
	switch a.Kind {
	case cluster.FenceCheck:
		n.later(bmcLatency, func() {
			if t.to.BMC.Answers(t.to.machine.up) {
				if t.to.BMC.Says(!t.to.machine.up, 1) {
					t.first = t.from.clock()
				}
				t.done(cluster.FenceProven, "answers")
			}
		})
	case cluster.FenceOn:
		n.later(bmcLatency, func() {
			if t.to.BMC.Answers(t.to.machine.up) {
				t.to.PowerOn()
				t.done(cluster.FenceProven, "on")
			}
		})
	case cluster.FenceOff:
		n.w.happened(t.to, "its controller is asked to cut the power")
		n.later(bmcLatency, t.cut)
		n.later(2*bmcLatency, t.read)
	}
}

// cut carries the request out, or does not.
func (t *attempt) cut() {
	n := t.to
	off := func() {
		if n.machine.up {
			n.w.happened(n, "was switched off by its controller")
			n.Resets++
			n.PowerOff()
		}
	}
	switch n.BMC {
	case Honest:
		off()
	case DiesWithNode:
		off()
	case Hanging, SaysOffOnce:
		n.w.After(bmcHold+bmcLatency, off)
	case Unreachable, SaysOff, SaysOn:
	}
}

// read takes one reading, and the next after the hold.
func (t *attempt) read() {
	if t.ended {
		return
	}
	n := t.to
	off := n.BMC.Says(!n.machine.up, t.reads)
	if n.BMC.Answers(n.machine.up) {
		t.reads++
		switch {
		case !off:
			t.first = 0
		case t.first == 0:
			t.first = t.from.clock()
		default:
			t.proven()
			return
		}
	}
	t.from.later(t.hold, t.read)
}

func (t *attempt) proven() {
	t.ended = true
	t.from.deliver(cluster.FenceDone{Op: t.op, Outcome: cluster.FenceProven, First: t.first, Second: t.from.clock(), Text: "off, read twice"})
}

func (t *attempt) done(o cluster.FenceOutcome, text string) {
	if !t.ended {
		t.ended = true
		t.from.deliver(cluster.FenceDone{Op: t.op, Outcome: o, First: t.first, Text: text})
	}
}

// stopFence calls an attempt off.
func (n *Node) stopFence(op uint64) {
	for _, t := range n.attempts {
		if t.op == op && !t.ended {
			n.later(time.Millisecond, func() { t.done(cluster.FenceUnknown, "called off") })
		}
	}
}
