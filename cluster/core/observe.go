package core

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/peer"
)

// table takes one read of one disk.
func (c *Core) table(e cluster.Table) {
	if e.Wrote {
		c.dec.stalls.Took(e.Issued, e.ReadIssued, c.t.Tz)
	}
	c.dec.stalls.Took(e.ReadIssued, e.Completed, c.t.Tz)
	blind := c.ownAge() > 2*c.beatPeriod()
	good, suspect := c.disks.Saw(&e, c.self.inc)
	if !good {
		return
	}
	if blind {
		c.restartSuspicion()
	}
	if suspect {
		c.checkDisks() // all of them: they may stand on one array
	}
	for _, p := range c.others {
		p.Disk.Read(e.Disk, e.Completed) // also where nothing of it stands
	}
	for i := range e.Beats {
		c.seen(e, &e.Beats[i])
	}
}

// restartSuspicion begins the ages that may lead to a fencing anew: this node
// itself was blind until now. The proof by time is not touched: it needs its own
// reads, and a longer wait only makes it surer.
func (c *Core) restartSuspicion() { c.self.seeing = c.now }

func (c *Core) seen(e cluster.Table, s *cluster.SeenBeat) {
	c.dec.keys.Saw(e.Disk, e.ReadIssued, s)
	if s.Beat == nil && s.Err == "" {
		return // never written
	}
	if !c.peerOf(s.Node).See(&e, s) {
		return
	}
	c.heardClaim(s.Beat.Payload.Committed)
}

// heardClaim reads a version that somebody knows to be committed.
func (c *Core) heardClaim(cl cluster.Claim) {
	if cl.Ver > c.reg.ver {
		c.reg.m.Learn(c.now, cl.Register())
	}
}

// received takes a network beat. It is an accelerator: what a peer says of
// itself is believed, what it says of others is not even carried.
func (c *Core) received(e cluster.Received) {
	m := e.Msg
	if m == nil {
		if p := c.peerOf(e.From); p.Unread(c.now, e.Unread) {
			c.note(cluster.Note{Kind: cluster.NoteAlarm, Node: p.ID, Text: p.Problem(c.now, time.Minute)})
		}
		return
	}
	if m.From == c.set.Self || !c.disks.Hear(m.DiskGen, c.reg.state) {
		return
	}
	p := c.peerOf(m.From)
	deaf := c.allSilent()
	if !p.Hear(c.now, m, max(4*c.netPeriod(), c.t.Tsus)) {
		return
	}
	if deaf {
		c.restartSuspicion()
	}
	c.heardClaim(m.Committed)
	c.heardGrace(p, m)
}

// allSilent says that no peer was heard for two network beats: our own links
// may have been the reason.
func (c *Core) allSilent() bool {
	return !slices.ContainsFunc(c.others, func(p *peer.Peer) bool { return c.now.Sub(p.Heard) < 4*c.netPeriod() })
}

func (c *Core) beatPeriod() time.Duration {
	if c.timed {
		return c.t.H
	}
	return time.Second
}

func (c *Core) netPeriod() time.Duration {
	if c.timed {
		return c.t.Net
	}
	return 500 * time.Millisecond
}

// diskAge is how long a peer's beats have stood still, counted for suspicion:
// never longer than this node itself has been able to see.
func (c *Core) diskAge(p *peer.Peer) (time.Duration, bool) {
	age, ok := p.Disk.Silence(c.now, c.ownAge()+c.t.Margin)
	return min(age, c.now.Sub(c.self.seeing)), ok
}

// netAge is the same for the network.
func (c *Core) netAge(p *peer.Peer) time.Duration {
	return min(c.now.Sub(p.Heard), c.now.Sub(c.self.seeing))
}

// onDisk says that a peer's beats are fresh, as far as this node can see: its
// age is compared with this node's own cycle, so that a slow SAN accuses nobody.
func (c *Core) onDisk(p *peer.Peer) bool {
	age, ok := c.diskAge(p)
	return ok && age <= max(c.ownAge()+c.t.Margin, c.t.Tsus)
}

// onNet says that a peer was heard lately.
func (c *Core) onNet(p *peer.Peer) bool { return p.Msg != nil && c.netAge(p) < c.t.Tsus }

// present says that a node shows signs of life of this very incarnation.
func (c *Core) present(id ident.NodeID, inc ident.Incarnation) bool {
	if id == c.set.Self {
		return inc == c.self.inc && c.self.ack != inc
	}
	p := c.peers[id]
	if p == nil {
		return false
	}
	shows := p.Beat != nil && p.Beat.Inc == inc && c.onDisk(p) || p.Msg != nil && p.Msg.Inc == inc && c.onNet(p)
	return shows && !p.Over(inc)
}

// ackedView is the view that a node says it knows.
func (c *Core) ackedView(s *cluster.State, n *cluster.NodeState) uint64 {
	if n.ID == c.set.Self {
		return c.reg.state.View // what it has learned, not what it is about to propose
	}
	p := c.peers[n.ID]
	if p == nil {
		return 0
	}
	return cluster.AckedView(n.Inc, p.Beat, p.Msg)
}

// claimed is the incarnation that a node's beat publishes, with its phase; it is
// read from the disk, never from the network.
func (c *Core) claimed(id ident.NodeID) (ident.Incarnation, cluster.Phase, bool) {
	if id == c.set.Self {
		return c.self.inc, c.ownPhase(), !c.self.inc.IsZero() && c.guard.bound == c.self.inc
	}
	p := c.peers[id]
	if p == nil || p.Beat == nil || p.Beat.State == cluster.GuardRetired || !c.onDisk(p) {
		return ident.Incarnation{}, cluster.Out, false
	}
	return p.Beat.Inc, p.Beat.Payload.Phase, true
}

// releasedBy says that the owner has published that the term is released, and
// why if it gave it up. The blob speaks, or the network beat.
func (c *Core) releasedBy(g *cluster.Grant) (why string, ok bool) {
	if g.Owner == c.set.Self {
		// Only what the guard has taken note of counts: a restarted daemon must know.
		why, ok = c.services.Over(g.Service, g.Term)
		return why, ok && c.releaseEchoed()
	}
	p := c.peers[g.Owner]
	if p == nil {
		return "", false
	}
	return g.ReleasedBy(p.Msg, p.Blob.Blob)
}

// runState is what the owner of a service says of it.
func (c *Core) runState(g *cluster.Grant) (cluster.RunState, bool) {
	if g.Owner == c.set.Self {
		return c.services.State(g.Service, g.Term)
	}
	p := c.peers[g.Owner]
	if p == nil {
		return cluster.RunState{}, false
	}
	if !c.onNet(p) {
		return g.StateBy(nil, p.Blob.Blob)
	}
	return g.StateBy(p.Msg, p.Blob.Blob)
}

// wait is W for a peer.
func (c *Core) wait(p *peer.Peer) time.Duration {
	return p.Wait(c.t.Lease, !c.insider(c.reg.state), c.t.Site()) - c.set.WaitLess
}
