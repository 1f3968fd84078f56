package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/dogs"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// devices are the node's watchdogs as the daemon knows them, and whether somebody
// else holds their descriptors.
func (n *Node) devices() timing.Input {
	in := dogs.Two()
	if n.w.opt.Timing != nil {
		n.w.opt.Timing(&in)
	}
	return in
}

// armDogs opens the watchdogs at boot.
func (n *Node) armDogs() {
	in := n.devices()
	n.guard.holder, n.guard.dogs = in.SecondHolder, dogs.Arm(in.Devices, n.w.Now, n.w.Jitter)
	for i := range n.guard.dogs {
		n.watch(i, n.machine.epoch)
	}
}

// watch is the hardware.
func (n *Node) watch(i, epoch int) {
	n.w.After(max(time.Millisecond, n.guard.dogs[i].Due()-n.w.Now), func() {
		if epoch != n.machine.epoch || !n.machine.up {
			return
		}
		if n.machine.deep {
			n.w.After(20*time.Millisecond, func() { n.watch(i, epoch) })
			return
		}
		d := &n.guard.dogs[i]
		due := n.w.Now >= d.Due()
		if due && d.Software && n.Frozen && !n.machine.asleep && !n.guard.fedLate {
			d.Fed = n.w.Now - d.Takes + 10*time.Millisecond // its timer fires when the kernel goes on
			due = false
		}
		if due {
			n.reset()
			return
		}
		n.watch(i, epoch)
	})
}

// promise is what this machine keeps, for the oracle.
func (n *Node) promise(f, g time.Duration) oracle.Promise {
	longest, periods := n.guard.dogs.Promise(n.guard.holder)
	return oracle.Promise{F: f, G: g, TMax: longest, Periods: periods, Pause: n.w.opt.Pause}
}

// feed is one round of the guard's feeding loop: check, feed the first, check, feed
// the second, check. Guard or node may be stopped between any two of them.
func (n *Node) feed() {
	n.round(0)
	if len(n.guard.dogs) == 0 {
		n.guardAfter(100*time.Millisecond, n.feed)
	}
}

// round goes on with the round at device i.
func (n *Node) round(i int) {
	g := &n.guard
	if g.dead {
		return
	}
	for ; i <= len(g.dogs); i++ {
		now := n.clock()
		if g.lease.ResetDue(now) {
			n.reset()
			return
		}
		ok := g.lease.MayFeed(now) || n.w.opt.Broken.FeedOn
		if !ok && g.unproved {
			n.reset() // the last device was fed, and this check fails: the feed may have come late
			return
		}
		g.unproved = g.unproved && !ok
		if !ok || i == len(g.dogs) {
			break
		}
		if n.stallsAt(2*i + 1) {
			checked := n.moment()
			n.guardAfter(0, func() { n.feedDog(i, checked); n.round(i + 1) })
			return
		}
		n.feedDog(i, n.moment())
		if n.stallsAt(2*i + 2) {
			n.guardAfter(0, func() { n.round(i + 1) })
			return
		}
	}
	n.guardAfter(100*time.Millisecond, n.feed)
}

func (n *Node) feedDog(i int, checked oracle.Moment) {
	g := &n.guard
	if g.dead {
		return
	}
	d := &g.dogs[i]
	d.Fed = n.w.Now
	late := g.lease.State() == lease.Bound && n.clock() > g.lease.End()
	if !d.Software {
		g.fedLate = late
	}
	g.unproved = i == len(g.dogs)-1
	n.w.judge.Fed(n.body, i, len(g.dogs), checked, n.moment())
}
