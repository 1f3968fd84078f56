package register_test

import (
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// twins is a world in which two machines have the identity of node 1; the last
// node is another. Both boot now.
func twins(t tester, seed uint64, disks int) *world {
	w := newWorld(t, seed, 2, disks)
	w.nodes = append(w.nodes, &node{id: 1, life: 1000, wrote: make([]bool, disks), early: w.nodes[0].early})
	for _, n := range w.nodes {
		n.fly = nil
		n.m = register.New[val](register.Config{Self: n.id, Life: n.life, Disks: disks, Ticket: true})
		n.m.Tick(w.now)
		w.collect(n)
	}
	return w
}

// TestOfTwoMachinesWithOneIdentityOneBegins: both read the ring before either has
// written into it. The one whose ticket was overwritten finds the other's.
func TestOfTwoMachinesWithOneIdentityOneBegins(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w := twins(t, 1, disks)
		a, b := w.nodes[0], w.nodes[2]
		for _, n := range []*node{a, b} {
			w.all(n)
			w.begin(n)
			w.all(n)
			if n.got(register.Committed) != nil {
				t.Fatal("a machine decided before its ticket had stood")
			}
		}
		w.now += 1100e6
		for _, n := range []*node{b, a} {
			n.m.Tick(w.now)
			w.collect(n)
			w.all(n)
		}
		if b.got(register.Committed) == nil || a.got(register.Committed) != nil || a.got(register.Shared) == nil {
			t.Errorf("the first machine goes on although another has written its ticket: %+v, %+v", a.outs, b.outs)
		}
	})
}

// TestTwoMachinesWithOneIdentityDecideNothingTwice: whatever the order, and however
// long a request takes, every version has one value.
func TestTwoMachinesWithOneIdentityDecideNothingTwice(t *testing.T) {
	shared, committed := 0, 0
	for seed := range uint64(300) {
		w := twins(t, seed, 1+2*int(seed%2))
		slow := w.nodes[2*w.rng.IntN(2)] // one of the two, which stops for a while now and then
		wakes, often := w.now, []int{3, 20}[seed/2%2]
		for range 900 {
			w.now += ident.Instant(w.rng.IntN(30e6))
			if w.rng.IntN(5) == 0 {
				w.now += ident.Instant(w.rng.IntN(1200e6))
			}
			if w.rng.IntN(30) == 0 {
				wakes = w.now + ident.Instant(w.rng.IntN(3e9))
			}
			n := w.nodes[w.rng.IntN(len(w.nodes))]
			if n == slow && w.now < wakes {
				continue
			}
			if n.m.Ready() && w.rng.IntN(often) == 0 {
				w.propose(n)
			}
			n.m.Tick(w.now)
			w.collect(n)
			for i := w.rng.IntN(6); i > 0 && len(n.fly) > 0; i-- {
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
	t.Logf("the machines met %d times and committed %d times", shared, committed)
}
