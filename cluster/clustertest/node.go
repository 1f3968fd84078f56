package clustertest

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Node is one simulated machine: a clock of its own, a guard with watchdogs, a
// daemon with the real core, and the services that run.
type Node struct {
	ID   ident.NodeID
	Name string

	// Faults, to be set by the test.
	Frozen     bool          // nothing of it executes
	DiskCut    []bool        // per disk: requests fail
	StopFails  bool          // every stop of a service fails
	StartFails bool          // every start of a service fails
	CheckFails bool          // every check of a service fails
	StartTime  time.Duration // how long a start takes
	NoReboot   bool          // stays off after a reset
	RegDrops   float64       // share of register writes that are reported as failed

	// Resets counts how often its watchdogs or its guard have ended it.
	Resets int

	w          *World
	up         bool
	epoch      int // of everything scheduled: a reset makes it stale
	daemon     int // the same for one life of the daemon
	boot       ident.BootID
	offset     time.Duration
	rate       float64 // error of its clock
	core       *cluster.Core
	ticking    bool
	running    map[string]bool
	lease      *lease.Lease
	inc        ident.Incarnation
	params     cluster.Lease
	h          time.Duration
	payload    cluster.Payload
	state      cluster.GuardState
	fed        time.Duration // true time of the latest feed
	mayBeUntil time.Duration
	seq        uint64
	started    time.Duration
	backlog    []func()
}

func newNode(w *World, id ident.NodeID) *Node {
	return &Node{ID: id, Name: nodeName(id), w: w, running: map[string]bool{}, DiskCut: make([]bool, w.opt.Disks),
		StartTime: 300 * time.Millisecond, rate: 1 + (w.rng.Float64()-0.5)*0.008}
}

func (n *Node) clock() ident.Instant {
	return ident.Instant(float64(n.w.Now)*n.rate) + ident.Instant(n.offset)
}

// after schedules f on this node; a reset or power off forgets it, a freeze
// delays it.
func (n *Node) after(d time.Duration, f func()) {
	epoch := n.epoch
	n.w.After(d, func() {
		switch {
		case epoch != n.epoch || !n.up:
		case n.Frozen:
			n.backlog = append(n.backlog, f)
		default:
			f()
		}
	})
}

// PowerOn boots the node.
func (n *Node) PowerOn() {
	if n.up {
		return
	}
	n.epoch++
	n.up, n.Frozen, n.backlog = true, false, nil
	n.offset = n.w.Jitter(0, time.Hour)
	binary.LittleEndian.PutUint64(n.boot[:], n.w.rng.Uint64())
	n.lease = lease.New(n.w.opt.Disks)
	n.inc, n.state, n.payload = ident.Incarnation{}, cluster.GuardNone, cluster.Payload{}
	n.h = time.Second
	n.fed = n.w.Now
	n.started = n.w.Now
	for d := range n.w.Disks {
		n.after(n.w.Jitter(0, 100*time.Millisecond), func() { n.cycle(d) })
	}
	n.feed()
	n.w.watch(n, n.epoch)
	n.StartDaemon()
}

// PowerOff ends the node at once.
func (n *Node) PowerOff() {
	n.epoch++
	n.up, n.core = false, nil
	n.running = map[string]bool{}
}

// Freeze stops everything on the node but its watchdogs; Thaw lets it go on.
func (n *Node) Freeze() { n.Frozen = true }

// Thaw lets a frozen node go on, with everything that waited.
func (n *Node) Thaw() {
	n.Frozen = false
	back := n.backlog
	n.backlog = nil
	for _, f := range back {
		n.after(0, f)
	}
}

// reset is what the watchdogs, or the guard, do.
func (n *Node) reset() {
	n.Resets++
	n.PowerOff()
	if !n.NoReboot {
		n.w.After(n.w.Jitter(8*time.Second, 20*time.Second), n.PowerOn)
	}
}

// watch is the watchdog hardware: it is not frozen with the node.
func (w *World) watch(n *Node, epoch int) {
	w.After(20*time.Millisecond, func() {
		if epoch != n.epoch || !n.up {
			return
		}
		if n.params.TMax > 0 && n.lease.View().State == lease.Bound || n.Frozen {
			t := n.params.TMax
			if t == 0 {
				t = 5 * time.Second
			}
			if w.Now-n.fed > t*9/10 {
				n.reset()
				return
			}
		}
		w.watch(n, epoch)
	})
}

