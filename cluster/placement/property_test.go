package placement_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
)

// scene draws the rules of a few services, nodes that offer something, and nobody
// running anything. Services that must be together are not told to be apart.
func scene(t *rapid.T, priorities int) *placement.World {
	w := &placement.World{}
	for n := range rapid.IntRange(1, 5).Draw(t, "nodes") {
		w.Nodes = append(w.Nodes, placement.Node{
			ID: ident.NodeID(n + 1), Name: string(rune('a' + n)),
			Offers: []placement.Amount{{Name: "memory", Value: rapid.Int64Range(0, 12).Draw(t, "offers")}},
		})
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 0, 2, rapid.ID[string])
	var rules []placement.Rules
	for i := range rapid.IntRange(1, 7).Draw(t, "services") {
		r := placement.Rules{Service: fmt.Sprintf("s%d", i), Priority: rapid.IntRange(0, priorities).Draw(t, "priority")}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "with") == 0 {
			r.With = []string{fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "mate"))}
		} else if i > 0 && rapid.IntRange(0, 2).Draw(t, "apart") == 0 {
			r.Apart = []string{fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "foe"))}
		}
		if rapid.Bool().Draw(t, "prefers") {
			r.Prefer = names.Draw(t, "prefer")
		}
		switch rapid.IntRange(0, 5).Draw(t, "list") {
		case 0:
			r.Only = append(names.Draw(t, "only"), "a")
		case 1:
			r.Never = names.Draw(t, "never")
		}
		if rapid.Bool().Draw(t, "needs") {
			r.Needs = []placement.Amount{{Name: "memory", Value: rapid.Int64Range(1, 8).Draw(t, "memory")}}
		}
		rules = append(rules, r)
		w.Services = append(w.Services, placement.Service{Runs: true})
		if n := rapid.IntRange(0, 3*len(w.Nodes)).Draw(t, "unfit"); n > 0 && n <= len(w.Nodes) {
			w.Services[i].Unfit = []placement.Failure{{Node: ident.NodeID(n), Text: "nginx is not installed"}}
		}
	}
	for changed := true; changed; { // a contradiction is refused where the configuration is read
		changed = false
		b := placement.Compile(rules)
		for i := range rules {
			for _, j := range b.Bundle(i) {
				if k := slices.Index(rules[i].Apart, rules[j].Service); k >= 0 {
					rules[i].Apart, changed = nil, true
				}
			}
		}
	}
	w.Book = placement.Compile(rules)
	return w
}

// broken names the hard rule that is broken where services are owned as they are.
func broken(w *placement.World) string {
	used := map[ident.NodeID]int64{}
	for i := range w.Services {
		id, r := w.Services[i].Owner, w.Book.Rules(i)
		if id == 0 {
			continue
		}
		name := w.Nodes[id-1].Name
		if slices.Contains(r.Never, name) || len(r.Only) > 0 && !slices.Contains(r.Only, name) {
			return r.Service + " may not be on " + name
		}
		for _, o := range w.Book.Bundle(i) {
			if at := w.Services[o].Owner; at != 0 && at != id {
				return r.Service + " is not with " + w.Book.Rules(o).Service
			}
		}
		for _, o := range w.Book.Apart(i) {
			if w.Services[o].Owner == id {
				return r.Service + " is on one node with " + w.Book.Rules(o).Service
			}
		}
		for _, a := range r.Needs {
			if used[id] += a.Value; used[id] > w.Nodes[id-1].Offers[0].Value {
				return name + " is full beyond what it offers"
			}
		}
	}
	return ""
}

// barred names a node that a plan chooses although the service would not run there.
func barred(w *placement.World) string {
	for _, c := range w.Plan().Choices {
		for _, f := range slices.Concat(w.Services[c.Service].Failed, w.Services[c.Service].Unfit) {
			if c.Node != 0 && f.Node == c.Node {
				return w.Book.Rules(c.Service).Service + " is to go to " + w.Nodes[c.Node-1].Name + ", where it would not run"
			}
		}
	}
	return ""
}

// carry makes one step of what a plan says that may be made now, as the cluster
// does: one who must go is stopped, and one who has stopped begins elsewhere once
// nothing is in the way. It says whether there was such a step; pick chooses.
func carry(w *placement.World, pick func(n int) int) bool {
	type step func()
	var steps []step
	for i := range w.Services {
		if s := &w.Services[i]; s.Owner != 0 && (s.Want != 0 && s.Want != s.Owner || w.Nodes[s.Owner-1].Unfit != "") {
			steps = append(steps, func() { s.Owner = 0 })
		}
	}
	for _, c := range w.Plan().Choices {
		s := &w.Services[c.Service]
		switch {
		case c.Optional:
		case s.Owner != 0 && c.Node == 0:
			steps = append(steps, func() { s.Owner = 0 })
		case s.Owner != 0:
			steps = append(steps, func() { s.Want = c.Node })
		case c.Node != 0 && w.InTheWay(c.Service, c.Node) == "":
			steps = append(steps, func() { s.Owner, s.Want = c.Node, 0 })
		}
	}
	if len(steps) == 0 {
		return false
	}
	steps[pick(len(steps))]()
	return true
}

