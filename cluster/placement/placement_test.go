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

func order(r placement.Rules, n []placement.Node) string {
	var names []string
	for _, c := range placement.Judge(r, n) {
		if c.Able {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, " ")
}

func TestOrder(t *testing.T) {
	loaded := nodes()
	loaded[0].Load = 2
	cases := []struct {
		name  string
		rules placement.Rules
		nodes []placement.Node
		want  string
	}{
		{"no wishes: the lowest number", placement.Rules{}, nodes(), "alpha beta gamma"},
		{"fewer services first", placement.Rules{}, loaded, "beta gamma alpha"},
		{"preference before load", placement.Rules{Prefer: []string{"alpha"}}, loaded, "alpha beta gamma"},
		{"prefer is an order", placement.Rules{Prefer: []string{"gamma", "beta"}}, nodes(), "gamma beta alpha"},
		{"only", placement.Rules{Only: []string{"beta"}}, nodes(), "beta"},
		{"never", placement.Rules{Never: []string{"alpha"}}, nodes(), "beta gamma"},
		{"never outweighs prefer", placement.Rules{Prefer: []string{"alpha"}, Never: []string{"alpha"}}, nodes(), "beta gamma"},
	}
	for _, c := range cases {
		if got := order(c.rules, c.nodes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestEveryRefusalNamesItsReason: an administrator is never told only "no".
func TestEveryRefusalNamesItsReason(t *testing.T) {
	n := nodes()
	n[0].Unfit, n[0].Remedy = "it is on standby", "holdfast node online alpha"
	n[1].Failed = "exit status 1"
	n[2].Against = []string{"web"}
	want := map[ident.NodeID]string{1: "standby", 2: "exit status 1", 3: "apart_from: web"}
	for _, c := range placement.Judge(placement.Rules{Service: "orders"}, n) {
		if c.Able || !strings.Contains(c.Reason, want[c.Node]) || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
	n = nodes()
	n[0].Lacks = []string{"web"}
	if c := placement.Judge(placement.Rules{Service: "orders"}, n[:1])[0]; c.Able || !strings.Contains(c.Reason, "with: web") {
		t.Errorf("%+v", c)
	}
}
