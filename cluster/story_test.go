package cluster_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

func orders(prefer ...string) cluster.Service {
	return cluster.Service{Name: "orders", Prefer: prefer, Stack: []cluster.Member{{ID: "exec", Kind: "exec", CheckEvery: time.Second}}}
}

func running(w *clustertest.World, service, node string) func() bool {
	return func() bool {
		o := w.Owner(service)
		if o == nil || o.Name != node || o.Core() == nil {
			return false
		}
		n := w.Told(cluster.NoteStarted, service, 0)
		return n != nil
	}
}

func boot(t *testing.T, o clustertest.Options) *clustertest.World {
	t.Helper()
	w := clustertest.New(t, o)
	w.Boot()
	w.Until("orders runs on alpha", 30*time.Second, running(w, "orders", "alpha"))
	w.Run(3 * time.Second)
	return w
}

func TestKilledOwnerIsTakenOver(t *testing.T) {
	for _, disks := range []int{1, 3} {
		w := boot(t, clustertest.Options{Nodes: 3, Disks: disks, Services: []cluster.Service{orders("alpha", "beta")}})
		w.Node("alpha").NoReboot = true
		w.Node("alpha").PowerOff()
		took := w.Until("orders runs on beta", 30*time.Second, running(w, "orders", "beta"))
		w.Tell()
		t.Logf("disks=%d: took over in %s", disks, took)
		if took > 11*time.Second {
			t.Errorf("failover took %s, promised were 10 s and the start", took)
		}
	}
}