// settle carries out plans until nothing is left to do.
func settle(t *rapid.T, w *placement.World, pick func(n int) int) {
	for range 60 * (len(w.Services) + 1) {
		if !carry(w, pick) {
			return
		}
	}
	t.Fatalf("it never comes to rest: %+v", w.Services)
}

func first(int) int { return 0 }

func owners(w *placement.World) []ident.NodeID {
	list := make([]ident.NodeID, 0, len(w.Services))
	for i := range w.Services {
		list = append(list, w.Services[i].Owner)
	}
	return list
}

// P1 and P7: no hard rule is broken, the capacity of nodes among them, whatever
// the order in which steps are made and whatever fails on the way; P6 and P8: and
// it comes to rest once nothing fails any more, in a number of steps that is bounded.
func TestAnyInterleavingKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "step") }
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			i := pick(len(w.Services))
			n := &w.Nodes[pick(len(w.Nodes))]
			switch s := &w.Services[i]; rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // it fails where it is
				if s.Owner != 0 {
					s.Failed = append(s.Failed, placement.Failure{Node: s.Owner, Text: "exit status 1"})
					s.Owner = 0
				}
			case 1: // a node is lost, and what it had is free
				n.Unfit = "it is not a member"
				for k := range w.Services {
					if w.Services[k].Owner == n.ID {
						w.Services[k].Owner = 0
					}
				}
			case 2:
				n.Unfit = ""
			case 3:
				s.Failed, s.Unfit = nil, nil
			case 4: // an administrator moves it
				for _, c := range w.Standing().Judge(i) {
					if c.Node == n.ID && c.Able && s.Owner != 0 {
						for _, o := range w.Book.Bundle(i) {
							if w.Services[o].Owner != 0 {
								w.Services[o].Want = n.ID
							}
						}
					}
				}
			default:
				carry(w, pick)
			}
			if rule := broken(w) + barred(w); rule != "" {
				t.Fatalf("%s: %+v", rule, w.Services)
			}
		}
		settle(t, w, pick)
		if rule := broken(w); rule != "" {
			t.Fatalf("at rest: %s: %+v", rule, w.Services)
		}
	})
}

// P2: the same facts in another order give the same places. Nodes keep their
// numbers, and a name decides between services that are alike.
func TestOrderOfInputMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		perm := rapid.Permutation(w.Book.All()).Draw(t, "order")
		slices.SortFunc(perm, func(a, b placement.Rules) int { return strings.Compare(a.Service, b.Service) })
		for i := range perm { // what is not sorted by name in a configuration: the lists
			slices.Reverse(perm[i].With)
			slices.Reverse(perm[i].Apart)
			slices.Reverse(perm[i].Only)
			slices.Reverse(perm[i].Never)
		}
		other := &placement.World{Book: placement.Compile(perm), Nodes: slices.Clone(w.Nodes), Services: slices.Clone(w.Services)}
		slices.Reverse(other.Nodes)
		if a, b := w.Plan().Choices, other.Plan().Choices; !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}

// P3: what has come to rest stays there: there is nothing to do, and planning
// again finds nothing.
func TestNothingMovesByItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		settle(t, w, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "step") })
		for _, c := range w.Plan().Choices {
			if w.Services[c.Service].Owner != 0 {
				t.Fatalf("%+v of %+v", c, w.Services)
			}
		}
	})
}

// P4: the loss of a node moves what it had, and nothing else, unless something of
// higher priority comes.
func TestALossMovesOnlyWhatWasThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 0)
		settle(t, w, first)
		before := owners(w)
		lost := rapid.IntRange(0, len(w.Nodes)-1).Draw(t, "lost")
		w.Nodes[lost].Unfit = "it is not a member"
		settle(t, w, first)
		for i, was := range before {
			if was != 0 && was != w.Nodes[lost].ID && w.Services[i].Owner != was {
				t.Fatalf("%s moved from %d to %d", w.Book.Rules(i).Service, was, w.Services[i].Owner)
			}
		}
	})
}

