package sim

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
)

func isGuarded(p Plan) bool { return p.Guarded }

// targets are what goes wrong with the data LUNs below guarded services.
func targets() []fault {
	return []fault{
		{name: "registrations come late", weight: 3, fits: isGuarded, rare: true, strike: func(r *run) {
			n := r.node()
			n.LUNs.Late = r.between(10*time.Millisecond, 40*time.Second)
			if r.rng.IntN(2) == 0 {
				r.w.LUNs().Forget(r.someService())
			}
			r.mendLUNs(n, time.Second, 40*time.Second)
		}},
		{name: "a target forgets its keys", weight: 2, fits: isGuarded, rare: true, strike: func(r *run) { r.w.LUNs().Forget(r.someService()) }},
		{name: "a LUN does not answer a node", weight: 3, fits: isGuarded, rare: true, strike: func(r *run) {
			n := r.node()
			n.LUNs.Cut = make([]bool, luns.PerService)
			n.LUNs.Cut[r.rng.IntN(luns.PerService)] = true
			r.mendLUNs(n, time.Second, 60*time.Second)
		}},
		{name: "a target lies, or aborts nothing", weight: 3, fits: isGuarded, rare: true, strike: func(r *run) {
			n := r.node()
			n.LUNs.Dropped, n.LUNs.Aborts, n.LUNs.Kept = r.rng.IntN(3) == 0, r.rng.IntN(2) == 0, r.rng.IntN(3) == 0
			r.mendLUNs(n, time.Second, 60*time.Second)
		}},
		{name: "taking keys away hangs", weight: 3, fits: isGuarded, rare: true, tells: true, strike: func(r *run) {
			n, had := r.node(), r.w.LUNs().Counts.Hung
			n.LUNs.Hang = r.between(time.Second, 40*time.Second)
			r.later(5*time.Second, 60*time.Second, func() {
				if n.LUNs = (luns.Faults{}); r.w.LUNs().Counts.Hung > had {
					r.bites("taking keys away hangs")
				}
			})
		}},
	}
}

// owners are what becomes of the owners of guarded services.
func owners() []fault {
	return []fault{
		{name: "an owner with much on its way is cut off", weight: 5, fits: isGuarded, rare: true, strike: func(r *run) {
			// What it has sent waits in the target; who takes the key away aborts that,
			// or does not.
			n := r.w.Owner(r.someService())
			if n == nil || n.Frozen {
				return
			}
			n.LUNs.Queued = true
			for _, o := range r.w.Nodes {
				if o != n && r.rng.IntN(2) == 0 {
					o.LUNs.Aborts = true
					r.mendLUNs(o, 10*time.Second, 30*time.Second)
				}
			}
			r.mendLUNs(n, 5*time.Second, 20*time.Second)
			switch r.rng.IntN(3) {
			case 0:
				n.Freeze()
				r.later(2*time.Second, 8*time.Second, n.Thaw)
			case 1:
				r.ask(cluster.FenceNode{Node: n.Name})
			default:
				r.cutDisks(n)
				r.silence(n, r.between(time.Second, 25*time.Second))
			}
		}},
		{name: "the heir of a storage dies too", weight: 4, fits: func(p Plan) bool { return p.Guarded && p.Nodes > 2 }, rare: true, tells: true, strike: func(r *run) {
			// The owner is alone, and runs for as long as its lease does; another takes
			// its storage over and ends before the first is known to have ended: the
			// third has both to wait for.
			name := r.someService()
			n := r.w.Owner(name)
			if n == nil || n.Frozen || !n.Up() {
				return
			}
			fill(n.DiskCut)
			r.silence(n, 20*time.Second)
			r.w.After(20*time.Second, func() { clear(n.DiskCut) })
			r.heir(name, 150)
		}},
	}
}

// heir has the node reboot that gets the storage of a service while a former owner
// of it is not known to have ended.
func (r *run) heir(service string, tries int) {
	for _, n := range r.w.Nodes {
		if n.Core() == nil || n.Frozen || n.View().State == nil {
			continue
		}
		if g := n.View().State.Grant(service); g != nil && g.Owner == n.ID && len(g.Pending) > 0 {
			n.PowerOff()
			r.later(50*time.Millisecond, 500*time.Millisecond, n.PowerOn)
			r.bites("the heir of a storage dies too")
			return
		}
	}
	if tries > 0 && !r.healing {
		r.w.After(100*time.Millisecond, func() { r.heir(service, tries-1) })
	}
}

func (r *run) mendLUNs(n *clustertest.Node, a, b time.Duration) {
	r.later(a, b, func() { n.LUNs = luns.Faults{} })
}

// silence cuts a node from the network for a while.
func (r *run) silence(n *clustertest.Node, d time.Duration) {
	cut := func(on bool) {
		for _, o := range r.w.Nodes {
			r.w.Cut(n, o, on)
		}
	}
	cut(true)
	r.w.After(d, func() { cut(false) })
}
