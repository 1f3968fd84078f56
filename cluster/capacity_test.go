package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/pages"
)

// A thousand services of five members each start, and fail over when their node
// loses its power; no network beat carries more than a page of them.
func TestThousandServicesFailOver(t *testing.T) {
	const n = 1000
	var list []cluster.Service
	for i := range n {
		s := cluster.Service{Name: fmt.Sprintf("tenant-%04d", i), Prefer: []string{"alpha", "beta"}}
		for j, kind := range []string{"iscsi", "lvm", "filesystem", "ip", "systemd"} {
			s.Stack = append(s.Stack, cluster.Member{ID: fmt.Sprint(kind, "-", i), Kind: kind, Storage: j < 3, Spec: fmt.Appendf(nil, `{"name":"%s-%d"}`, kind, i)})
		}
		list = append(list, s)
	}
	most, partial := 0, 0
	w := clustertest.New(t, clustertest.Options{
		Seed: 7, Nodes: 2, Disks: 1, Services: list,
		Record: func(_ *clustertest.Node, _ ident.Instant, _ cluster.Event, actions []cluster.Action) {
			for _, a := range actions {
				if s, ok := a.(cluster.Send); ok {
					most = max(most, len(s.Msg.Services)+len(s.Msg.Released))
					if s.Msg.Partial {
						partial++
					}
				}
			}
		},
	})
	w.Boot()
	runs := func(node string) func() bool {
		return func() bool {
			for i := range list {
				if o := w.Owner(list[i].Name); o == nil || o.Name != node {
					return false
				}
			}
			return true
		}
	}
	w.Until("all run on alpha", 30*time.Second, runs("alpha"))
	for range 10 {
		w.Run(time.Second)
	}
	if got := running(w.Node("beta").View()); got != n {
		t.Errorf("ten seconds later beta knows that %d run", got)
	}
	w.Node("alpha").NoReboot = true
	w.Node("alpha").PowerOff()
	w.Until("all run on beta", 60*time.Second, runs("beta"))
	if partial == 0 || most > pages.Size/12 {
		t.Errorf("%d beats were pages, the largest carries %d entries", partial, most)
	}
}

// running is how many services a node knows to run somewhere.
func running(v cluster.View) int {
	n := 0
	for _, s := range v.Services {
		if s.State == cluster.Up {
			n++
		}
	}
	return n
}
