package controller

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	latency   = 300 * time.Millisecond
	bmcHold   = 2 * time.Second // between the two readings that count
	agentHold = 200 * time.Millisecond
)

// Machine is what a controller switches. It is the world's: what happens to it
// happens whatever becomes of who asked.
type Machine struct {
	Kind    func() Kind // what its controller does now
	Up      func() bool
	On, Off func()
	After   func(time.Duration, func())
}

// Daemon is who asks, for as long as that life of it lasts.
type Daemon struct {
	Later func(time.Duration, func())
	Clock func() ident.Instant
	Tell  func(cluster.FenceDone)
}

// Attempt is one Fence under way.
type Attempt struct {
	Fence cluster.Fence
	to    Machine
	from  Daemon
	reads int
	first ident.Instant // of two readings in a row that say off; 0: none
	ended bool
}

// Begin begins an attempt.
func Begin(f cluster.Fence, to Machine, from Daemon) *Attempt {
	t := &Attempt{Fence: f, to: to, from: from}
	from.Later(f.Within, func() { t.done(cluster.FenceUnknown, "no answer in time") })
	switch f.Kind {
	case cluster.FenceCheck:
		from.Later(latency, func() {
			if t.answers() {
				if to.Kind().Says(!to.Up(), 1) {
					t.first = from.Clock()
				}
				t.done(cluster.FenceProven, "answers")
			}
		})
	case cluster.FenceOn:
		from.Later(latency, func() {
			if t.answers() {
				to.On()
				t.done(cluster.FenceProven, "on")
			}
		})
	case cluster.FenceOff:
		from.Later(latency, t.cut)
		from.Later(2*latency, t.read)
	}
	return t
}

// Stop calls the attempt off.
func (t *Attempt) Stop() {
	if !t.ended {
		t.from.Later(time.Millisecond, func() { t.done(cluster.FenceUnknown, "called off") })
	}
}

func (t *Attempt) answers() bool { return t.to.Kind().Answers(t.to.Up()) }

// cut carries the request out, or does not.
func (t *Attempt) cut() {
	switch t.to.Kind() {
	case Honest, DiesWithNode:
		t.to.Off()
	case Hanging, SaysOffOnce:
		t.to.After(bmcHold+latency, t.to.Off)
	case Unreachable, SaysOff, SaysOn:
	}
}

// read takes one reading, and the next after the hold.
func (t *Attempt) read() {
	if t.ended {
		return
	}
	if t.answers() {
		off := t.to.Kind().Says(!t.to.Up(), t.reads)
		t.reads++
		switch {
		case !off:
			t.first = 0
		case t.first == 0:
			t.first = t.from.Clock()
		default:
			t.ended = true
			t.from.Tell(cluster.FenceDone{Op: t.Fence.Op, Outcome: cluster.FenceProven, First: t.first, Second: t.from.Clock(), Text: "off, read twice"})
			return
		}
	}
	hold := bmcHold
	if t.Fence.Way.Runs() {
		hold = agentHold // an agent asks as it likes
	}
	t.from.Later(hold, t.read)
}

func (t *Attempt) done(o cluster.FenceOutcome, text string) {
	if !t.ended {
		t.ended = true
		t.from.Tell(cluster.FenceDone{Op: t.Fence.Op, Outcome: o, First: t.first, Text: text})
	}
}
