package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// The kinds of Way.
const (
	WayDisk        = "disk"        // kill record and watchdog: always there, whether listed or not
	WayReservation = "reservation" // persistent reservations of the service's LUNs
	WayBMC         = "bmc"         // the node's management controller
	WayAgent       = "agent"       // an external fence agent
	WayAll         = "all"         // several power switches that feed the node together: only all of them off is off
)

// Name is what people call the way: its kind, the agent's name, or those of all
// that belong together with a plus between them.
func (w *Way) Name() string {
	switch w.Kind {
	case WayAgent:
		return w.Agent
	case WayAll:
		names := make([]string, len(w.All))
		for i := range w.All {
			names[i] = w.All[i].Name()
		}
		return strings.Join(names, "+")
	}
	return w.Kind
}

// CutsPower says that the way ends a node by taking its power.
func (w *Way) CutsPower() bool { return w.Kind == WayBMC || w.Kind == WayAgent || w.Kind == WayAll }

// Parts are the switches of a way that cuts power: those that belong together, or it itself.
func (w *Way) Parts() []Way {
	if w.Kind == WayAll {
		return w.All
	}
	return []Way{*w}
}

// Runs says that the way, or a part of it, is a fence agent, a program.
func (w *Way) Runs() bool {
	return slices.ContainsFunc(w.Parts(), func(p Way) bool { return p.Kind == WayAgent })
}

// WaysOf lists how a node may be fenced, beside the time proof; none where the
// configuration could not be read.
func (c *Config) WaysOf(node string) []Way {
	if c == nil {
		return nil
	}
	for i := range c.Fencing {
		if c.Fencing[i].Node == node {
			return c.Fencing[i].Ways
		}
	}
	return nil
}

// WaysFor is WaysOf for a node that may have said where its power switch is: where
// nothing is configured for it, it has that.
func (c *Config) WaysFor(n *NodeState) []Way {
	ways := c.WaysOf(n.Name)
	if len(ways) == 0 && n.Switch != "" {
		return []Way{{Kind: WayBMC}, {Kind: WayDisk}}
	}
	return ways
}

// FenceKind is what a Fence does.
type FenceKind uint8

// The kinds of Fence.
const (
	FenceOff   FenceKind = iota + 1 // cut the node's power and make sure
	FenceOn                         // give the node power again
	FenceCheck                      // ask for the state only, to know that the way works
)

// Fence is one attempt to use a way on a node. It ends in a FenceDone, within
// Within of its own or soon after a FenceStop.
type Fence struct {
	Op     uint64
	Kind   FenceKind
	Node   ident.NodeID
	Name   string
	Inc    ident.Incarnation // the incarnation that is to end, for FenceOff
	Host   ident.UUID        // the machine that must answer; zero: not known
	Switch string            // where its power switch is, as NodeState has it
	Way    Way
	Within time.Duration
}

// FenceStop ends an attempt that is not needed any more.
type FenceStop struct{ Op uint64 }

// FenceOutcome is what an attempt has shown.
type FenceOutcome uint8

// Unknown is the zero value: whatever was not shown is not known.
const (
	FenceUnknown FenceOutcome = iota
	FenceProven               // off, read twice; or on; or, of a check, that the way works
	FenceFailed               // the way itself does not work, or the node is shown to be on
)

// String is the word used in timelines.
func (o FenceOutcome) String() string { return [...]string{"unknown", "proven", "failed", "?"}[o&3] }

// FenceDone is the end of a Fence.
type FenceDone struct {
	Op      uint64
	Outcome FenceOutcome
	// First and Second are no earlier than when the two readings that said off
	// were complete; zero unless a FenceOff is proven. First of a FenceCheck is
	// when its reading said off; zero if it did not.
	First, Second ident.Instant
	Text          string // evidence, or what is wrong, in words
}

// WayView is how one way to fence a node is doing.
type WayView struct {
	Way   string
	State string        // "works", "failed", "unknown", "not checked yet", "always there"
	Text  string        // what the latest check, or the attempt under way, says
	Age   time.Duration // since the latest check ended; <0: there was none
	Stale bool          // that is so long ago that it says nothing any more
	Took  time.Duration // how long the latest check or attempt took; 0: there was none
	Tried Tally         // attempts to fence by this node, in this life of its daemon
}

// Tally counts attempts by what they have shown.
type Tally struct{ Proven, Failed, Unknown uint32 }

// Add counts one.
func (t *Tally) Add(o FenceOutcome) {
	switch o {
	case FenceProven:
		t.Proven++
	case FenceFailed:
		t.Failed++
	default:
		t.Unknown++
	}
}

// Readiness is how the ways to fence one node are doing.
type Readiness struct {
	Node ident.NodeID
	Name string
	Ways []WayView
}

func (Fence) action()     {}
func (FenceStop) action() {}
func (FenceDone) event()  {}