// feed is the guard's feeding loop.
func (n *Node) feed() {
	now := n.clock()
	if n.lease.ResetDue(now) {
		n.reset()
		return
	}
	if n.lease.MayFeed(now) {
		n.fed = n.w.Now
	}
	n.after(100*time.Millisecond, n.feed)
}

// cycle is the guard's work on one disk: beat, then read; and a read half-way.
func (n *Node) cycle(d int) {
	issued := n.clock()
	k := n.w.Disks[d]
	latency := n.w.Jitter(time.Millisecond, 15*time.Millisecond)
	if n.DiskCut[d] {
		n.after(n.h/4+latency, func() { n.cycle(d) })
		n.deliver(cluster.Table{Disk: d, Err: "input/output error"})
		return
	}
	v := n.lease.View()
	wrote := n.lease.MayBeat(issued)
	if wrote {
		n.mayBe(v)
		b := n.beat(issued)
		n.after(latency/2, func() { k.beats[n.ID], k.decoded[n.ID] = encodeBeat(b), b })
	}
	n.after(latency, func() { n.readTable(d, wrote, v.Inc, issued) })
	n.after(n.h, func() { n.cycle(d) })
	n.after(n.h/2, func() { n.readTable(d, false, v.Inc, 0) })
}

// mayBe keeps the oracle's bound: until when this incarnation could go on, given
// the beat it is about to write.
func (n *Node) mayBe(v lease.View) {
	if v.State == lease.Bound && !v.Frozen {
		f := time.Duration(float64(n.params.F) / n.rate)
		n.mayBeUntil = max(n.mayBeUntil, n.w.Now+f+n.params.TMax)
	}
}

func (n *Node) readTable(d int, wrote bool, inc ident.Incarnation, issued ident.Instant) {
	start := n.clock()
	n.after(n.w.Jitter(time.Millisecond, 10*time.Millisecond), func() {
		if n.DiskCut[d] {
			return
		}
		k := n.w.Disks[d]
		done := n.clock()
		if wrote {
			n.lease.CycleCompleted(d, inc, issued)
		}
		t := cluster.Table{Disk: d, Wrote: wrote, Inc: inc, Issued: issued, ReadIssued: start, Completed: done}
		for i := range n.w.Nodes {
			id := ident.NodeID(i + 1)
			if s := k.beats[id]; s != nil {
				t.Beats = append(t.Beats, cluster.SeenBeat{Node: id, Sector: s, Beat: k.decoded[id]})
				n.obey(k.decoded[id])
			}
		}
		n.deliver(t)
	})
}

// obey looks for a kill record of this incarnation.
func (n *Node) obey(b *cluster.Beat) {
	for _, r := range b.Payload.Kills {
		if b.Node != n.ID && r.Node == n.ID && r.Inc == n.inc.N && slices.Equal(r.Boot[:], n.boot[:8]) && n.lease.Kill(n.inc) {
			n.state = cluster.GuardFencing
			n.deliver(cluster.Noticed{Killed: true})
		}
	}
}

func (n *Node) beat(issued ident.Instant) *cluster.Beat {
	n.seq++
	p := n.payload
	p.Kills = slices.Clone(p.Kills)
	return &cluster.Beat{Node: n.ID, Host: ident.UUID{byte(n.ID)}, Inc: n.inc, Seq: uint64(issued)<<8 + n.seq&0xff,
		State: n.state, Lease: n.params, DiskGen: 1, Payload: p}
}

// encodeBeat stands for the sector: any two beats differ.
func encodeBeat(b *cluster.Beat) []byte {
	return binary.LittleEndian.AppendUint64([]byte{byte(b.Node)}, b.Seq)
}

