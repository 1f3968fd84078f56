package decide

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Fitness is how far one node seems able to act on the evidence.
type Fitness struct {
	Present bool // it shows signs of life of the registered incarnation
	Works   bool // and its guard and daemon both work
	Claims  bool // its beats are fresh, of whatever incarnation
}

// Coordinator is who acts on the evidence: the first of the members whose guard
// and daemon both work; if there is none, of those that show any sign of life; if
// there is none, of the nodes that want to come in; 0 if there is none. It is a
// role for progress only: two of them at a time do no harm.
func Coordinator(s *cluster.State, seen func(*cluster.NodeState) Fitness) ident.NodeID {
	if s == nil {
		return 0
	}
	var second, third ident.NodeID
	for i := range s.Nodes {
		n := &s.Nodes[i]
		f := seen(n)
		switch {
		case in(n) && f.Works:
			return n.ID
		case in(n) && f.Present && second == 0:
			second = n.ID
		case f.Claims && third == 0:
			third = n.ID
		}
	}
	if second == 0 {
		return third
	}
	return second
}

// Rank is a node's place among the members.
func Rank(s *cluster.State, self ident.NodeID) int {
	r := 0
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.ID <= self && n.Phase == cluster.MemberPhase && n.Dead < n.Inc.N {
			r++
		}
	}
	return r
}

// Backoff spreads proposers that met: by node, growing with every meeting, and by
// life, for two machines may have one identity.
func Backoff(self ident.NodeID, life uint64, aborts uint) time.Duration {
	return time.Duration(self)*20*time.Millisecond + 10*time.Millisecond<<min(aborts, 4) + time.Duration(life%8)*time.Millisecond
}
