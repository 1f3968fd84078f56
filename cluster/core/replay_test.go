package core_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// step is one line of a decision log.
type step struct {
	now     ident.Instant
	ev      cluster.Event // nil: somebody looked at the core
	actions []cluster.Action
}

// life is the log of one life of one daemon.
type life struct {
	set   core.Settings
	steps []step
}

// TestReplay records every life of every daemon through a failover, a move and
// restarts, and plays each into a fresh core: it must do the same. This is what
// lets a decision that somebody met in the field be looked at again.
func TestReplay(t *testing.T) {
	for _, disks := range []int{1, 3} {
		t.Run(fmt.Sprintf("disks=%d", disks), func(t *testing.T) {
			for _, l := range record(t, disks) {
				c := core.New(l.set)
				for i, s := range l.steps {
					if s.ev == nil {
						c.View(s.now)
					} else if got := c.Step(s.now, s.ev); !same(got, s.actions) {
						t.Fatalf("node %d, step %d at %d, %T: replayed\n%+v\nrecorded\n%+v", l.set.Self, i, s.now, s.ev, got, s.actions)
					}
				}
			}
		})
	}
}

// record tells the story and returns its logs.
func record(t *testing.T, disks int) []*life {
	t.Helper()
	var lives []*life
	latest := map[ident.NodeID]*life{}
	w := clustertest.New(t, clustertest.Options{
		Seed: 7, Nodes: 3, Disks: disks,
		Services: []cluster.Service{{Name: "orders", Prefer: []string{"alpha"}}, {Name: "web", After: []string{"orders"}}},
		Begin: func(n *clustertest.Node, set core.Settings) {
			latest[n.ID] = &life{set: set}
			lives = append(lives, latest[n.ID])
		},
		Record: func(n *clustertest.Node, now ident.Instant, ev cluster.Event, actions []cluster.Action) {
			l := latest[n.ID]
			l.steps = append(l.steps, step{now, keep(ev), actions})
		},
	})
	w.Boot()
	w.Run(15 * time.Second)
	w.Node("beta").Ask(cluster.MoveService{Service: "web", To: "gamma"})
	w.Run(5 * time.Second)
	w.Node("beta").KillDaemon()
	w.Node("beta").StartDaemon()
	w.Run(5 * time.Second)
	w.Node("alpha").PowerOff()
	w.Run(20 * time.Second)
	w.Node("alpha").PowerOn()
	w.Run(20 * time.Second)
	if len(lives) != 5 || w.Owner("orders") == nil {
		t.Fatalf("%d lives were recorded, want 5", len(lives))
	}
	return lives
}

// keep copies what is valid during the step only.
func keep(ev cluster.Event) cluster.Event {
	t, ok := ev.(cluster.Table)
	if !ok {
		return ev
	}
	beats := make([]cluster.SeenBeat, len(t.Beats))
	for i, b := range t.Beats {
		b.Sector = bytes.Clone(b.Sector)
		beats[i] = b
	}
	t.Beats = beats
	return t
}

func same(a, b []cluster.Action) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}
