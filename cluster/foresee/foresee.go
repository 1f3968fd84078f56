// Package foresee says what another configuration would do to every service, before
// it is applied: what stays, starts, stops, moves or is started again from which
// member on, and why. It asks those who will decide: the state is reconfigured as
// applying does it (package cluster), placement plans (package placement), and what
// of a stack can stay is what the node that runs it will find. It changes nothing.
package foresee

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
	"github.com/holdfast-ha/holdfast/cluster/revise"
	"github.com/holdfast-ha/holdfast/cluster/services"
	"github.com/holdfast-ha/holdfast/cluster/sight"
)

// Kind is what happens to a service.
type Kind string

// What may happen. A service that Waits runs nowhere, and would not with the new
// configuration.
const (
	Stays    Kind = "stay"
	Starts   Kind = "start"
	Stops    Kind = "stop"
	Moves    Kind = "move"
	Restarts Kind = "restart"
	Reloads  Kind = "reload" // it takes over new settings while it runs, or is restarted if that cannot be
	Waits    Kind = "wait"
)

// Fate is what happens to one service.
type Fate struct {
	Service  string
	Kind     Kind
	From, To string // nodes; empty: none
	Member   string // Restarts, Reloads: the first member that changes; Restarts, empty: all are stopped and started
	Formerly string // the name under which it runs now, if it is only renamed
	Why      string
	Problem  string // why the configuration cannot be applied; empty if it can
	Nodes    []cluster.Candidate
}

// Word is what a node says that it lacks for a service of the new configuration, or
// for all copies of one.
type Word struct{ Node, Service, Text string }

// Of tells every service's fate, in the order in which things happen: first what
// stops for good, then what starts after what. Services of which nothing runs and
// nothing would are told too; v is what a node knows, with its state, and words are
// what nodes were asked for this.
func Of(v *cluster.View, next *cluster.Config, words []Word) []Fate {
	f := forecast{view: v, seen: allot.Seen(v), now: v.State.Conf, next: next, state: v.State.Clone(), why: map[string]string{}, later: map[string]ident.NodeID{}}
	if f.now == nil {
		f.now = &cluster.Config{}
	}
	f.hear(words)
	revise.Apply(f.state, nil, next)
	f.enter()
	f.play()
	f.renamed = Renamed(f.now, next)
	var list []Fate
	for _, name := range f.leaving() {
		list = append(list, f.leaves(name))
	}
	for _, name := range order(next) {
		if g := f.state.Grant(name); !allot.Surplus(f.state, g) {
			list = append(list, f.fate(g))
		}
	}
	return list
}

// hear takes what nodes lack: what they say in their beats of stacks that stay as they
// are, and what they were asked of others. Of what runs on it a node is not asked.
func (f *forecast) hear(words []Word) {
	for i := range f.seen.Nodes {
		n := &f.seen.Nodes[i]
		n.Lacks = slices.DeleteFunc(n.Lacks, func(r cluster.RunState) bool { return !f.kept(r.Service) })
		for _, w := range words {
			if w.Node == f.state.NameOf(n.ID) && !f.runs(w.Service, n.ID) {
				n.Lacks = append(n.Lacks, cluster.RunState{Service: w.Service, Text: w.Text})
			}
		}
	}
}

// kept says that the stack of a service, and of all its copies, stays as it is.
func (f *forecast) kept(family string) bool {
	before, after := f.now.Copies(family), f.next.Copies(family)
	if len(before) == 0 || len(after) == 0 {
		return false // it comes, or goes
	}
	old, _ := f.now.Service(before[0])
	next, _ := f.next.Service(after[0])
	return services.SameStack(old, next) == max(len(old.Stack), len(next.Stack))
}

// runs says that a node has a service, or a copy of it, now.
func (f *forecast) runs(family string, node ident.NodeID) bool {
	return slices.ContainsFunc(f.now.Copies(family), func(name string) bool {
		g := f.view.State.Grant(name)
		return g != nil && g.Owner == node
	})
}

// forecast is one look ahead.
type forecast struct {
	view      *cluster.View
	seen      *sight.View
	now, next *cluster.Config
	state     *cluster.State // with the new configuration; owners as they will be
	stand     *placement.Standing
	book      *placement.Book
	why       map[string]string       // of services that leave their node
	later     map[string]ident.NodeID // where services return to by themselves
	renamed   map[string]string       // by new name
}

// enter gives every service of the new configuration a grant.
func (f *forecast) enter() {
	for i := range f.next.Services {
		name := f.next.Services[i].Name
		if f.state.Grant(name) == nil {
			at, _ := slices.BinarySearchFunc(f.state.Services, name, func(g cluster.Grant, name string) int {
				return strings.Compare(g.Service, name)
			})
			f.state.Services = slices.Insert(f.state.Services, at, cluster.Grant{Service: name})
		}
	}
}

