package clustertest

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
)

// guard is the node's guard with its watchdogs.
type guard struct {
	lease   *lease.Lease
	inc     ident.Incarnation
	params  cluster.Lease
	h       time.Duration
	payload cluster.Payload
	state   cluster.GuardState
	fed     time.Duration // true time of the latest feed
	until   time.Duration // true time until which this incarnation could go on, at the worst
	seq     uint64
	dead    bool
}

// KillGuard ends the guard. Its successor never feeds a bound node; a free one
// it takes over within moments.
func (n *Node) KillGuard() {
	if n.guard.lease != nil && n.guard.lease.State() == lease.Bound {
		n.guard.dead = true
		n.w.happened(n, "lost its guard")
	}
}

// watch is the watchdog hardware: it is not frozen with the node.
func (n *Node) watch(epoch int) {
	n.w.After(20*time.Millisecond, func() {
		g := &n.guard
		if epoch != n.machine.epoch || !n.machine.up {
			return
		}
		if g.params.TMax > 0 && g.lease.State() == lease.Bound || n.Frozen {
			t := g.params.TMax
			if t == 0 {
				t = 5 * time.Second
			}
			if n.w.Now-g.fed > t*9/10 {
				n.reset()
				return
			}
		}
		n.watch(epoch)
	})
}

// feed is the guard's feeding loop.
func (n *Node) feed() {
	now := n.clock()
	g := &n.guard
	switch {
	case g.dead:
		return
	case g.lease.ResetDue(now):
		n.reset()
		return
	case g.lease.MayFeed(now) || n.w.opt.Broken.FeedOn:
		g.fed = n.w.Now
		n.w.fed(n)
	}
	n.after(100*time.Millisecond, n.feed)
}

// cycle is the guard's work on one disk: beat, then read; and a read half-way.
// One request is in flight at a time, so a disk that hangs stops its cycle.
func (n *Node) cycle(d int) {
	g := &n.guard
	if g.dead {
		return
	}
	issued := n.clock()
	v := g.lease.View()
	if !g.lease.MayBeat(issued) {
		n.readTable(d, cluster.Table{Disk: d, Inc: v.Inc}, g.h/2, func() { n.cycle(d) })
		return
	}
	b := n.beat(issued)
	k := n.w.Disks[d]
	n.request(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), func() { k.beats[n.ID], k.decoded[n.ID] = encodeBeat(b), b }, func(ok bool) {
		if !ok {
			n.deliver(cluster.Table{Disk: d, Err: "input/output error"})
			n.after(g.h/4, func() { n.cycle(d) })
			return
		}
		t := cluster.Table{Disk: d, Wrote: true, Inc: v.Inc, Issued: issued}
		n.readTable(d, t, g.h/2, func() {
			n.readTable(d, cluster.Table{Disk: d, Inc: v.Inc}, g.h/2, func() { n.cycle(d) })
		})
	})
}

// readTable reads a disk's beat table, tells of it, and goes on after a pause.
func (n *Node) readTable(d int, t cluster.Table, pause time.Duration, next func()) {
	t.ReadIssued = n.clock()
	k := n.w.Disks[d]
	n.request(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), func() {
		for i := range n.w.Nodes {
			id := ident.NodeID(i + 1)
			if s := k.beats[id]; s != nil {
				t.Beats = append(t.Beats, cluster.SeenBeat{Node: id, Sector: s, Beat: k.decoded[id]})
			}
		}
	}, func(ok bool) {
		if next != nil {
			n.after(pause, next)
		}
		if !ok {
			n.deliver(cluster.Table{Disk: d, Err: "input/output error"})
			return
		}
		n.tableRead(t)
	})
}

func (n *Node) tableRead(t cluster.Table) {
	g := &n.guard
	if g.dead {
		return
	}
	t.Completed = n.clock()
	if n.w.opt.Broken.StampAtCompletion && t.Wrote {
		t.Issued = t.Completed
	}
	if n.w.opt.Broken.NoConfirm {
		t.ReadIssued = t.Completed
	}
	if t.Wrote {
		g.lease.CycleCompleted(t.Disk, t.Inc, t.Issued)
		n.mayBe()
	}
	for i := range t.Beats {
		n.obey(t.Beats[i].Beat)
	}
	n.deliver(t)
}

// mayBe keeps the oracle's bound: until when the bound incarnation could go on,
// whatever it happens to do.
func (n *Node) mayBe() {
	g := &n.guard
	if g.lease.State() == lease.Bound {
		g.until = max(g.until, n.truly(g.lease.End())+g.params.TMax)
	}
}

// obey looks for a kill record of this incarnation.
func (n *Node) obey(b *cluster.Beat) {
	g := &n.guard
	for _, r := range b.Payload.Kills {
		if b.Node != n.ID && r.Node == n.ID && r.Inc == g.inc.N && slices.Equal(r.Boot[:], n.machine.boot[:8]) && g.lease.Kill(g.inc) {
			g.state = cluster.GuardFencing
			n.deliver(cluster.Noticed{Killed: true})
		}
	}
}

func (n *Node) beat(issued ident.Instant) *cluster.Beat {
	g := &n.guard
	g.seq++
	p := g.payload
	p.Kills = slices.Clone(p.Kills)
	return &cluster.Beat{
		Node: n.ID, Host: ident.UUID{byte(n.ID)}, Inc: g.inc, Seq: uint64(issued)<<8 + g.seq&0xff,
		State: g.state, Lease: g.params, DiskGen: 1, Payload: p,
	}
}

// encodeBeat stands for the sector: any two beats differ.
func encodeBeat(b *cluster.Beat) []byte {
	return binary.LittleEndian.AppendUint64([]byte{byte(b.Node)}, b.Seq)
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
			g.until = 0
			n.mayBe()
			n.kick()
		}
	case cluster.OrderPayload:
		g.payload = o.Payload
	case cluster.OrderPermit:
		err = g.lease.Permit(o.Inc, o.Until)
	case cluster.OrderStopping:
		if err = g.lease.Stopping(o.Inc); err == nil {
			g.state = cluster.GuardStopping
		}
	case cluster.OrderRetire:
		err = n.retire(o)
	case cluster.OrderKick:
		n.kick()
	}
	ev := cluster.Echoed{Order: o.Kind, Seq: o.Seq}
	if err != nil {
		ev.Err = err.Error()
	}
	n.later(200*time.Microsecond, func() { n.deliver(ev) })
}

// retire frees the guard and says so on every disk, as far as they answer.
func (n *Node) retire(o cluster.Order) error {
	g := &n.guard
	if err := g.lease.Retire(o.Inc); err != nil {
		return err
	}
	if len(n.running) > 0 {
		n.w.fail("%s retired %s while %d services run on it", n.Name, o.Inc, len(n.running))
	}
	g.state, g.until = cluster.GuardRetired, 0
	b := n.beat(n.clock())
	for d, k := range n.w.Disks {
		n.request(d, n.w.Jitter(500*time.Microsecond, 8*time.Millisecond), func() {
			if g.inc == o.Inc {
				k.beats[n.ID], k.decoded[n.ID] = encodeBeat(b), b
			}
		}, func(bool) {})
	}
	return nil
}

// kick reads every table now, beside the cycles.
func (n *Node) kick() {
	for d := range n.w.Disks {
		n.readTable(d, cluster.Table{Disk: d, Inc: n.guard.inc}, 0, nil)
	}
}
