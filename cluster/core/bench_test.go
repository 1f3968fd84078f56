package core_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// steady runs a cluster of n nodes until nothing happens any more, and returns
// the coordinator's core with the latest table and the latest message it got.
func steady(b testing.TB, n, services int) (*core.Core, ident.Instant, cluster.Table, cluster.Received) {
	b.Helper()
	var table cluster.Table
	var heard cluster.Received
	var at ident.Instant
	var list []cluster.Service
	for i := range services {
		list = append(list, cluster.Service{Name: fmt.Sprintf("s%04d", i), Prefer: []string{clustertest.NodeName(1 + i%n)}})
	}
	w := clustertest.New(b, clustertest.Options{
		Seed: 1, Nodes: n, Disks: 1, Services: list,
		Record: func(n *clustertest.Node, now ident.Instant, ev cluster.Event, _ []cluster.Action) {
			if n.ID != 1 {
				return
			}
			at = now
			switch e := ev.(type) {
			case cluster.Table:
				if e.Err == "" {
					table = e
				}
			case cluster.Received:
				heard = e
			}
		},
	})
	w.Boot()
	w.Run(20 * time.Second)
	c := w.Node("alpha").Core()
	if v := c.View(at); v.Stage != "member" || v.Coordinator != 1 || len(table.Beats) != n {
		b.Fatalf("not steady: %s, coordinator %d, %d beats", v.Stage, v.Coordinator, len(table.Beats))
	}
	return c, at, table, heard
}

// TestStepWithoutChangeAllocatesLittle: what a core does all day must not feed the
// garbage collector, however many nodes there are.
func TestStepWithoutChangeAllocatesLittle(t *testing.T) {
	const most = 8 // a step, whatever the number of nodes
	c, at, _, heard := steady(t, 64, 3)
	for name, ev := range map[string]cluster.Event{"tick": cluster.Tick{}, "message": heard} {
		n := testing.AllocsPerRun(1000, func() {
			at = at.Add(time.Microsecond)
			c.Step(at, ev)
		})
		if n > most {
			t.Errorf("a %s that changes nothing allocates %.1f times among 64 nodes, at most %d are right", name, n, most)
		}
	}
}

// BenchmarkStep measures the coordinator of a cluster in which nothing fails:
// the most that a core does all day. Every beat in a table is a new one.
func BenchmarkStep(b *testing.B) {
	for _, size := range []struct{ nodes, services int }{{2, 3}, {16, 3}, {64, 3}, {2, 200}, {2, 1000}} {
		c, at, table, heard := steady(b, size.nodes, size.services)
		name := fmt.Sprintf("nodes=%d/services=%d/", size.nodes, size.services)
		b.Run(name+"table", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Millisecond)
				table.ReadIssued, table.Completed = at-1e5, at
				for i := range table.Beats {
					table.Beats[i].Sector = append(table.Beats[i].Sector[:0], byte(i), byte(at>>16), byte(at>>24), byte(at>>32), byte(at>>40))
				}
				c.Step(at, table)
			}
		})
		b.Run(name+"message", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Microsecond)
				c.Step(at, heard)
			}
		})
		b.Run(name+"tick", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(time.Microsecond)
				c.Step(at, cluster.Tick{})
			}
		})
	}
}