// play lets everything stop and start until nothing is left to be done. In every
// round placement plans with what is there; what may begin begins, what is asked to
// leave is asked, and only then what goes is gone: the next round starts from there.
func (f *forecast) play() {
	f.book = allot.Book(f.next)
	for range 3*len(f.state.Services) + 8 { // a bound: two services could chase each other
		begun := !f.state.Life.Stop.On && f.round()
		if gone := f.release(); !begun && !gone {
			break
		}
	}
	f.stand = allot.World(f.book, f.state, f.seen).Standing()
}

// release frees what is to be stopped, those first that start after others.
func (f *forecast) release() (changed bool) {
	var free []*cluster.Grant
	for i := range f.state.Services {
		g := &f.state.Services[i]
		if g.Owner == 0 || !f.state.Goes(g) || f.state.Dependent(g.Service, nil) != "" {
			continue
		}
		if len(g.Uses) > 0 {
			f.because(g, "the configuration takes "+g.Uses[0]+" from it")
		}
		free = append(free, g)
	}
	for _, g := range free {
		g.Owner, g.Yield = 0, ""
	}
	return len(free) > 0
}

// round takes one plan for done, and says whether it has changed anything.
func (f *forecast) round() (changed bool) {
	w := allot.World(f.book, f.state, f.seen)
	p := w.Plan()
	f.later = map[string]ident.NodeID{}
	for _, c := range p.Choices {
		g := f.state.Grant(f.book.Rules(c.Service).Service)
		switch {
		case c.Optional:
			f.later[g.Service] = c.Node
			continue
		case g.Owner == 0:
			if c.Node == 0 || f.waits(g) || w.InTheWay(c.Service, c.Node) != "" {
				continue
			}
			w.Services[c.Service].Owner = c.Node
			g.Owner, g.Want, g.Uses = c.Node, 0, nil
		case c.Node == 0:
			if g.Yield != "" || g.Want != 0 {
				continue
			}
			g.Yield = f.book.Rules(c.For).Service
			f.because(g, "it gives way to "+g.Yield+", which has the higher priority")
		case g.Want == c.Node:
			continue
		case g.Owner == c.Node:
			g.Want = c.Node // the others come to it
		default:
			f.because(g, objection(p.Judge(c.Service), g.Owner))
			g.Want = c.Node
		}
		changed = true
	}
	return changed
}

// waits says that a service may not begin yet: what it starts after is not there, or
// what it uses is still another's.
func (f *forecast) waits(g *cluster.Grant) bool {
	if what, _ := f.state.InUse(g.Service); what != "" {
		return true
	}
	svc, _ := f.next.Service(g.Service)
	for _, name := range svc.After {
		if !slices.ContainsFunc(f.next.Copies(name), func(one string) bool {
			o := f.state.Grant(one)
			return o != nil && o.Owner != 0 && !f.state.Goes(o)
		}) {
			return true
		}
	}
	return false
}

func (f *forecast) because(g *cluster.Grant, why string) {
	if f.why[g.Service] == "" {
		f.why[g.Service] = why
	}
}

// objection is what speaks against a service where it is.
func objection(list []placement.Candidate, at ident.NodeID) string {
	for _, x := range list {
		if x.Node == at && !x.Able {
			return fmt.Sprintf("%s may not have it: %s", x.Name, x.Reason)
		}
	}
	return "what it must be with goes there"
}

// leaving lists what the new configuration has no more, those first that start last.
func (f *forecast) leaving() []string {
	var list []string
	for _, name := range order(f.now) {
		if _, stays := f.next.Service(name); !stays {
			list = append([]string{name}, list...)
		}
	}
	return list
}

// leaves is the fate of a service that is removed.
func (f *forecast) leaves(name string) Fate {
	out := Fate{Service: name, Kind: Waits, Why: "it is removed; nothing of it runs"}
	g := f.view.State.Grant(name)
	if g == nil || g.Owner == 0 {
		return out
	}
	out.Kind, out.From, out.Why = Stops, f.state.NameOf(g.Owner), "it is removed from the configuration"
	for to, from := range f.renamed {
		if from == name {
			out.Why = "its new name is " + to
		}
	}
	if held := heldBy(f.view.State, g); held != "" {
		out.Kind, out.To, out.Why = Stays, out.From, out.Why+"; it is stopped later: "+held
	}
	return out
}

// heldBy says what keeps a service as it is; empty if nothing does.
func heldBy(s *cluster.State, g *cluster.Grant) string {
	if g.Frozen {
		return "it is frozen until holdfast service unfreeze " + g.Service
	}
	return allot.Held(s, g)
}

// order lists services so that those which start after others stand behind them.
func order(c *cluster.Config) []string {
	var list []string
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		s, ok := c.Service(name)
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, before := range s.After {
			for _, one := range c.Copies(before) {
				visit(one)
			}
		}
		list = append(list, name)
	}
	for i := range c.Services {
		visit(c.Services[i].Name)
	}
	return list
}
