package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Candidate is the verdict on one node.
type Candidate struct {
	Node   ident.NodeID
	Name   string
	Able   bool
	Rank   int // how far down the order of preference it is, for all of the bundle; the least is the best
	Reason string
	Remedy string
	others int
}

// Standing is where everything is, to be asked about.
type Standing struct{ crowd }

// Standing takes everything to be where it is, or where it is on its way to.
func (w *World) Standing() *Standing {
	s := &Standing{newCrowd(w)}
	for i := range w.Services {
		if x := &w.Services[i]; x.Owner != 0 && x.Want != 0 {
			s.put(i, w.at(x.Want))
		} else {
			s.put(i, w.at(x.Owner))
		}
	}
	return s
}

// Judge returns a verdict on every node for one service, as everything stands:
// those that may run it first, in the order in which they would be chosen.
func (s *Standing) Judge(i int) []Candidate { return s.judge(i) }

// Judge returns a verdict on every node for one service beside all that is
// planned: those that may run it first, in the order in which they would be chosen.
func (p *Plan) Judge(i int) []Candidate { return p.judge(i) }

func (c *crowd) judge(i int) []Candidate {
	list := make([]Candidate, 0, len(c.w.Nodes))
	bundle := c.companions(i)
	for n := range c.w.Nodes {
		node := &c.w.Nodes[n]
		v := Candidate{Node: node.ID, Name: node.Name, Rank: c.rank(bundle, n), others: c.others(bundle, n)}
		v.Reason, v.Remedy = c.reject(i, n)
		for _, mate := range bundle {
			if v.Reason == "" && mate != i {
				v.Reason, v.Remedy = c.mate(mate, n)
			}
		}
		if v.Able = v.Reason == ""; v.Able {
			v.Reason = c.Praise(i, n)
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Candidate) int {
		switch {
		case a.Able != b.Able && a.Able:
			return -1
		case a.Able != b.Able:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.others, b.others), cmp.Compare(a.Node, b.Node))
	})
	return list
}

// companions lists a service and those that go with it: they are meant to run.
func (c *crowd) companions(i int) []int {
	members := c.w.Book.Bundle(i)
	if len(members) == 1 {
		return members
	}
	return slices.DeleteFunc(slices.Clone(members), func(o int) bool {
		s := &c.w.Services[o]
		return o != i && !s.Runs && !(s.Fixed && s.Owner != 0)
	})
}

// mate says why a service keeps its bundle from a node.
func (c *crowd) mate(o, n int) (reason, remedy string) {
	name := c.w.Book.rules[o].Service
	if s := &c.w.Services[o]; s.Fixed {
		if s.Owner != 0 && s.Owner != c.w.Nodes[n].ID {
			return fmt.Sprintf("with: %s runs elsewhere, and is left as it is now", name), "holdfast explain " + name
		}
		return "", ""
	}
	if reason, remedy = c.reject(o, n); reason != "" {
		reason = fmt.Sprintf("with: %s cannot be there: %s", name, reason)
	}
	return reason, remedy
}

// reject names the first rule that keeps a service from a node, and what would
// change that.
func (c *crowd) reject(i, n int) (reason, remedy string) {
	node, r := &c.w.Nodes[n], &c.w.Book.rules[i]
	failed := c.w.failed(i, node.ID)
	switch {
	case node.Unfit != "":
		return node.Unfit, node.Remedy
	case slices.Contains(r.Never, node.Name):
		return "never: names it", "change the service's never: list"
	case len(r.Only) > 0 && !slices.Contains(r.Only, node.Name):
		return "only: does not name it", "add it to the service's only: list"
	case failed != "":
		return "failed there: " + failed, "mend the cause, then: holdfast service clear " + r.Service
	}
	if f := c.w.unfit(i, node.ID); f != nil && c.w.Services[i].Owner != node.ID {
		if f.Wrong {
			return "it would not run there: " + f.Text, "mend its settings: holdfast apply; to try again with these: holdfast service clear " + r.Service
		}
		return "it would not run there: " + f.Text, fmt.Sprintf("mend that on %s, which looks again by itself", node.Name)
	}
	for _, o := range c.w.Book.apart[i] {
		if c.at[o] == n {
			other := c.w.Book.rules[o].Service
			return fmt.Sprintf("apart_from: %s runs there", other), "holdfast service move " + other
		}
	}
	return c.short(i, n)
}

