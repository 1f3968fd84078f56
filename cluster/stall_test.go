package cluster_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// TestStallOfTheArray: while an array stalls it works on nothing, so what a dead node
// had sent gets its time to land once the stall is over, and not only once the wait
// is. With three disks the proof goes on by the other two; who sees the stall end
// before that waits all the same.
func TestStallOfTheArray(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		proof := func(w *clustertest.World, from time.Duration) time.Duration {
			return w.Until("alpha is proven dead", time.Minute, func() bool { return proofOf(w, "alpha", from) == cluster.ProofTime })
		}
		w := boot(t, o)
		w.Node("alpha").NoReboot = true
		from := w.Now
		w.Node("alpha").PowerOff()
		usual := proof(w, from)

		w = boot(t, o)
		w.Node("alpha").NoReboot = true
		from = w.Now
		w.Node("alpha").PowerOff()
		w.Run(usual - 1500*time.Millisecond) // its last writes may be on their way
		others := []*clustertest.Node{w.Node("beta"), w.Node("gamma")}
		for _, n := range others {
			n.DiskHang[0] = true
		}
		w.Run(2 * time.Second)
		for _, n := range others {
			n.Unhang(0)
		}
		over := w.Now
		if o.Disks > 1 && proofOf(w, "alpha", from) == cluster.ProofTime {
			return // the other two answered, and nobody knew yet that the third one would
		}
		proof(w, from)
		if late := w.Now - over; late < timing.DefaultTz || late > 2*timing.DefaultTz {
			t.Errorf("proven %v after the end of the stall; writes get %v to land", late, timing.DefaultTz)
		}
	})
}
