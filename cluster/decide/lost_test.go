package decide_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// TestLostDraftIsFoundOnlyWhole: a draft that was overtaken counts as chosen only if
// the version that was chosen says all that it said. Whoever asked would be told
// "done" of what never happened otherwise.
func TestLostDraftIsFoundOnlyWhole(t *testing.T) {
	base := &cluster.State{Ver: 6, Nodes: []cluster.NodeState{{ID: 1, Name: "alpha"}}}
	for name, change := range map[string]func(*cluster.State){
		"nothing":           func(*cluster.State) {},
		"the parsed config": func(s *cluster.State) { s.Conf = &cluster.Config{} },
		"the disks":         func(s *cluster.State) { s.Disks = []ident.UUID{{1}} },
		"a change of them":  func(s *cluster.State) { s.Change.Stage = cluster.DisksOffered },
		"the configuration": func(s *cluster.State) { s.Config = []byte("x") },
		"a node":            func(s *cluster.State) { s.Nodes = []cluster.NodeState{{ID: 1, Name: "alpha", Standby: true}} },
	} {
		proposed, chosen := *base, *base
		proposed.Ver, chosen.Ver = 7, 7
		change(&chosen)
		var lost decide.Lost
		lost.Keep(&decide.Draft{Base: base, State: &proposed})
		want := name == "nothing" || name == "the parsed config"
		if got := lost.Found(&chosen) != nil; got != want {
			t.Errorf("another version differs by %s: found is %v, want %v", name, got, want)
		}
	}
}
