package sim

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

func links() []fault {
	return []fault{
		{name: "cut a link", weight: 2, strike: func(r *run) {
			a, b := r.node(), r.node()
			r.w.Cut(a, b, true)
			r.later(time.Second, 40*time.Second, func() { r.w.Cut(a, b, false) })
		}},
		{name: "cut a link one way", weight: 2, strike: func(r *run) {
			a, b := r.node(), r.node()
			r.w.Net.Cut(a.ID, b.ID, true)
			r.later(time.Second, 40*time.Second, func() { r.w.Net.Cut(a.ID, b.ID, false) })
		}},
		{name: "cut the network", weight: 1, strike: func(r *run) {
			r.w.CutNetwork(true)
			r.later(time.Second, 40*time.Second, func() { r.w.CutNetwork(false) })
		}},
		{name: "a bad network", weight: 1, strike: func(r *run) {
			r.w.Loss, r.w.Dup = r.rng.Float64(), r.rng.Float64()/4
			r.later(time.Second, 40*time.Second, func() { r.w.Loss, r.w.Dup = 0, 0 })
		}},
		{name: "a link loses one way", weight: 2, tells: true, strike: func(r *run) {
			a, b, had := r.node(), r.node(), r.w.Dropped
			r.w.Net.Lose(a.ID, b.ID, 0.3+0.69*r.rng.Float64())
			r.later(5*time.Second, 40*time.Second, func() {
				r.w.Net.Lose(a.ID, b.ID, 0)
				if r.w.Dropped > had {
					r.bites("a link loses one way")
				}
			})
		}},
		{name: "links flap", weight: 2, tells: true, strike: func(r *run) {
			a, had := r.node(), r.w.Dropped
			b := r.node()
			every := r.between(50*time.Millisecond, 4*time.Second)
			r.flap(a, b, every, 4+r.rng.IntN(20))
			r.w.After(3*every, func() {
				if r.w.Dropped > had {
					r.bites("links flap")
				}
			})
		}},
	}
}

// flap cuts and mends the link between two nodes, or all links of a node, in
// turn, so often.
func (r *run) flap(a, b *clustertest.Node, every time.Duration, left int) {
	for _, n := range r.w.Nodes {
		if a == b || n == b {
			r.w.Cut(a, n, left%2 == 0 && !r.healing)
		}
	}
	if left > 0 && !r.healing {
		r.w.After(every, func() { r.flap(a, b, every, left-1) })
	}
}
