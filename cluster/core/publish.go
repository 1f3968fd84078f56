package core

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/pages"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// blobSide is what this node publishes of its services: its status blob, and the
// pages of the same in its network beats.
type blobSide struct {
	dirty    bool   // a release waits to be published
	releases uint64 // as counted by the services
	digest   cluster.Digest
	carried  uint64 // the payload order that carried digest
	gen      uint64
	done     []bool // disks that hold gen
	busy     []bool
	states   []cluster.RunState // as written
	at       ident.Instant
	stable   uint64 // generation that a majority of the disks holds
	speaker  pages.Speaker
}

// publish tells the guard, and through it the disk, what has changed.
func (c *Core) publish() {
	if c.self.stage < joining || c.self.inc.IsZero() || c.guard.bound != c.self.inc {
		return // what a former life has said stands until this one knows better
	}
	p := c.payload()
	if !p.Equal(&c.guard.payload) || c.guard.sent == 0 {
		changed := p.Released != c.guard.payload.Released
		c.guard.payload = p
		c.guard.sent = c.order(cluster.Order{Kind: cluster.OrderPayload, Inc: c.self.inc, Payload: p})
		if changed || c.blob.carried == 0 {
			c.blob.digest, c.blob.carried = p.Released, c.guard.sent
		}
	}
	c.writeBlob()
	c.readBlobs()
}

// releaseEchoed says that the guard holds the digest of everything released: a
// release is published nowhere before that.
func (c *Core) releaseEchoed() bool {
	return c.blob.carried != 0 && c.guard.echoed >= c.blob.carried && c.blob.digest == cluster.DigestOf(c.services.Released())
}

func (c *Core) payload() cluster.Payload {
	p := cluster.Payload{Phase: c.ownPhase(), Committed: cluster.ClaimOf(c.reg.m.Claim()), Released: cluster.DigestOf(c.services.Released()), BlobGen: c.blob.stable, Kills: decide.Kills(c.reg.state), Protocol: c.spoken()}
	if c.reg.state != nil {
		p.ViewAcked = c.reg.state.View
	}
	if !c.able() {
		p.Score = unable
	}
	for _, o := range c.others {
		if c.timed && c.onNet(o) {
			p.Reach[o.id/8] |= 1 << (o.id % 8)
		}
	}
	return p
}

// unable is the score of a node that holds its services but cannot decide: it
// does not understand the configuration, or sees disks that were rolled back.
const unable = -1

// ownPhase is what this node says of its standing.
func (c *Core) ownPhase() cluster.Phase {
	switch c.self.stage {
	case claiming, joining:
		return cluster.Joining
	case member, ending:
		return cluster.MemberPhase
	case leaving:
		return cluster.Leaving
	}
	return cluster.Out
}

// writeBlob writes the status blob when a release waits, or when states have
// changed, at most once a second.
func (c *Core) writeBlob() {
	b := &c.blob
	if b.done == nil {
		b.done, b.busy = make([]bool, len(c.disks)), make([]bool, len(c.disks))
		b.gen = uint64(c.set.Life) // above what a former life of this boot wrote: a step is a nanosecond, and nobody writes that often
	}
	states := c.services.States()
	due := c.now.Sub(b.at) >= time.Second && !slices.Equal(states, b.states)
	if b.dirty && c.releaseEchoed() || due {
		b.gen++
		b.at, b.states, b.dirty = c.now, states, false
		clear(b.done)
	}
	if b.at == 0 {
		return
	}
	for d := range c.disks {
		if !b.done[d] && !b.busy[d] && c.disks[d].err == "" {
			b.busy[d] = true
			rel := c.services.Released()
			if !c.releaseEchoed() {
				rel = nil
			}
			c.emit(cluster.WriteBlob{Disk: d, Blob: cluster.Blob{Node: c.set.Self, Inc: c.self.inc, Gen: b.gen, Released: rel, Services: states}})
		}
	}
}

func (c *Core) blobWrote(e cluster.BlobWrote) {
	b := &c.blob
	b.busy[e.Disk] = false
	if e.Gen != b.gen || !e.OK {
		return
	}
	b.done[e.Disk] = true
	n := 0
	for _, ok := range b.done {
		if ok {
			n++
		}
	}
	if n >= quorum.Majority(len(b.done)) {
		b.stable = b.gen
	}
}

// readBlobs reads the status blob of every peer whose beat shows a new one.
func (c *Core) readBlobs() {
	for _, p := range c.others {
		if p.beat == nil || p.beat.Payload.BlobGen == 0 || c.now.Sub(p.blobAt) < 200*time.Millisecond {
			continue
		}
		want := p.beat.Payload.BlobGen
		if p.blob != nil && p.blob.Gen >= want && p.blob.Inc == p.beat.Inc {
			continue
		}
		p.blobAt = c.now
		p.blobAsked++
		c.emit(cluster.ReadBlob{Disk: int(p.blobAsked) % len(c.disks), Node: p.id, Gen: want})
	}
}

func (c *Core) blobRead(e cluster.BlobRead) {
	p := c.peerOf(e.Node)
	if e.Blob != nil && (p.blob == nil || e.Blob.Gen >= p.blob.Gen || e.Blob.Inc != p.blob.Inc) {
		p.blob = e.Blob
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
	if c.now >= c.next.send {
		c.next.send = c.now.Add(c.netPeriod())
		c.sendAll()
	}
	c.next.tick = min(c.now.Add(50*time.Millisecond), c.next.send, c.next.proof, c.reg.m.NextDeadline())
	c.next.tick = max(c.next.tick, c.now.Add(time.Millisecond))
}

func (c *Core) sendAll() {
	if c.reg.state == nil || c.self.inc.IsZero() || c.self.stage == reading || c.self.stage == claiming {
		return
	}
	m := c.message()
	for i := range c.reg.state.Nodes {
		if id := c.reg.state.Nodes[i].ID; id != c.set.Self {
			c.emit(cluster.Send{To: id, Msg: m})
		}
	}
}

func (c *Core) message() *cluster.Message {
	m := &cluster.Message{
		From: c.set.Self, Inc: c.self.inc, Host: c.set.Host, Phase: c.ownPhase(), State: cluster.GuardBound,
		ViewAcked: c.reg.state.View, Committed: cluster.ClaimOf(c.reg.m.Claim()), LeaseAge: -1, Disks: c.set.Digest,
		Reach: c.guard.payload.Reach, Leaving: c.self.stage == leaving,
	}
	var released []cluster.Released
	if c.releaseEchoed() {
		released = c.services.Released()
	}
	c.blob.speaker.Fill(m, c.services.States(), released)
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
