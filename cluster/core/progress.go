package core

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/reserve"
	"github.com/holdfast-ha/holdfast/cluster/services"
)

// started begins this daemon's life.
func (c *Core) started(e cluster.Started) {
	c.reg.m = register.New[*cluster.State](register.Config{Self: c.set.Self, Life: c.set.Life, Disks: len(c.disks.Disks), Floor: e.Floor, Ticket: e.Bound.IsZero()})
	c.reg.m.SetFit(c.disks)
	c.guard.bound, c.guard.killed, c.guard.frozen, c.guard.since = e.Bound, e.Killed, e.Frozen, e.LeaseStart
	c.self.inc = e.Bound
	c.self.seeing = c.now
	c.guard.grace.Begin(c.now, e.F, e.G, e.Grace)
	c.guard.promise.Adopt(e)
	c.services = services.New(e.Adopted)
	c.dec.keys = reserve.New(e.Registering)
	c.enter(reading)
}

func (c *Core) enter(s stage) {
	c.self.stage, c.self.since, c.self.waiting = s, c.now, ""
	if s == member {
		c.guard.grace.Renew(c.now)
	}
}

// progress takes this node through its stages.
func (c *Core) progress() {
	switch c.self.stage {
	case reading:
		c.fromReading()
	case joining:
		c.fromJoining()
	case member, leaving, yielding:
		c.fromMember()
	case ending:
		c.fromEnding()
	case retired:
		c.fromRetired()
	}
}

// fromReading binds an incarnation once the register and the own slot are
// known, or continues the one that the guard still holds.
func (c *Core) fromReading() {
	c.self.waiting = c.notReady()
	if c.self.waiting != "" {
		return
	}
	if !c.guard.bound.IsZero() {
		c.resume()
		return
	}
	if c.self.waiting = decide.StandingOrders(c.reg.state, c.set.Protocol); c.self.waiting != "" {
		return
	}
	if c.self.waiting = c.slotTaken(); c.self.waiting != "" {
		return
	}
	c.claim()
}

// notReady says what is missing before this node may do anything.
func (c *Core) notReady() string {
	s := c.reg.state
	switch {
	case c.disks.Behind(s) != "":
		return c.disks.Behind(s)
	case c.reg.halted:
		return "the quorum disks show an older version than this node knows to be committed: they were rolled back; if the other nodes go on, restart holdfastd here (systemctl restart holdfastd)"
	case c.mayWrite() != "":
		return c.mayWrite()
	case !c.reg.learned:
		return "a majority of the quorum disks has not been read"
	case s == nil:
		return "the quorum disk holds no state: run holdfast init"
	case c.self.refuse != "" && !c.timed:
		return c.self.refuse
	case !c.guard.bound.IsZero():
		return "" // whatever it is now: what runs is continued, or stopped
	case s.Node(c.set.Self) == nil || s.Node(c.set.Self).Name != c.set.Name:
		return fmt.Sprintf("the cluster does not know %s as node %d: run holdfast join", c.set.Name, c.set.Self)
	case !c.guard.disks.Obeyed():
		return "the guard has to take up the set of quorum disks" + c.guard.disks.Why()
	}
	return ""
}

// resume continues the incarnation that a former life of this daemon left.
func (c *Core) resume() {
	c.enter(joining)
	c.services.Resume(c.env())
	c.serve()
}

// slotTaken says why this node's slot may not be claimed yet; empty if it may.
func (c *Core) slotTaken() string {
	if !c.dec.stalls.Landed(c.self.since, c.now, c.t.Tz) {
		return "the drain time after a boot: a write of the boot before may still land"
	}
	if c.ownAge() > max(c.t.F/4, c.t.H) {
		return "the quorum disks answer too slowly"
	}
	down := c.services.Clear(c.env())
	c.serve()
	if !down {
		return "services that were found running are being stopped"
	}
	u := c.slot()
	if why := u.Taken(c.t.Slot); why != "" {
		return why
	}
	return c.otherMachine(&u)
}

// claim asks the guard to bind the next incarnation.
func (c *Core) claim() {
	c.retime() // what was changed while the former incarnation ran holds from now on
	n := c.reg.state.Node(c.set.Self)
	top := max(n.Inc.N, n.Dead, n.Fencing.N, c.self.inc.N)
	if own := c.peers[c.set.Self]; own != nil && own.Beat != nil {
		top = max(top, own.Beat.Inc.N)
	}
	c.self.inc = ident.Incarnation{N: top + 1, Boot: c.set.Boot}
	c.self.lost = false
	c.services.Renew()
	c.guard.claim, c.guard.killed, c.guard.frozen, c.guard.retire = c.self.inc, false, false, false
	c.disks.Bind()
	c.guard.since = c.now
	c.guard.grace.Begin(c.now, c.t.F, c.t.G, ident.LongAgo)
	c.guard.promise.Claimed(lease.Params{F: c.t.F, G: c.t.G})
	c.enter(claiming)
	c.guard.payload = c.payload()
	c.order(cluster.Order{
		Kind: cluster.OrderClaim, Inc: c.self.inc, Until: c.now.Add(c.t.Permission), Payload: c.guard.payload,
		Lease: c.lease(), H: c.t.H, Pet: c.t.Pet, DiskGen: c.reg.state.DiskGen,
	})
}

