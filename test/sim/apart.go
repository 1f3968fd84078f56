package sim

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// apart are kinds of trouble that a focus asks for by name: each sets the stage for
// one rule, which would be tried once in many thousand seeds otherwise.
func apart() []fault { return slices.Concat(stages(), slowness(), arrays()) }

func stages() []fault {
	return []fault{
		{name: "a spare for a silent machine", weight: 1, apart: true, strike: func(r *run) {
			// A spare is given the node's disk and name; the machine that has them
			// falls silent and goes on, or it speaks. If it ends it stays off until
			// the spare is off again: no two of them boot at once.
			n := r.node()
			if r.twin(n) || !n.Up() || n.NoReboot {
				return
			}
			switch r.rng.IntN(3) {
			case 0:
				if !n.Frozen {
					n.Freeze()
					r.later(time.Second, 6*time.Second, n.Thaw)
				}
			case 1:
				r.cutDisks(n)
			}
			twin := n.Twin()
			n.NoReboot, twin.NoReboot = true, true
			r.twins = append(r.twins, twin)
			r.later(20*time.Second, 60*time.Second, func() {
				twin.PowerOff()
				r.w.After(20*time.Second, func() {
					n.NoReboot = false
					n.PowerOn()
				})
			})
		}},
		{name: "only one sees the disks", weight: 1, apart: true, strike: func(r *run) {
			// A node that has been away comes back, and it alone sees the disks: the
			// others go on by each other's consent, and it does not hear them.
			away := r.node()
			away.PowerOff()
			away.NoReboot = false
			r.w.After(20*time.Second, func() {
				for _, n := range r.w.Nodes {
					if n == away {
						continue
					}
					fill(n.DiskCut)
					r.w.Cut(n, away, true)
				}
				away.PowerOn()
			})
			r.w.After(80*time.Second, func() {
				for _, n := range r.w.Nodes {
					clear(n.DiskCut)
					r.w.Cut(n, away, false)
				}
			})
		}},
	}
}

func slowness() []fault {
	return []fault{
		{name: "suspend with the watchdogs", weight: 1, apart: true, strike: func(r *run) {
			n := r.node()
			if r.rng.IntN(2) == 0 { // then its guard is alone when it wakes up
				n.KillDaemon()
				r.later(5*time.Second, 30*time.Second, n.StartDaemon)
			}
			n.SuspendAll()
			r.later(time.Second, 15*time.Second, n.Wake)
		}},
		{name: "late reads", weight: 1, apart: true, strike: func(r *run) {
			// One node cannot write to a disk, and another does not get to see
			// what the first writes to the next: to that one a majority stands still.
			writes, reads := r.node(), r.node()
			if writes == reads || len(r.w.Disks) < 3 {
				return
			}
			d := r.rng.IntN(3)
			writes.DiskCut[d], reads.DiskHang[(d+1)%3], writes.StopFails = true, true, true
			r.w.Cut(writes, reads, true)
			r.later(4*time.Second, 14*time.Second, func() {
				reads.Unhang((d + 1) % 3)
				r.later(time.Second, 10*time.Second, func() {
					writes.DiskCut[d], writes.StopFails = false, false
					r.w.Cut(writes, reads, false)
				})
			})
		}},
		{name: "slow links", weight: 1, apart: true, strike: func(r *run) {
			r.w.Lag = r.between(time.Second, 6*time.Second)
			r.later(10*time.Second, 40*time.Second, func() { r.w.Lag = 0 })
		}},
		{name: "orders of a daemon that dies", weight: 1, apart: true, strike: func(r *run) {
			// The guard is slow to read what its daemon says, and then another
			// daemon is there.
			n := r.node()
			n.OrderLag = r.between(50*time.Millisecond, time.Second)
			n.Ask(cluster.LeaveCluster{})
			r.later(10*time.Millisecond, 3*time.Second, func() {
				n.KillDaemon()
				n.OrderLag = 0
				n.StartDaemon()
			})
		}},
		{name: "change the grace", weight: 1, apart: true, strike: func(r *run) {
			c := r.conf
			c.Grace = r.between(20*time.Second, 90*time.Second)
			r.ask(r.w.Configure(c))
		}},
	}
}

func arrays() []fault {
	return []fault{
		{name: "the array holds every request", weight: 1, apart: true, strike: func(r *run) {
			// It works on nothing for some seconds, also not on what a machine has sent
			// that ends meanwhile; then all of it lands, late.
			if r.stalled {
				return
			}
			hold := func(on bool) {
				r.stalled = on
				for d := range r.w.Disks {
					r.w.Hold(d, on)
				}
			}
			hold(true)
			if r.rng.IntN(2) == 0 {
				n := r.node()
				r.later(0, 2*time.Second, n.PowerOff)
				r.later(5*time.Second, 40*time.Second, n.PowerOn)
			}
			r.w.After(r.between(2*time.Second, 20*time.Second), func() { hold(false) })
		}},
	}
}
