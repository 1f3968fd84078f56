// Package workload makes the services of simulated clusters: what they prefer, how
// often they are restarted, and which of them must or must not be on one node.
package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// Service makes service number i of a cluster of so many nodes, with random rules.
func Service(rng *rand.Rand, i, nodes int) cluster.Service {
	s := cluster.Service{Name: fmt.Sprintf("s%d", i), Priority: rng.IntN(3)}
	s.Stack = []cluster.Member{{ID: "exec", Kind: "exec", CheckEvery: time.Duration(1+rng.IntN(5)) * time.Second}}
	for _, n := range rng.Perm(nodes) {
		if rng.IntN(2) == 0 {
			s.Prefer = append(s.Prefer, clustertest.NodeName(n+1))
		}
	}
	if rng.IntN(3) == 0 {
		s.Failback = cluster.Failback{Mode: cluster.Automatic, After: Between(rng, time.Second, 20*time.Second)}
	}
	if rng.IntN(2) == 0 {
		s.Restarts = cluster.Budget{Count: 1 + rng.IntN(2), Within: 15 * time.Minute}
	}
	if i > 0 && rng.IntN(4) == 0 {
		s.After = []string{fmt.Sprintf("s%d", i-1)}
	}
	return s
}

// Beside has some services apart from others, or always with them. They are pairs,
// so that there is a place for everybody as long as two nodes are left.
func Beside(rng *rand.Rand, list []cluster.Service) {
	first := rng.IntN(2) == 0
	for i := 1; i < len(list); i += 2 {
		if rng.IntN(4) == 0 {
			continue
		}
		if one := list[i-1].Name; first == (i == 1) {
			list[i].ApartFrom = []string{one}
		} else {
			list[i].With = []string{one}
		}
	}
}

// Ruled says that the configuration says of a service that it is apart from another,
// or with it.
func Ruled(list []cluster.Service, name string) bool {
	return slices.ContainsFunc(list, func(s cluster.Service) bool {
		return s.Name == name && len(s.With)+len(s.ApartFrom) > 0 || slices.Contains(s.With, name) || slices.Contains(s.ApartFrom, name)
	})
}

// Between is a random duration from a to b.
func Between(rng *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(rng.Int64N(int64(b-a)+1))
}
