package diskset

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// TestEpochs: a node listens to its own epoch only, and gives way to a newer one,
// also before it has read any state, and also where only the state says its own.
func TestEpochs(t *testing.T) {
	next := cluster.NextEpoch(5)
	if cluster.Epoch(5) != 0 || cluster.Epoch(next) != 1 || next <= 5 || cluster.Epoch(cluster.NextEpoch(next)) != 2 {
		t.Fatalf("epochs: after generation 5 comes %#x", next)
	}
	old, recovered := &cluster.State{DiskGen: 5}, &cluster.State{DiskGen: next}
	for what, c := range map[string]struct {
		own    uint32 // that node.yaml names
		state  *cluster.State
		gen    uint32 // of the message
		hears  bool
		behind bool
	}{
		"the same":                 {0, old, 7, true, false},
		"the same, no state yet":   {1, nil, next, true, false},
		"a newer one":              {0, old, next, false, true},
		"a newer one, no state":    {0, nil, next, false, true},
		"an older one":             {1, recovered, 5, false, false},
		"by the state, not a file": {0, recovered, next + 3, true, false},
	} {
		w := NewWatch([]ident.UUID{{1}}, c.own)
		if hears := w.Hear(c.gen, c.state); hears != c.hears {
			t.Errorf("%s: heard %v", what, hears)
		}
		if why := w.Behind(c.state); (why != "") != c.behind || c.behind && !strings.Contains(why, "holdfast disk recover --adopt") {
			t.Errorf("%s: behind %q", what, why)
		}
	}
	w := NewWatch([]ident.UUID{{1}}, 0)
	w.Hear(next, old)
	if w.Hear(5, old) {
		t.Error("a node of the epoch that was given up is heard after the newer one was")
	}
}
