package fencing_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// heard is a peer that was heard last at an instant.
type heard struct {
	inc ident.Incarnation
	at  ident.Instant
}

func (h *heard) Signs(ident.NodeID) fencing.Signs {
	return fencing.Signs{Msg: &cluster.Message{Inc: h.inc}, Heard: h.at, Changed: ident.LongAgo}
}

// TestGone: only what was read as off twice, over a way that has said on before, while
// nothing was seen of the node, is not asked for its consent.
func TestGone(t *testing.T) {
	type reading struct {
		at      time.Duration
		outcome cluster.FenceOutcome
		off     bool
	}
	on, off := func(at time.Duration) reading { return reading{at, cluster.FenceProven, false} }, func(at time.Duration) reading { return reading{at, cluster.FenceProven, true} }
	fails := func(at time.Duration) reading { return reading{at, cluster.FenceUnknown, false} }
	const s = time.Second
	for _, c := range []struct {
		name     string
		dark     bool
		again    time.Duration // it is heard until 10 s, and then at this instant; 0: not
		readings []reading
		want     bool
	}{
		{"off twice", true, 0, []reading{on(3 * s), off(12 * s), off(15 * s)}, true},
		{"off once", true, 0, []reading{on(3 * s), off(12 * s)}, false},
		{"never on before", true, 0, []reading{off(12 * s), off(15 * s)}, false},
		{"unknown between", true, 0, []reading{on(3 * s), off(12 * s), fails(15 * s), off(18 * s)}, false},
		{"on between", true, 0, []reading{on(3 * s), off(12 * s), on(15 * s), off(18 * s)}, false},
		{"on again after that", true, 0, []reading{on(3 * s), off(12 * s), off(15 * s), on(18 * s)}, false},
		{"unknown after that", true, 0, []reading{on(3 * s), off(12 * s), off(15 * s), fails(18 * s)}, true},
		{"heard after the first", true, 13 * s, []reading{on(3 * s), off(12 * s), off(17 * s)}, false},
	} {
		sc := newScene()
		sc.env.State.Nodes[0].Fencing = ident.Incarnation{}
		sc.env.State.Conf.Fencing[0].Ways = sc.env.State.Conf.Fencing[0].Ways[:1]
		sc.env.Dark = c.dark
		h := &heard{inc: ident.Incarnation{N: 5}}
		sc.env.Signs = h
		listen := func() {
			h.at = min(sc.env.Now, at(10*s))
			if c.again != 0 && sc.env.Now >= at(c.again) {
				h.at = at(c.again)
			}
		}
		for _, r := range c.readings {
			op := uint64(0)
			for ; op == 0 && sc.env.Now < at(r.at); sc.env.Now = sc.env.Now.Add(100 * time.Millisecond) {
				listen()
				sc.set.Manage(sc.env)
				for _, a := range sc.set.Take() {
					if f, ok := a.(cluster.Fence); ok && f.Kind == cluster.FenceCheck {
						op = f.Op
					} else if ok {
						t.Fatalf("%s: %+v", c.name, f)
					}
				}
			}
			if op == 0 {
				t.Fatalf("%s: nobody has asked before %s", c.name, r.at)
			}
			sc.env.Now = at(r.at)
			listen()
			e := cluster.FenceDone{Op: op, Outcome: r.outcome}
			if r.off {
				e.First = sc.env.Now
			}
			sc.set.Done(sc.env, e)
		}
		sc.set.Manage(sc.env)
		if got := sc.set.Gone(sc.env, &sc.env.State.Nodes[0]); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if sc.env.State.Nodes[0].Inc.N++; sc.set.Gone(sc.env, &sc.env.State.Nodes[0]) {
			t.Errorf("%s: the next incarnation is not the one that was off", c.name)
		}
	}
}
