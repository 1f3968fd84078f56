package core

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/peer"
	"github.com/holdfast-ha/holdfast/cluster/reserve"
)

// sight gathers everything that a decision on s may rest on. It is overwritten by
// the next one.
func (c *Core) sight(s *cluster.State) *decide.Sight {
	v := &c.dec.sight
	*v = decide.Sight{
		Now: c.now, Self: c.set.Self, Host: c.set.Host, Timed: c.timed, Coordinates: c.dec.acts,
		Fit: c.self.stage == member, Settling: c.now.Sub(c.self.since) < c.t.Tsus,
		Nodes: v.Nodes[:0], Runs: v.Runs[:0], Patience: 2*c.t.Tsus + 2*c.t.H,
	}
	e := c.keyEnv()
	for i := range s.Nodes {
		v.Nodes = append(v.Nodes, c.seenOf(s, &s.Nodes[i]))
	}
	for _, p := range c.others {
		if s.Node(p.ID) == nil && p.Beat != nil {
			n := decide.Node{ID: p.ID, Last: p.Beat.Inc, Host: p.Beat.Host}
			n.Claims, n.Phase, _ = c.claimed(p.ID)
			v.Nodes = append(v.Nodes, n)
		}
	}
	for i := range s.Services {
		v.Runs = append(v.Runs, c.runOf(e, &s.Services[i]))
	}
	return v
}

func (c *Core) seenOf(s *cluster.State, n *cluster.NodeState) decide.Node {
	v := decide.Node{ID: n.ID, Present: c.present(n.ID, n.Inc), Acked: c.ackedView(s, n)}
	if inc, phase, ok := c.claimed(n.ID); ok {
		v.Claims, v.Phase = inc, phase
	}
	v.Shows = c.disks.Shows(c.reg.state, n)
	p := c.peers[n.ID]
	if p == nil {
		p = &peer.Peer{}
	}
	v.Word, v.Lacks = p.Word, p.Lacks(c.onNet(p), n.Inc)
	for _, q := range c.dec.asked {
		if f, ok := q.Request.(cluster.FenceNode); ok && f.DryRun && f.Node == n.Name {
			v.Plan = c.dec.ways.Plan(c.now, n, s.Conf, f.By)
		}
	}
	if p.Beat != nil {
		v.Gen = p.Beat.DiskGen
		v.Last, v.Host, v.Protocol = p.Beat.Inc, p.Beat.Host, p.Beat.Payload.Protocol
		v.Reach, v.Score = p.Beat.Payload.Reach, p.Beat.Payload.Score
	}
	if n.ID == c.set.Self {
		v.Lacks = cluster.Lacking(c.services.Lacks())
		v.Protocol, v.Reach, v.Gen = c.set.Protocol, c.guard.payload.Reach, c.guard.disks.Gen()
	}
	if !c.timed || n.Inc.IsZero() || n.Dead >= n.Inc.N {
		return v
	}
	v.Retired = p.HasRetired(c.now, n.Inc, &c.dec.stalls, c.t.Tz)
	if n.Fencing.IsZero() {
		v.Suspect, v.Lost = c.suspect(n)
		v.Lost = v.Lost || p != nil && (p.AckedInc == n.Inc || p.Msg.Ends(n.Inc))
		return v
	}
	if pr, ok := c.dec.ways.Proof(c.fenceEnv(), n); ok && v.Word.Kind == cluster.NoProof {
		v.Word = pr // nobody else has read that, whoever coordinates
	}
	if pr, ok := c.proof(s, n); ok {
		v.Proof = pr
	}
	return v
}

func (c *Core) runOf(e reserve.Env, g *cluster.Grant) decide.Run {
	var v decide.Run
	if g.Owner != 0 {
		v.RunState, v.Known = c.runState(g)
		v.Why, v.Released = c.releasedBy(g)
		v.Cleared = c.dec.keys.Cleared(e, g)
	}
	v.Service, v.Term = g.Service, g.Term
	return v
}
