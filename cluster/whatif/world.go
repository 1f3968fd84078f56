// Package whatif answers what would happen if something failed now: it takes the
// committed state and what one node knows, lets the real cores of all members run
// on it in virtual time, over perfect disks and a perfect network in memory, lets
// something fail, and tells what they decide. It decides nothing itself, so what it
// foretells is what the cluster would do, as far as the world is as it assumes:
// every disk, link and way to fence works but for the faults that were asked for,
// every start and stop succeeds at once, and clocks agree.
package whatif

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// How long things take in this world.
const (
	ioTime    = 2 * time.Millisecond
	netTime   = time.Millisecond
	orderTime = 200 * time.Microsecond
	runTime   = 10 * time.Millisecond
	powerTime = 2 * time.Second // from the request to the second reading that says off
)

// world is one virtual cluster. It is used by one goroutine.
type world struct {
	now    time.Duration
	queue  events
	seq    uint64
	steps  int
	state  *cluster.State // as it began
	disks  []*disk
	nodes  []*node            // the members, by ID
	cut    bool               // no network beat arrives
	broken map[[2]string]bool // by service and node
	// fumbles are the services of which the next check fails, by service and node.
	fumbles map[[2]string]bool
	works   map[ident.NodeID]map[string]bool // ways to fence a node that work
	told    []told
	// assumed is what the answer rests on beyond what every answer does.
	assumed []string
}

// told is a note with its time.
type told struct {
	at time.Duration
	cluster.Note
}

// disk is one quorum disk: the last of everything that was written.
type disk struct {
	lost   bool
	blocks []block
	beats  map[ident.NodeID]*cluster.Beat
	blobs  map[ident.NodeID]*cluster.Blob
}

type block struct {
	header register.Header
	value  *cluster.State
}

type event struct {
	at  time.Duration
	seq uint64
	run func()
}

type events []event

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q events) Len() int { return len(q) }

// Less orders by time, then by who came first.
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

// Swap swaps.
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push appends.
func (q *events) Push(x any) { *q = append(*q, x.(event)) }

// Pop removes the last.
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (w *world) after(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, f})
}

// run advances the world by d.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.run()
	}
	w.now = end
}

func (w *world) node(id ident.NodeID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// put puts a header into the ring of its node.
func (k *disk) put(h register.Header, v *cluster.State) {
	if h.Ver != 0 {
		h.Len, h.Sum = 1, sum(&h)
	}
	for i := range k.blocks {
		if o := &k.blocks[i].header; o.Node == h.Node && o.Slot == h.Slot {
			k.blocks[i] = block{h, v}
			return
		}
	}
	k.blocks = append(k.blocks, block{h, v})
}

// sum stands for the checksum of a body: a ballot accepts one value of a version.
func sum(h *register.Header) [32]byte {
	b := binary.LittleEndian.AppendUint64(nil, h.Ver)
	b = binary.LittleEndian.AppendUint64(b, h.Bal.Round)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Bal.Node))
	return sha256.Sum256(binary.LittleEndian.AppendUint64(b, uint64(h.Bal.Inc)))
}

func (k *disk) headers() []register.Header {
	all := make([]register.Header, 0, len(k.blocks))
	for i := range k.blocks {
		all = append(all, k.blocks[i].header)
	}
	return all
}

func (k *disk) body(h *register.Header) *cluster.State {
	for i := range k.blocks {
		if o := &k.blocks[i].header; o.Node == h.Node && o.Gen == h.Gen && o.Sum == h.Sum {
			return k.blocks[i].value
		}
	}
	return nil
}

// table is what a read of the beats shows.
func (k *disk) table() []cluster.SeenBeat {
	list := make([]cluster.SeenBeat, 0, len(k.beats))
	for id, b := range k.beats {
		sector := binary.LittleEndian.AppendUint64(nil, b.Seq)
		sector = append(sector, byte(b.State), byte(b.Inc.N), byte(b.Inc.N>>8))
		list = append(list, cluster.SeenBeat{Node: id, Sector: sector, Beat: b})
	}
	slices.SortFunc(list, func(a, b cluster.SeenBeat) int { return int(a.Node) - int(b.Node) })
	return list
}

// node is one machine with its guard, around a real core.
type node struct {
	w       *world
	id      ident.NodeID
	name    string
	core    *core.Core
	gone    bool // it died, froze or left
	blind   bool // no disk answers it
	host    ident.UUID
	guard   guard
	ticking bool
}

