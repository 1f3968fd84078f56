package services_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/services"
)

// TestHanded: a start is told that another node has released the service a moment ago,
// and only then: not after a death, not long after the release, and not of what nobody
// had.
func TestHanded(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	released := cluster.Proof{Kind: cluster.ProofReleased, Node: 1}
	for _, c := range []struct {
		name   string
		owned  bool
		proof  cluster.Proof
		pause  time.Duration // between the release and the grant
		want   bool
		stops  bool // by request, after the release
		resume bool
	}{
		{"a move", true, released, 0, true, false, true},
		{"a move in two commits", true, released, time.Second, true, false, true},
		{"a service that was stopped for an hour", true, released, time.Hour, false, true, false},
		{"one that was stopped for a second", true, released, time.Second, false, true, false},
		{"a bundle that took a minute", true, released, time.Minute, false, false, true},
		{"one that took three", true, released, 3 * time.Minute, false, false, false},
		{"a death", true, cluster.Proof{Kind: cluster.ProofTime, Node: 1}, 0, false, false, false},
		{"the first start", false, cluster.Proof{}, 0, false, false, false},
		{"what this node found released when it came", false, released, 0, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := &cluster.State{
				Ver:      1,
				Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "ip", Kind: "ip"}}}}},
				Nodes:    []cluster.NodeState{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
				Services: []cluster.Grant{{Service: "orders", Term: 4}},
			}
			if c.owned {
				state.Services[0].Owner = 1
			}
			env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
			s := services.New(nil)
			s.Manage(env)
			s.Take()
			step := func(pause time.Duration, owner ident.NodeID) {
				next := env.State.Clone()
				next.Ver++
				next.Services[0].Owner, next.Services[0].Proof = owner, c.proof
				next.Services[0].Stopped = c.stops && owner == 0
				if owner == 2 {
					next.Services[0].Inc, next.Services[0].Term = inc, 5
				}
				env.State, env.Now = next, env.Now.Add(pause)
				s.Manage(env)
			}
			if c.pause > 0 {
				step(time.Second, 0)
			}
			step(c.pause, 2)
			list := runs(s)
			if len(list) == 0 || list[len(list)-1].Kind != cluster.RunStart || list[len(list)-1].Handed != c.want {
				t.Errorf("%+v, want a start with Handed %v", list, c.want)
			}
			if r := list[len(list)-1]; r.Resume != c.resume {
				t.Errorf("%+v, want Resume %v", r, c.resume)
			}
		})
	}
}

// TestGoal: a stop because the service moves names the node, if that can take it; any
// other stop names none, and neither does one that ends a part, or what does not run whole.
func TestGoal(t *testing.T) {
	inc, other := ident.Incarnation{N: 3}, ident.Incarnation{N: 9}
	for _, c := range []struct {
		name   string
		change func(*cluster.State, *services.Env)
		want   string
	}{
		{"a move", func(s *cluster.State, _ *services.Env) { s.Services[0].Want = 1 }, "alpha"},
		{"a move from a node on standby", func(s *cluster.State, _ *services.Env) { s.Services[0].Want, s.Nodes[1].Standby = 1, true }, "alpha"},
		{"a move from a node that leaves", func(s *cluster.State, e *services.Env) { s.Services[0].Want, e.Standing = 1, services.Leaving }, "alpha"},
		{"a node that leaves, with nowhere to go", func(_ *cluster.State, e *services.Env) {
			e.Standing, e.Goes = services.Leaving, func(string) ident.NodeID { return 0 }
		}, ""},
		{"a stop by request", func(s *cluster.State, _ *services.Env) { s.Services[0].Stopped = true }, ""},
		{"a stop by request in the middle of a move", func(s *cluster.State, _ *services.Env) { s.Services[0].Want, s.Services[0].Stopped = 1, true }, ""},
		{"a move to a node that is being fenced", func(s *cluster.State, _ *services.Env) { s.Services[0].Want, s.Nodes[0].Fencing = 1, other }, ""},
		{"a move to a node that is dead", func(s *cluster.State, _ *services.Env) { s.Services[0].Want, s.Nodes[0].Dead = 1, 9 }, ""},
		{"the end of the lease", func(s *cluster.State, e *services.Env) { s.Services[0].Want, e.Standing = 1, services.Ending }, ""},
		{"standby, as placement would have it", func(s *cluster.State, _ *services.Env) { s.Nodes[1].Standby = true }, "alpha"},
		{"a node that leaves, as placement would have it", func(_ *cluster.State, e *services.Env) { e.Standing = services.Leaving }, "alpha"},
		{"standby, and placement leaves it here", func(s *cluster.State, e *services.Env) {
			s.Nodes[1].Standby, e.Goes = true, func(string) ident.NodeID { return 2 }
		}, ""},
		{"standby, and what is to take it is being fenced", func(s *cluster.State, _ *services.Env) { s.Nodes[1].Standby, s.Nodes[0].Fencing = true, other }, ""},
		{"standby, and it is stopped by request", func(s *cluster.State, _ *services.Env) { s.Nodes[1].Standby, s.Services[0].Stopped = true, true }, ""},
		{"the stop of the cluster", func(s *cluster.State, _ *services.Env) { s.Services[0].Want, s.Life.Stop.On = 1, true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := &cluster.State{
				Ver:      1,
				Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "vm", Kind: "vm", Live: true}}}}},
				Nodes:    []cluster.NodeState{{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: other}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
				Services: []cluster.Grant{{Service: "orders", Term: 4, Owner: 2, Inc: inc}},
			}
			env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true, Goes: func(string) ident.NodeID { return 1 }}
			s := services.New(nil)
			s.Manage(env)
			s.Done(env, cluster.RunDone{Op: runs(s)[0].Op, Outcome: cluster.OK})
			env.State = state.Clone()
			env.State.Ver++
			c.change(env.State, &env)
			s.Manage(env)
			list := runs(s)
			if last := len(list) - 1; last < 0 || list[last].Kind != cluster.RunStop && list[last].Kind != cluster.RunKill || list[last].Goal != c.want {
				t.Errorf("%+v, want a stop with the goal %q", list, c.want)
			}
		})
	}
}
