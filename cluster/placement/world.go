// Package placement says where services go, and why not elsewhere. It is a pure
// function of rules and facts: hard rules are filters with a reason and a remedy,
// never scores; among the nodes that pass, the order of preference decides, then
// the number of services, then the node's number.
//
// Services that must be together are one bundle, and are placed as one. What runs
// stays where it is as long as the rules allow it there. Whoever has the higher
// priority chooses first, and may make a service of lower priority give way, but
// only if no node can have it otherwise.
package placement

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Node is one node as the decision sees it.
type Node struct {
	ID     ident.NodeID
	Name   string
	Unfit  string // why it can run nothing now; empty if it can
	Remedy string
	Offers []Amount // of what services need; what is not named here it has none of
}

// Failure is why a service may not run on a node.
type Failure struct {
	Node  ident.NodeID
	Text  string
	Wrong bool // its own settings are to blame, not the node
}

// Service is the facts about one service.
type Service struct {
	Owner  ident.NodeID // 0: nobody
	Want   ident.NodeID // where it is on its way to, or is to go once it is free; 0: nowhere
	Runs   bool         // it is meant to run
	Fixed  bool         // it is left as it is: nothing moves it, nothing starts it
	Failed []Failure    // where it has failed
	Unfit  []Failure    // where it would not run if it were started, as far as is known
}

// World is all that a decision rests on. Services are in the order of the book.
type World struct {
	Book     *Book
	Nodes    []Node
	Services []Service
}

// fits says whether a service may run on a node as far as the two alone decide.
func (w *World) fits(i, n int) bool {
	node, r := &w.Nodes[n], &w.Book.rules[i]
	if node.Unfit != "" || w.failed(i, node.ID) != "" || w.unfit(i, node.ID) != nil {
		return false
	}
	return w.allowed(r, n)
}

// allowed says whether the service's own lists name the node, or not.
func (w *World) allowed(r *Rules, n int) bool {
	name := w.Nodes[n].Name
	return !slices.Contains(r.Never, name) && (len(r.Only) == 0 || slices.Contains(r.Only, name))
}

func (w *World) failed(i int, id ident.NodeID) string {
	for _, f := range w.Services[i].Failed {
		if f.Node == id {
			return f.Text
		}
	}
	return ""
}

// Lacks is why a service would not run on a node, if it were started there; nil if
// nothing is known to be missing.
func (w *World) Lacks(i int, id ident.NodeID) *Failure { return w.unfit(i, id) }

func (w *World) unfit(i int, id ident.NodeID) *Failure {
	for k := range w.Services[i].Unfit {
		if f := &w.Services[i].Unfit[k]; f.Node == id {
			return f
		}
	}
	return nil
}

// at is the place of a node in the list; -1 if it is not there.
func (w *World) at(id ident.NodeID) int {
	if i := int(id) - 1; i >= 0 && i < len(w.Nodes) && w.Nodes[i].ID == id {
		return i // no number below is free, as a rule
	}
	return slices.IndexFunc(w.Nodes, func(n Node) bool { return n.ID == id })
}

// amount is how much of something a list names.
func amount(list []Amount, name string) int64 {
	for i := range list {
		if list[i].Name == name {
			return list[i].Value
		}
	}
	return 0
}

// rank is a node's place in the order of preference; len(prefer) if not named.
func rank(prefer []string, name string) int {
	if i := slices.Index(prefer, name); i >= 0 {
		return i
	}
	return len(prefer)
}