// short says what a node has too little of.
func (c *crowd) short(i, n int) (reason, remedy string) {
	name := c.w.Nodes[n].Name
	bundle := c.companions(i)
	for _, x := range c.w.Book.needs[i] {
		kind := c.w.Book.kinds[x.kind]
		offers, left, need := amount(c.w.Nodes[n].Offers, kind), c.left(n, x.kind), int64(0)
		for _, o := range bundle {
			for _, y := range c.w.Book.needs[o] {
				switch {
				case y.kind != x.kind:
				case c.at[o] == n:
					left += y.value
					need += y.value
				default:
					need += y.value
				}
			}
		}
		if left >= need {
			continue
		}
		remedy = fmt.Sprintf("move another service away from %s, or let it offer more %s: nodes.%s.offers", name, kind, name)
		if offers == 0 {
			return fmt.Sprintf("needs: %s of %s, and it offers none", Words(need), kind), fmt.Sprintf("say what it has: nodes.%s.offers.%s", name, kind)
		}
		return fmt.Sprintf("needs: %s of %s, and it has %s of %s left", Words(need), kind, Words(max(left, 0)), Words(offers)), remedy
	}
	return "", ""
}

// Praise says what speaks for a node that may run a service.
func (c *crowd) Praise(i, n int) string {
	r := &c.w.Book.rules[i]
	runs := "it runs " + strconv.Itoa(c.others([]int{i}, n)) + " other services"
	if at := rank(r.Prefer, c.w.Nodes[n].Name); at < len(r.Prefer) {
		return "prefer: names it at place " + strconv.Itoa(at+1) + "; " + runs
	}
	return "may run it; " + runs
}

// InTheWay says what has to be over before a service may begin on a node: what
// must be with it is still elsewhere, what must be apart from it is still there,
// or what it needs is still in use. Empty: nothing.
func (w *World) InTheWay(i int, id ident.NodeID) string {
	for _, o := range w.Book.Bundle(i) {
		if at := w.Services[o].Owner; o != i && at != 0 && at != id {
			return "with: " + w.Book.rules[o].Service + " is still elsewhere"
		}
	}
	for _, o := range w.Book.apart[i] {
		if w.Services[o].Owner == id {
			return "apart_from: " + w.Book.rules[o].Service + " is still there"
		}
	}
	n := w.at(id)
	for _, x := range w.Book.needs[i] {
		left, kind := amount(w.Nodes[n].Offers, w.Book.kinds[x.kind]), w.Book.kinds[x.kind]
		for o := range w.Services {
			if w.Services[o].Owner == id && o != i {
				left -= amount(w.Book.rules[o].Needs, kind)
			}
		}
		if left < x.value {
			return "needs: its " + kind + " is still in use there"
		}
	}
	return ""
}

// Words writes an amount as it would be written in the configuration: 8G.
func Words(v int64) string {
	for k, unit := range []string{"T", "G", "M", "K"} {
		if size := int64(1) << (40 - 10*k); v >= size && v%size == 0 {
			return strconv.FormatInt(v/size, 10) + unit
		}
	}
	return strconv.FormatInt(v, 10)
}

// Nowhere says why no node can run a service, from the verdicts on all of them.
func Nowhere(list []Candidate) string {
	text := make([]string, 0, len(list))
	for i := range list {
		if reason := list[i].Reason; !list[i].Able {
			text = append(text, list[i].Name+": "+reason)
		}
	}
	return "no node can run it: " + strings.Join(text, "; ")
}
