package workload_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/test/sim/workload"
)

// TestBeside: whatever is drawn, every service is in one pair at the most, so that
// two nodes are enough for all of them.
func TestBeside(t *testing.T) {
	apart, with := 0, 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var list []cluster.Service
		for i := range 1 + rng.IntN(5) {
			list = append(list, workload.Service(rng, i, 3))
		}
		workload.Beside(rng, list)
		var named []string
		for _, s := range list {
			if len(s.With)+len(s.ApartFrom) > 0 {
				named = append(append(append(named, s.Name), s.With...), s.ApartFrom...)
			}
			apart, with = apart+len(s.ApartFrom), with+len(s.With)
		}
		slices.Sort(named)
		if len(slices.Compact(slices.Clone(named))) != len(named) {
			t.Errorf("seed %d: a service is in two pairs: %q", seed, named)
		}
		for _, name := range named {
			if !workload.Ruled(list, name) {
				t.Errorf("seed %d: %s is in a pair, and Ruled does not know", seed, name)
			}
		}
	}
	if apart < 50 || with < 50 {
		t.Errorf("%d apart, %d together in 200 seeds", apart, with)
	}
}
