package sim

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// all is every kind of trouble, with how often it strikes beside the others.
func all() []fault {
	return append(append(machines(), storage()...), people()...)
}

// later ends a fault after a random time.
func (r *run) later(a, b time.Duration, f func()) { r.w.After(r.between(a, b), f) }

func machines() []fault {
	return []fault{
		{"power off", 3, func(r *run) {
			n := r.node()
			n.PowerOff()
			r.later(100*time.Millisecond, 60*time.Second, n.PowerOn)
		}},
		{"off for good", 1, func(r *run) {
			n := r.node()
			n.PowerOff()
			n.NoReboot = true
		}},
		{"freeze", 3, func(r *run) {
			n := r.node()
			if n.Up() {
				n.Freeze()
				r.later(50*time.Millisecond, 15*time.Second, n.Thaw)
			}
		}},
		{"kill the daemon", 3, func(r *run) {
			n := r.node()
			n.KillDaemon()
			r.later(100*time.Millisecond, 40*time.Second, n.StartDaemon)
		}},
		{"restart the daemon at once", 2, func(r *run) {
			n := r.node()
			n.KillDaemon()
			n.StartDaemon()
		}},
		{"stall the daemon", 2, func(r *run) {
			n := r.node()
			n.Stall()
			r.later(100*time.Millisecond, 40*time.Second, n.Resume)
		}},
		{"kill the guard", 1, func(r *run) { r.node().KillGuard() }},
		{"cut a link", 2, func(r *run) {
			a, b := r.node(), r.node()
			r.w.Cut(a, b, true)
			r.later(time.Second, 40*time.Second, func() { r.w.Cut(a, b, false) })
		}},
		{"cut a link one way", 2, func(r *run) {
			a, b := r.node(), r.node()
			r.w.CutOneWay(a, b, true)
			r.later(time.Second, 40*time.Second, func() { r.w.CutOneWay(a, b, false) })
		}},
		{"cut the network", 1, func(r *run) {
			r.w.CutNetwork(true)
			r.later(time.Second, 40*time.Second, func() { r.w.CutNetwork(false) })
		}},
		{"a bad network", 1, func(r *run) {
			r.w.Loss, r.w.Dup = r.rng.Float64(), r.rng.Float64()/4
			r.later(time.Second, 40*time.Second, func() { r.w.Loss, r.w.Dup = 0, 0 })
		}},
	}
}

func storage() []fault {
	return []fault{
		{"cut a disk of a node", 2, func(r *run) {
			n, d := r.node(), r.rng.IntN(len(r.w.Disks))
			n.DiskCut[d] = true
			r.later(100*time.Millisecond, 40*time.Second, func() { n.DiskCut[d] = false })
		}},
		{"cut all disks of a node", 2, func(r *run) { r.cutDisks(r.node()) }},
		{"cut all disks of all nodes", 1, func(r *run) {
			for _, n := range r.w.Nodes {
				r.cutDisks(n)
			}
		}},
		{"a disk of a node hangs", 2, func(r *run) {
			n, d := r.node(), r.rng.IntN(len(r.w.Disks))
			n.DiskHang[d] = true
			r.later(100*time.Millisecond, 30*time.Second, func() { n.Unhang(d) })
		}},
		{"a slow disk", 1, func(r *run) {
			k := r.w.Disks[r.rng.IntN(len(r.w.Disks))]
			k.Slow = 1 + 60*r.rng.Float64()
			r.later(time.Second, 30*time.Second, func() { k.Slow = 1 })
		}},
		{"bad register writes", 2, func(r *run) {
			n := r.node()
			n.RegDrops, n.RegLate = r.rng.Float64()/3, r.rng.Float64()/3
			r.later(time.Second, 40*time.Second, func() { n.RegDrops, n.RegLate = 0, 0 })
		}},
	}
}

