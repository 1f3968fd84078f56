package decide

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Memory is what is counted from when this node saw it first. A new coordinator
// begins with an empty one, and so does one that has not looked for a while: what
// it had seen may have ended and begun again meanwhile.
type Memory struct {
	fails   map[failKey]ident.Instant
	healthy map[ident.NodeID]healthy
	looked  ident.Instant // when it looked at what it counts last
	clock   counting
	split   split
	books   allot.Books `memory:"-"` // made anew of the configuration whenever it is missing
	rest    rest        `memory:"-"` // looked for anew where it is missing
}

// rest is a state in which everything is where it is to be, as long as the same
// nodes can run services. It saves working that out at every beat.
type rest struct {
	state *cluster.State
	fit   allot.Fit
}

// failKey tells one failure record from every other: one that was cleared and came
// again has the same count, so what stands here is dropped as soon as the record is.
type failKey struct {
	service string
	node    ident.NodeID
	count   uint32
	text    string
}

func keyOf(service string, f *cluster.Fail) failKey {
	return failKey{service, f.Node, f.Count, f.Text}
}

// healthy is since when an incarnation has been able to run services.
type healthy struct {
	inc   ident.Incarnation
	since ident.Instant
}

// NewMemory returns an empty memory.
func NewMemory() *Memory {
	return &Memory{fails: map[failKey]ident.Instant{}, healthy: map[ident.NodeID]healthy{}}
}

// look brings what is counted up to date: what is not there any more is forgotten,
// so that it is counted from the beginning when it comes again.
func (m *Memory) look(s *cluster.State, v *Sight) {
	if v.Now.Sub(m.looked) > gap {
		clear(m.fails)
		clear(m.healthy)
	}
	m.looked = v.Now
	if len(m.fails) > 0 {
		m.keepFails(s)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch at, ok := m.healthy[n.ID]; {
		case n.Phase != cluster.MemberPhase || n.Dead >= n.Inc.N || allot.Unfit(v, n) != "":
			delete(m.healthy, n.ID)
		case !ok || at.inc != n.Inc:
			m.healthy[n.ID] = healthy{n.Inc, v.Now}
		}
	}
}

// keepFails drops the failures that the state does not hold any more.
func (m *Memory) keepFails(s *cluster.State) {
	there := make(map[failKey]bool, len(m.fails))
	for i := range s.Services {
		g := &s.Services[i]
		for j := range g.Fails {
			there[keyOf(g.Service, &g.Fails[j])] = true
		}
	}
	for k := range m.fails {
		if !there[k] {
			delete(m.fails, k)
		}
	}
}

// expired says that a failure is forgotten: after the budget's window, counted
// from when this node has first seen it.
func (m *Memory) expired(now ident.Instant, key failKey, within time.Duration) bool {
	if within <= 0 {
		return false
	}
	at, ok := m.fails[key]
	if !ok {
		m.fails[key] = now
		return false
	}
	return now.Sub(at) >= within
}

// healthySince is for how long an incarnation has been able to run services without
// a gap.
func (m *Memory) healthySince(now ident.Instant, n *cluster.NodeState) time.Duration {
	at, ok := m.healthy[n.ID]
	if !ok || at.inc != n.Inc {
		return 0
	}
	return now.Sub(at.since)
}
