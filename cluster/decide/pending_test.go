package decide_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// guarded is pair with orders on guarded storage, alpha being fenced, and its
// keys gone from every LUN of orders.
func guarded() (*cluster.State, *decide.Sight) {
	s, v := pair()
	s.Conf.Services[0].Stack = []cluster.Member{
		{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true}, {ID: "ip", Kind: "ip"},
	}
	s.Nodes[0].Fencing = inc(5)
	v.Nodes[0] = decide.Node{ID: 1, Last: inc(5)}
	v.Runs[0].Cleared = cluster.Proof{Kind: cluster.ProofReservation, Node: 1, Inc: inc(5), By: 2, Text: "its keys are gone"}
	return s, v
}

// TestStorageProofKeepsTheOwnerPending: the service moves, the former owner
// stays on the list until its own end is proven, whoever owns it then.
func TestStorageProofKeepsTheOwnerPending(t *testing.T) {
	s, v := guarded()
	s = revise(s, v).State
	g := s.Grant("orders")
	if g.Owner != 2 || g.Term != 5 || len(g.Pending) != 1 || g.Pending[0] != (cluster.Pending{Node: 1, Inc: inc(5)}) || g.Proof.Kind != cluster.ProofReservation {
		t.Fatalf("%+v", g)
	}
	if n := s.Node(1); n.Dead != 4 || n.Fencing != inc(5) {
		t.Errorf("the node itself was called dead: %+v", n)
	}

	// beta releases it: alpha is still pending in the next term.
	v.Runs[0] = decide.Run{RunState: cluster.RunState{Service: "orders", Term: 5}, Released: true}
	s = revise(s, v).State
	if g = s.Grant("orders"); g.Term != 6 || len(g.Pending) != 1 {
		t.Fatalf("after the release: %+v", g)
	}

	// beta ends too, proven by time: alpha is still pending, beta is not.
	third := *s
	third.Nodes = append(append([]cluster.NodeState{}, s.Nodes...), cluster.NodeState{ID: 3, Name: "gamma", Phase: cluster.MemberPhase, Inc: inc(3)})
	third.Nodes[1].Fencing = inc(7)
	v.Self = 3
	v.Nodes = []decide.Node{
		{ID: 1, Last: inc(5)},
		{ID: 2, Last: inc(7), Proof: cluster.Proof{Kind: cluster.ProofTime, Node: 2, Inc: inc(7)}},
		{ID: 3, Present: true, Claims: inc(3), Phase: cluster.MemberPhase, Acked: 9, Last: inc(3)},
	}
	v.Runs[0] = decide.Run{RunState: cluster.RunState{Service: "orders", Term: 6}, Known: true}
	s = revise(&third, v).State
	if g = s.Grant("orders"); g.Owner != 3 || g.Term != 7 || len(g.Pending) != 1 || g.Pending[0].Node != 1 {
		t.Fatalf("the second takeover has forgotten the first: %+v", g)
	}

	// alpha is proven off: the list is empty.
	v.Nodes[0].Proof = cluster.Proof{Kind: cluster.ProofPower, Node: 1, Inc: inc(5)}
	v.Runs[0] = decide.Run{RunState: cluster.RunState{Service: "orders", Term: 7}, Known: true}
	if g = revise(s, v).State.Grant("orders"); len(g.Pending) != 0 || g.Owner != 3 {
		t.Errorf("after the proof: %+v", g)
	}
}

// TestStorageProofThatDoesNotCount leaves the service with its owner.
func TestStorageProofThatDoesNotCount(t *testing.T) {
	for name, spoil := range map[string]func(s *cluster.State, v *decide.Sight){
		"the fencing is not chosen":  func(s *cluster.State, _ *decide.Sight) { s.Nodes[0].Fencing = ident.Incarnation{} },
		"another incarnation":        func(_ *cluster.State, v *decide.Sight) { v.Runs[0].Cleared.Inc = inc(4) },
		"another node":               func(_ *cluster.State, v *decide.Sight) { v.Runs[0].Cleared.Node = 2 },
		"another term":               func(_ *cluster.State, v *decide.Sight) { v.Runs[0].Term = 3 },
		"storage that nobody guards": func(s *cluster.State, _ *decide.Sight) { s.Conf.Services[0].Stack[0].Guarded = false },
		"a second file system, not guarded": func(s *cluster.State, _ *decide.Sight) {
			s.Conf.Services[0].Stack = append(s.Conf.Services[0].Stack, cluster.Member{ID: "filesystem-2", Kind: "filesystem", Storage: true})
		},
		"the stack begins with an address": func(s *cluster.State, _ *decide.Sight) {
			st := s.Conf.Services[0].Stack
			st[0], st[1] = st[1], st[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := guarded()
			spoil(s, v)
			if g := revise(s, v).State.Grant("orders"); g.Owner != 1 || len(g.Pending) != 0 {
				t.Errorf("%+v", g)
			}
		})
	}
}
