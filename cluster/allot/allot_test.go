package allot_test

import (
	"reflect"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
	"github.com/holdfast-ha/holdfast/cluster/sight"
)

// TestRoomKeepsNothing: a world that is made where another one stood holds nothing of that.
func TestRoomKeepsNothing(t *testing.T) {
	conf := &cluster.Config{Services: []cluster.Service{{Name: "a"}, {Name: "b"}}}
	full := &cluster.State{
		Conf: conf, Nodes: []cluster.NodeState{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}},
		Services: []cluster.Grant{{Service: "a", Owner: 1, Frozen: true, Fails: []cluster.Fail{{Node: 2, Count: 1, Text: "exit status 1"}, {Node: 1, Text: "no such file"}}}, {Service: "b", Owner: 2, Want: 1}},
	}
	empty := &cluster.State{Conf: conf, Nodes: full.Nodes[:1], Services: []cluster.Grant{{Service: "b"}}}
	var books allot.Books
	for _, s := range []*cluster.State{full, empty, full} {
		got, want := books.World(s, &sight.View{}), allot.World(books.Of(conf), s, &sight.View{})
		for _, w := range []*placement.World{got, want} {
			for i := range w.Services { // the room for failures stays
				w.Services[i].Failed = append([]placement.Failure(nil), w.Services[i].Failed...)
				w.Services[i].Unfit = append([]placement.Failure(nil), w.Services[i].Unfit...)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("in used room:\n%+v\nwant\n%+v", got, want)
		}
	}
}

// TestRoomIsUsedAgain: looking at a thousand services once more costs no memory but
// that for the words about nodes.
func TestRoomIsUsedAgain(t *testing.T) {
	s := &cluster.State{Conf: &cluster.Config{}, Nodes: []cluster.NodeState{{ID: 1, Name: "alpha", Standby: true}}}
	for i := range 1000 {
		name := cluster.CopyName("s", i+1)
		s.Conf.Services = append(s.Conf.Services, cluster.Service{Name: name})
		s.Services = append(s.Services, cluster.Grant{Service: name, Fails: []cluster.Fail{{Node: 1, Count: 1}}})
	}
	var books allot.Books
	again := testing.AllocsPerRun(10, func() { books.World(s, &sight.View{}) })
	anew := testing.AllocsPerRun(10, func() { allot.World(books.Of(s.Conf), s, &sight.View{}) })
	if again*100 > anew {
		t.Errorf("%v allocations in used room, %v in new", again, anew)
	}
}

// TestGoes: where a service goes from a node that lets go of it is what placement says of
// it then, and where it stays while it may; never a node that cannot have it.
func TestGoes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cluster.State, *sight.View)
		want   ident.NodeID
	}{
		{"it stays", func(*cluster.State, *sight.View) {}, 1},
		{"standby", func(s *cluster.State, _ *sight.View) { s.Nodes[0].Standby = true }, 3},
		{"it leaves", func(s *cluster.State, _ *sight.View) { s.Nodes[0].Phase = cluster.Leaving }, 3},
		{"the preferred one is on standby, too", func(s *cluster.State, _ *sight.View) { s.Nodes[0].Standby, s.Nodes[2].Standby = true, true }, 2},
		{"the preferred one is not there", func(s *cluster.State, v *sight.View) { s.Nodes[0].Standby, v.Nodes[2].Present = true, false }, 2},
		{"nobody is left", func(s *cluster.State, _ *sight.View) {
			s.Nodes[0].Standby, s.Nodes[1].Standby, s.Nodes[2].Standby = true, true, true
		}, 0},
		{"it may be here alone", func(s *cluster.State, _ *sight.View) {
			s.Nodes[0].Standby, s.Conf.Services[0].Only = true, []string{"alpha"}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := func(id ident.NodeID, name string) cluster.NodeState {
				return cluster.NodeState{ID: id, Name: name, Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 4}}
			}
			s := &cluster.State{
				Conf:     &cluster.Config{Services: []cluster.Service{{Name: "shop", Prefer: []string{"gamma", "beta"}}}},
				Nodes:    []cluster.NodeState{node(1, "alpha"), node(2, "beta"), node(3, "gamma")},
				Services: []cluster.Grant{{Service: "shop", Owner: 1, Inc: ident.Incarnation{N: 4}, Term: 7}},
			}
			v := &sight.View{Self: 1, Fit: true, Nodes: []sight.Node{{ID: 1, Present: true}, {ID: 2, Present: true}, {ID: 3, Present: true}}}
			c.change(s, v)
			if got := allot.Goes(s, v, "shop"); got != c.want {
				t.Errorf("it goes to node %d, want %d", got, c.want)
			}
		})
	}
}
