package statecodec

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Fits says whether s fits the quorum disk with the configuration that stands in
// s.Config and is conf when parsed: not only as it is, but also once every service
// has an owner, has failed on every node and waits for one to be proven dead, and
// one node runs, and has released, all of them. What is accepted here does not
// stop a cluster later because it has too much to write. It fails with
// ErrTooLarge; the error has the sizes and what can be done.
func Fits(s *cluster.State, conf *cluster.Config) error {
	full := *s
	full.Services = make([]cluster.Grant, 0, len(conf.Services))
	var b cluster.Blob
	for i := range conf.Services {
		name, term := conf.Services[i].Name, s.Ver+uint64(i)
		g := cluster.Grant{Service: name, Term: term}
		for j := range s.Nodes {
			id := s.Nodes[j].ID
			g.Owner, g.Inc = id, worstInc(id)
			g.Fails = append(g.Fails, cluster.Fail{Node: id, Count: uint32(i)})
		}
		if g.Owner != 0 {
			g.Pending = []cluster.Pending{{Node: g.Owner, Inc: g.Inc}}
			g.Proof = cluster.Proof{Kind: cluster.ProofTime, Node: g.Owner, Inc: g.Inc, By: g.Owner, DiskGen: s.DiskGen}
		}
		full.Services = append(full.Services, g)
		b.Released = append(b.Released, cluster.Released{Service: name, Term: term})
		b.Services = append(b.Services, cluster.RunState{Service: name, Term: term, State: cluster.Up})
	}
	if _, err := Encode(&full); err != nil {
		return fmt.Errorf("%d services: %w", len(conf.Services), err)
	}
	if _, err := EncodeBlob(&b); err != nil {
		return fmt.Errorf("%d services: %w", len(conf.Services), err)
	}
	return nil
}

// worstInc has bytes that do not compress.
func worstInc(id ident.NodeID) ident.Incarnation {
	inc := ident.Incarnation{N: uint32(id) * 0x9e3779b1}
	x := uint64(id)
	for i := range inc.Boot {
		x = x*6364136223846793005 + 1442695040888963407
		inc.Boot[i] = byte(x >> 56)
	}
	return inc
}
