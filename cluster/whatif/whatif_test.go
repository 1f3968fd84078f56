package whatif_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/whatif"
)

// steady is a cluster in which nothing happens any more.
func steady(t *testing.T, o clustertest.Options) *clustertest.World {
	t.Helper()
	o.Seed = 11
	w := clustertest.New(t, o)
	w.Boot()
	w.Run(25 * time.Second)
	for i := range o.Services {
		if !w.Running(o.Services[i].Name) {
			w.Fail("%s does not run at the beginning", o.Services[i].Name)
		}
	}
	return w
}

func ask(t *testing.T, v cluster.View, text string) *whatif.Answer {
	t.Helper()
	faults, err := whatif.Parse(text, v.State)
	if err != nil {
		t.Fatal(err)
	}
	a, err := whatif.Ask(&v, faults)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestForetold: what is foretold is what happens to the same cluster, which the
// test world lets happen with its own disks, guards and faults: the same owners
// and the same kinds of proof.
func TestForetold(t *testing.T) {
	services := func() []cluster.Service {
		return []cluster.Service{{Name: "orders", Prefer: []string{"beta"}}, {Name: "web", After: []string{"orders"}}, {Name: "zone", Only: []string{"beta"}}}
	}
	bmc := []cluster.Ways{{Node: "beta", Ways: []cluster.Way{{Kind: cluster.WayBMC}}}}
	for _, c := range []struct {
		text    string
		disks   int
		fencing []cluster.Ways
		happen  func(w *clustertest.World)
	}{
		{"what if beta dies", 3, nil, func(w *clustertest.World) { w.Node("beta").PowerOff() }},
		{"what if beta dies?", 1, nil, func(w *clustertest.World) { w.Node("beta").PowerOff() }},
		{"what if beta freezes", 3, nil, func(w *clustertest.World) { w.Node("beta").NoReboot = true; w.Node("beta").Freeze() }},
		{"beta freezes", 3, bmc, func(w *clustertest.World) { w.Node("beta").NoReboot = true; w.Node("beta").Freeze() }},
		{"what if beta loses its disks", 3, nil, func(w *clustertest.World) {
			n := w.Node("beta")
			n.DiskCut[0], n.DiskCut[1], n.DiskCut[2] = true, true, true
		}},
		{"what if beta leaves", 3, nil, func(w *clustertest.World) { w.Node("beta").Ask(cluster.LeaveCluster{}) }},
		{"what if disk 2 is lost", 3, nil, func(w *clustertest.World) { w.Disks[1].Gone = true }},
		{"the network is cut", 3, nil, func(w *clustertest.World) { w.CutNetwork(true) }},
		{"beta dies and disk 1 is lost", 3, nil, func(w *clustertest.World) { w.Node("beta").PowerOff(); w.Disks[0].Gone = true }},
	} {
		t.Run(fmt.Sprintf("%s, %d disks", c.text, c.disks), func(t *testing.T) {
			w := steady(t, clustertest.Options{Nodes: 3, Disks: c.disks, Services: services(), Fencing: c.fencing})
			v := w.Node("alpha").View()
			a := ask(t, v, c.text)
			if again := ask(t, w.Node("alpha").View(), c.text); !reflect.DeepEqual(a, again) {
				t.Error("asked twice, it answers otherwise")
			}
			c.happen(w)
			w.Run(60 * time.Second)
			now := w.Node("alpha").View()
			for _, s := range a.Services {
				g := now.State.Grant(s.Name)
				owner := ""
				if g.Owner != 0 {
					owner = now.State.NameOf(g.Owner)
				}
				if s.After != owner || s.Granted > 0 && s.Proof.Kind != g.Proof.Kind {
					t.Errorf("%s: foretold %q by %v, happened %q by %v", s.Name, s.After, s.Proof.Kind, owner, g.Proof.Kind)
				}
				if s.Runs != (w.Owner(s.Name) != nil) {
					t.Errorf("%s: foretold that it runs: %v", s.Name, s.Runs)
				}
			}
			for _, n := range a.Nodes {
				if have := now.State.NodeNamed(n.Name); have.Proof.Kind != n.Proof.Kind {
					t.Errorf("%s: foretold %v, happened %v", n.Name, n.Proof.Kind, have.Proof.Kind)
				}
			}
		})
	}
}

// TestServiceFails: where a service fails it is started again as its budget says, then
// goes elsewhere on its owner's release.
func TestServiceFails(t *testing.T) {
	w := steady(t, clustertest.Options{Nodes: 2, Disks: 1, Services: []cluster.Service{{Name: "orders", Prefer: []string{"beta"}}}})
	a := ask(t, w.Node("alpha").View(), "service orders fails on beta")
	s := a.Services[0]
	if s.Before != "beta" || s.After != "alpha" || !s.Runs || s.Proof.Kind != cluster.ProofReleased || s.Granted <= 0 {
		t.Errorf("%+v", s)
	}
	a = ask(t, w.Node("alpha").View(), "service orders fails on beta and alpha dies")
	if s := a.Services[0]; s.Runs || s.Why == "" {
		t.Errorf("it runs though nobody can run it: %+v", s)
	}
	if len(a.After) == 0 {
		t.Error("one node is left, and nothing is said of it")
	}
}

// TestFumbles: a check that fails once has the service started again where it is, or
// elsewhere where its budget is zero; and a move is what the owner releases.
func TestFumbles(t *testing.T) {
	w := steady(t, clustertest.Options{Nodes: 2, Disks: 1, Services: []cluster.Service{
		{Name: "orders", Prefer: []string{"beta"}, Restarts: cluster.Budget{Count: 3, Within: time.Hour}}, {Name: "web", Prefer: []string{"beta"}},
	}})
	a := ask(t, w.Node("alpha").View(), "service orders fails once on beta")
	if s := a.Services[0]; s.After != "beta" || !s.Runs || s.Granted != 0 {
		t.Errorf("%+v", s)
	}
	for _, text := range []string{"service web fails once on beta", "service web moves to alpha"} {
		a = ask(t, w.Node("alpha").View(), text)
		if s := a.Services[1]; s.After != "alpha" || !s.Runs || s.Proof.Kind != cluster.ProofReleased || s.Granted <= 0 {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

// TestRefusals: what cannot be answered is refused in words that help.
func TestRefusals(t *testing.T) {
	w := steady(t, clustertest.Options{Nodes: 3, Disks: 3, Services: []cluster.Service{{Name: "orders"}}})
	v := w.Node("alpha").View()
	for text, want := range map[string]string{
		"what if pigs fly":                     "is not understood",
		"what if delta dies":                   "there is no node",
		"disk 4 is lost":                       "the cluster has 3",
		"disk 0 is lost":                       "the cluster has 3",
		"service zone fails on beta":           "there is no service",
		"service orders fails on delta":        "there is no node",
		"what if beta dies and the moon falls": "the moon falls",
		"":                                     "is not understood",
	} {
		if f, err := whatif.Parse(text, v.State); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, f, err, want)
		}
	}
	w.Node("gamma").PowerOff()
	w.Run(4 * time.Second)
	faults, err := whatif.Parse("beta dies", v.State)
	if err != nil {
		t.Fatal(err)
	}
	v = w.Node("alpha").View()
	if a, err := whatif.Ask(&v, faults); !errors.Is(err, whatif.ErrCannot) {
		t.Errorf("in the middle of a failure: %+v, %v", a, err)
	}
}

// BenchmarkAsk answers "what if beta dies" for a cluster of two nodes.
func BenchmarkAsk(b *testing.B) {
	for _, n := range []int{10, 200} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			var services []cluster.Service
			for i := range n {
				services = append(services, cluster.Service{Name: fmt.Sprintf("s%04d", i)})
			}
			w := clustertest.New(b, clustertest.Options{Seed: 3, Nodes: 2, Disks: 3, Services: services})
			w.Boot()
			w.Run(60 * time.Second)
			v := w.Node("alpha").View()
			faults, err := whatif.Parse("what if beta dies", v.State)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				a, err := whatif.Ask(&v, faults)
				if err != nil {
					b.Fatal(err)
				}
				for _, s := range a.Services {
					if !s.Runs {
						b.Fatalf("%+v", s)
					}
				}
			}
		})
	}
}
