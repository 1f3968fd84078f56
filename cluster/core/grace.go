package core

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/grace"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/peer"
)

// graceEnv is this node as its network grace sees it.
func (c *Core) graceEnv() grace.Env {
	return grace.Env{
		Now: c.now, State: c.reg.state, Self: c.set.Self, Inc: c.self.inc, Life: c.set.Life, Start: c.leaseStart(),
		Needs: c.self.stage >= member && c.self.stage < ending && !c.guard.killed && c.timed,
		Ask:   c.t.Ask, Bear: c.t.Asym, Silent: c.t.Tsus,
	}
}

// leaseEnd is until when this node may go on, as its guard sees it, leaving the
// permission aside.
func (c *Core) leaseEnd() ident.Instant { return c.guard.grace.End(c.leaseStart()) }

// orderPromise has the guard promise what the configuration says now. This node
// lives by less at once, and by more when its guard does.
func (c *Core) orderPromise() {
	if c.guard.bound.IsZero() || c.guard.bound != c.self.inc {
		return
	}
	if s := c.reg.state; c.timed && s.Conf != nil && c.self.stage >= joining && c.self.stage < ending && !c.guard.frozen && !c.guard.killed && !c.guard.retire {
		if t, ok := c.guard.promise.Next(c.now, c.t, s.Conf.FailoverWithin, s.Conf.NetworkGrace()); ok {
			c.guard.promise.Sent(c.order(cluster.Order{Kind: cluster.OrderPromise, Inc: c.self.inc, Lease: cluster.PromiseOf(t, c.set.Timing), H: t.H}))
		}
	}
	if c.guard.disks.Obeyed() {
		c.guard.promise.Settle(c.leaseStart())
	}
	p := c.guard.promise.Used()
	c.guard.grace.Change(c.now, p.F, p.G)
}

// insider says that no peer can have been granted grace without this node.
func (c *Core) insider(s *cluster.State) bool {
	return c.self.stage >= member && grace.Insider(s, c.set.Self, c.self.inc)
}

// promiseOver says that no promise of this node can keep the peer going: it may
// be judged. Otherwise the evidence of the round under way is worth nothing, for
// the peer may have come back to its disks meanwhile.
func (c *Core) promiseOver(p *peer.Peer, w time.Duration) bool {
	if !c.insider(c.reg.state) {
		return true // it waits for W_c
	}
	end, ok := c.guard.grace.Free(c.now, p.ID, w)
	if !ok {
		p.Disk.Restart()
		c.next.proof = min(c.next.proof, end)
	}
	return ok
}

// excused says that this node has itself read that the power of n's machine is
// off: its consent is not needed, whatever the register can be told. Whether n was
// being fenced when the disks went makes no difference.
func (c *Core) excused(n *cluster.NodeState) bool {
	env := c.fenceEnv()
	pr, ok := c.dec.ways.Proof(env, n)
	return ok && pr.Kind == cluster.ProofPower && pr.Inc == n.Inc || c.dec.ways.Gone(env, n)
}

// dark says that a cycle is so overdue that this node asks the others for their
// consent to its going on.
func (c *Core) dark() bool { return c.timed && c.now.Sub(c.leaseStart()) >= c.t.Ask }

// askGrace puts a request into the network beats once a cycle is overdue.
func (c *Core) askGrace(m *cluster.Message) {
	ask, until, granted := c.guard.grace.Request(c.graceEnv(), c.excused)
	m.Grace.Ask = ask
	c.granted(until, granted)
}

func (c *Core) granted(until ident.Instant, ok bool) {
	if ok {
		c.order(cluster.Order{Kind: cluster.OrderGrace, Inc: c.self.inc, Until: until})
	}
}

// heardGrace takes what a message says of grace.
func (c *Core) heardGrace(p *peer.Peer, m *cluster.Message) {
	if c.reg.state == nil || !c.timed {
		return
	}
	e := c.graceEnv()
	if promise, ok := c.guard.grace.Promise(e, m); ok {
		p.Disk.Restart()
		r := c.message()
		r.Grace.Promise = promise
		c.emit(cluster.Send{To: p.ID, Msg: r})
	}
	c.granted(c.guard.grace.Promised(e, m))
	if m.Grace.Release == c.self.inc && m.LeaseAge >= 0 && c.now.Sub(e.Start) > e.Ask {
		c.yield("its beats do not reach the quorum disks, which " + c.reg.state.NameOf(p.ID) + " can reach")
	}
}

// suffer decides how long this node, if it decides, bears with a member that
// alone has lost its disks while its links work.
func (c *Core) suffer(p *peer.Peer, n *cluster.NodeState) {
	q := c.quiet(p)
	lost := q.Stale(c.t.Tsus) && c.onNet(p) && p.Msg.Inc == n.Inc && p.Msg.State != cluster.GuardRetired && c.coordinator() == c.set.Self
	if c.guard.grace.Suffer(c.graceEnv(), p.ID, lost) {
		c.note(cluster.Note{Kind: cluster.NoteWaiting, Node: p.ID, Inc: n.Inc, Text: "alone has lost the quorum disks; it is asked over the network to release its services"})
	}
}

// yield begins the orderly stop of everything, after which this incarnation
// retires.
func (c *Core) yield(why string) {
	if c.self.stage != member && c.self.stage != leaving {
		return
	}
	c.enter(yielding)
	c.self.waiting = why
	c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: why + "; its services are stopped in order, then this incarnation retires"})
}

// watchGrace tells the story of this node's grace, and ends it in time.
func (c *Core) watchGrace() {
	switch text, ending := c.guard.grace.Watch(c.now, c.leaseStart()); {
	case ending:
		c.yield(text)
	case text != "":
		c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: text})
	}
}
