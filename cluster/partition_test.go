package cluster_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

func evict(c *cluster.Config) { c.Evict = true }

// TestEvictKeepsTheLargestGroup: the owner is cut off from the two others while
// all disks are fine. It is fenced, they are not, and its service moves; it comes
// back, but is no member before the network is whole again.
func TestEvictKeepsTheLargestGroup(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Configure = evict
		w := boot(t, o)
		alpha, from := w.Node("alpha"), w.Now
		w.Cut(alpha, w.Node("beta"), true)
		w.Cut(alpha, w.Node("gamma"), true)
		w.Until("orders runs on beta", time.Minute, up(w, "orders", "beta", from))
		if f := w.Told(cluster.NoteFencing, "alpha", from); f == nil || !strings.Contains(f.Text, "beta, gamma can go on together") {
			t.Errorf("alpha was fenced: %+v", f)
		}
		w.Run(2 * time.Minute)
		never(t, w, cluster.NoteFencing, "beta", from)
		never(t, w, cluster.NoteFencing, "gamma", from)
		if members(w) != 2 || !strings.Contains(alpha.View().Waiting, "over the network") {
			t.Errorf("%d members, alpha waits for %q", members(w), alpha.View().Waiting)
		}
		w.CutNetwork(false)
		w.Until("alpha is back", time.Minute, func() bool { return members(w) == 3 })
	})
}

// TestEvictOfHalves: two and two nodes, of which one half runs the service: that
// half stays. Nobody of it is fenced, and both of the others are, in one commit.
func TestEvictOfHalves(t *testing.T) {
	for _, disks := range []int{1, 3} {
		for seed := range uint64(4) {
			w := boot(t, clustertest.Options{Seed: seed, Nodes: 4, Disks: disks, Services: []cluster.Service{orders("alpha")}, Configure: evict})
			w.Node("alpha").Ask(cluster.MoveService{Service: "orders", To: "delta"})
			w.Until("orders runs on delta", 30*time.Second, func() bool { return w.Running("orders") && w.Owner("orders").Name == "delta" })
			w.Run(5 * time.Second)
			from := w.Now
			for _, a := range []string{"alpha", "beta"} {
				for _, z := range []string{"gamma", "delta"} {
					w.Cut(w.Node(a), w.Node(z), true)
				}
			}
			w.Until("alpha and beta are proven dead", time.Minute, func() bool {
				return w.Told(cluster.NoteProof, "alpha", from) != nil && w.Told(cluster.NoteProof, "beta", from) != nil
			})
			if a, b := w.Told(cluster.NoteFencing, "alpha", from), w.Told(cluster.NoteFencing, "beta", from); a.Ver != b.Ver {
				t.Errorf("fenced in versions %d and %d", a.Ver, b.Ver)
			}
			never(t, w, cluster.NoteFencing, "gamma", from)
			never(t, w, cluster.NoteFencing, "delta", from)
			never(t, w, cluster.NoteStopping, "orders", from)
		}
	}
}

// TestEvictOnAOneWayLink: alpha hears beta, beta does not hear alpha. One of the
// two has to go, and it is the one that runs nothing.
func TestEvictOnAOneWayLink(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Configure = evict
		w := boot(t, o)
		from := w.Now
		w.Net.Cut(w.Node("alpha").ID, w.Node("beta").ID, true)
		w.Until("beta is fenced", time.Minute, func() bool { return w.Told(cluster.NoteFencing, "beta", from) != nil })
		w.Run(30 * time.Second)
		never(t, w, cluster.NoteFencing, "alpha", from)
		never(t, w, cluster.NoteFencing, "gamma", from)
		never(t, w, cluster.NoteStopping, "orders", from)
	})
}

// TestFlappingLinkEvictsNobody: a link that comes and goes is no partition, with
// either policy, and while the disks are fine nobody is fenced for it.
func TestFlappingLinkEvictsNobody(t *testing.T) {
	for _, configure := range []func(*cluster.Config){evict, nil} {
		everywhere(t, func(t *testing.T, o clustertest.Options) {
			o.Configure = configure
			w := boot(t, o)
			from := w.Now
			for i := range 20 {
				w.Cut(w.Node("alpha"), w.Node("beta"), true)
				w.Run(time.Duration(3000+i*100) * time.Millisecond)
				w.Cut(w.Node("alpha"), w.Node("beta"), false)
				w.Run(3 * time.Second)
			}
			never(t, w, cluster.NoteFencing, "", from)
			never(t, w, cluster.NoteStopping, "", from)
		})
	}
}

// TestHalvesThatAreTolerated: without the policy two halves go on with the disks
// as they are; a service can even be moved to the other half.
func TestHalvesThatAreTolerated(t *testing.T) {
	for seed := range uint64(4) {
		w := boot(t, clustertest.Options{Seed: seed, Nodes: 4, Disks: 3, Services: []cluster.Service{orders("alpha")}})
		from := w.Now
		for _, a := range []string{"alpha", "beta"} {
			for _, z := range []string{"gamma", "delta"} {
				w.Cut(w.Node(a), w.Node(z), true)
			}
		}
		w.Run(time.Minute)
		w.Node("beta").Ask(cluster.MoveService{Service: "orders", To: "gamma"})
		w.Until("orders runs on gamma", time.Minute, up(w, "orders", "gamma", w.Now))
		w.Run(time.Minute)
		never(t, w, cluster.NoteFencing, "", from)
	}
}
