package clustertest

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/agenda"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/media"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/mind"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/wire"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// daemon is the node's daemon around the real core.
type daemon struct {
	core    *core.Core
	life    int // of everything scheduled for the daemon
	ticking bool
	late    agenda.Pending // register writes that were reported as failed
	stalled bool
	waiting []cluster.Event // for the end of the stall
	asked   []cluster.Order // of the guard, which has not answered
	panics  mind.Panics
	wrote   media.Written // what was written last, per disk
	links   wire.Links
}

// StartDaemon begins a life of the daemon; services keep running over it.
func (n *Node) StartDaemon() {
	if !n.machine.up || n.mind() != nil {
		return
	}
	n.daemon.life++
	// The slot lock of a life is free only once the kernel has finished its
	// requests: those that were reported as failed land now, or never.
	n.daemon.late.Settle(func() bool { return n.w.rng.IntN(2) == 0 })
	n.daemon.wrote = media.Written{}
	set := core.Settings{
		Self: n.ID, Name: n.Name, Host: n.host, Protocol: n.Protocol, Boot: n.machine.boot, Life: uint64(n.clock()),
		Timing: n.devices(), WaitLess: n.w.opt.Broken.WaitLess, Disks: n.boots(),
	}
	n.openLinks()
	if !n.holds() {
		n.daemon.core = core.New(set)
		if n.w.opt.Begin != nil {
			n.w.opt.Begin(n, set)
		}
	}
	v := n.guard.lease.View()
	ev := cluster.Started{Floor: n.machine.disks.floor, Bound: v.Inc, Killed: v.Killed, Frozen: v.Frozen, LeaseStart: v.Start, F: v.Params.F, G: v.Params.G, Says: n.guard.params, Since: v.Carry.Since, Grace: v.Grace, Registering: n.machine.flying > 0}
	n.orphans.Settle(func() bool { return false }) // a new life ends what a former one has begun
	for name, p := range n.running {
		ev.Adopted = append(ev.Adopted, cluster.Adopted{Service: name, Term: p.term, Running: p.whole})
	}
	slices.SortFunc(ev.Adopted, func(a, b cluster.Adopted) int { return strings.Compare(a.Service, b.Service) })
	n.daemon.ticking = false
	n.Give(ev)
}

// KillDaemon ends the daemon; its services and the guard go on.
func (n *Node) KillDaemon() {
	n.daemon.life++
	n.attempts = nil
	n.daemon.core, n.daemon.panics.Held, n.daemon.stalled, n.daemon.waiting, n.daemon.asked = nil, nil, false, nil, nil
}

// Give gives the core an event and does what it asks for.
func (n *Node) Give(ev cluster.Event) {
	if n.mind() == nil || !n.machine.up {
		return
	}
	if n.daemon.stalled {
		n.daemon.waiting = append(n.daemon.waiting, ev)
		return
	}
	if n.panicked() {
		return
	}
	now, mind := n.clock(), n.mind()
	actions := mind.Step(now, ev)
	n.w.Tally.Step(n.ID, now, ev, actions)
	if n.w.opt.Record != nil && !n.Held() {
		n.w.opt.Record(n, now, ev, actions)
	}
	for _, a := range actions {
		n.learned(a)
	}
	for _, a := range actions {
		n.act(a)
	}
	if n.mind() != mind || n.daemon.ticking {
		return
	}
	if next := mind.NextDeadline(); next != ident.Never {
		n.daemon.ticking = true
		n.later(max(time.Millisecond, next.Sub(n.clock())), func() {
			n.daemon.ticking = false
			n.Give(cluster.Tick{})
		})
	}
}

// Stall stops the daemon, and nothing else, until Resume: it then takes
// everything that has happened meanwhile, one event after the other.
func (n *Node) Stall() { n.daemon.stalled = n.mind() != nil }

// Resume lets a stalled daemon go on.
func (n *Node) Resume() {
	n.daemon.stalled = false
	waiting := n.daemon.waiting
	n.daemon.waiting = nil
	for _, ev := range waiting {
		n.Give(ev)
	}
}

// later is after for this life of the daemon.
func (n *Node) later(d time.Duration, f func()) {
	n.after(d, n.inLife(f))
}

// inLife returns f for this life of the daemon only.
func (n *Node) inLife(f func()) func() {
	life := n.daemon.life
	return func() {
		if life == n.daemon.life {
			f()
		}
	}
}

func (n *Node) act(a cluster.Action) {
	switch a := a.(type) {
	case cluster.Order:
		if a.Kind == cluster.OrderDisks {
			n.number(a)
		}
		n.tells(a)
	case cluster.RegisterOp:
		n.registerOp(a.Op)
	case cluster.WriteBlob:
		n.writeBlob(a)
	case cluster.ReadBlob:
		n.readBlob(a)
	case cluster.Send:
		n.send(a)
	case cluster.Run:
		n.run(a)
	case cluster.Fence:
		n.fence(a)
	case cluster.Reserve:
		n.reserve(a)
	case cluster.FenceStop:
		n.stopFence(a.Op)
	case cluster.Note:
		n.w.Story.Tell(n.w.Now, n.ID, a)
		n.w.judge.Explains(n.ID, string(a.Kind), a.Text+a.Service)
		switch {
		case a.Kind == cluster.NoteProof && a.Proof == cluster.ProofTime:
			n.w.judge.CalledDead(a.Node, a.Inc, n.w.Now, n.ID)
		case a.Kind == cluster.NoteProof && a.Proof == cluster.ProofPower:
			n.w.judge.CalledOff(a.Node, a.Inc, n.w.Now, n.ID)
		}
	case cluster.Reply:
		text := "done: " + a.Text
		if a.Err != "" {
			text = "refused: " + a.Err
		}
		n.w.Story.Tell(n.w.Now, n.ID, cluster.Note{Kind: "reply", Text: text})
	case cluster.Exit:
		n.KillDaemon()
		if a.Again {
			n.daemon.panics = mind.Panics{}
			n.after(time.Second, n.StartDaemon)
		}
	}
}

