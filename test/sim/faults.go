package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/members"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/test/sim/workload"
)

// fault is one kind of trouble; it ends by itself, or at the healing.
type fault struct {
	name   string
	weight int // how often it strikes beside the others
	strike func(r *run)
	fits   func(p Plan) bool // nil: every plan
	rare   bool              // few plans fit: those always have it
	apart  bool              // only a focus asks for it
	tells  bool              // it notes when it had an effect, and has to have one somewhere
}

// all is every kind of trouble.
func all() []fault {
	return slices.Concat(machines(), others(), processes(), restarts(), links(), storage(), forgetful(), targets(), owners(), register(), operators(), services(), apart())
}

// later ends a fault after a random time.
func (r *run) later(a, b time.Duration, f func()) { r.w.After(r.between(a, b), f) }

func machines() []fault {
	return []fault{
		{name: "power off", weight: 4, strike: func(r *run) {
			n := r.node()
			n.PowerOff()
			r.later(100*time.Millisecond, 60*time.Second, n.PowerOn)
		}},
		{name: "off for good", weight: 1, strike: func(r *run) {
			n := r.node()
			n.PowerOff()
			n.NoReboot = true
		}},
		{name: "freeze", weight: 3, strike: func(r *run) {
			n := r.node()
			if n.Up() {
				n.Freeze()
				r.later(50*time.Millisecond, 15*time.Second, n.Thaw)
			}
		}},
		{name: "freeze in the feeding loop", weight: 2, strike: func(r *run) {
			if n := r.node(); n.Up() && !n.Frozen {
				n.FreezeInLoop()
				r.later(50*time.Millisecond, 15*time.Second, n.Thaw)
			}
		}},
		{name: "suspend", weight: 1, strike: func(r *run) {
			if n := r.node(); n.Up() && !n.Frozen {
				n.Suspend()
				r.later(10*time.Millisecond, 20*time.Second, n.Wake)
			}
		}},
		{name: "power event", weight: 1, strike: func(r *run) {
			for _, n := range r.w.Nodes {
				n.PowerOff()
				r.later(time.Second, 40*time.Second, n.PowerOn)
			}
		}},
		{name: "slew a clock", weight: 2, strike: func(r *run) { r.node().Slew(1 + (r.rng.Float64()-0.5)*0.0098) }},
		{name: "a second machine", weight: 1, strike: func(r *run) {
			n := r.node()
			if r.twin(n) {
				return // two are enough
			}
			if r.rng.IntN(2) == 0 { // both at once, or the second beside the first
				n.PowerOff()
				r.w.After(0, n.PowerOn)
			}
			t := n.Twin()
			t.NoReboot = true
			r.twins = append(r.twins, t)
			r.later(5*time.Second, 60*time.Second, t.PowerOff)
		}},
		{name: "spare blade", weight: 1, strike: func(r *run) {
			n := r.node()
			n.SpareBlade()
			n.PowerOn()
			r.later(20*time.Second, 60*time.Second, func() {
				n.OwnBlade()
				n.PowerOn()
			})
		}},
	}
}

func others() []fault {
	return []fault{
		{name: "a controller does not do its work", weight: 4, fits: func(p Plan) bool { return p.BMC }, strike: func(r *run) {
			n := r.node()
			n.BMC = []clustertest.Controller{
				clustertest.Unreachable, clustertest.Hanging, clustertest.SaysOffOnce, clustertest.SaysOn, clustertest.DiesWithNode,
			}[r.rng.IntN(5)]
			r.later(5*time.Second, 60*time.Second, func() { n.BMC = clustertest.Honest })
		}},
		{name: "maintenance", weight: 2, strike: func(r *run) {
			m := cluster.Maintain{For: r.between(5*time.Second, 60*time.Second), By: "ann"}
			switch r.rng.IntN(3) {
			case 0:
				m.Node = r.node().Name
			case 1:
				m.Service = r.someService()
			}
			r.ask(m)
		}},
		{name: "stop the cluster, and start it", weight: 2, strike: func(r *run) {
			r.ask(cluster.StopCluster{By: "ann"})
			r.later(5*time.Second, 40*time.Second, func() {
				for _, n := range r.w.Nodes {
					n.StartDaemon()
				}
				r.ask(cluster.StartCluster{})
			})
		}},
	}
}

