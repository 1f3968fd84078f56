package clustertest

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/dogs"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// span tells one guard of a node from the next.
type span struct {
	dead bool
	life int // counts them
}

// guard is the node's guard with its watchdogs.
type guard struct {
	lease   *lease.Lease
	inc     ident.Incarnation
	params  cluster.Lease
	h       time.Duration
	payload cluster.Payload
	state   cluster.GuardState
	span
	gen    uint32 // of the set of disks by which the lease counts
	holder bool   // somebody else holds the descriptors of the watchdogs
	dogs   dogs.Pack
	// The feeding loop:
	unproved bool // the last device was fed, and no check has passed since
	fedLate  bool // hardware was fed last after the end of the lease
	stall    stall
	stalled  bool
	backlog  []func()
}

// KillGuard ends the guard. Its successor resets a bound node, if it gets that far, and
// takes a free one over. Without a second holder its death feeds the watchdogs.
func (n *Node) KillGuard() {
	if !n.machine.up || n.guard.dead || n.guard.lease.State() != lease.Bound {
		return
	}
	n.guard.dead = true
	n.w.happened(n, "lost its guard")
	if !n.guard.holder {
		n.guard.dogs.Close(n.w.Now)
	}
	if n.w.rng.IntN(2) == 0 {
		n.after(n.w.Jitter(10*time.Millisecond, time.Second), n.reset)
	}
}

// RestartGuard ends a guard that is bound to nothing. Its successor has the watchdogs
// and knows of nothing that the daemon has asked for. A bound one is killed.
func (n *Node) RestartGuard() {
	if !n.machine.up || n.guard.dead || n.guard.lease.State() != lease.Free {
		n.KillGuard()
		return
	}
	n.guard.dead = true
	n.w.happened(n, "lost its guard, which was bound to nothing")
	n.after(n.w.Jitter(10*time.Millisecond, time.Second), func() {
		armed, holder := n.guard.dogs, n.guard.holder
		n.powerDisks()
		n.guard.dogs, n.guard.holder = armed, holder
		n.feed()
		n.lost(n.daemon.asked)
	})
}

// lost is what the daemon makes of a guard that is another: it ends where an order
// was under way that changes what is bound, for nobody knows what became of it.
func (n *Node) lost(orders []cluster.Order) {
	n.daemon.asked = nil
	matters := func(o cluster.Order) bool {
		return o.Kind == cluster.OrderClaim || o.Kind == cluster.OrderStopping || o.Kind == cluster.OrderRetire
	}
	if slices.ContainsFunc(orders, matters) {
		n.again()
		return
	}
	for _, o := range orders {
		n.Give(cluster.Echoed{Order: o.Kind, Seq: o.Seq, Err: "the connection to the guard was lost before it answered"})
	}
}

// send brings an order to the guard that there is now; no other obeys it.
func (n *Node) tells(o cluster.Order) {
	life := n.guard.life
	n.daemon.asked = append(n.daemon.asked, o)
	n.later(200*time.Microsecond+n.OrderLag, func() {
		if life == n.guard.life {
			n.order(o)
		}
	})
}

// cycle is the guard's work on one disk: beat, then read; and a read half-way.
// One request is in flight at a time, so a disk that hangs stops its cycle.
func (n *Node) cycle(d int) {
	g := &n.guard
	if g.dead || !n.machine.disks.open[d] {
		return
	}
	issued := n.clock()
	v := g.lease.View()
	if !g.lease.MayBeat(issued) {
		n.readTable(d, table{Table: cluster.Table{Disk: d, Inc: v.Inc}}, g.h/2, func() { n.cycle(d) })
		return
	}
	raw := n.beat(issued)
	at, k := n.moment(), n.w.Disks[d]
	n.write(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), false, k.Beat(n.ID, raw), n.guardDone(func(ok bool) {
		if !ok {
			n.tell(cluster.Table{Disk: d, ReadIssued: issued, Completed: n.clock(), Err: "input/output error"})
			n.guardAfter(g.h/4, func() { n.cycle(d) })
			return
		}
		t := table{Table: cluster.Table{Disk: d, Wrote: true, Inc: v.Inc, Issued: issued}, at: at}
		n.readTable(d, t, g.h/2, func() {
			n.readTable(d, table{Table: cluster.Table{Disk: d, Inc: v.Inc}}, g.h/2, func() { n.cycle(d) })
		})
	}))
}

// table is a read of a beat table, with when its beat was truly issued.
type table struct {
	cluster.Table
	at oracle.Moment
}

// guardDone is guardAfter for the completion of a request.
func (n *Node) guardDone(f func(ok bool)) func(ok bool) {
	life := n.guard.life
	return func(ok bool) {
		if life == n.guard.life {
			n.guardAfter(0, func() { f(ok) })
		}
	}
}