func (n *Node) writeBlob(a cluster.WriteBlob) {
	done := n.outcome(func(ok bool) { n.Give(cluster.BlobWrote{Disk: a.Disk, Gen: a.Blob.Gen, OK: ok}) })
	for _, r := range a.Blob.Released {
		n.w.judge.Releases(n.body, r.Service, r.Term)
	}
	raw, err := n.w.bytes.format.Blob(&a.Blob)
	if err != nil {
		n.w.Fail("the blob of %s: %v", n.Name, err)
	}
	d := n.machine.disks.places[a.Disk]
	k := n.w.Disks[d]
	n.write(d, n.w.Jitter(time.Millisecond, 9*time.Millisecond), true, func(bool) { k.On.PutBlob(n.ID, a.Blob.Gen, raw) }, done)
}

func (n *Node) readBlob(a cluster.ReadBlob) {
	ev := cluster.BlobRead{Disk: a.Disk, Node: a.Node}
	done := n.outcome(func(ok bool) {
		if !ok {
			ev.Blob = nil
		}
		n.Give(ev)
	})
	d := n.machine.disks.places[a.Disk]
	k := n.w.Disks[d]
	n.request(d, n.w.Jitter(time.Millisecond, 9*time.Millisecond), func(bool) { ev.Blob = k.On.Blob(a.Node, a.Gen) }, done)
}

// outcome is inLife for the end of a request.
func (n *Node) outcome(f func(ok bool)) func(ok bool) {
	life := n.daemon.life
	return func(ok bool) {
		if life == n.daemon.life {
			f(ok)
		}
	}
}

func (n *Node) registerOp(op register.Op[*cluster.State]) {
	d := n.machine.disks.places[op.Disk]
	k := n.w.Disks[d]
	latency := n.w.Jitter(time.Millisecond, 12*time.Millisecond)
	switch op.Kind {
	case register.Write:
		n.registerWrite(k, d, op, latency)
	case register.ReadHeaders:
		var all []register.Header
		var gone error
		n.request(d, latency, func(bool) { all, gone = k.On.Headers(), k.On.StillThere() },
			n.outcome(func(ok bool) {
				if b, shown := n.daemon.wrote.In(all, d); shown && ok && gone == nil {
					n.w.judge.Relies(n.body, d, len(n.w.Disks), b)
				}
				n.Give(cluster.RegisterHeaders{Disk: op.Disk, Seq: op.Seq, All: all, OK: ok && gone == nil})
			}))
	case register.ReadBody:
		var s *cluster.State
		var same bool
		n.request(d, latency, func(bool) { s, same = n.w.state(n, k, op.Header) },
			n.outcome(func(ok bool) {
				n.Give(cluster.RegisterBody{Disk: op.Disk, Seq: op.Seq, Value: s, OK: ok && same})
			}))
	}
}

// registerWrite writes a block: its body, and when that is complete its header.
func (n *Node) registerWrite(k *Disk, d int, op register.Op[*cluster.State], latency time.Duration) {
	b, err := n.w.bytes.format.Block(op.Header, op.Value)
	if err != nil {
		n.w.Fail("the register of %s: %v", n.Name, err)
	}
	done := n.outcome(func(ok bool) {
		if ok = ok && n.w.rng.Float64() >= n.RegDrops; ok {
			n.daemon.wrote[d] = op.Header
		}
		n.Give(cluster.RegisterWrote{Disk: op.Disk, Seq: op.Seq, OK: ok})
	})
	if n.RegLate > 0 && n.w.rng.Float64() < n.RegLate && !n.DiskCut[d] {
		n.after(n.w.Jitter(time.Second, 50*time.Second), n.daemon.late.Add(func() {
			k.On.LandLate(b, op.Header, k.Index, n.w.judge)
		}))
		n.after(latency, func() { done(false) })
		return
	}
	header := func(ok bool) {
		if !ok {
			done(false)
			return
		}
		n.write(d, latency/2, false, func(torn bool) { k.On.Land(b, torn, d, n.w.judge) }, done)
	}
	if b.Body == nil {
		header(true)
		return
	}
	n.write(d, latency/2, true, k.Body(b), header)
}

// learned tells the oracle what this node holds for decided.
func (n *Node) learned(a cluster.Action) {
	o, ok := a.(cluster.Order)
	if !ok || o.Kind != cluster.OrderPayload && o.Kind != cluster.OrderClaim {
		return
	}
	c := o.Payload.Committed
	n.machine.disks.floor = max(n.machine.disks.floor, c.Ver)
	for d := range n.w.Disks {
		k := n.w.Disks[d]
		if h, ok := k.On.Find(c.Node, c.Ver, c.Ballot); ok && n.w.decided(n, k, h) {
			return
		}
	}
}

// Ask gives this node an administrator's request.
func (n *Node) Ask(r cluster.Request) { n.Give(cluster.Asked{ID: uint64(n.w.Now), Request: r}) }
