package core

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// ask takes a request. Leaving is this node's own affair; all others become a
// commit.
func (c *Core) ask(e cluster.Asked) {
	switch {
	case c.reg.halted || c.self.stage == starting:
		c.emit(cluster.Reply{ID: e.ID, Err: "this node cannot write to the quorum disks now: " + c.self.stage.String()})
	case isLeave(e.Request):
		c.emit(cluster.Reply{ID: e.ID, Text: "leaving: services are moved away first"})
		c.leave()
	default:
		c.dec.asked = append(c.dec.asked, decide.Question{ID: e.ID, Request: e.Request})
	}
}

// refuseAsked answers everybody who waits for a commit that will not come.
func (c *Core) refuseAsked() {
	for _, q := range c.dec.asked {
		c.emit(cluster.Reply{ID: q.ID, Err: "this node decides nothing more: the quorum disks were rolled back"})
	}
	c.dec.asked = nil
}

func isLeave(r cluster.Request) bool { _, ok := r.(cluster.LeaveCluster); return ok }

// decide proposes what the evidence asks for. It is level-triggered: nothing is
// remembered between two decisions, so a change of coordinator needs nothing.
func (c *Core) decide() {
	if !c.reg.m.Ready() || c.reg.halted || c.now < c.reg.notUntil || c.self.stage == starting {
		return
	}
	if !c.reg.learned {
		if c.mayWrite() != "" {
			return
		}
		c.reg.m.Propose(c.now, func(*cluster.State, uint64) (*cluster.State, bool) { return nil, false })
		return
	}
	if c.dec.acts = c.coordinates(); c.reg.state == nil || !c.dec.acts && len(c.dec.asked) == 0 && !c.hasWord() {
		c.reread()
		return
	}
	d := c.revise(c.reg.state)
	if !d.Changed() {
		c.answer(d)
		c.reread()
		return
	}
	c.reg.m.Propose(c.now, func(base *cluster.State, ver uint64) (*cluster.State, bool) {
		if base == nil {
			return nil, false
		}
		d := c.revise(base)
		c.reg.draft = d
		if !d.Changed() {
			return nil, false
		}
		d.State.Ver = ver + 1
		return d.State, true
	})
}

// coordinates says that this node acts on the evidence: as the coordinator, or
// in its place. A node that hears nobody cannot tell whether the daemon of the
// coordinator is dead or only the network; it acts if what has to be done is not
// done for a while, each node after another, so that they do not all act at once.
func (c *Core) coordinates() bool {
	if !c.able() {
		return false
	}
	who := c.coordinator()
	if who == c.set.Self || !c.nobodyHeard() || c.self.stage != member {
		c.dec.pending = 0
		return who == c.set.Self
	}
	wait := c.t.Tsus * time.Duration(decide.Rank(c.reg.state, c.set.Self)) / 2
	if c.dec.pending != 0 && c.now.Sub(c.dec.pending) >= wait {
		return true // and goes on until somebody is heard
	}
	sight := c.sight(c.reg.state)
	sight.Coordinates = true
	if !c.dec.mem.Revise(c.reg.state, sight, nil).Changed() {
		c.dec.pending = 0
		return false
	}
	if c.dec.pending == 0 {
		c.dec.pending = c.now
	}
	return false
}

// revise makes a draft of the next state from base, and keeps the operator's
// word if one was given.
func (c *Core) revise(base *cluster.State) *decide.Draft {
	d := c.dec.mem.Revise(base, c.sight(base), c.dec.asked)
	for _, w := range d.Words {
		c.peerOf(w.Node).Word = w
	}
	return d
}

// answered is called when a proposal ended: its notes become part of the story,
// and who asked is told.
func (c *Core) answered(o register.Outcome[*cluster.State]) {
	d := c.reg.draft
	c.reg.draft = nil
	if d == nil {
		return
	}
	if o.Kind == register.Committed {
		c.tell(d)
	}
	c.answer(d)
}

// tell makes the notes of a chosen draft part of the story.
func (c *Core) tell(d *decide.Draft) {
	for _, n := range d.Notes {
		n.Ver = d.State.Ver
		c.note(n)
	}
	c.chose(d)
}

func (c *Core) answer(d *decide.Draft) {
	for _, a := range d.Answers {
		c.emit(cluster.Reply{ID: a.ID, Err: a.Err, Text: a.Text, Ver: c.reg.ver})
		c.dec.asked = slices.DeleteFunc(c.dec.asked, func(q decide.Question) bool { return q.ID == a.ID })
	}
}

// coordinator is who acts on the evidence, as far as this node can see.
func (c *Core) coordinator() ident.NodeID {
	silent := c.nobodyHeard()
	return decide.Coordinator(c.reg.state, func(n *cluster.NodeState) (f decide.Fitness) {
		self := n.ID == c.set.Self
		if self && !c.able() {
			return f
		}
		_, _, f.Claims = c.claimed(n.ID)
		f.Present = c.present(n.ID, n.Inc)
		f.Works = f.Present && (self && c.disks.Prompt() || !self && c.works(n, silent))
		return f
	})
}

// able says that this node could act on the evidence.
func (c *Core) able() bool {
	return c.timed && !c.reg.halted && c.reg.state != nil && c.reg.state.Conf != nil && c.reg.state.Life.Protocol <= c.set.Protocol
}

// works says that a member's guard writes beats, and that its daemon is there
// and can act: it is heard, unless this node hears nobody at all.
func (c *Core) works(n *cluster.NodeState, silent bool) bool {
	p := c.peers[n.ID]
	return p.Beat != nil && p.Beat.Inc == n.Inc && p.Beat.Payload.Score >= 0 && c.onDisk(p) &&
		(silent || p.Msg != nil && p.Msg.Inc == n.Inc && c.onNet(p))
}

func (c *Core) nobodyHeard() bool { return !slices.ContainsFunc(c.others, c.onNet) }

// hasWord says that the operator has confirmed a node's end here, which is not
// committed yet.
func (c *Core) hasWord() bool {
	if c.reg.state == nil {
		return false
	}
	if c.dec.ways.Holds(c.fenceEnv()) || c.dec.keys.Holds(c.keyEnv()) {
		return true
	}
	for i := range c.reg.state.Nodes {
		n := &c.reg.state.Nodes[i]
		if p := c.peers[n.ID]; p != nil && p.Word.Kind == cluster.ProofOperator && n.Inc == p.Word.Inc && n.Dead < n.Inc.N {
			return true
		}
	}
	return false
}
