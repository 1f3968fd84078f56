package allot

import (
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
	"github.com/holdfast-ha/holdfast/cluster/sight"
)

// Show completes the view of a node whose state was read: what its services are, and
// what placement sees of the nodes; Seen tells it again. run is what the owner says of the term of a grant.
func Show(v *cluster.View, seen *sight.View, run func(*cluster.Grant) (cluster.RunState, bool)) {
	v.Services = serviceViews(v.State, seen, run)
	for i := range v.Nodes {
		n := seen.Of(v.Nodes[i].ID)
		v.Nodes[i].Present, v.Nodes[i].Lost, v.Nodes[i].Lacks = n.Present, n.Lost, n.Lacks
	}
}

// Seen is the sight that a view was made of, as far as a World rests on it.
func Seen(v *cluster.View) *sight.View {
	seen := &sight.View{Self: v.Self, Fit: v.Stage == "member"}
	for i := range v.Nodes {
		n := &v.Nodes[i]
		seen.Nodes = append(seen.Nodes, sight.Node{ID: n.ID, Present: n.Present, Lost: n.Lost, Said: sight.Said{Lacks: slices.Clone(n.Lacks)}})
	}
	return seen
}

// serviceViews is every service as a node knows it.
func serviceViews(s *cluster.State, seen *sight.View, run func(*cluster.Grant) (cluster.RunState, bool)) []cluster.ServiceView {
	list := make([]cluster.ServiceView, 0, len(s.Services))
	var stand *placement.Standing
	var book *placement.Book
	if s.Conf != nil {
		book = Book(s.Conf)
		stand = World(book, s, seen).Standing()
	}
	for i := range s.Services {
		if Surplus(s, &s.Services[i]) {
			continue
		}
		v := serviceView(s, seen, &s.Services[i], run)
		if stand != nil {
			if k, ok := book.Index(v.Name); ok {
				for _, c := range stand.Judge(k) {
					v.Nodes = append(v.Nodes, cluster.Candidate{Node: c.Node, Name: c.Name, Able: c.Able, Reason: c.Reason, Remedy: c.Remedy})
				}
			}
		}
		list = append(list, v)
	}
	return list
}

// Surplus says that a copy of a service that runs everywhere is one for which there
// is no node: there are as many as a cluster may ever have nodes.
func Surplus(s *cluster.State, g *cluster.Grant) bool {
	svc, ok := s.Conf.Service(g.Service)
	if !ok || !svc.Copy.Everywhere || g.Owner != 0 {
		return false
	}
	nodes := 0
	for i := range s.Nodes {
		name := s.Nodes[i].Name
		if !slices.Contains(svc.Never, name) && (len(svc.Only) == 0 || slices.Contains(svc.Only, name)) {
			nodes++
		}
	}
	for _, name := range s.Conf.Copies(svc.Copy.Of) {
		if c, _ := s.Conf.Service(name); name != g.Service && c.Copy.Number < svc.Copy.Number {
			nodes-- // those before it have the first claim
		} else if o := s.Grant(name); name != g.Service && o != nil && o.Owner != 0 {
			nodes--
		}
	}
	return nodes <= 0
}

func serviceView(s *cluster.State, seen *sight.View, g *cluster.Grant, run func(*cluster.Grant) (cluster.RunState, bool)) cluster.ServiceView {
	v := cluster.ServiceView{
		Name: g.Service, Owner: g.Owner, Term: g.Term, Why: g.Why, Stopped: g.Stopped, Frozen: g.Frozen,
		Want: g.Want, Proof: g.Proof,
	}
	if r, ok := run(g); ok && g.Owner != 0 {
		v.State, v.Text = r.State, r.Text
	}
	svc, ok := s.Conf.Service(g.Service)
	if !ok {
		return v
	}
	switch held := Held(s, g); {
	case s.Life.Stop.On:
		v.Why = "the cluster is stopped: holdfast cluster start"
	case held != "":
		v.Why = held
	case g.Owner != 0 && g.Want != 0 && g.Want != g.Owner:
		v.Why = "on its way to " + s.NameOf(g.Want) + ": " + g.Why
	case g.Owner != 0 && g.Yield != "":
		v.Why = fmt.Sprintf("it gives way to %s, which has the higher priority: there is room for both nowhere", g.Yield)
	case g.Owner == 0 && !g.Stopped:
		if before := Waits(s, seen, svc); before != "" {
			v.Why = fmt.Sprintf("after: waits for %s", before)
		}
	}
	return v
}

// Goes is the node on which a service has its place, by what is known now: where it
// will go if its owner lets go of it. 0: nowhere. Whoever decides later may know more.
func Goes(s *cluster.State, seen *sight.View, service string) ident.NodeID {
	if s.Conf == nil {
		return 0
	}
	book := Book(s.Conf)
	if i, ok := book.Index(service); ok {
		return World(book, s, seen).Plan().Place(i)
	}
	return 0
}

// Elsewhere says that another node than its owner could run a service now.
func Elsewhere(s *cluster.State, seen *sight.View, service string) bool {
	g := s.Grant(service)
	if g == nil || s.Conf == nil {
		return false
	}
	book := Book(s.Conf)
	i, ok := book.Index(service)
	if !ok {
		return false
	}
	for _, c := range World(book, s, seen).Standing().Judge(i) {
		if c.Able && c.Node != g.Owner {
			return true
		}
	}
	return false
}