// lease is what this node's beats promise.
func (c *Core) lease() cluster.Lease { return cluster.PromiseOf(c.t, c.set.Timing) }

func (c *Core) fromJoining() {
	n := c.reg.state.Node(c.set.Self)
	switch {
	case c.guard.retire || c.doomed(n): // the guard may retire it at any moment
	case (c.self.leave || c.reg.state.Stopped()) && n.Inc != c.self.inc && c.services.AllDown() && c.allReleased():
		c.retire() // nobody has let it in yet
	case n.Inc == c.self.inc && n.Phase == cluster.Leaving:
		c.self.leave = !c.reg.state.Stopped() // a former life of this daemon was leaving
		c.enter(member)
	case n.Inc == c.self.inc && n.Phase == cluster.MemberPhase:
		c.enter(member)
	default:
		c.self.waiting = decide.JoinWaits(c.reg.state, n.Inc == c.self.inc)
	}
}

// doomed begins the emergency stop if this incarnation is being fenced or is
// known to be dead.
func (c *Core) doomed(n *cluster.NodeState) bool {
	switch {
	case n == nil:
		c.endure("the cluster does not know this node any more")
	case c.disks.Behind(c.reg.state) != "":
		c.endure(c.disks.Behind(c.reg.state))
	case c.guard.killed:
		c.endure("this node is being fenced: its guard has read the kill record")
	case n.Fencing == c.self.inc:
		c.endure("this node is being fenced: " + n.Why)
	case n.Inc.N >= c.self.inc.N && n.Inc != c.self.inc:
		c.endure("another machine has joined as this node: they have one identity; switch one of them off")
	case n.Dead >= c.self.inc.N && c.self.stage != leaving:
		c.endure("the cluster holds this incarnation for dead")
	case c.guard.frozen:
		c.endure("a former life of this daemon was stopping everything")
	default:
		return false
	}
	return true
}

// endure begins the emergency stop of everything.
func (c *Core) endure(why string) {
	c.enter(ending)
	c.self.waiting = why
	c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: why + "; stopping everything at once"})
	c.order(cluster.Order{Kind: cluster.OrderStopping, Inc: c.self.inc})
}

// fromMember watches the lease, and leaves when asked.
func (c *Core) fromMember() {
	n := c.reg.state.Node(c.set.Self)
	if c.self.stage == leaving && n != nil && n.Dead >= c.self.inc.N {
		if c.services.AllDown() {
			c.retire()
		} else {
			c.endure("the cluster holds this incarnation for dead")
		}
		return
	}
	if c.doomed(n) {
		return
	}
	c.watchGrace()
	over := c.now.Sub(c.leaseEnd())
	switch {
	case over > c.t.Emergency:
		c.endure("the lease ran out: no beat has reached a majority of the quorum disks")
		return
	case over > 0 && !c.self.lost:
		c.self.lost = true
		c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: fmt.Sprintf("the lease is overdue; if no beat gets through, everything is stopped in %s", c.t.Emergency.Round(time.Millisecond))})
	case over <= 0 && c.self.lost:
		c.self.lost = false
		c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: "the lease is held again"})
	}
	if c.self.stage == yielding && c.services.AllDown() && c.allReleased() {
		c.retire()
	}
	if (c.self.leave || c.reg.state.Stopped() && c.reg.state.AllFree()) && c.self.stage == member {
		c.enter(leaving)
	}
	if c.self.stage == leaving {
		c.self.waiting = "its services have to be stopped and released"
	}
}

// fromEnding retires once everything is verified stopped.
func (c *Core) fromEnding() {
	if c.services.AllDown() && c.allReleased() {
		c.retire()
	}
}

func (c *Core) retire() {
	if !c.guard.retire {
		c.guard.retire = true
		c.order(cluster.Order{Kind: cluster.OrderRetire, Inc: c.self.inc})
	}
}

// fromRetired comes back with a new incarnation once the others have had time
// to read that the old one holds nothing, and the disks answer.
func (c *Core) fromRetired() {
	c.self.waiting = "the quorum disks have to answer before this node comes back"
	if c.now.Sub(c.self.since) < 2*c.t.Tz+2*c.t.H || c.ownAge() > max(c.t.F/4, c.t.H) {
		return
	}
	if !c.reg.state.Stopped() {
		c.note(cluster.Note{Kind: cluster.NoteJoined, Text: "everything was stopped; coming back with a new incarnation"})
	}
	c.guard.bound = ident.Incarnation{}
	c.enter(reading)
}

// noticed takes what the guard says of its own accord.
func (c *Core) noticed(e cluster.Noticed) {
	if e.Killed {
		c.guard.killed = true
	}
	if e.Leave {
		c.leave()
	}
	if e.Text != "" {
		c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: e.Text})
	}
}

