package placement_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
)

func nodes() []placement.Node {
	return []placement.Node{{ID: 1, Name: "alpha"}, {ID: 2, Name: "beta"}, {ID: 3, Name: "gamma"}}
}

// world is these services on three nodes; every one is meant to run, and has no owner.
func world(rules ...placement.Rules) *placement.World {
	w := &placement.World{Book: placement.Compile(rules), Nodes: nodes()}
	for range rules {
		w.Services = append(w.Services, placement.Service{Runs: true})
	}
	return w
}

// goes is where the plan sends every service: "orders:alpha", or "orders:-".
func goes(w *placement.World) string {
	var text []string
	for _, c := range w.Plan().Choices {
		to := "-"
		if c.Node != 0 {
			to = w.Nodes[c.Node-1].Name
		}
		if c.For >= 0 {
			to += "(for " + w.Book.Rules(c.For).Service + ")"
		}
		if c.Optional {
			to += "?"
		}
		text = append(text, w.Book.Rules(c.Service).Service+":"+to)
	}
	return strings.Join(text, " ")
}

func TestPlan(t *testing.T) {
	with := func(name string, mates ...string) placement.Rules { return placement.Rules{Service: name, With: mates} }
	needs := func(name string, gigabytes int64, priority int) placement.Rules {
		return placement.Rules{Service: name, Priority: priority, Needs: []placement.Amount{{Name: "memory", Value: gigabytes << 30}}}
	}
	offer := func(w *placement.World, gigabytes ...int64) {
		for n, g := range gigabytes {
			w.Nodes[n].Offers = []placement.Amount{{Name: "memory", Value: g << 30}}
		}
	}
	for _, c := range []struct {
		name  string
		world *placement.World
		facts func(w *placement.World)
		want  string
	}{
		{"no wishes: the lowest number", world(placement.Rules{Service: "a"}), nil, "a:alpha"},
		{"fewer services first", world(placement.Rules{Service: "a"}, placement.Rules{Service: "b"}), nil, "a:alpha b:beta"},
		{"preference before load", world(placement.Rules{Service: "a", Prefer: []string{"beta"}}, placement.Rules{Service: "b", Prefer: []string{"beta"}}), nil, "a:beta b:beta"},
		{"prefer is an order", world(placement.Rules{Service: "a", Prefer: []string{"gamma", "beta"}}), func(w *placement.World) { w.Nodes[2].Unfit = "off" }, "a:beta"},
		{"never outweighs prefer", world(placement.Rules{Service: "a", Prefer: []string{"alpha"}, Never: []string{"alpha"}}), nil, "a:beta"},
		{"what runs stays", world(placement.Rules{Service: "a", Prefer: []string{"alpha"}}), func(w *placement.World) { w.Services[0].Owner = 3 }, ""},
		{"unless its rules have changed", world(placement.Rules{Service: "a", Only: []string{"beta"}}), func(w *placement.World) { w.Services[0].Owner = 3 }, "a:beta"},
		{"and it has somewhere to go", world(placement.Rules{Service: "a", Only: []string{"beta"}}), func(w *placement.World) { w.Services[0].Owner, w.Nodes[1].Unfit = 3, "off" }, ""},
		{"a bundle goes to one node", world(with("a"), with("b", "a"), placement.Rules{Service: "c"}), nil, "a:alpha b:alpha c:beta"},
		{"where all of it can be", world(with("a"), placement.Rules{Service: "b", With: []string{"a"}, Only: []string{"gamma"}}), nil, "a:gamma b:gamma"},
		{"it follows what runs", world(with("a"), with("b", "a")), func(w *placement.World) { w.Services[0].Owner = 2 }, "b:beta"},
		{"it moves as one if a part fails", world(with("a"), with("b", "a")), func(w *placement.World) {
			w.Services[0].Owner, w.Services[1].Failed = 1, []placement.Failure{{Node: 1, Text: "x"}}
		}, "a:beta b:beta"},
		{"the rest stays up if a part can be nowhere", world(with("a"), placement.Rules{Service: "b", With: []string{"a"}, Only: []string{"beta"}}), func(w *placement.World) {
			w.Services[0].Owner, w.Nodes[1].Unfit = 1, "off"
		}, "b:-"},
		{"it is brought together where most of it is", world(with("a"), with("b", "a"), with("c", "a")), func(w *placement.World) {
			w.Services[0].Owner, w.Services[1].Owner, w.Services[2].Owner = 1, 2, 2
		}, "a:beta"},
		{"what is left as it is holds the others", world(with("a"), with("b", "a")), func(w *placement.World) {
			w.Services[0], w.Services[1].Owner = placement.Service{Owner: 3, Runs: true, Fixed: true}, 1
		}, "b:gamma"},
		{"a bundle on its way waits for all of it", world(with("a"), with("b", "a")), func(w *placement.World) { w.Services[0].Owner, w.Services[0].Want = 1, 2 }, ""},
		{"apart", world(placement.Rules{Service: "a"}, placement.Rules{Service: "b", Prefer: []string{"alpha"}, Apart: []string{"a"}}), nil, "a:alpha b:beta"},
		{"apart in a changed configuration: the later one moves", world(placement.Rules{Service: "a"}, placement.Rules{Service: "b", Apart: []string{"a"}}), func(w *placement.World) {
			w.Services[0].Owner, w.Services[1].Owner = 2, 2
		}, "b:alpha"},
		{"capacity", world(needs("a", 8, 0), needs("b", 8, 0), needs("c", 8, 0)), func(w *placement.World) { offer(w, 16, 12) }, "a:alpha b:beta c:alpha"},
		{"who offers nothing has nothing", world(needs("a", 1, 0)), nil, "a:-"},
		{"the lower priority gives way, to another node if there is one", world(needs("a", 8, 0), needs("b", 12, 5)), func(w *placement.World) {
			offer(w, 16, 8)
			w.Services[0].Owner = 1
		}, "b:alpha a:beta"},
		{"or to none", world(needs("a", 8, 0), needs("b", 12, 5)), func(w *placement.World) {
			offer(w, 16)
			w.Services[0].Owner = 1
		}, "b:alpha a:-(for b)"},
		{"but not if there is room elsewhere", world(needs("a", 8, 0), placement.Rules{
			Service: "b", Priority: 5, Prefer: []string{"alpha"}, Needs: []placement.Amount{{Name: "memory", Value: 12 << 30}},
		}), func(w *placement.World) {
			offer(w, 16, 0, 12)
			w.Services[0].Owner = 1
		}, "b:gamma"},
		{"the same priority gives way to nobody", world(needs("a", 8, 5), needs("b", 12, 5)), func(w *placement.World) {
			offer(w, 16)
			w.Services[0].Owner = 1
		}, "b:-"},
		{"it may return", world(placement.Rules{Service: "a", Prefer: []string{"alpha"}, Returns: true}), func(w *placement.World) { w.Services[0].Owner = 2 }, "a:alpha?"},
		{"a bundle returns as one", world(placement.Rules{Service: "a", Prefer: []string{"alpha"}, Returns: true}, with("b", "a")), func(w *placement.World) {
			w.Services[0].Owner, w.Services[1].Owner = 2, 2
		}, "a:alpha? b:alpha?"},
		{"nothing begins that is not meant to run", world(placement.Rules{Service: "a"}), func(w *placement.World) { w.Services[0].Runs = false }, ""},
	} {
		if c.facts != nil {
			c.facts(c.world)
		}
		if got := goes(c.world); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestEveryRefusalNamesItsReason: an administrator is never told only "no".
func TestEveryRefusalNamesItsReason(t *testing.T) {
	w := world(
		placement.Rules{Service: "orders", Apart: []string{"web"}, With: []string{"cache"}},
		placement.Rules{Service: "web"}, placement.Rules{Service: "cache", Never: []string{"delta"}},
		placement.Rules{Service: "big"})
	w.Nodes = append(w.Nodes, placement.Node{ID: 4, Name: "delta"}, placement.Node{ID: 5, Name: "epsilon"})
	w.Nodes[0].Unfit, w.Nodes[0].Remedy = "it is on standby", "holdfast node online alpha"
	w.Services[0].Failed = []placement.Failure{{Node: 2, Text: "exit status 1"}}
	w.Services[1].Owner = 3
	want := map[ident.NodeID]string{1: "standby", 2: "failed there: exit status 1", 3: "apart_from: web", 4: "with: cache cannot be there: never"}
	list := w.Standing().Judge(0)
	if !list[0].Able || list[0].Name != "epsilon" {
		t.Errorf("the only able one: %+v", list[0])
	}
	for _, c := range list[1:] {
		if c.Able || !strings.Contains(c.Reason, want[c.Node]) || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
	w = world(placement.Rules{Service: "big", Needs: []placement.Amount{{Name: "memory", Value: 8 << 30}}})
	w.Nodes[0].Offers = []placement.Amount{{Name: "memory", Value: 4 << 30}}
	list = w.Standing().Judge(0)
	if !strings.Contains(list[0].Reason, "8G of memory, and it has 4G of 4G left") || !strings.Contains(list[1].Reason, "offers none") {
		t.Errorf("%+v", list)
	}
	if text := placement.Nowhere(list); !strings.HasPrefix(text, "no node can run it: alpha: needs") {
		t.Error(text)
	}
}

func TestWords(t *testing.T) {
	for v, want := range map[int64]string{0: "0", 7: "7", 1 << 10: "1K", 8 << 30: "8G", 1536 << 20: "1536M", 3 << 40: "3T"} {
		if got := placement.Words(v); got != want {
			t.Errorf("%d is %s, want %s", v, got, want)
		}
	}
}

// TestBundleOrder: the members start after those that they need, then by
// priority, then by name.
func TestBundleOrder(t *testing.T) {
	b := placement.Compile([]placement.Rules{
		{Service: "app", With: []string{"fs"}, After: []string{"fs"}},
		{Service: "fs", After: []string{"lun"}},
		{Service: "log", With: []string{"app"}, Priority: 9},
		{Service: "lun", With: []string{"app"}},
		{Service: "other"},
	})
	var names []string
	for _, i := range b.Bundle(0) {
		names = append(names, b.Rules(i).Service)
	}
	if got := strings.Join(names, " "); got != "log lun fs app" {
		t.Error(got)
	}
	if i, ok := b.Index("other"); !ok || len(b.Bundle(i)) != 1 || b.Len() != 5 {
		t.Error("other is in a bundle")
	}
	if _, ok := b.Index("nothing"); ok {
		t.Error("there is no such service")
	}
}
