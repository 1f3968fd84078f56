package core

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/grace"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/liveness"
	"github.com/holdfast-ha/holdfast/cluster/peer"
)

// judge works on the proofs by time: it begins a round for every peer that has
// been silent for long enough, and asks the guard for a fresh read.
func (c *Core) judge() {
	if !c.timed || !c.reg.learned {
		return
	}
	c.next.proof = ident.Never
	for _, p := range c.others {
		n := c.reg.state.Node(p.ID)
		if n == nil || n.Inc.IsZero() || n.Dead >= n.Inc.N {
			continue
		}
		c.suffer(p, n)
		c.suspicion(p, n)
		waited, w := p.Disk.Waiting(), c.wait(p)
		if !c.promiseOver(p, w) {
			continue
		}
		p.Disk.Judge(c.now, w)
		if p.Disk.Waiting() && !waited {
			c.kick()
		}
		c.next.proof = min(c.next.proof, p.Disk.Deadline(w))
	}
}

// suspicion tells the story of a peer that falls silent, once.
func (c *Core) suspicion(p *peer.Peer, n *cluster.NodeState) {
	why, _ := c.suspect(n)
	if why == "" {
		p.Suspected = false
		return
	}
	if !p.Suspected {
		p.Suspected = true
		c.note(cluster.Note{Kind: cluster.NoteLastBeat, At: p.Disk.LastChange(), Node: p.ID, Inc: n.Inc, Text: "last beat seen on the quorum disk"})
		c.note(cluster.Note{Kind: cluster.NoteSuspected, Node: p.ID, Inc: n.Inc, Text: why})
	}
}

// suspect says why a member should be fenced, empty if it should not, and whether its beats do not reach the disks.
func (c *Core) suspect(n *cluster.NodeState) (why string, lost bool) {
	if n.ID == c.set.Self || c.peers[n.ID] == nil && c.now.Sub(c.self.seeing) < c.t.Tsus {
		return "", false
	}
	p := c.peerOf(n.ID)
	if p.Joined.Inc != n.Inc {
		p.Joined.Inc, p.Joined.Since = n.Inc, c.now
	}
	q := c.quiet(p)
	if p.Odd.Conflict = q.Stale(c.t.Tsus) && q.Disk > 2*c.t.F && p.ClaimsLease(c.now, n.Inc, c.set.Digest, c.t.F); p.Odd.Conflict {
		return "", true // no lease is that old: these are not the same disks
	}
	return q.Suspect(c.t.Tsus, c.guard.grace.Demand(p.ID) == grace.Refuse), q.Stale(c.t.Tsus)
}

// quiet is for how long a peer has been silent, as far as that may be held
// against it: no longer than this node could see, nor than it is in the register.
// A later life that speaks shows a member to have disks that it cannot write to; after
// the wait, in which its beats would have told more, it is no reason to bear with it.
func (c *Core) quiet(p *peer.Peer) liveness.Quiet {
	most := c.now.Sub(max(c.self.seeing, p.Joined.Since))
	q := liveness.Quiet{Own: c.ownAge(), Slow: c.t.F / 2, Margin: c.t.Margin, Disk: most, Net: min(c.netAge(p), most)}
	if age, seen := c.diskAge(p); seen {
		q.Disk = min(age, most)
	}
	if mute := min(p.Mute(c.now), most); mute >= c.t.W {
		q.Net, q.Next = mute, true
	}
	return q
}

// proof returns the best proof that node n's registered incarnation is dead, or
// out, of those that hold now.
func (c *Core) proof(s *cluster.State, n *cluster.NodeState) (cluster.Proof, bool) {
	p := c.peers[n.ID]
	if p == nil || n.ID == c.set.Self {
		return cluster.Proof{}, false
	}
	base := cluster.Proof{Node: n.ID, Inc: n.Inc, By: c.set.Self, DiskGen: s.DiskGen}
	if p.Word.Kind == cluster.ProofOperator && p.Word.Inc == n.Inc {
		return p.Word, true
	}
	if pr, ok := c.proofAck(base, p, n); ok {
		return pr, true
	}
	if c.insider(s) != c.insider(c.reg.state) {
		return cluster.Proof{}, false // the wait was counted by another rule
	}
	return c.proofTime(base, p, n)
}

// proofAck is E6: the node has said, itself, that everything was verified
// stopped, over the network or by its guard's retirement on the disk; and the
// time in which its last writes may still land has passed since that was read.
func (c *Core) proofAck(base cluster.Proof, p *peer.Peer, n *cluster.NodeState) (cluster.Proof, bool) {
	if !p.HasRetired(c.now, n.Inc, &c.dec.stalls, c.t.Tz) {
		return cluster.Proof{}, false
	}
	base.Kind = cluster.ProofAck
	base.Text = "it has verified that everything is stopped, and retired"
	return base, true
}

// proofTime is E3: see package liveness. It is refused where the node's
// watchdogs do not carry it, where another disk set is in use, and where the
// node claims over the network to hold a fresh lease on these very disks.
func (c *Core) proofTime(base cluster.Proof, p *peer.Peer, n *cluster.NodeState) (cluster.Proof, bool) {
	if p.Beat == nil || p.Beat.Inc != n.Inc || !diskset.Meets(c.reg.state, p.Beat.DiskGen) {
		return cluster.Proof{}, false
	}
	if !p.Beat.Lease.Class.CarriesTime() || p.ClaimsLease(c.now, n.Inc, c.set.Digest, c.t.F) {
		return cluster.Proof{}, false
	}
	w := c.wait(p)
	if !c.promiseOver(p, w) {
		return cluster.Proof{}, false
	}
	inc, ok := p.Disk.Judge(c.now, w)
	if !ok || inc != n.Inc || !c.dec.stalls.Landed(p.Disk.LastChange().Add(w-c.t.Tz), c.now, c.t.Tz) {
		return cluster.Proof{}, false
	}
	age, _ := p.Disk.Age(c.now)
	base.Kind, base.Wait, base.Silent = cluster.ProofTime, w, age
	base.Text = liveness.Ended(age, w, p.Beat.Lease.F, p.Beat.Lease.TMax, p.Beat.Lease.M)
	return base, true
}

// kick asks the guard for a disk cycle now, at most every tenth of a second.
func (c *Core) kick() {
	if c.now.Sub(c.guard.kicked) >= 100*time.Millisecond {
		c.guard.kicked = c.now
		c.order(cluster.Order{Kind: cluster.OrderKick})
	}
}