// echo takes the guard's answer to an order.
func (c *Core) echo(e cluster.Echoed) {
	switch {
	case e.Order == cluster.OrderDisks:
		if why := c.guard.disks.Echoed(c.now, e); why != "" {
			c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: why})
		}
	case e.Order == cluster.OrderPromise:
		var news cluster.Note
		if c.t, news = c.guard.promise.Echoed(c.now, e, c.t); news.Text != "" {
			c.note(news)
		}
	case e.Err != "" && e.Order == cluster.OrderClaim:
		c.guard.claim = ident.Incarnation{}
		c.refuse("the guard does not bind this node: " + e.Err)
		c.enter(reading)
	case e.Err != "" && e.Order == cluster.OrderRetire:
		c.guard.retire = false
		c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: "the guard does not retire: " + e.Err})
	case e.Err != "":
		c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: "the guard refuses an order: " + e.Err})
	case e.Order == cluster.OrderClaim:
		c.guard.bound, c.guard.claim = c.self.inc, ident.Incarnation{}
		c.guard.echoed = max(c.guard.echoed, e.Seq)
		c.enter(joining)
	case e.Order == cluster.OrderPayload:
		c.guard.echoed = max(c.guard.echoed, e.Seq)
		if c.guard.payload.Registering && c.guard.open == 0 && e.Seq >= c.guard.sent {
			c.guard.open = c.now
		}
	case e.Order == cluster.OrderStopping:
		c.guard.frozen = true
	case e.Order == cluster.OrderRetire:
		c.wasRetired()
	}
}

// leave begins to leave, or ends at once where this node holds nothing.
func (c *Core) leave() {
	c.self.leave = true
	if (c.self.stage == reading || c.self.stage == retired) && c.guard.bound.IsZero() && c.services.AllDown() {
		c.enter(out)
		c.emit(cluster.Exit{Text: "this node is no member; nothing of it runs here"})
	}
}

// wasRetired: the guard is FREE and the incarnation burned.
func (c *Core) wasRetired() {
	c.guard.bound = ident.Incarnation{}
	c.self.ack = c.self.inc
	c.guard.retire = false
	if c.self.leave {
		c.enter(out)
		c.emit(cluster.Exit{Text: "this node has left the cluster; nothing of it runs here"})
		return
	}
	c.enter(retired)
	c.note(cluster.Note{Kind: cluster.NoteLease, Inc: c.self.inc, Text: "everything is verified stopped; this incarnation has retired"})
}

func (c *Core) order(o cluster.Order) uint64 {
	c.guard.seq++
	o.Seq = c.guard.seq
	c.emit(o)
	return o.Seq
}

// manage moves every service of this node one step, if one is due. Before a
// restarted daemon has agreed on the register itself it does nothing: it cannot
// tell a grant that it is the first to see from one that its former life knew.
func (c *Core) manage() {
	if c.reg.state != nil && c.self.stage >= joining && !c.self.inc.IsZero() && c.guard.bound == c.self.inc {
		c.services.Manage(c.env())
		c.serve()
	}
}

// env is this node as its services see it.
func (c *Core) env() services.Env {
	e := services.Env{Now: c.now, State: c.reg.state, Self: c.set.Self, Inc: c.self.inc, Why: c.self.waiting}
	e.Storage = func(g *cluster.Grant) (string, bool) { return c.dec.keys.Storage(c.keyEnv(), g) }
	e.Standing = [...]services.Standing{member: services.Member, leaving: services.Leaving, yielding: services.Leaving, ending: services.Ending, out: services.Other}[c.self.stage]
	e.Takes = func(g *cluster.Grant) bool { p := c.peers[g.Want]; return p == nil || p.Takes(c.onNet(p), g) }
	e.Goes = func(service string) ident.NodeID { return allot.Goes(c.reg.state, c.sight(c.reg.state), service) }
	e.Elsewhere, e.Slow, e.Overdue = c.elsewhere, c.ownAge() > 2*c.beatPeriod(), c.timed && c.leaseEnd().Sub(c.now) < c.t.F-c.t.Early
	e.MayStart = c.self.stage == member && !c.guard.killed && !c.guard.retire && c.now <= c.leaseEnd()
	return e
}

// ran takes the result of a Run, and says that nothing comes of it: with hundreds of
// services, checks that found all well are most of what this node is told.
func (c *Core) ran(e cluster.RunDone) (nothing bool) {
	nothing = c.services.Done(c.env(), e)
	c.serve()
	return nothing && len(c.out) == 0
}

// serve passes on what the services want done.
func (c *Core) serve() {
	c.pass(c.services.Take())
	c.blob.Released(c.services.Releases())
}

// allReleased says that every term is released, and that the guard knows it.
func (c *Core) allReleased() bool {
	return c.services.AllReleased() && (c.services.Empty() || c.releaseEchoed())
}