// cutDisks takes all disks from a node for a while.
func (r *run) cutDisks(n *clustertest.Node) {
	for d := range n.DiskCut {
		n.DiskCut[d] = true
	}
	r.later(100*time.Millisecond, 25*time.Second, func() {
		for d := range n.DiskCut {
			n.DiskCut[d] = false
		}
	})
}

// ask gives a request to a random node.
func (r *run) ask(q cluster.Request) { r.node().Ask(q) }

func people() []fault {
	return append(operators(), []fault{
		{"starts fail", 1, func(r *run) {
			n := r.node()
			n.StartFails = true
			r.later(time.Second, 30*time.Second, func() { n.StartFails = false })
		}},
		{"stops fail", 1, func(r *run) {
			n := r.node()
			n.StopFails = true
			r.later(time.Second, 30*time.Second, func() { n.StopFails = false })
		}},
		{"checks fail", 1, func(r *run) {
			n := r.node()
			n.CheckFails = true
			r.later(time.Second, 20*time.Second, func() { n.CheckFails = false })
		}},
		{"slow services", 1, func(r *run) {
			n := r.node()
			n.StartTime, n.StopTime = r.between(0, 20*time.Second), r.between(0, 8*time.Second)
		}},
		{"an unreadable configuration", 1, func(r *run) {
			n := r.node()
			r.w.Blind(n, true)
			r.later(time.Second, 30*time.Second, func() { r.w.Blind(n, false) })
		}},
	}...)
}

func operators() []fault {
	return []fault{
		{"move", 3, func(r *run) {
			q := cluster.MoveService{Service: r.someService()}
			if r.rng.IntN(2) == 0 {
				q.To = r.node().Name
			}
			r.ask(q)
		}},
		{"stop", 1, func(r *run) { r.ask(cluster.StopService{Service: r.someService()}) }},
		{"start", 1, func(r *run) { r.ask(cluster.StartService{Service: r.someService()}) }},
		{"freeze a service", 1, func(r *run) {
			r.ask(cluster.FreezeService{Service: r.someService(), On: r.rng.IntN(2) == 0})
		}},
		{"clear", 1, func(r *run) { r.ask(cluster.ClearService{Service: r.someService()}) }},
		{"standby", 2, func(r *run) { r.ask(cluster.StandbyNode{Node: r.node().Name, On: r.rng.IntN(2) == 0}) }},
		{"fence", 1, func(r *run) { r.ask(cluster.FenceNode{Node: r.node().Name}) }},
		{"confirm off", 1, func(r *run) {
			i := slices.IndexFunc(r.w.Nodes, func(n *clustertest.Node) bool { return !n.Up() })
			if i >= 0 { // operators do not lie here
				r.ask(cluster.ConfirmOff{Node: r.w.Nodes[i].Name, Operator: "ann", How: "looked"})
			}
		}},
		{"leave", 2, func(r *run) {
			n := r.node()
			n.Ask(cluster.LeaveCluster{})
			r.later(5*time.Second, 60*time.Second, n.StartDaemon)
		}},
		{"take a service from the configuration", 1, func(r *run) {
			i := r.rng.IntN(len(r.conf.Services))
			c := r.conf
			c.Services = slices.Delete(slices.Clone(c.Services), i, i+1)
			r.ask(r.w.Configure(c))
			r.later(100*time.Millisecond, 30*time.Second, func() { r.ask(r.w.Configure(r.conf)) })
		}},
		{"change failover_within", 1, func(r *run) {
			c := r.conf
			c.FailoverWithin = 5*time.Second + time.Duration(r.rng.IntN(31))*500*time.Millisecond
			r.ask(r.w.Configure(c))
		}},
		{"remove a node", 1, func(r *run) { r.ask(cluster.RemoveNode{Node: r.node().Name}) }},
		{"two at once", 1, func(r *run) {
			name := r.someService()
			for _, n := range r.w.Nodes {
				n.Ask(cluster.MoveService{Service: name, To: r.node().Name})
			}
		}},
	}
}