// twin says that a second machine of a node's name is on.
func (r *run) twin(of *clustertest.Node) bool {
	return slices.ContainsFunc(r.twins, func(n *clustertest.Node) bool { return n.ID == of.ID && n.Up() })
}

func processes() []fault {
	return []fault{
		{name: "kill the daemon", weight: 3, strike: func(r *run) {
			n := r.node()
			n.KillDaemon()
			r.later(100*time.Millisecond, 40*time.Second, n.StartDaemon)
		}},
		{name: "restart the daemon at once", weight: 2, strike: func(r *run) {
			n := r.node()
			n.KillDaemon()
			n.StartDaemon()
		}},
		{name: "stall the daemon", weight: 2, strike: func(r *run) {
			n := r.node()
			n.Stall()
			r.later(100*time.Millisecond, 40*time.Second, n.Resume)
		}},
		{name: "the core panics on a version", weight: 2, tells: true, strike: func(r *run) {
			// On one node, or on every one: then nobody decides before another program
			// is installed.
			all, had := r.rng.IntN(4) == 0, r.w.Tally.Effects[tally.HeldUp]
			one := r.node()
			if one.Core() == nil || one.View().State == nil {
				return
			}
			ver := one.View().State.Ver
			for _, n := range r.w.Nodes {
				if !all && n != one {
					continue
				}
				n.Poison = ver
				r.later(10*time.Second, 60*time.Second, func() {
					if n.Repair(); r.w.Tally.Effects[tally.HeldUp] > had {
						r.bites("the core panics on a version")
					}
				})
			}
		}},
		{name: "kill the guard", weight: 1, strike: func(r *run) { r.node().KillGuard() }},
		{name: "stall the guard", weight: 3, strike: func(r *run) {
			n := r.node()
			n.StallGuard()
			r.later(50*time.Millisecond, 15*time.Second, n.ResumeGuard)
		}},
		{name: "stall the guard, then kill it", weight: 1, strike: func(r *run) {
			n := r.node()
			n.StallGuard()
			r.later(time.Second, 12*time.Second, n.KillGuard)
		}},
		{name: "kill guard and daemon", weight: 1, strike: func(r *run) {
			n := r.node()
			n.KillGuard()
			n.KillDaemon()
			r.later(100*time.Millisecond, 20*time.Second, n.StartDaemon)
		}},
		{name: "kill the daemon while it starts something", weight: 2, strike: func(r *run) {
			n := r.node()
			n.StartTime = r.between(time.Second, 10*time.Second)
			n.Ask(cluster.MoveService{Service: r.someService(), To: n.Name})
			r.later(500*time.Millisecond, 4*time.Second, func() {
				n.KillDaemon()
				r.later(100*time.Millisecond, 20*time.Second, n.StartDaemon)
			})
		}},
	}
}