type guard struct {
	inc     ident.Incarnation
	state   cluster.GuardState
	lease   cluster.Lease
	h       time.Duration
	gen     uint32
	payload cluster.Payload
	killed  bool
}

// clock is the node's: it has been up for a day.
func (n *node) clock() ident.Instant { return ident.Instant(n.w.now + 24*time.Hour) }

func (n *node) after(d time.Duration, f func()) {
	n.w.after(d, func() {
		if !n.gone {
			f()
		}
	})
}

// deliver gives the core an event and does what it asks for.
func (n *node) deliver(ev cluster.Event) {
	if n.gone {
		return
	}
	n.w.steps++
	for _, a := range n.core.Step(n.clock(), ev) {
		n.act(a)
	}
	if n.gone || n.ticking {
		return
	}
	if next := n.core.NextDeadline(); next != ident.Never {
		n.ticking = true
		n.after(max(time.Millisecond, next.Sub(n.clock())), func() {
			n.ticking = false
			n.deliver(cluster.Tick{})
		})
	}
}

func (n *node) act(a cluster.Action) {
	switch a := a.(type) {
	case cluster.Order:
		n.after(orderTime, func() { n.order(a) })
	case cluster.RegisterOp:
		n.register(a.Op)
	case cluster.WriteBlob:
		n.request(a.Disk, func(k *disk) { k.blobs[n.id] = &a.Blob }, func(ok bool) {
			n.deliver(cluster.BlobWrote{Disk: a.Disk, Gen: a.Blob.Gen, OK: ok})
		})
	case cluster.ReadBlob:
		ev := cluster.BlobRead{Disk: a.Disk, Node: a.Node}
		n.request(a.Disk, func(k *disk) { ev.Blob = k.blobs[a.Node] }, func(bool) { n.deliver(ev) })
	case cluster.Send:
		if to := n.w.node(a.To); to != nil && !n.w.cut {
			to.after(netTime, func() { to.deliver(cluster.Received{Msg: a.Msg}) })
		}
	case cluster.Run:
		n.carryOut(a)
	case cluster.Fence:
		n.fence(a)
	case cluster.Note:
		n.w.told = append(n.w.told, told{n.w.now, a})
	case cluster.Exit:
		n.gone = true
	}
}

// carryOut is the runner: everything works at once, but for what was asked for.
func (n *node) carryOut(a cluster.Run) {
	ev := cluster.RunDone{Op: a.Op}
	if n.w.broken[[2]string{a.Service.Name, n.name}] && (a.Kind == cluster.RunStart || a.Kind == cluster.RunCheck) {
		ev.Outcome, ev.Text = cluster.Failed, "it fails there, as was asked"
	}
	if at := [2]string{a.Service.Name, n.name}; n.w.fumbles[at] && a.Kind == cluster.RunCheck {
		delete(n.w.fumbles, at)
		ev.Outcome, ev.Text = cluster.Failed, "it fails once, as was asked"
	}
	n.after(runTime, func() { n.deliver(ev) })
}

// fence answers as the way has answered when it was checked last.
func (n *node) fence(a cluster.Fence) {
	ev := cluster.FenceDone{Op: a.Op, Outcome: cluster.FenceUnknown, Text: "it did not work when it was checked last"}
	if n.w.works[a.Node][a.Way.Name()] {
		ev.Outcome, ev.Text = cluster.FenceProven, "it worked when it was checked last"
	}
	n.after(powerTime, func() {
		if ev.Outcome == cluster.FenceProven && a.Kind == cluster.FenceOff {
			ev.First, ev.Second = n.clock().Add(-powerTime/2), n.clock()
			if victim := n.w.node(a.Node); victim != nil {
				victim.gone = true
			}
		}
		n.deliver(ev)
	})
}

// request is one request to a disk.
func (n *node) request(d int, land func(*disk), done func(ok bool)) {
	n.after(ioTime, func() {
		ok := d < len(n.w.disks) && !n.w.disks[d].lost && !n.blind
		if ok {
			land(n.w.disks[d])
		}
		done(ok)
	})
}

