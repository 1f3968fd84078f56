package placement

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// crowd is where everything is, or is to be, and what that leaves over.
type crowd struct {
	w    *World
	at   []int   // by service: the place of its node in the list; -1: nowhere yet
	load []int   // by node: services that it owns, or is to own
	used []int64 // by node and kind: what those that are there need
}

func newCrowd(w *World) crowd {
	c := crowd{w: w, at: make([]int, len(w.Services)), load: make([]int, len(w.Nodes)), used: make([]int64, len(w.Nodes)*len(w.Book.kinds))}
	for i := range w.Services {
		c.at[i] = -1
		if n := w.at(w.Services[i].Owner); n >= 0 {
			c.load[n]++
		}
	}
	return c
}

// put says where a service is, or is to be.
func (c *crowd) put(i, n int) {
	if n < 0 {
		return
	}
	c.at[i] = n
	if from := c.w.at(c.w.Services[i].Owner); from != n {
		if c.load[n]++; from >= 0 {
			c.load[from]--
		}
	}
	for _, x := range c.w.Book.needs[i] {
		c.used[n*len(c.w.Book.kinds)+x.kind] += x.value
	}
}

// rank is how far down their orders of preference a node is, all told.
func (c *crowd) rank(list []int, n int) int {
	sum := 0
	for _, i := range list {
		sum += rank(c.w.Book.rules[i].Prefer, c.w.Nodes[n].Name)
	}
	return sum
}

// others is how many services a node has beside these.
func (c *crowd) others(list []int, n int) int {
	count := c.load[n]
	for _, i := range list {
		if c.at[i] == n || c.at[i] < 0 && c.w.Services[i].Owner == c.w.Nodes[n].ID {
			count--
		}
	}
	return count
}

// blocker is a service that is on a node and keeps another one away from it;
// -1 if there is none.
func (c *crowd) blocker(i, n int) int {
	for _, o := range c.w.Book.apart[i] {
		if c.at[o] == n {
			return o
		}
	}
	for _, x := range c.w.Book.needs[i] {
		if c.left(n, x.kind) >= x.value {
			continue
		}
		for o := range c.at {
			if c.at[o] == n && o != i && slices.ContainsFunc(c.w.Book.needs[o], func(y need) bool { return y.kind == x.kind }) {
				return o
			}
		}
	}
	return -1
}

// left is how much of a kind a node has left over.
func (c *crowd) left(n, kind int) int64 {
	return amount(c.w.Nodes[n].Offers, c.w.Book.kinds[kind]) - c.used[n*len(c.w.Book.kinds)+kind]
}

// yields is who of those that come later in the plan gives way to a bundle.
type yields uint8

const (
	nobody yields = iota
	lower         // those of lower priority
	all           // everybody: it is where it is
)

// room says that a node has room for these beside those that are placed, and
// beside those that run there, have not been placed yet, and do not give way.
func (p *Plan) room(list []int, n int, give yields) bool {
	id := p.w.Nodes[n].ID
	for _, i := range list {
		for _, o := range p.w.Book.apart[i] {
			if p.at[o] == n || p.behind(o, id, give) {
				return false
			}
		}
		for _, x := range p.w.Book.needs[i] {
			if p.left(n, x.kind)-p.claimed(id, x.kind, give) < p.demand(list, x.kind) {
				return false
			}
		}
	}
	return true
}

// behind says that a service runs on a node, comes later in the plan, and does not
// give way to the bundle under consideration.
func (p *Plan) behind(o int, id ident.NodeID, give yields) bool {
	s, k := &p.w.Services[o], p.w.Book.bundle[o]
	return p.at[o] < 0 && s.Owner == id && s.Runs && !p.done[k] && k != p.now && give != all &&
		(give == nobody || p.w.Book.bundles[k].priority >= p.w.Book.bundles[p.now].priority)
}

// claimed is how much of a kind is in use on a node by those that come later and
// do not give way.
func (p *Plan) claimed(id ident.NodeID, kind int, give yields) int64 {
	var sum int64
	for o := range p.at {
		for _, x := range p.w.Book.needs[o] {
			if x.kind == kind && p.behind(o, id, give) {
				sum += x.value
			}
		}
	}
	return sum
}

// demand is how much of a kind these need together.
func (p *Plan) demand(list []int, kind int) int64 {
	var sum int64
	for _, i := range list {
		for _, x := range p.w.Book.needs[i] {
			if x.kind == kind && p.at[i] < 0 {
				sum += x.value
			}
		}
	}
	return sum
}
