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
		name  string
		owned bool
		proof cluster.Proof
		pause time.Duration // between the release and the grant
		want  bool
	}{
		{"a move", true, released, 0, true},
		{"a move in two commits", true, released, time.Second, true},
		{"a service that was stopped for an hour", true, released, time.Hour, false},
		{"a death", true, cluster.Proof{Kind: cluster.ProofTime, Node: 1}, 0, false},
		{"the first start", false, cluster.Proof{}, 0, false},
		{"what this node found released when it came", false, released, 0, false},
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
		})
	}
}
