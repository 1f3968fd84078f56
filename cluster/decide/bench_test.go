package decide

import (
	"fmt"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// planned is a cluster in which no service has an owner, as after the loss of
// everything: the largest plan that there is. One service of eight must be apart
// from its neighbour, and one waits for another.
func planned(services, nodes int) (*cluster.State, *Sight) {
	conf := &cluster.Config{Name: "bench"}
	s := &cluster.State{Ver: 1, View: 1, DiskGen: 1, Conf: conf}
	v := &Sight{Now: 1 << 40, Self: 1, Timed: true, Coordinates: true, Fit: true}
	for i := range nodes {
		id := ident.NodeID(i + 1)
		inc := ident.Incarnation{N: 1, Boot: ident.BootID{byte(id)}}
		s.Nodes = append(s.Nodes, cluster.NodeState{ID: id, Name: fmt.Sprintf("node%d", id), Phase: cluster.MemberPhase, Inc: inc})
		v.Nodes = append(v.Nodes, Node{ID: id, Present: true, Claims: inc, Phase: cluster.MemberPhase, Last: inc})
	}
	for i := range services {
		svc := cluster.Service{Name: fmt.Sprintf("s%05d", i), Prefer: []string{fmt.Sprintf("node%d", i%nodes+1)}}
		if i%8 == 7 {
			svc.ApartFrom = []string{fmt.Sprintf("s%05d", i-1)}
		}
		conf.Services = append(conf.Services, svc)
		s.Services = append(s.Services, cluster.Grant{Service: svc.Name, Term: 1})
	}
	return s, v
}

// BenchmarkPlan decides where all services go.
func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct{ services, nodes int }{{10, 2}, {100, 2}, {200, 2}, {1000, 2}, {1000, 32}, {10000, 2}, {10000, 32}} {
		s, v := planned(c.services, c.nodes)
		b.Run(fmt.Sprintf("services=%d/nodes=%d", c.services, c.nodes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := NewMemory().Revise(s, v, nil)
				if g := &d.State.Services[c.services-1]; g.Owner == 0 {
					b.Fatalf("%s has no node: %s", g.Service, g.Why)
				}
			}
		})
	}
}

// BenchmarkNoChange looks at a cluster in which everything runs.
func BenchmarkNoChange(b *testing.B) {
	for _, n := range []int{10, 100, 200, 1000, 10000} {
		s, v := planned(n, 2)
		m := NewMemory()
		s = m.Revise(s, v, nil).State
		for i := range s.Services {
			g := &s.Services[i]
			v.Runs = append(v.Runs, Run{RunState: cluster.RunState{Service: g.Service, Term: g.Term, State: cluster.Up}, Known: true})
		}
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := m.Revise(s, v, nil); d.Changed() {
					b.Fatal("it changes")
				}
			}
		})
	}
}