// P5: a node that joins moves nothing that runs wholly.
func TestAJoinMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 0)
		late := rapid.IntRange(0, len(w.Nodes)-1).Draw(t, "late")
		w.Nodes[late].Unfit = "it is not a member"
		settle(t, w, first)
		before := owners(w)
		w.Nodes[late].Unfit = ""
		settle(t, w, first)
		for i, was := range before {
			whole := !slices.ContainsFunc(w.Book.Bundle(i), func(o int) bool { return before[o] == 0 })
			if whole && w.Services[i].Owner != was {
				t.Fatalf("%s moved from %d to %d", w.Book.Rules(i).Service, was, w.Services[i].Owner)
			}
		}
	})
}

// P9: who names a node earlier does not find it further down the list.
func TestToPreferANodeHelpsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		settle(t, w, first)
		i := rapid.IntRange(0, len(w.Services)-1).Draw(t, "service")
		n := w.Nodes[rapid.IntRange(0, len(w.Nodes)-1).Draw(t, "node")]
		place := func() int {
			return slices.IndexFunc(w.Standing().Judge(i), func(c placement.Candidate) bool { return c.Node == n.ID })
		}
		before := place()
		rules := w.Book.All()
		r := &rules[i]
		at := slices.Index(r.Prefer, n.Name)
		if at < 0 {
			r.Prefer = append(slices.Clone(r.Prefer), n.Name)
		} else if at > 0 {
			r.Prefer = slices.Clone(r.Prefer)
			r.Prefer[at-1], r.Prefer[at] = r.Prefer[at], r.Prefer[at-1]
		}
		w.Book = placement.Compile(rules)
		if after := place(); after > before {
			t.Fatalf("%s was at place %d and is at %d", n.Name, before, after)
		}
	})
}

// P10: the reason that is given is one: without it the node may have the service,
// or another reason is given, until none is left; and the first in the list is the
// one that is chosen.
func TestReasonsAreTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		for n := range w.Nodes {
			if rapid.IntRange(0, 3).Draw(t, "unfit") == 0 {
				w.Nodes[n].Unfit = "it is on standby"
			}
		}
		settle(t, w, first)
		i := rapid.IntRange(0, len(w.Services)-1).Draw(t, "service")
		n := rapid.IntRange(0, len(w.Nodes)-1).Draw(t, "node")
		seen := map[string]bool{}
		for {
			list := w.Standing().Judge(i)
			c := list[slices.IndexFunc(list, func(c placement.Candidate) bool { return c.Node == w.Nodes[n].ID })]
			if c.Able {
				return
			}
			if seen[c.Reason] {
				t.Fatalf("%q is given again after it was taken away", c.Reason)
			}
			seen[c.Reason] = true
			relieve(t, w, i, n, c.Reason)
		}
	})
}

// relieve takes away what a reason names.
func relieve(t *rapid.T, w *placement.World, i, n int, reason string) {
	rules := w.Book.All()
	if rest, ok := strings.CutPrefix(reason, "with: "); ok {
		mate, why, _ := strings.Cut(rest, " cannot be there: ")
		i, _ = w.Book.Index(mate)
		reason = why
	}
	r, node := &rules[i], &w.Nodes[n]
	switch {
	case reason == node.Unfit:
		node.Unfit = ""
	case strings.HasPrefix(reason, "never:"):
		r.Never = nil
	case strings.HasPrefix(reason, "only:"):
		r.Only = nil
	case strings.HasPrefix(reason, "failed there"):
		w.Services[i].Failed = nil
	case strings.HasPrefix(reason, "it would not run there"):
		w.Services[i].Unfit = nil
	case strings.HasPrefix(reason, "apart_from: "):
		other, _ := w.Book.Index(strings.Fields(reason)[1])
		if w.Services[other].Owner != node.ID {
			t.Fatalf("%s: but it is not there", reason)
		}
		w.Services[other].Owner = 0
	case strings.HasPrefix(reason, "needs:"):
		node.Offers = []placement.Amount{{Name: "memory", Value: 1 << 20}}
	default:
		t.Fatalf("a reason of a kind that is not known: %q", reason)
	}
	w.Book = placement.Compile(rules)
}

// P11: what is placed nowhere can be nowhere, even if everything of lower priority
// gave way.
func TestNowhereMeansNowhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scene(t, 3)
		settle(t, w, first)
		for i := range w.Services {
			if w.Services[i].Owner != 0 || len(w.Book.Bundle(i)) > 1 {
				continue
			}
			alone := *w
			alone.Services = slices.Clone(w.Services)
			for o := range alone.Services {
				k := w.Book.Bundle(o)
				if !slices.ContainsFunc(k, func(m int) bool { return w.Book.Rules(m).Priority >= w.Book.Rules(i).Priority }) {
					alone.Services[o].Owner = 0
				}
			}
			for _, c := range alone.Standing().Judge(i) {
				if c.Able {
					t.Fatalf("%s runs nowhere, though %s could have it: %+v", w.Book.Rules(i).Service, c.Name, w.Services)
				}
			}
		}
	})
}
