package placement

import (
	"cmp"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Choice says where a service is to be. There is one for every service that is to
// run and has no owner, and for every other one that is to go elsewhere.
type Choice struct {
	Service  int
	Node     ident.NodeID // 0: nowhere
	For      int          // the service that it gives way to; -1: none
	Optional bool         // it may stay: the node is merely better (failback)
}

// Plan is where everything is to be.
type Plan struct {
	Choices []Choice
	crowd
	done []bool // bundles
	now  int    // the bundle under consideration
}

// Plan works out where everything is to be: for one bundle after the other, those
// of higher priority first, and of these the ones that run. What a bundle may have
// is left over by those before it; what belongs to those behind it, it may take.
func (w *World) Plan() *Plan {
	p := &Plan{crowd: newCrowd(w), done: make([]bool, len(w.Book.bundles))}
	if len(w.Nodes) == 0 {
		return p
	}
	for i := range w.Services {
		if s := &w.Services[i]; s.Fixed && s.Owner != 0 {
			p.put(i, w.at(s.Owner))
		}
	}
	for _, group := range w.Book.groups {
		for _, k := range group {
			p.done[k] = p.keeps(k)
		}
		for _, k := range group {
			if !p.done[k] && p.owned(k) {
				p.moves(k)
				p.done[k] = true
			}
		}
		for _, k := range group {
			if !p.done[k] {
				p.begins(k)
				p.done[k] = true
			}
		}
	}
	for k := range w.Book.bundles {
		if w.Book.bundles[k].returns {
			p.returns(k)
		}
	}
	return p
}

// Place is where a service has its place in the plan, whether it is there yet or is on
// its way; 0: nowhere.
func (p *Plan) Place(service int) ident.NodeID {
	if n := p.at[service]; n >= 0 {
		return p.w.Nodes[n].ID
	}
	return 0
}

// active lists the members of a bundle that are to run and may be moved.
func (p *Plan) active(k int) []int {
	var list []int
	for _, i := range p.w.Book.bundles[k].members {
		if s := &p.w.Services[i]; s.Runs && !s.Fixed {
			list = append(list, i)
		}
	}
	return list
}

func (p *Plan) owned(k int) bool {
	return slices.ContainsFunc(p.active(k), func(i int) bool { return p.w.Services[i].Owner != 0 })
}

// home is the node that owns the members of a bundle, and whether it is one node;
// -1 if nobody owns any. pin says that one of them is fixed there.
func (p *Plan) home(k int) (node int, one, pin bool) {
	node, one = -1, true
	for _, i := range p.w.Book.bundles[k].members {
		s := &p.w.Services[i]
		if s.Owner == 0 || !s.Runs && !s.Fixed {
			continue
		}
		n := p.w.at(s.Owner)
		if node >= 0 && n != node {
			one = false
		}
		if node < 0 || s.Fixed {
			node, pin = n, pin || s.Fixed
		}
	}
	return node, one, pin
}

// keeps leaves a bundle where it is, if that is in order: nothing of it is on its
// way elsewhere, and its node may have all of it. It says that this is settled.
func (p *Plan) keeps(k int) bool {
	p.now = k
	u := &p.w.Book.bundles[k]
	if u.loose {
		s := &p.w.Services[u.members[0]]
		switch {
		case !s.Runs || s.Fixed:
			return true
		case s.Owner == 0 || s.Want != 0 && s.Want != s.Owner:
			return false
		}
		n := p.w.at(s.Owner)
		if n >= 0 && p.w.Nodes[n].Unfit == "" {
			p.at[u.members[0]] = n
			return true
		}
		return false
	}
	list := p.active(k)
	home, one, _ := p.home(k)
	if len(list) == 0 {
		return true
	}
	if home < 0 || !one || p.w.Nodes[home].Unfit != "" || p.target(list) >= 0 || !p.suits(list, home) || !p.room(list, home, all) {
		return false
	}
	for _, i := range list {
		if p.w.Services[i].Owner == 0 && !p.room([]int{i}, home, nobody) {
			return false // it would push others aside: perhaps it need not
		}
	}
	p.settle(list, home)
	return true
}

// target is where members of a bundle are on their way to; -1 if none is.
func (p *Plan) target(list []int) int {
	for _, i := range list {
		if s := &p.w.Services[i]; s.Owner != 0 && s.Want != 0 && s.Want != s.Owner {
			return p.w.at(s.Want)
		}
	}
	return -1
}

// suits says that a node may run every one of these as far as their own rules and
// failures go. What runs there already has not failed there.
func (p *Plan) suits(list []int, n int) bool {
	for _, i := range list {
		switch {
		case p.w.Services[i].Owner == p.w.Nodes[n].ID:
			if !p.w.allowed(&p.w.Book.rules[i], n) {
				return false
			}
		case !p.w.fits(i, n):
			return false
		}
	}
	return true
}

// settle puts these on a node in the plan, and says so of those that are not there.
func (p *Plan) settle(list []int, n int) {
	for _, i := range list {
		p.put(i, n)
		if s := &p.w.Services[i]; s.Owner != p.w.Nodes[n].ID {
			p.choose(Choice{Service: i, Node: p.w.Nodes[n].ID, For: -1})
		}
	}
}

func (p *Plan) choose(c Choice) { p.Choices = append(p.Choices, c) }

// moves finds a place for a bundle of which something runs, but which cannot be,
// or shall not be, wholly where it is.
func (p *Plan) moves(k int) {
	p.now = k
	list := p.active(k)
	home, one, pin := p.home(k)
	if t := p.target(list); t >= 0 { // on its way: everybody follows, and what is free waits
		for _, i := range list {
			if p.w.Services[i].Owner != 0 && p.w.Services[i].Want == 0 {
				p.choose(Choice{Service: i, Node: p.w.Nodes[t].ID, For: -1})
			}
		}
		if p.suits(list, t) && p.room(list, t, nobody) {
			p.take(list, t)
		}
		return
	}
	if p.w.Nodes[max(home, 0)].Unfit != "" && one || home < 0 { // its node lets go of it, or dies
		if t := p.best(list, home, pin, nobody); t >= 0 {
			p.take(list, t)
		}
		return
	}
	if t := p.best(list, home, pin, lower); t >= 0 {
		p.settle(list, t)
		return
	}
	p.stays(list, home)
}

// take puts these on a node in the plan without saying so: what is there is
// reserved for them.
func (p *Plan) take(list []int, n int) {
	for _, i := range list {
		p.put(i, n)
	}
}

// stays leaves every member where it runs, for no node can have all of them. What
// is in the way of a service of higher priority gives way to it; what has no owner
// begins beside the others if it can.
func (p *Plan) stays(list []int, home int) {
	for _, i := range list {
		s := &p.w.Services[i]
		if s.Owner == 0 {
			continue
		}
		n := p.w.at(s.Owner)
		if by := p.blocker(i, n); by >= 0 && p.w.Book.bundles[p.w.Book.bundle[by]].priority > p.w.Book.bundles[p.w.Book.bundle[i]].priority {
			p.choose(Choice{Service: i, For: by})
			continue
		}
		p.put(i, n)
	}
	p.some(list, home)
}

// some begins those of a bundle on a node that may run there, one after the other.
func (p *Plan) some(list []int, n int) {
	for _, i := range list {
		if p.w.Services[i].Owner != 0 {
			continue
		}
		one := []int{i}
		if n >= 0 && p.w.Nodes[n].Unfit == "" && p.suits(one, n) && p.room(one, n, nobody) {
			p.settle(one, n)
			continue
		}
		p.choose(Choice{Service: i, For: -1})
	}
}

// begins places a bundle of which nothing runs: all of it on one node, or, where
// none can have all, as much of it as possible.
func (p *Plan) begins(k int) {
	p.now = k
	list := p.active(k)
	home, _, pin := p.home(k) // of those that are fixed
	if len(list) == 0 {
		return
	}
	if t := p.best(list, home, pin, lower); t >= 0 {
		p.settle(list, t)
		return
	}
	most, at := 0, home
	for n := range p.w.Nodes {
		if pin {
			break
		}
		count := 0
		for _, i := range list {
			if one := []int{i}; p.suits(one, n) && p.room(one, n, nobody) {
				count++
			}
		}
		if count > most || count == most && count > 0 && p.before(list, n, at) {
			most, at = count, n
		}
	}
	p.some(list, at)
}

// best is the node that all of these had best be on; -1 if none can have them.
// Where it is pinned no other counts; give is who may have to give way.
func (p *Plan) best(list []int, home int, pin bool, give yields) int {
	best, bestPushes := -1, false
	for n := range p.w.Nodes {
		if pin && n != home || !p.suits(list, n) {
			continue
		}
		pushes := false
		if p.w.Nodes[n].Unfit != "" {
			continue
		}
		if !p.room(list, n, nobody) {
			if pushes = true; give == nobody || !p.room(list, n, give) {
				continue
			}
		}
		switch {
		case best < 0, bestPushes && !pushes:
		case pushes && !bestPushes, !p.before(list, n, best):
			continue
		}
		best, bestPushes = n, pushes
	}
	return best
}

// before says that a node comes before another for these services: where the
// admin wants them, where most of them are, by preference, by the number of
// services there, by its own number.
func (p *Plan) before(list []int, a, b int) bool {
	wanted := func(n int) int {
		return -p.number(list, func(s *Service) bool { return s.Want == p.w.Nodes[n].ID })
	}
	there := func(n int) int {
		return -p.number(list, func(s *Service) bool { return s.Owner == p.w.Nodes[n].ID })
	}
	return cmp.Or(
		cmp.Compare(wanted(a), wanted(b)), cmp.Compare(there(a), there(b)), cmp.Compare(p.rank(list, a), p.rank(list, b)),
		cmp.Compare(p.others(list, a), p.others(list, b)), cmp.Compare(p.w.Nodes[a].ID, p.w.Nodes[b].ID)) < 0
}

func (p *Plan) number(list []int, is func(*Service) bool) int {
	count := 0
	for _, i := range list {
		if is(&p.w.Services[i]) {
			count++
		}
	}
	return count
}

// returns offers a bundle that runs in order a node that it prefers, if one of its
// members goes back by itself and would be better off there.
func (p *Plan) returns(k int) {
	p.now = k
	list := p.active(k)
	home, one, pin := p.home(k)
	if home < 0 || !one || pin || p.target(list) >= 0 || len(list) == 0 {
		return
	}
	for _, i := range list {
		if p.w.Services[i].Owner == 0 || p.at[i] != home {
			return
		}
	}
	best := -1
	for n := range p.w.Nodes {
		if n == home || !p.suits(list, n) || p.rank(list, n) >= p.rank(list, home) || !p.room(list, n, nobody) {
			continue
		}
		gains := slices.ContainsFunc(list, func(i int) bool {
			return p.w.Book.rules[i].Returns && p.rank([]int{i}, n) < p.rank([]int{i}, home)
		})
		if gains && (best < 0 || cmp.Or(cmp.Compare(p.rank(list, n), p.rank(list, best)), cmp.Compare(p.others(list, n), p.others(list, best))) < 0) {
			best = n
		}
	}
	for _, i := range list {
		if best >= 0 {
			p.choose(Choice{Service: i, Node: p.w.Nodes[best].ID, For: -1, Optional: true})
		}
	}
}
