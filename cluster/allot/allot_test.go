package allot_test

import (
	"reflect"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
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
