package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// watchdog is a device that resets the node some time after its latest feed.
type watchdog struct {
	fed      time.Duration // true time of the latest feed
	takes    time.Duration // what it truly takes in this boot
	most     time.Duration // the longest that such a device takes
	software bool
}

// devices are the node's watchdogs as the daemon knows them, and whether somebody
// else holds their descriptors.
func (n *Node) devices() timing.Input {
	in := timing.Input{SecondHolder: true, Devices: []timing.Device{
		{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
		{Name: "hardware", Class: timing.Qualified, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
	}}
	if n.w.opt.Timing != nil {
		n.w.opt.Timing(&in)
	}
	return in
}

// armDogs opens the watchdogs at boot. Software comes first: the order is part of
// the safety argument.
func (n *Node) armDogs() {
	in := n.devices()
	g := &n.guard
	g.holder, g.dogs = in.SecondHolder, nil
	for _, software := range []bool{true, false} {
		for _, d := range in.Devices {
			if d.Software != software {
				continue
			}
			most := d.TMax
			if d.Class != timing.Qualified {
				most = 2*d.Timeout + time.Second
			}
			least := max(d.Timeout, most*9/10)
			g.dogs = append(g.dogs, watchdog{fed: n.w.Now, takes: n.w.Jitter(min(least, most), most), most: most, software: software})
		}
	}
	for i := range g.dogs {
		n.watch(i, n.machine.epoch)
	}
}

// watch is the hardware.
func (n *Node) watch(i, epoch int) {
	n.w.After(max(time.Millisecond, n.guard.dogs[i].fed+n.guard.dogs[i].takes-n.w.Now), func() {
		if epoch != n.machine.epoch || !n.machine.up {
			return
		}
		if n.machine.deep {
			n.w.After(20*time.Millisecond, func() { n.watch(i, epoch) })
			return
		}
		d := &n.guard.dogs[i]
		due := n.w.Now >= d.fed+d.takes
		if due && d.software && n.Frozen && !n.machine.asleep && !n.lateFeed() {
			d.fed = n.w.Now - d.takes + 10*time.Millisecond // its timer fires when the kernel goes on
			due = false
		}
		if due {
			n.reset()
			return
		}
		n.watch(i, epoch)
	})
}

// lateFeed says that the hardware was fed after the lease: that kernel runs its timers.
func (n *Node) lateFeed() bool { return n.guard.fedLate }

// promise is what this machine keeps, for the oracle.
func (n *Node) promise(f, g time.Duration) oracle.Promise {
	p := oracle.Promise{F: f, G: g, Periods: 2, Pause: n.w.opt.Pause}
	for _, d := range n.guard.dogs {
		p.TMax = max(p.TMax, d.most)
	}
	if len(n.guard.dogs) > 1 {
		p.Periods = 1
	}
	if !n.guard.holder {
		p.Periods++
	}
	return p
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
			n.park(func() { n.feedDog(i, checked); n.round(i + 1) })
			return
		}
		n.feedDog(i, n.moment())
		if n.stallsAt(2*i + 2) {
			n.park(func() { n.round(i + 1) })
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
	d.fed = n.w.Now
	late := g.lease.State() == lease.Bound && n.clock() > g.lease.End()
	if !d.software {
		g.fedLate = late
	}
	g.unproved = i == len(g.dogs)-1
	n.w.judge.Fed(n.body, i, len(g.dogs), checked, n.moment())
}

// closes is what the last close of the descriptors does: it feeds.
func (n *Node) closes() {
	for i := range n.guard.dogs {
		n.guard.dogs[i].fed = n.w.Now
	}
}
