package core

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// fenceEnv is this node as its fencing sees it.
func (c *Core) fenceEnv() fencing.Env {
	return fencing.Env{
		Now: c.now, State: c.reg.state, Self: c.set.Self, Member: c.self.stage == member && c.timed && !c.guard.killed,
		Acts: c.dec.acts, Tz: c.t.Tz, Tsus: c.t.Tsus,
	}
}

// fence takes every fencing one step.
func (c *Core) fence() {
	if c.reg.state == nil {
		return
	}
	c.dec.ways.Manage(c.fenceEnv())
	c.passWays()
}

// fenced takes the end of an attempt.
func (c *Core) fenced(e cluster.FenceDone) {
	if c.reg.state == nil {
		return
	}
	c.dec.ways.Done(c.fenceEnv(), e)
	c.passWays()
}

func (c *Core) passWays() {
	for _, a := range c.dec.ways.Take() {
		if n, ok := a.(cluster.Note); ok {
			c.note(n)
			continue
		}
		c.emit(a)
	}
}

// reread reads the register on a majority before anybody is shot: a node that
// has been fenced meanwhile finds itself there. It says whether it does.
func (c *Core) reread() bool {
	if c.reg.state == nil || !c.dec.ways.WantsRead(c.fenceEnv()) {
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
	}
}

// chose takes note of the fencings that this node's own proposal has chosen.
func (c *Core) chose(d *decide.Draft) {
	for _, n := range d.Notes {
		if n.Kind != cluster.NoteFencing {
			continue
		}
		way := ""
		for _, q := range c.dec.asked {
			if f, ok := q.Request.(cluster.FenceNode); ok && f.Node == c.reg.state.NameOf(n.Node) {
				way = f.By
			}
		}
		c.dec.ways.Chose(n.Node, n.Inc, way)
	}
}