func storage() []fault {
	return []fault{
		{name: "cut a disk of a node", weight: 2, strike: func(r *run) {
			n, d := r.node(), r.rng.IntN(len(r.w.Disks))
			n.DiskCut[d] = true
			r.later(100*time.Millisecond, 40*time.Second, func() { n.DiskCut[d] = false })
		}},
		{name: "cut all disks of a node", weight: 2, strike: func(r *run) { r.cutDisks(r.node()) }},
		{name: "cut all disks of all nodes", weight: 1, strike: func(r *run) {
			for _, n := range r.w.Nodes {
				r.cutDisks(n)
			}
		}},
		{name: "power is lost while the disks are gone", weight: 1, strike: func(r *run) {
			// Whoever is left has consented to each other's going on, or has not yet; some
			// of the power comes back before the disks do.
			for _, n := range r.w.Nodes {
				r.cutDisks(n)
			}
			for range 1 + r.rng.IntN(2) {
				n := r.node()
				r.later(0, 20*time.Second, func() {
					n.PowerOff()
					r.w.After(r.between(100*time.Millisecond, 40*time.Second), n.PowerOn)
				})
			}
		}},
		{name: "the disks are write-protected for a node", weight: 1, strike: func(r *run) {
			n := r.node()
			fill(n.ReadOnly[:1+r.rng.IntN(len(r.w.Disks))])
			r.later(time.Second, 60*time.Second, func() { clear(n.ReadOnly) })
		}},
		{name: "a disk of a node hangs", weight: 2, strike: func(r *run) {
			n, d := r.node(), r.rng.IntN(len(r.w.Disks))
			n.DiskHang[d] = true
			r.later(100*time.Millisecond, 30*time.Second, func() { n.Unhang(d) })
		}},
		{name: "a slow disk", weight: 1, strike: func(r *run) {
			k := r.w.Disks[r.rng.IntN(len(r.w.Disks))]
			k.Slow = 1 + 60*r.rng.Float64()
			r.later(time.Second, 30*time.Second, func() { k.Slow = 1 })
		}},
		{name: "a disk fails requests", weight: 2, strike: func(r *run) {
			k := r.w.Disks[r.rng.IntN(len(r.w.Disks))]
			k.Errors = r.rng.Float64() / 2
			r.later(time.Second, 30*time.Second, func() { k.Errors = 0 })
		}},
		{name: "all disks are slow", weight: 1, strike: func(r *run) {
			slow := func(times float64) {
				for _, k := range r.w.Disks {
					k.Slow = times
				}
			}
			slow(1 + 100*r.rng.Float64())
			r.later(time.Second, 30*time.Second, func() { slow(1) })
		}},
		{name: "the array freezes for all", weight: 1, strike: func(r *run) {
			for _, n := range r.w.Nodes {
				fill(n.DiskHang)
			}
			r.later(100*time.Millisecond, 20*time.Second, func() {
				for _, n := range r.w.Nodes {
					for d := range n.DiskHang {
						n.Unhang(d)
					}
				}
			})
		}},
	}
}

func register() []fault {
	return []fault{
		{name: "bad register writes", weight: 2, strike: func(r *run) {
			n := r.node()
			n.RegDrops, n.RegLate = r.rng.Float64()/3, r.rng.Float64()/3
			r.later(time.Second, 40*time.Second, func() { n.RegDrops, n.RegLate = 0, 0 })
		}},
	}
}

// cutDisks takes all disks from a node for a while.
func (r *run) cutDisks(n *clustertest.Node) {
	fill(n.DiskCut)
	r.later(100*time.Millisecond, 25*time.Second, func() { clear(n.DiskCut) })
}

func fill(list []bool) {
	for i := range list {
		list[i] = true
	}
}

// ask gives a request to a random node.
func (r *run) ask(q cluster.Request) { r.node().Ask(q) }

func services() []fault {
	return []fault{
		{name: "starts fail", weight: 1, strike: func(r *run) {
			n := r.node()
			n.StartFails = true
			r.later(time.Second, 30*time.Second, func() { n.StartFails = false })
		}},
		{name: "stops fail", weight: 1, strike: func(r *run) {
			n := r.node()
			n.StopFails = true
			r.later(time.Second, 30*time.Second, func() { n.StopFails = false })
		}},
		{name: "checks fail", weight: 1, strike: func(r *run) {
			n := r.node()
			n.CheckFails = true
			r.later(time.Second, 20*time.Second, func() { n.CheckFails = false })
		}},
		{name: "checks hang", weight: 2, tells: true, strike: func(r *run) {
			// They give no answer until the runner gives up; or the node stalls, and
			// the runner has seen that.
			n := r.node()
			n.CheckHang = members.Hang{On: true, For: r.between(time.Second, 20*time.Second)}
			if r.rng.IntN(3) == 0 {
				n.CheckHang.Stall = "its tasks waited for I/O 83% of the time"
			}
			from := len(r.w.Notes)
			r.later(5*time.Second, 60*time.Second, func() {
				n.CheckHang = members.Hang{}
				for i := range r.w.Notes[from:] {
					if strings.Contains(r.w.Notes[from+i].Text, "no answer") {
						r.bites("checks hang")
						return
					}
				}
			})
		}},
		{name: "slow services", weight: 1, strike: func(r *run) {
			n := r.node()
			n.StartTime, n.StopTime = r.between(0, 20*time.Second), r.between(0, 8*time.Second)
		}},
		{name: "an unreadable configuration", weight: 1, strike: func(r *run) {
			n := r.node()
			r.w.Blind(n, true)
			r.later(time.Second, 30*time.Second, func() { r.w.Blind(n, false) })
		}},
	}
}

