package recovery

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// leap is by how much everything that is counted goes on: more than a cluster
// decides while a disk or a copy lies about forgotten, so that no number of what
// was lost is used a second time.
const leap = 1000

// version is that of the new state.
func (f *findings) version() uint64 { return f.top() + leap }

// gen is the highest generation of the set that was found.
func (f *findings) gen() (gen uint32) {
	for _, s := range f.sources {
		if s.state != nil {
			gen = max(gen, s.state.DiskGen)
		}
	}
	return gen
}

// renewed is the state that the new disks begin with: every node out, every
// service free, each by the word that was given for its node.
func (f *findings) renewed(self ident.NodeID, fresh []candidate, words map[ident.NodeID]string) *cluster.State {
	s := f.best.state.Clone()
	s.ConfigRev += f.top() - s.Ver // each lost version may have been a configuration
	s.Ver, s.View, s.DiskGen = f.version(), s.View+leap, cluster.NextEpoch(f.gen())
	s.Disks, s.Change = nil, cluster.DiskChange{}
	for _, c := range fresh {
		s.Disks = append(s.Disks, c.uuid)
		s.Change.Paths = append(s.Change.Paths, c.path)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Proof = f.proof(n, self, s.DiskGen, words)
		n.Dead = f.last(n) + leap
		n.Phase, n.Fencing, n.Why = cluster.Out, ident.Incarnation{}, ""
	}
	for i := range s.Life.Removed {
		s.Life.Removed[i].Dead += leap
	}
	for i := range s.Services {
		g := &s.Services[i]
		g.Term += leap
		if n := s.Node(g.Owner); n != nil {
			g.Proof = n.Proof
		}
		g.Owner, g.Inc, g.Pending = 0, ident.Incarnation{}, nil
		g.Why = "free since the cluster was recovered onto new quorum disks"
	}
	return s
}

// last is the highest incarnation of a node that is known of.
func (f *findings) last(n *cluster.NodeState) uint32 {
	last := max(n.Inc.N, n.Dead, n.Fencing.N)
	for _, s := range f.sources {
		last = max(last, s.incs[n.ID])
		if s.state != nil {
			if o := s.state.Node(n.ID); o != nil {
				last = max(last, o.Inc.N, o.Dead, o.Fencing.N)
			}
		}
	}
	return last
}

func (f *findings) proof(n *cluster.NodeState, self ident.NodeID, gen uint32, words map[ident.NodeID]string) cluster.Proof {
	p := cluster.Proof{Kind: cluster.ProofOperator, Node: n.ID, Inc: n.Inc, By: self, DiskGen: gen, Text: words[n.ID]}
	if n.ID == self {
		p.Kind, p.Text = cluster.ProofReleased, "its guard was free when the cluster was recovered from it"
	}
	return p
}