func (n *node) register(op register.Op[*cluster.State]) {
	switch op.Kind {
	case register.Write:
		n.request(op.Disk, func(k *disk) { k.put(op.Header, op.Value) }, func(ok bool) {
			n.deliver(cluster.RegisterWrote{Disk: op.Disk, Seq: op.Seq, OK: ok})
		})
	case register.ReadHeaders:
		ev := cluster.RegisterHeaders{Disk: op.Disk, Seq: op.Seq}
		n.request(op.Disk, func(k *disk) { ev.All = k.headers() }, func(ok bool) {
			ev.OK = ok
			n.deliver(ev)
		})
	case register.ReadBody:
		ev := cluster.RegisterBody{Disk: op.Disk, Seq: op.Seq}
		n.request(op.Disk, func(k *disk) { ev.Value = k.body(&op.Header) }, func(ok bool) {
			ev.OK = ok && ev.Value != nil
			n.deliver(ev)
		})
	}
}

// cycle is the guard's work on one disk: a beat, a read, and a read half-way.
func (n *node) cycle(d int) {
	issued, inc := n.clock(), n.guard.inc
	if n.guard.state == cluster.GuardNone || n.guard.state == cluster.GuardRetired {
		n.read(d, cluster.Table{Disk: d, Inc: inc}, func() { n.cycle(d) })
		return
	}
	b := n.beat(issued)
	n.request(d, func(k *disk) { k.beats[n.id] = b }, func(ok bool) {
		if !ok {
			n.deliver(cluster.Table{Disk: d, Err: "the disk is lost, as was asked"})
			n.after(n.guard.h/4, func() { n.cycle(d) })
			return
		}
		n.read(d, cluster.Table{Disk: d, Wrote: true, Inc: inc, Issued: issued}, func() {
			n.read(d, cluster.Table{Disk: d, Inc: inc}, func() { n.cycle(d) })
		})
	})
}

func (n *node) beat(issued ident.Instant) *cluster.Beat {
	g := &n.guard
	return &cluster.Beat{
		Node: n.id, Host: n.host, Inc: g.inc, Seq: uint64(issued), State: g.state, Lease: g.lease, DiskGen: g.gen, Payload: g.payload,
	}
}

// read reads a table, tells of it, and goes on half a period later.
func (n *node) read(d int, t cluster.Table, next func()) {
	t.ReadIssued = n.clock()
	n.request(d, func(k *disk) { t.Beats = k.table() }, func(ok bool) {
		t.Completed = n.clock()
		if next != nil {
			n.after(n.guard.h/2, next)
		}
		if !ok {
			n.deliver(cluster.Table{Disk: d, Err: "the disk is lost, as was asked"})
			return
		}
		n.obey(t.Beats)
		n.deliver(t)
	})
}

// obey obeys the kill record of this incarnation.
func (n *node) obey(beats []cluster.SeenBeat) {
	g := &n.guard
	for i := range beats {
		for _, k := range beats[i].Beat.Payload.Kills {
			if k.Node == n.id && k.Inc == g.inc.N && k.Boot == [8]byte(g.inc.Boot[:8]) && !g.killed && g.state != cluster.GuardRetired {
				g.killed, g.state = true, cluster.GuardFencing
				n.deliver(cluster.Noticed{Killed: true})
			}
		}
	}
}

// order is the guard's side of the socket.
func (n *node) order(o cluster.Order) {
	g := &n.guard
	switch o.Kind {
	case cluster.OrderClaim:
		*g = guard{inc: o.Inc, state: cluster.GuardBound, lease: o.Lease, h: o.H, gen: o.DiskGen, payload: o.Payload}
	case cluster.OrderPayload:
		g.payload = o.Payload
	case cluster.OrderStopping:
		g.state = cluster.GuardStopping
	case cluster.OrderRetire:
		g.state = cluster.GuardRetired
		b := n.beat(n.clock())
		for d := range n.w.disks {
			n.request(d, func(k *disk) { k.beats[n.id] = b }, func(bool) {})
		}
	case cluster.OrderPromise:
		g.lease.F, g.lease.G, g.h = o.Lease.F, o.Lease.G, o.H
	case cluster.OrderDisks:
		g.gen = o.DiskGen
	case cluster.OrderKick:
		for d := range n.w.disks {
			n.read(d, cluster.Table{Disk: d, Inc: g.inc}, nil)
		}
	}
	n.after(orderTime, func() { n.deliver(cluster.Echoed{Order: o.Kind, Seq: o.Seq}) })
}