func operators() []fault {
	return []fault{
		{name: "move", weight: 3, strike: func(r *run) {
			q := cluster.MoveService{Service: r.someService()}
			if r.rng.IntN(2) == 0 {
				q.To = r.node().Name
			}
			r.ask(q)
		}},
		{name: "stop", weight: 1, strike: func(r *run) { r.ask(cluster.StopService{Service: r.someService()}) }},
		{name: "start", weight: 1, strike: func(r *run) { r.ask(cluster.StartService{Service: r.someService()}) }},
		{name: "freeze a service", weight: 1, strike: func(r *run) {
			r.ask(cluster.FreezeService{Service: r.someService(), On: r.rng.IntN(2) == 0})
		}},
		{name: "clear", weight: 1, strike: func(r *run) { r.ask(cluster.ClearService{Service: r.someService()}) }},
		{name: "standby", weight: 2, strike: func(r *run) { r.ask(cluster.StandbyNode{Node: r.node().Name, On: r.rng.IntN(2) == 0}) }},
		{name: "fence", weight: 1, strike: func(r *run) { r.ask(cluster.FenceNode{Node: r.node().Name}) }},
		{name: "confirm off", weight: 1, strike: func(r *run) {
			i := slices.IndexFunc(r.w.Nodes, func(n *clustertest.Node) bool { return n.OffFor() > 2*time.Second && !r.twin(n) })
			if i >= 0 { // operators do not lie here
				r.ask(cluster.ConfirmOff{Node: r.w.Nodes[i].Name, Operator: "ann", How: "looked"})
			}
		}},
		{name: "leave", weight: 2, strike: func(r *run) {
			n := r.node()
			n.Ask(cluster.LeaveCluster{})
			r.later(5*time.Second, 60*time.Second, n.StartDaemon)
		}},
		{name: "take a service from the configuration", weight: 1, strike: func(r *run) {
			// Not one that has to be beside another: the rule would go with it.
			i := r.rng.IntN(len(r.conf.Services))
			if workload.Ruled(r.conf.Services, r.conf.Services[i].Name) {
				return
			}
			c := r.conf
			c.Services = slices.Delete(slices.Clone(c.Services), i, i+1)
			r.ask(r.w.Configure(c))
			r.later(100*time.Millisecond, 30*time.Second, func() { r.ask(r.w.Configure(r.conf)) })
		}},
		{name: "change failover_within", weight: 1, strike: func(r *run) {
			c := r.conf
			c.FailoverWithin = r.least + time.Duration(r.rng.IntN(25))*500*time.Millisecond
			r.ask(r.w.Configure(c))
		}},
		{name: "remove a node", weight: 1, strike: func(r *run) {
			n := r.node()
			if n.Core() == nil || n.View().State == nil || len(n.View().State.Nodes) < 2 {
				return // somebody has to be left who can take the others in again
			}
			n.Ask(cluster.RemoveNode{Node: r.node().Name})
		}},
		{name: "two at once", weight: 1, strike: func(r *run) {
			name := r.someService()
			for _, n := range r.w.Nodes {
				n.Ask(cluster.MoveService{Service: name, To: r.node().Name})
			}
		}},
	}
}
