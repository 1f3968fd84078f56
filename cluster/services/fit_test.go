package services_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/services"
)

// two is a cluster of alpha, which owns orders in term 5, and beta; env is self's.
func two(self ident.NodeID) (*cluster.State, services.Env) {
	inc := []ident.Incarnation{{}, {N: 3}, {N: 7}}
	state := &cluster.State{
		Ver: 1, Conf: &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "exec", Kind: "exec"}}}}},
		Nodes: []cluster.NodeState{
			{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: inc[1]}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc[2]},
		},
		Services: []cluster.Grant{{Service: "orders", Owner: 1, Inc: inc[1], Term: 5}},
	}
	return state, services.Env{Now: 1e12, State: state, Self: self, Inc: inc[self], Standing: services.Member, MayStart: true}
}

// TestTheOwnerWaitsForItsTarget: a service is stopped for a move once the target has
// said that it could run there, or has said nothing for a while.
func TestTheOwnerWaitsForItsTarget(t *testing.T) {
	for name, answers := range map[string]bool{"an answer": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			state, env := two(1)
			s := services.New(nil)
			s.Manage(env)
			s.Done(env, cluster.RunDone{Op: runs(s)[0].Op, Outcome: cluster.OK})
			moved, takes := state.Clone(), false
			moved.Ver, moved.Services[0].Want = 2, 2
			env.State, env.Takes = moved, func(*cluster.Grant) bool { return takes }
			s.Manage(env)
			env.Now = env.Now.Add(9 * time.Second)
			s.Manage(env)
			if early := runs(s); len(early) != 0 {
				t.Fatalf("%+v before anybody has looked there", early)
			}
			if takes = answers; !answers {
				env.Now = env.Now.Add(2 * time.Second)
			}
			s.Manage(env)
			if stop := runs(s); len(stop) != 1 || stop[0].Kind != cluster.RunStop {
				t.Fatalf("%+v, want a stop", stop)
			}
		})
	}
}

// TestTheTargetLooks: it asks anew for the move, however well it knew before, and says
// what has come of that; what is missing is said until it is not any more.
func TestTheTargetLooks(t *testing.T) {
	state, env := two(2)
	s := services.New(nil)
	ask := func() cluster.Run {
		t.Helper()
		s.Manage(env)
		list := runs(s)
		if len(list) != 1 || list[0].Kind != cluster.RunFit {
			t.Fatalf("%+v, want a question", list)
		}
		return list[0]
	}
	says := func(want ...cluster.RunState) {
		t.Helper()
		got := s.States()
		if len(got) != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("it says %+v, want %+v", got, want)
		}
	}
	s.Done(env, cluster.RunDone{Op: ask().Op, Outcome: cluster.OK})
	s.Manage(env)
	if more := runs(s); len(more) != 0 {
		t.Fatalf("%+v right after the answer", more)
	}
	says()

	moved := state.Clone()
	moved.Ver, moved.Services[0].Want = 2, 2
	env.State = moved
	s.Done(env, cluster.RunDone{Op: ask().Op, Outcome: cluster.Failed, Text: "exec: caddy is not installed"})
	says(cluster.RunState{Service: "orders", Text: "exec: caddy is not installed"})
	env.State, env.Now = state, env.Now.Add(time.Minute) // the move was called off
	s.Done(env, cluster.RunDone{Op: ask().Op, Outcome: cluster.OK})
	says(cluster.RunState{Service: "orders"}) // so that those who were told more learn it

	again := moved.Clone()
	again.Ver = 4
	env.State = again
	s.Done(env, cluster.RunDone{Op: ask().Op, Outcome: cluster.Unknown})
	says(cluster.RunState{Service: "orders", Term: 5, State: cluster.Starting})
}

// TestWhatOthersBring: a disk that a service of its bundle, or one before it, brings
// along need not be there when the question is asked.
func TestWhatOthersBring(t *testing.T) {
	state, env := two(2)
	state.Conf.Services = []cluster.Service{
		{Name: "disks", Stack: []cluster.Member{{ID: "iscsi", Kind: "iscsi"}}},
		{Name: "far", Stack: []cluster.Member{{ID: "vm", Kind: "vm"}}},
		{Name: "groups", After: []string{"disks"}, Stack: []cluster.Member{{ID: "lvm", Kind: "lvm"}}},
		{Name: "orders", With: []string{"groups"}, Stack: []cluster.Member{{ID: "filesystem", Kind: "filesystem"}}},
	}
	s := services.New(nil)
	s.Manage(env)
	var asked []string
	for list := runs(s); len(list) > 0; list = append(list[1:], runs(s)...) {
		if list[0].Service.Name == "orders" {
			asked = list[0].Beside
		}
		s.Done(env, cluster.RunDone{Op: list[0].Op, Outcome: cluster.OK})
		s.Manage(env)
	}
	if len(asked) != 2 || asked[0] != "lvm" || asked[1] != "iscsi" {
		t.Errorf("orders is asked for beside %v, want lvm and iscsi", asked)
	}
}
