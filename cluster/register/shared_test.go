package register_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// twins is a world in which two machines have the identity of node 1; the last
// node is another. Both boot now.
func twins(t tester, seed uint64, disks int, still time.Duration) *world {
	w := newWorld(t, seed, 2, disks)
	w.nodes = append(w.nodes, &node{id: 1, life: 1000, wrote: make([]bool, disks), early: w.nodes[0].early})
	for _, n := range w.nodes {
		n.fly = nil
		n.m = register.New[val](register.Config{Self: n.id, Life: n.life, Disks: disks, Still: still})
		n.m.Tick(w.now)
		w.collect(n)
	}
	return w
}

// TestOfTwoMachinesWithOneIdentityOneDecides: both read the ring before either has
// written into it. Without the rule both would go on, each with a block that hides
// the other's.
func TestOfTwoMachinesWithOneIdentityOneDecides(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w := twins(t, 1, disks, time.Second)
		a, b := w.nodes[0], w.nodes[2]
		w.all(a)
		w.all(b)
		w.begin(a)
		w.all(a)
		w.begin(b)
		w.all(b)
		for _, n := range []*node{a, b} {
			if n.got(register.Committed) != nil {
				t.Fatal("a machine decided before its block had stood alone")
			}
		}
		w.now += 1100e6
		for _, n := range []*node{b, a} {
			n.m.Tick(w.now)
			w.collect(n)
			w.all(n)
		}
		if a.got(register.Committed) != nil || a.got(register.Shared) == nil {
			t.Errorf("the first machine goes on although another has written its block")
		}
	})
}

// TestTwoMachinesWithOneIdentityDecideNothingTwice: whatever the order, every
// version has one value, as long as the disks answer well within Still.
func TestTwoMachinesWithOneIdentityDecideNothingTwice(t *testing.T) {
	shared, committed := 0, 0
	for seed := range uint64(100) {
		w := twins(t, seed, 1+2*int(seed%2), time.Second)
		for range 400 {
			w.now += ident.Instant(w.rng.IntN(30e6))
			n := w.nodes[w.rng.IntN(len(w.nodes))]
			if n.m.Ready() && w.rng.IntN(3) == 0 {
				w.propose(n)
			}
			n.m.Tick(w.now)
			w.collect(n)
			for i := w.rng.IntN(3); i > 0 && len(n.fly) > 0; i-- {
				w.finish(n, w.rng.IntN(len(n.fly)))
			}
		}
		committed += w.commits
		for _, n := range w.nodes {
			shared += len(slices.DeleteFunc(n.outs, func(o register.Outcome[val]) bool { return o.Kind != register.Shared }))
		}
	}
	if shared < 100 || committed < 100 {
		t.Errorf("the machines met %d times and committed %d times", shared, committed)
	}
}