// readTable reads a disk's beat table, tells of it, and goes on after a pause.
func (n *Node) readTable(d int, t table, pause time.Duration, next func()) {
	t.ReadIssued = n.clock()
	k := n.w.Disks[d]
	var killed bool
	var gone error
	n.request(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), func(bool) {
		t.Beats, gone = k.On.Beats(), k.On.StillThere()
		if inc := n.guard.lease.View().Inc; !inc.IsZero() {
			_, killed = k.On.FindKill(n.ID, inc)
		}
	}, n.guardDone(func(ok bool) {
		if next != nil {
			n.guardAfter(pause, next)
		}
		if !ok {
			n.tell(cluster.Table{Disk: d, ReadIssued: t.ReadIssued, Completed: n.clock(), Err: "input/output error"})
			return
		}
		if gone != nil { // what was read beside it is not looked at
			n.tell(cluster.Table{Disk: d, ReadIssued: t.ReadIssued, Err: "the superblock is not what it was: " + gone.Error()})
			return
		}
		n.tableRead(t, killed)
	}))
}

func (n *Node) tableRead(t table, killed bool) {
	g := &n.guard
	t.Completed = n.clock()
	if n.w.opt.Broken.StampAtCompletion && t.Wrote {
		t.Issued = t.Completed
	}
	if n.w.opt.Broken.NoConfirm {
		t.ReadIssued = t.Completed
	}
	if t.Wrote {
		g.lease.CycleCompleted(t.Disk, t.Inc, t.Issued)
		n.w.judge.Cycled(n.body, t.Disk, t.Inc, t.at)
	}
	if killed {
		n.obey()
	}
	n.tell(t.Table)
}

// obey obeys a kill record of this incarnation.
func (n *Node) obey() {
	g := &n.guard
	if g.lease.Kill(g.inc) {
		g.state = cluster.GuardFencing
		n.w.judge.Freezes(n.body, g.inc)
		n.Give(cluster.Noticed{Killed: true})
	}
}

func (n *Node) beat(issued ident.Instant) []byte {
	g := &n.guard
	h := quorumdisk.BeatHeader{
		Node: n.ID, Host: n.host, Inc: g.inc, Seq: uint64(issued), State: g.state, Lease: g.params, DiskGen: g.gen,
	}
	raw, err := n.w.bytes.format.Beat(&h, &g.payload)
	if err != nil {
		n.w.Fail("the beat of %s: %v", n.Name, err)
	}
	return raw
}

// order is the guard's side of the socket.
func (n *Node) order(o cluster.Order) {
	g := &n.guard
	if g.dead {
		return
	}
	var err error
	now := n.clock()
	switch o.Kind {
	case cluster.OrderClaim:
		if err = g.lease.Claim(now, o.Inc, o.Until, lease.Params{F: o.Lease.F, G: o.Lease.G}); err == nil {
			g.inc, g.params, g.h, g.payload, g.state = o.Inc, o.Lease, o.H, o.Payload, cluster.GuardBound
			n.w.judge.Binds(n.body, o.Inc, n.moment(), o.Until, n.promise(o.Lease.F, o.Lease.G))
			n.kick()
		}
	case cluster.OrderPayload:
		g.payload = o.Payload
	case cluster.OrderPermit:
		if err = g.lease.Permit(o.Inc, o.Until); err == nil {
			n.w.judge.Permits(n.body, o.Inc, o.Until)
		}
	case cluster.OrderGrace:
		if err = g.lease.Grace(o.Inc, o.Until); err == nil {
			n.w.judge.Graces(n.body, o.Inc, n.moment(), o.Until)
			n.w.Tally.Effect(tally.Graced)
		}
	case cluster.OrderStopping:
		if err = g.lease.Stopping(o.Inc); err == nil {
			g.state = cluster.GuardStopping
			n.w.judge.Freezes(n.body, o.Inc)
		}
	case cluster.OrderRetire:
		err = n.retire(o)
	case cluster.OrderKick:
		n.kick()
	case cluster.OrderPromise:
		if err = g.lease.Change(now, o.Inc, lease.Params{F: o.Lease.F, G: o.Lease.G}); err == nil {
			g.params.F, g.params.G, g.h = o.Lease.F, o.Lease.G, o.H
			n.w.judge.Promises(n.body, o.Inc, n.moment(), o.Lease.F, o.Lease.G)
		}
	case cluster.OrderDisks:
		err = n.useDisks(o)
	}
	ev := cluster.Echoed{Order: o.Kind, Seq: o.Seq}
	if err != nil {
		ev.Err = err.Error()
	}
	n.later(200*time.Microsecond, func() {
		n.daemon.asked = slices.DeleteFunc(n.daemon.asked, func(a cluster.Order) bool { return a.Seq == o.Seq })
		n.Give(ev)
	})
}

// retire frees the guard and says so on every disk, as far as they answer.
func (n *Node) retire(o cluster.Order) error {
	g := &n.guard
	if err := g.lease.Retire(o.Inc); err != nil {
		return err
	}
	n.w.judge.Retires(n.body, o.Inc)
	g.state = cluster.GuardRetired
	raw := n.beat(n.clock())
	for d := range n.w.Disks {
		if !n.machine.disks.open[d] {
			continue
		}
		land := n.w.Disks[d].Beat(n.ID, raw)
		n.write(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), false, func(torn bool) {
			if g.inc == o.Inc {
				land(torn)
			}
		}, func(bool) {})
	}
	return nil
}

// kick reads every table now, beside the cycles.
func (n *Node) kick() {
	for d := range n.w.Disks {
		if !n.machine.disks.open[d] {
			continue
		}
		n.readTable(d, table{Table: cluster.Table{Disk: d, Inc: n.guard.inc}}, 0, nil)
	}
}
