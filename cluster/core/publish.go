package core

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/grace"
	"github.com/holdfast-ha/holdfast/cluster/pages"
)

// publish tells the guard, and through it the disk, what has changed.
func (c *Core) publish() {
	if c.self.stage < joining || c.self.inc.IsZero() || c.guard.bound != c.self.inc {
		return // what a former life has said stands until this one knows better
	}
	p := c.payload()
	if !p.Equal(&c.guard.payload) || c.guard.sent == 0 {
		if !p.Registering || !c.guard.payload.Registering {
			c.guard.open = 0
		}
		c.guard.payload = p
		c.guard.sent = c.order(cluster.Order{Kind: cluster.OrderPayload, Inc: c.self.inc, Payload: p})
		c.blob.Carry(p.Released, c.guard.sent)
	}
	c.writeBlob()
	c.readBlobs()
}

// releaseEchoed says that the guard holds the digest of everything released: a
// release is published nowhere before that.
func (c *Core) releaseEchoed() bool { return c.blob.Echoed(c.guard.echoed, c.services.Digest()) }

func (c *Core) payload() cluster.Payload {
	p := cluster.Payload{Phase: c.ownPhase(), Committed: cluster.ClaimOf(c.reg.m.Claim()), Released: c.services.Digest(), BlobGen: c.blob.Stable(), Kills: decide.Kills(c.reg.state), Protocol: c.set.Protocol, Registering: c.dec.keys.Open()}
	if c.reg.state != nil {
		p.ViewAcked = c.reg.state.View
	}
	if !c.able() || !c.disks.Prompt() {
		p.Score = cluster.Unable
	}
	for _, o := range c.others {
		if c.timed && c.onNet(o) {
			p.Reach[o.ID/8] |= 1 << (o.ID % 8)
		}
	}
	return p
}

// ownPhase is what this node says of its standing.
func (c *Core) ownPhase() cluster.Phase {
	return [...]cluster.Phase{
		claiming: cluster.Joining, joining: cluster.Joining, member: cluster.MemberPhase,
		yielding: cluster.MemberPhase, ending: cluster.MemberPhase, leaving: cluster.Leaving, out: cluster.Out,
	}[c.self.stage]
}

// writeBlob writes the status blob to every disk that is due.
func (c *Core) writeBlob() {
	gen, disks := c.blob.Due(c.now, c.services.States, c.releaseEchoed(), c.disks.Usable)
	if len(disks) == 0 {
		return
	}
	b := cluster.Blob{Node: c.set.Self, Inc: c.self.inc, Gen: gen, Services: c.services.States()}
	if c.releaseEchoed() {
		b.Released = c.services.Released()
	}
	for _, d := range disks {
		c.emit(cluster.WriteBlob{Disk: d, Blob: b})
	}
}

// readBlobs reads the status blob of every peer whose beat shows a new one.
func (c *Core) readBlobs() {
	for _, p := range c.others {
		if turn, ok := p.Blob.Wants(c.now, p.Beat); ok {
			c.emit(cluster.ReadBlob{Disk: c.disks.Turn(turn), Node: p.ID, Gen: p.Beat.Payload.BlobGen})
		}
	}
}

// periodic renews the permission, sends network beats, and sets the next tick.
func (c *Core) periodic() {
	bound := !c.guard.bound.IsZero()
	if bound && c.now >= c.next.permit && c.self.stage != retired {
		renew, until := c.t.Renew, c.t.Permission
		if !c.timed { // a restarted daemon that waits for the disks, or does not understand the configuration
			renew, until = time.Second, 30*time.Second
		}
		c.next.permit = c.now.Add(renew)
		c.order(cluster.Order{Kind: cluster.OrderPermit, Inc: c.guard.bound, Until: c.now.Add(until)})
	}
	if c.next.send.Due(c.now, c.netPeriod(), pages.NewsOf(c.set.Self, cluster.ClaimOf(c.reg.m.Claim()), c.reg.state, c.services.News(c.releaseEchoed()))) {
		c.sendAll()
	}
	c.next.tick = min(c.now.Add(50*time.Millisecond), c.next.send.Next(), c.next.proof, c.reg.m.NextDeadline())
	c.next.tick = max(c.next.tick, c.now.Add(time.Millisecond))
}

func (c *Core) sendAll() {
	if c.reg.state == nil || c.self.inc.IsZero() || c.self.stage == reading || c.self.stage == claiming {
		return
	}
	m := c.message()
	var released []cluster.Released
	if c.releaseEchoed() {
		released = c.services.Released()
	}
	c.self.speaker.Fill(m, c.services.States(), released)
	c.askGrace(m)
	for i := range c.reg.state.Nodes {
		n := &c.reg.state.Nodes[i]
		switch {
		case n.ID == c.set.Self:
		case c.guard.grace.Demand(n.ID) == grace.Bear:
			c.emit(cluster.Send{To: n.ID, Msg: m})
		default:
			to := *m
			to.Grace.Release = n.Inc
			c.emit(cluster.Send{To: n.ID, Msg: &to})
		}
	}
}

// message is what a network beat says of this node itself; of its services it
// says nothing new.
func (c *Core) message() *cluster.Message {
	m := &cluster.Message{
		From: c.set.Self, Inc: c.self.inc, Host: c.set.Host, Phase: c.ownPhase(), State: cluster.GuardBound,
		ViewAcked: c.reg.state.View, Committed: cluster.ClaimOf(c.reg.m.Claim()), LeaseAge: -1, Disks: c.set.Digest, DiskGen: c.reg.state.DiskGen,
		Reach: c.guard.payload.Reach, Marks: cluster.Marks{Protocol: c.set.Protocol, Leaving: c.self.stage == leaving, Partial: true},
	}
	if age := c.now.Sub(c.leaseStart()); age <= c.t.F {
		m.LeaseAge = age
	}
	switch c.self.stage {
	case ending:
		m.State = cluster.GuardStopping
	case retired, out:
		m.State = cluster.GuardRetired
		m.Ack = c.self.ack == c.self.inc
	}
	return m
}
