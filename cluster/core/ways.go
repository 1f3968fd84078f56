package core

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/reserve"
)

// fenceEnv is this node as its fencing sees it.
func (c *Core) fenceEnv() fencing.Env {
	// After a blackout nobody is a member, and nobody becomes one before whoever is
	// missing has ended: then the node that acts on the evidence may fence while it joins.
	fit := c.self.stage == member || c.self.stage == joining && c.dec.acts
	return fencing.Env{
		Now: c.now, State: c.reg.state, Self: c.set.Self, Member: fit && c.timed && !c.guard.killed,
		Acts: c.dec.acts, Tz: c.t.Tz, Tsus: c.t.Tsus, Storage: c.dec.keys, Signs: c, Dark: c.dark(), Stalls: &c.dec.stalls,
	}
}

// fence takes every fencing one step.
func (c *Core) fence() {
	if c.reg.state != nil {
		c.dec.ways.Manage(c.fenceEnv())
		c.pass(c.dec.ways.Take())
		c.dec.keys.Manage(c.keyEnv())
		c.pass(c.dec.keys.Take())
	}
}

// fenced takes the end of an attempt.
func (c *Core) fenced(e cluster.FenceDone) {
	if c.reg.state != nil {
		c.dec.ways.Done(c.fenceEnv(), e)
		c.pass(c.dec.ways.Take())
	}
}

// Signs implements fencing.Sights.
func (c *Core) Signs(id ident.NodeID) fencing.Signs {
	if p := c.peers[id]; p != nil {
		return fencing.Signs{Beat: p.Beat, Changed: p.Disk.LastChange(), Msg: p.Msg, Heard: p.Heard}
	}
	return fencing.Signs{}
}

// pass passes on what a part of the core wants done, and what it tells.
func (c *Core) pass(list []cluster.Action) {
	for _, a := range list {
		if n, ok := a.(cluster.Note); ok {
			c.note(n)
			continue
		}
		c.emit(a)
	}
}

// keyEnv is this node as its reservations see it.
func (c *Core) keyEnv() reserve.Env {
	return reserve.Env{
		Now: c.now, State: c.reg.state, Self: c.set.Self, Inc: c.self.inc, Cluster: c.set.Cluster, Tz: c.t.Tz, Stalls: &c.dec.stalls, Disks: c.disks,
		Member: c.self.stage == member && c.timed && !c.guard.killed && c.now <= c.leaseEnd(),
		Open:   c.guard.open, Issued: c.disks.LeaseStart(), Fencing: c.dec.ways, Sights: c,
	}
}

// Watchdogs implements reserve.Sights.
func (c *Core) Watchdogs(id ident.NodeID) cluster.WatchdogClass {
	if p := c.peers[id]; p != nil && p.Beat != nil {
		return p.Beat.Lease.Class
	}
	return cluster.WatchdogNone
}

// reserved takes the end of work on the reservations.
func (c *Core) reserved(e cluster.ReserveDone) {
	if c.reg.state != nil {
		c.dec.keys.Done(c.keyEnv(), e)
		c.pass(c.dec.keys.Take())
	}
}

// reread reads the register on a majority before anybody is shot: a node that
// has been fenced meanwhile finds itself there. It says whether it does.
func (c *Core) reread() bool {
	if c.reg.state == nil || !c.dec.keys.WantsRead() && !c.dec.ways.WantsRead(c.fenceEnv()) {
		return false
	}
	c.reg.m.Reread()
	c.dec.reads = c.now
	c.reg.m.Propose(c.now, func(*cluster.State, uint64) (*cluster.State, bool) { return nil, false })
	return true
}

// wasRead takes the outcome of the proposal that reread made.
func (c *Core) wasRead(o register.Outcome[*cluster.State]) {
	began := c.dec.reads
	if c.dec.reads = 0; began != 0 && o.Kind == register.Unchanged {
		c.dec.ways.Read(c.fenceEnv(), began)
		c.dec.keys.Read(c.keyEnv(), began)
		c.pass(c.dec.keys.Take())
	}
}

// chose takes note of the fencings that this node's own proposal has chosen.
func (c *Core) chose(d *decide.Draft) {
	for _, f := range d.Fenced(c.dec.asked) {
		c.dec.ways.Chose(f.Node, f.Inc, f.By)
	}
}
