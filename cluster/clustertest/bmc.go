package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Controller is what a node's management controller does. It has power of its
// own, but for DiesWithNode.
type Controller uint8

// The kinds of controller.
const (
	Honest       Controller = iota // switches at once and says what is so
	Unreachable                    // does not answer
	Hanging                        // takes the request, carries it out late, and never answers
	SaysOffOnce                    // says off at the first reading, with the machine on; the request takes effect later
	SaysOff                        // says off, always, and switches nothing
	SaysOn                         // accepts the request and switches nothing
	DiesWithNode                   // answers while the node has power, and not any more then
)

const (
	bmcLatency = 300 * time.Millisecond
	bmcHold    = 2 * time.Second // between the two readings that count
)

// attempt is one Fence under way.
type attempt struct {
	op     uint64
	from   *Node
	to     *Node
	end    time.Duration // true time
	reads  int
	first  ident.Instant // of two readings in a row that say off; 0: none
	ended  bool
	inLife func(func()) func()
}

// fence is the daemon's side of the controllers.
func (n *Node) fence(a cluster.Fence) {
	t := &attempt{op: a.Op, from: n, to: n.w.Nodes[a.Node-1], end: n.w.Now + a.Within, inLife: n.inLife}
	n.attempts = append(n.attempts, t)
	n.later(a.Within, func() { t.done(cluster.FenceUnknown, "no answer in time") })
	switch a.Kind {
	case cluster.FenceCheck:
		n.later(bmcLatency, func() {
			if t.to.answers() {
				t.done(cluster.FenceProven, "answers")
			}
		})
	case cluster.FenceOn:
		n.later(bmcLatency, func() {
			if t.to.answers() {
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

// answers says that the controller can be talked to.
func (n *Node) answers() bool {
	return n.BMC != Unreachable && n.BMC != Hanging && (n.BMC != DiesWithNode || n.machine.up)
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
	off := !n.machine.up
	switch n.BMC {
	case SaysOff:
		off = true
	case SaysOn:
		off = false
	case SaysOffOnce:
		off = off || t.reads == 0
	default:
	}
	if n.answers() {
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
	t.from.later(bmcHold, t.read)
}

func (t *attempt) proven() {
	t.ended = true
	t.from.deliver(cluster.FenceDone{Op: t.op, Outcome: cluster.FenceProven, First: t.first, Second: t.from.clock(), Text: "off, read twice"})
}

func (t *attempt) done(o cluster.FenceOutcome, text string) {
	if !t.ended {
		t.ended = true
		t.from.deliver(cluster.FenceDone{Op: t.op, Outcome: o, Text: text})
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
