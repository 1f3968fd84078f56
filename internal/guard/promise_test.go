package guard

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/test/power"
)

func raised() *guardwire.Promise {
	return &guardwire.Promise{Inc: k7, F: 9 * time.Second, G: 40 * time.Second, H: time.Second}
}

// lives is what a state's lease lives by.
func lives(s *state) time.Duration { return s.snapshot().Lease.Params.F }

// TestPromiseChanges: the beats carry the new promise at once, and the guard
// lives by it once they are on a majority of the disks.
func TestPromiseChanges(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.p.step(time.Second)
	must(t, r.g.obey(2, raised()))
	if lives(r.g.state) != 5*time.Second {
		t.Error("raised before any beat carries it")
	}
	r.turn()
	if r.beat(0).Lease.F != 9*time.Second || r.beat(0).Lease.G != 40*time.Second || r.beat(0).Lease.TMax != promise().Lease.TMax {
		t.Errorf("the beat promises %+v", r.beat(0).Lease)
	}
	r.p.step(time.Second)
	_ = r.g.workers[0].turn(true)
	if lives(r.g.state) != 5*time.Second {
		t.Error("raised by a minority of the disks")
	}
	_ = r.g.workers[2].turn(true)
	if lives(r.g.state) != 9*time.Second {
		t.Errorf("not raised although a majority carries it: %+v", r.g.state.snapshot().Lease)
	}
	must(t, r.g.obey(3, &guardwire.Promise{Inc: k7, F: 2 * time.Second, G: 2 * time.Second, H: 500 * time.Millisecond}))
	if lives(r.g.state) != 2*time.Second {
		t.Error("a lower promise is lived by at once")
	}
	if period, _ := r.g.state.pace(); period != 500*time.Millisecond {
		t.Errorf("period of the disk cycle %v", period)
	}
}

func TestPromiseIsRefused(t *testing.T) {
	r := newRig(t).start()
	if err := r.g.obey(1, raised()); !errors.Is(err, lease.ErrFree) {
		t.Errorf("while free: %v", err)
	}
	r.claim()
	slow, foreign, nothing := raised(), raised(), raised()
	slow.H, foreign.Inc.Boot, nothing.F = slow.F+1, ident.BootID{9}, 0
	for want, o := range map[error]*guardwire.Promise{errCadence: slow, errForeign: foreign, lease.ErrParams: nothing} {
		if err := r.g.obey(2, o); err == nil || want != lease.ErrParams && !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", o, err, want)
		}
	}
	must(t, r.g.obey(3, &guardwire.Stopping{Inc: k7}))
	if err := r.g.obey(4, raised()); !errors.Is(err, lease.ErrFrozen) {
		t.Errorf("while stopping: %v", err)
	}
	if s := r.g.state.snapshot(); s.Params != promise() || s.Lease.Carry.New.F != promise().Lease.F {
		t.Errorf("a refused order has changed %+v", s)
	}
}

// TestHandoverWhileThePromiseChanges: the successor carries the new promise and
// lives by the old one, until its own beats are there.
func TestHandoverWhileThePromiseChanges(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	r.p.step(time.Second)
	must(t, r.g.obey(2, raised()))
	s, err := r.g.Snapshot()
	must(t, err)
	_, m, err := guardwire.DecodeMessage(guardwire.AppendMessage(nil, 0, 0, s))
	must(t, err)
	r.deps.Restored = &handover.Bundle{Snapshot: m.(*guardwire.Snapshot)}
	r.start()
	if v := r.g.state.snapshot(); v.Lease.Params.F != 5*time.Second || v.Params.Lease.F != 9*time.Second {
		t.Fatalf("restored %+v", v)
	}
	r.p.step(time.Second)
	r.turn()
	if lives(r.g.state) != 9*time.Second || r.beat(1).Lease.F != 9*time.Second {
		t.Errorf("after a whole cycle: %+v", r.g.state.snapshot().Lease)
	}
}

// TestPromiseOfAProcess: a real guard with real watchdogs takes another promise
// and is then replaced; no watchdog is set, closed or opened for it.
func TestPromiseOfAProcess(t *testing.T) {
	n := newNode(t)
	n.start()
	c := n.dial()
	inc := n.claim(c)
	x := &running{rig: &rig{t: t}}
	x.obeyed(c, &guardwire.Promise{Inc: inc, F: 7 * time.Second, G: 20 * time.Second, H: time.Second})
	if _, err := c.Send(&guardwire.Upgrade{}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := c.Receive(); err != nil {
			break // the old program is gone
		}
	}
	var s *guardwire.Snapshot
	waitFor(t, "the new program to live by the new promise", func() bool {
		s = n.dial().Snapshot()
		return s.Lease.Params.F == 7*time.Second
	})
	if s.Lease.Inc != inc || s.Params.Lease.F != 7*time.Second || s.Params.Lease.M != promise().Lease.M {
		t.Errorf("snapshot %+v", s)
	}
	if n.dark() || n.happened(power.ClosePet) {
		t.Errorf("events %+v", n.emulator.Events())
	}
	x.obeyed(n.dial(), &guardwire.Retire{Inc: inc})
}
