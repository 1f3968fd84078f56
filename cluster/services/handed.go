package services

import (
	"math"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// freshly is for how long after a release it still counts that the former owner had
// what the service consists of, and nobody else: its addresses above all.
const freshly = 10 * time.Second

// handed is what is known of services that went from node to node.
type handed struct {
	ver uint64                   // of the state that was looked at
	at  map[string]ident.Instant // since when no other node owns the service; owns while one does
}

// owns stands for an instant that is not over.
const owns ident.Instant = math.MaxInt64

// handover notes which services other nodes own, and when that ended.
func (s *Set) handover() {
	h := &s.handed
	if s.env.State.Ver == h.ver && h.at != nil {
		return
	}
	at := make(map[string]ident.Instant, len(s.env.State.Services))
	for i := range s.env.State.Services {
		g := &s.env.State.Services[i]
		switch {
		case g.Owner != 0 && g.Owner != s.env.Self:
			at[g.Service] = owns
		case h.at[g.Service] == owns:
			at[g.Service] = s.env.Now
		case h.at[g.Service] != 0:
			at[g.Service] = h.at[g.Service]
		}
	}
	h.ver, h.at = s.env.State.Ver, at
}

// wasHanded says that another node has released the service a moment ago.
func (s *Set) wasHanded(name string) bool {
	g, at := s.env.State.Grant(name), s.handed.at[name]
	return g != nil && g.Proof.Kind == cluster.ProofReleased && at != 0 && at != owns && s.env.Now.Sub(at) < freshly
}

// News counts what other nodes may wait for: it grows when a term is released, when a
// service is up, when its stop has failed, and when it is known whether one could run here. It is 0
// while the latest releases may not be told.
func (s *Set) News(tells bool) uint64 {
	if !tells {
		return 0
	}
	return s.releases + s.news + s.fits.told
}
