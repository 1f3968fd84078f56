package services

import (
	"math"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// freshly is for how long after a release it still counts that the former owner had
// what the service consists of, and nobody else: its addresses above all.
const freshly = 10 * time.Second

// handOver is for how long after a release what the former owner handed over as it ran
// may go on here. The rest of a bundle may take minutes to stop and to start; a guest
// that was paused for longer is better started anew.
const handOver = 2 * time.Minute

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
		case g.Stopped: // whoever stopped it may change what it consists of: nothing of it goes on
		case h.at[g.Service] == owns:
			at[g.Service] = s.env.Now
		case h.at[g.Service] != 0:
			at[g.Service] = h.at[g.Service]
		}
	}
	h.ver, h.at = s.env.State.Ver, at
}

// wasHanded says that another node has released the service less than that long ago.
func (s *Set) wasHanded(name string, within time.Duration) bool {
	g, at := s.env.State.Grant(name), s.handed.at[name]
	return g != nil && g.Proof.Kind == cluster.ProofReleased && at != 0 && at != owns && s.env.Now.Sub(at) < within
}

// goalOf names the node to which a service goes that is about to be stopped: a member
// of the cluster that nobody fences. Empty if it goes nowhere, or does not run whole.
func (s *Set) goalOf(l *local) string {
	g := s.mine(l.name)
	if g == nil || g.Term != l.term || g.Stopped || l.state != cluster.Up || l.giveUp != "" || s.env.State.Life.Stop.On {
		return ""
	}
	want := g.Want
	if want == 0 && s.letsGo() && l.live() && s.env.Goes != nil {
		want = s.env.Goes(l.name)
	}
	if n := s.env.State.Node(want); want == s.env.Self || n == nil || n.Phase != cluster.MemberPhase || !n.Fencing.IsZero() || n.Dead >= n.Inc.N {
		return ""
	}
	return s.env.State.NameOf(want)
}

// letsGo says that this node lets go of all it has, in order.
func (s *Set) letsGo() bool {
	n := s.env.State.Node(s.env.Self)
	return s.env.Standing == Leaving || n != nil && n.Standby
}

// live says that something of the service is handed over as it runs. Only for that it
// is worth while to work out where it will go: any other is stopped all the same.
func (l *local) live() bool {
	return l.spec != nil && slices.ContainsFunc(l.spec.Stack, func(m cluster.Member) bool { return m.Live })
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
