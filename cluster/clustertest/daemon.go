package clustertest

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// daemon is the node's daemon around the real core.
type daemon struct {
	core    *core.Core
	life    int // of everything scheduled for the daemon
	ticking bool
	late    []late
	stalled bool
	waiting []cluster.Event // for the end of the stall
}

// late is a register write that was reported as failed and has yet to land.
type late struct {
	disk int
	life int
	b    block
}

// StartDaemon begins a life of the daemon; services keep running over it.
func (n *Node) StartDaemon() {
	if !n.machine.up || n.daemon.core != nil {
		return
	}
	n.daemon.life++
	n.settleLate()
	in := timing.Input{SecondHolder: true, Devices: []timing.Device{
		{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
		{Name: "hardware", Class: timing.Qualified, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
	}}
	if n.w.opt.Timing != nil {
		n.w.opt.Timing(&in)
	}
	set := core.Settings{
		Self: n.ID, Name: n.Name, Host: ident.UUID{byte(n.ID)}, Boot: n.machine.boot, Life: uint64(n.clock()),
		Timing: in, WaitLess: n.w.opt.Broken.WaitLess,
	}
	for _, k := range n.w.Disks {
		set.Disks = append(set.Disks, k.UUID)
	}
	n.daemon.core = core.New(set)
	n.w.began(n, set)
	v := n.guard.lease.View()
	ev := cluster.Started{Bound: v.Inc, Killed: v.Killed, Frozen: v.Frozen, LeaseStart: v.Start}
	for name, p := range n.running {
		ev.Adopted = append(ev.Adopted, cluster.Adopted{Service: name, Term: p.term, Running: p.whole})
	}
	slices.SortFunc(ev.Adopted, func(a, b cluster.Adopted) int { return strings.Compare(a.Service, b.Service) })
	n.daemon.ticking = false
	n.deliver(ev)
}

// KillDaemon ends the daemon; its services and the guard go on.
func (n *Node) KillDaemon() {
	n.daemon.life++
	n.daemon.core, n.daemon.stalled, n.daemon.waiting = nil, false, nil
}

// deliver gives the core an event and does what it asks for.
func (n *Node) deliver(ev cluster.Event) {
	if n.daemon.core == nil || !n.machine.up {
		return
	}
	if n.daemon.stalled {
		n.daemon.waiting = append(n.daemon.waiting, ev)
		return
	}
	now := n.clock()
	actions := n.daemon.core.Step(now, ev)
	if n.w.opt.Record != nil {
		n.w.opt.Record(n, now, ev, actions)
	}
	for _, a := range actions {
		n.act(a)
	}
	if n.daemon.core == nil || n.daemon.ticking {
		return
	}
	if next := n.daemon.core.NextDeadline(); next != ident.Never {
		n.daemon.ticking = true
		n.later(max(time.Millisecond, next.Sub(n.clock())), func() {
			n.daemon.ticking = false
			n.deliver(cluster.Tick{})
		})
	}
}

// Stall stops the daemon, and nothing else, until Resume: it then takes
// everything that has happened meanwhile, one event after the other.
func (n *Node) Stall() { n.daemon.stalled = n.daemon.core != nil }

// Resume lets a stalled daemon go on.
func (n *Node) Resume() {
	n.daemon.stalled = false
	waiting := n.daemon.waiting
	n.daemon.waiting = nil
	for _, ev := range waiting {
		n.deliver(ev)
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
		n.later(200*time.Microsecond, func() { n.order(a) })
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
	for copies := n.w.copies(); copies > 0; copies-- {
		if n.w.cut[[2]ident.NodeID{n.ID, a.To}] {
			return
		}
		to := n.w.Nodes[a.To-1]
		n.w.After(n.w.Jitter(100*time.Microsecond, 2*time.Millisecond), func() {
			to.after(0, func() { to.deliver(cluster.Received{Msg: a.Msg}) })
		})
	}
}

func (n *Node) writeBlob(a cluster.WriteBlob) {
	done := n.outcome(func(ok bool) { n.deliver(cluster.BlobWrote{Disk: a.Disk, Gen: a.Blob.Gen, OK: ok}) })
	n.request(a.Disk, n.w.Jitter(time.Millisecond, 9*time.Millisecond), func() { n.w.Disks[a.Disk].blobs[n.ID] = a.Blob }, done)
}

func (n *Node) readBlob(a cluster.ReadBlob) {
	ev := cluster.BlobRead{Disk: a.Disk, Node: a.Node}
	done := n.outcome(func(ok bool) {
		if !ok {
			ev.Blob = nil
		}
		n.deliver(ev)
	})
	n.request(a.Disk, n.w.Jitter(time.Millisecond, 9*time.Millisecond), func() {
		if b, ok := n.w.Disks[a.Disk].blobs[a.Node]; ok {
			ev.Blob = &b
		}
	}, done)
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
	k := n.w.Disks[op.Disk]
	latency := n.w.Jitter(time.Millisecond, 12*time.Millisecond)
	switch op.Kind {
	case register.Write:
		n.registerWrite(k, op, latency)
	case register.ReadHeaders:
		var all []register.Header
		n.request(op.Disk, latency, func() { all = k.headers(len(n.w.Nodes)) },
			n.outcome(func(ok bool) {
				n.deliver(cluster.RegisterHeaders{Disk: op.Disk, Seq: op.Seq, All: all, OK: ok})
			}))
	case register.ReadBody:
		var b block
		n.request(op.Disk, latency, func() { b = k.ring[op.Header.Node][op.Header.Slot] },
			n.outcome(func(ok bool) {
				same := b.h.Bal == op.Header.Bal && b.h.Ver == op.Header.Ver
				n.deliver(cluster.RegisterBody{Disk: op.Disk, Seq: op.Seq, Value: n.w.parsed(n, b.v), OK: ok && same})
			}))
	}
}

func (n *Node) registerWrite(k *Disk, op register.Op[*cluster.State], latency time.Duration) {
	b := block{op.Header, op.Value}
	done := n.outcome(func(ok bool) {
		n.deliver(cluster.RegisterWrote{Disk: op.Disk, Seq: op.Seq, OK: ok && n.w.rng.Float64() >= n.RegDrops})
	})
	if n.RegLate > 0 && n.w.rng.Float64() < n.RegLate && !n.DiskCut[op.Disk] {
		l := late{op.Disk, n.daemon.life, b}
		n.daemon.late = append(n.daemon.late, l)
		n.after(n.w.Jitter(time.Second, 50*time.Second), func() { n.landLate(l) })
		n.after(latency, func() { done(false) })
		return
	}
	n.request(op.Disk, latency, func() { k.land(b) }, done)
}

// landLate lands a write that was reported as failed, unless it was settled.
func (n *Node) landLate(l late) {
	for i := range n.daemon.late {
		if n.daemon.late[i] == l {
			n.w.Disks[l.disk].land(l.b)
			n.daemon.late = slices.Delete(n.daemon.late, i, i+1)
			return
		}
	}
}

// settleLate ends the writes of former lives: the slot lock of a life is free
// only once the kernel has finished its requests. Some of them land now.
func (n *Node) settleLate() {
	for _, l := range n.daemon.late {
		if n.w.rng.IntN(2) == 0 {
			n.w.Disks[l.disk].land(l.b)
		}
	}
	n.daemon.late = nil
}

// run is the runner: services take their time, and go on without the daemon. A
// stop interrupts a start.
func (n *Node) run(a cluster.Run) {
	name := a.Service.Name
	life := n.daemon.life
	done := func(o cluster.Outcome, text string) {
		if life == n.daemon.life {
			n.deliver(cluster.RunDone{Op: a.Op, Outcome: o, Text: text})
		}
	}
	switch a.Kind {
	case cluster.RunStart:
		if n.w.rng.IntN(10) == 0 { // its thread gets no processor for a while
			n.later(n.w.Jitter(0, time.Second), func() { n.start(a, done) })
			return
		}
		n.start(a, done)
	case cluster.RunStop, cluster.RunKill:
		if p := n.running[name]; p != nil {
			p.whole = false
			if p.interrupt != nil {
				n.later(time.Millisecond, p.interrupt)
				p.interrupt = nil
			}
		}
		n.later(n.StopTime, func() {
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

// start begins a start; a stop interrupts it.
func (n *Node) start(a cluster.Run, done func(cluster.Outcome, string)) {
	p := &process{term: a.Term}
	p.interrupt = func() { done(cluster.Unknown, "interrupted") }
	n.running[a.Service.Name] = p // from the first moment on it may write
	n.w.check()
	n.later(n.StartTime, func() {
		if p.interrupt == nil {
			return // told already
		}
		p.interrupt = nil
		switch {
		case n.running[a.Service.Name] != p:
			done(cluster.Unknown, "stopped meanwhile")
		case n.StartFails:
			done(cluster.Failed, "exit status 1")
		default:
			p.whole = true
			done(cluster.OK, "")
		}
	})
}

// Ask gives this node an administrator's request.
func (n *Node) Ask(r cluster.Request) { n.deliver(cluster.Asked{ID: uint64(n.w.Now), Request: r}) }