// StartDaemon begins a life of the daemon; services keep running over it.
func (n *Node) StartDaemon() {
	n.daemon++
	in := timing.Input{SecondHolder: true, Devices: []timing.Device{
		{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
		{Name: "hardware", Class: timing.Qualified, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
	}}
	if n.w.opt.Timing != nil {
		n.w.opt.Timing(&in)
	}
	set := cluster.Settings{Self: n.ID, Name: n.Name, Host: ident.UUID{byte(n.ID)}, Boot: n.boot, Life: uint64(n.clock()),
		Timing: in, WaitLess: n.w.opt.WaitLess}
	for _, k := range n.w.Disks {
		set.Disks = append(set.Disks, k.UUID)
	}
	n.core = cluster.New(set)
	v := n.lease.View()
	ev := cluster.Started{Bound: v.Inc, Killed: v.Killed, Frozen: v.Frozen, LeaseStart: v.Start}
	for name := range n.running {
		ev.Adopted = append(ev.Adopted, cluster.Adopted{Service: name, Term: n.termOf(name), Running: true})
	}
	slices.SortFunc(ev.Adopted, func(a, b cluster.Adopted) int {
		if a.Service < b.Service {
			return -1
		}
		return 1
	})
	n.ticking = false
	n.deliver(ev)
}

// KillDaemon ends the daemon; its services and the guard go on.
func (n *Node) KillDaemon() { n.daemon++; n.core = nil }

func (n *Node) termOf(service string) uint64 {
	for _, k := range n.w.Disks {
		var best *cluster.State
		for _, r := range k.ring {
			for _, b := range r {
				if b.v != nil && (best == nil || b.v.Ver > best.Ver) {
					best = b.v
				}
			}
		}
		if g := best.Grant(service); g != nil {
			return g.Term
		}
	}
	return 0
}

// deliver gives the core an event and does what it asks for.
func (n *Node) deliver(ev cluster.Event) {
	if n.core == nil || !n.up {
		return
	}
	now := n.clock()
	for _, a := range n.core.Step(now, ev) {
		n.act(a)
	}
	if n.core == nil || n.ticking {
		return
	}
	if next := n.core.NextDeadline(); next != ident.Never {
		n.ticking = true
		n.later(max(time.Millisecond, next.Sub(n.clock())), func() {
			n.ticking = false
			n.deliver(cluster.Tick{})
		})
	}
}

// later is after for this life of the daemon.
func (n *Node) later(d time.Duration, f func()) {
	life := n.daemon
	n.after(d, func() {
		if life == n.daemon {
			f()
		}
	})
}

func (n *Node) act(a cluster.Action) {
	switch a := a.(type) {
	case cluster.Order:
		n.later(200*time.Microsecond, func() { n.order(a) })
	case cluster.RegisterOp:
		n.registerOp(a.Op)
	case cluster.WriteBlob:
		n.blob(a)
	case cluster.ReadBlob:
		k := n.w.Disks[a.Disk]
		n.later(n.w.Jitter(time.Millisecond, 9*time.Millisecond), func() {
			ev := cluster.BlobRead{Disk: a.Disk, Node: a.Node}
			if b, ok := k.blobs[a.Node]; ok && !n.DiskCut[a.Disk] {
				ev.Blob = &b
			}
			n.deliver(ev)
		})
	case cluster.Send:
		n.send(a)
	case cluster.Run:
		n.run(a)
	case cluster.Note:
		n.w.Notes = append(n.w.Notes, Told{n.w.Now, n.ID, a})
		n.w.proven(a)
	case cluster.Reply:
		n.w.Notes = append(n.w.Notes, Told{n.w.Now, n.ID, cluster.Note{Kind: "reply", Text: a.Text + a.Err}})
	case cluster.Exit:
		n.KillDaemon()
	}
}

func (n *Node) send(a cluster.Send) {
	if n.w.cut[[2]ident.NodeID{n.ID, a.To}] {
		return
	}
	to := n.w.Nodes[a.To-1]
	n.w.After(n.w.Jitter(100*time.Microsecond, 2*time.Millisecond), func() {
		to.after(0, func() { to.deliver(cluster.Received{Msg: a.Msg}) })
	})
}

func (n *Node) blob(a cluster.WriteBlob) {
	n.later(n.w.Jitter(time.Millisecond, 9*time.Millisecond), func() {
		ok := !n.DiskCut[a.Disk]
		if ok {
			n.w.Disks[a.Disk].blobs[n.ID] = a.Blob
		}
		n.deliver(cluster.BlobWrote{Disk: a.Disk, Gen: a.Blob.Gen, OK: ok})
	})
}

func (n *Node) registerOp(op register.Op[*cluster.State]) {
	k := n.w.Disks[op.Disk]
	n.later(n.w.Jitter(time.Millisecond, 12*time.Millisecond), func() {
		ok := !n.DiskCut[op.Disk]
		switch op.Kind {
		case register.Write:
			if ok {
				k.land(block{op.Header, op.Value})
			}
			n.deliver(cluster.RegisterWrote{Disk: op.Disk, Seq: op.Seq, OK: ok && n.w.rng.Float64() >= n.RegDrops})
		case register.ReadHeaders:
			var all []register.Header
			for i := range n.w.Nodes {
				if r := k.ring[ident.NodeID(i+1)]; r != nil {
					for _, b := range r {
						if b.h.Gen > 0 {
							all = append(all, b.h)
						}
					}
				}
			}
			n.deliver(cluster.RegisterHeaders{Disk: op.Disk, Seq: op.Seq, All: all, OK: ok})
		case register.ReadBody:
			b := k.ring[op.Header.Node][op.Header.Slot]
			same := b.h.Bal == op.Header.Bal && b.h.Ver == op.Header.Ver
			n.deliver(cluster.RegisterBody{Disk: op.Disk, Seq: op.Seq, Value: b.v, OK: ok && same})
		}
	})
}

// order is the guard's side of the socket.
func (n *Node) order(o cluster.Order) {
	var err error
	now := n.clock()
	switch o.Kind {
	case cluster.OrderClaim:
		if err = n.lease.Claim(now, o.Inc, o.Until, lease.Params{F: o.Lease.F, G: o.Lease.G}); err == nil {
			n.inc, n.params, n.h, n.payload, n.state = o.Inc, o.Lease, o.H, o.Payload, cluster.GuardBound
			n.mayBeUntil = 0
			n.kick()
		}
	case cluster.OrderPayload:
		n.payload = o.Payload
	case cluster.OrderPermit:
		err = n.lease.Permit(o.Inc, o.Until)
	case cluster.OrderStopping:
		err = n.lease.Stopping(o.Inc)
		n.state = cluster.GuardStopping
	case cluster.OrderRetire:
		n.retire(o, &err)
	case cluster.OrderKick:
		n.kick()
	}
	ev := cluster.Echoed{Order: o.Kind, Seq: o.Seq}
	if err != nil {
		ev.Err = err.Error()
	}
	n.later(200*time.Microsecond, func() { n.deliver(ev) })
}

func (n *Node) retire(o cluster.Order, err *error) {
	if *err = n.lease.Retire(o.Inc); *err != nil {
		return
	}
	n.state, n.mayBeUntil = cluster.GuardRetired, 0
	b := n.beat(n.clock())
	for d, k := range n.w.Disks {
		if !n.DiskCut[d] {
			k.beats[n.ID], k.decoded[n.ID] = encodeBeat(b), b
		}
	}
}

func (n *Node) kick() {
	for d := range n.w.Disks {
		if !n.DiskCut[d] {
			n.readTable(d, false, n.inc, 0)
		}
	}
}

// run is the runner: services take their time, and go on without the daemon.
func (n *Node) run(a cluster.Run) {
	name := a.Service.Name
	done := func(o cluster.Outcome, text string) {
		n.deliver(cluster.RunDone{Op: a.Op, Outcome: o, Text: text})
	}
	switch a.Kind {
	case cluster.RunStart:
		n.running[name] = true // from the first moment on it may write
		n.w.check()
		n.later(n.StartTime, func() {
			if n.StartFails {
				done(cluster.Failed, "exit status 1")
				return
			}
			done(cluster.OK, "")
		})
	case cluster.RunStop, cluster.RunKill:
		n.later(200*time.Millisecond, func() {
			if n.StopFails {
				done(cluster.Failed, "still mounted")
				return
			}
			delete(n.running, name)
			done(cluster.OK, "")
		})
	case cluster.RunCheck:
		n.later(10*time.Millisecond, func() {
			if n.CheckFails {
				done(cluster.Failed, "no answer")
				return
			}
			done(cluster.OK, "")
		})
	}
}

// Ask gives this node an administrator's request.
func (n *Node) Ask(r cluster.Request) { n.deliver(cluster.Asked{ID: uint64(n.w.Now), Request: r}) }

// Core is the node's core, for its View.
func (n *Node) Core() *cluster.Core { return n.core }
