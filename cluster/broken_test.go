package cluster_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// recorder takes the place of the test while something is broken on purpose.
type recorder struct{ *testing.T }

type noticed struct{}

func (recorder) Fatalf(string, ...any) { panic(noticed{}) }
func (recorder) Logf(string, ...any)   {}

// notices says that an oracle ends the story in one of some runs.
func notices(t *testing.T, o clustertest.Options, runs uint64, story func(w *clustertest.World)) (seen bool) {
	for o.Seed = 0; o.Seed < runs && !seen; o.Seed++ {
		func() {
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(noticed); !ok {
						panic(r)
					}
					seen = true
				}
			}()
			o.Services = []cluster.Service{orders("alpha", "beta")}
			w := clustertest.New(recorder{t}, o)
			w.Boot()
			w.Until("all are members", 30*time.Second, func() bool { return members(w) == o.Nodes })
			w.Run(w.Jitter(2*time.Second, 4*time.Second))
			story(w)
		}()
	}
	return seen
}

// TestOraclesNoticeBrokenClusters: a simulator in which nothing can fail proves
// nothing. Each story is told twice: as it is, where no oracle may speak, and
// with one rule broken, where one must.
func TestOraclesNoticeBrokenClusters(t *testing.T) {
	cases := []struct {
		name   string
		disks  int
		broken clustertest.Broken
		story  func(w *clustertest.World)
	}{
		{"the wait is shorter than lease and watchdog", 1, clustertest.Broken{WaitLess: 1500 * time.Millisecond}, func(w *clustertest.World) {
			w.Node("alpha").Freeze()
			w.Run(30 * time.Second)
		}},
		{"the lease counts from the completion of a beat", 1, clustertest.Broken{StampAtCompletion: true}, lateCompletion},
		{"a read from before the verdict confirms it", 3, clustertest.Broken{NoConfirm: true}, lateRead},
		{"the guard feeds after the end of the lease", 1, clustertest.Broken{FeedOn: true}, func(w *clustertest.World) {
			cutDisks(w.Node("alpha"), true)
			w.Node("alpha").StopFails = true
			w.CutNetwork(true)
			w.Run(30 * time.Second)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := clustertest.Options{Nodes: 3, Disks: c.disks}
			if notices(t, o, 6, c.story) {
				t.Error("an oracle speaks although nothing is broken")
			}
			o.Broken = c.broken
			if !notices(t, o, 150, c.story) {
				t.Error("no oracle notices it in 150 runs")
			}
		})
	}
}

// lateCompletion: alpha's beat lands, but alpha is told seconds later, and its
// disk is gone then.
func lateCompletion(w *clustertest.World) {
	n := w.Node("alpha")
	w.CutNetwork(true)
	n.DiskHang[0] = true
	w.Run(4 * time.Second)
	n.Unhang(0)
	w.Run(20 * time.Millisecond)
	cutDisks(n, true)
	w.Run(30 * time.Second)
}

// lateRead: gamma cannot write to disk 2, and alpha's reads of disk 1 take so
// long that, to alpha, a majority of the disks shows that gamma stands still. A
// disk that is not read accuses nobody, so the fencing is asked for.
func lateRead(w *clustertest.World) {
	alpha, gamma := w.Node("alpha"), w.Node("gamma")
	alpha.Ask(cluster.MoveService{Service: "orders", To: "gamma"})
	w.Run(5 * time.Second)
	gamma.StopFails = true // else it would retire when it reads that it is being fenced
	w.Cut(alpha, gamma, true)
	gamma.DiskCut[2] = true
	alpha.DiskHang[1] = true
	w.Run(3600 * time.Millisecond)
	alpha.Ask(cluster.FenceNode{Node: "gamma", Why: "somebody says so"})
	w.Run(6100 * time.Millisecond)
	alpha.Unhang(1)
	w.Run(20 * time.Second)
}
