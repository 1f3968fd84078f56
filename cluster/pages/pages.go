// Package pages divides what a node says of its services over network beats. A
// beat that carries a thousand run states would be a hundred packets five times a
// second, and one lost packet would lose all of it. So a beat carries what fits
// into a few packets: everything, where that fits, and else first what has changed
// since it was last said, then what was said least often. The hearer adds it to
// what it was told before.
//
// Nothing depends on when a page arrives: a released term stays released in its
// incarnation, and a run state decides nothing that is unsafe.
package pages

import (
	"cmp"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Size is how many bytes of run states and released terms one beat carries: a
// dozen packets. A thousand services with names of 20 bytes and short texts are
// said in full within four beats.
const Size = 12 << 10

// Speaker remembers how often each entry was said. The zero value is ready; it
// belongs to one goroutine.
type Speaker struct {
	states   map[string]told[cluster.RunState]
	released map[string]told[cluster.Released]
}

type told[T comparable] struct {
	what  T
	times int
}

// cost is what a name and a text take in a message, with what goes with them.
func cost(name, text string) int { return 12 + len(name) + min(len(text), 120) }

func stateCost(s cluster.RunState) int    { return cost(s.Service, s.Text) }
func releasedCost(r cluster.Released) int { return cost(r.Service, "") }

// Fill puts into m what the next beat says of states and released, which are
// sorted by service.
func (s *Speaker) Fill(m *cluster.Message, states []cluster.RunState, released []cluster.Released) {
	all := 0
	for _, r := range states {
		all += stateCost(r)
	}
	for _, r := range released {
		all += releasedCost(r)
	}
	if all <= Size {
		*s = Speaker{}
		m.Services, m.Released, m.Partial = states, released, false
		return
	}
	var left int
	m.Partial = true
	s.released, m.Released, left = page(s.released, released, Size/2, func(r cluster.Released) string { return r.Service }, releasedCost)
	s.states, m.Services, _ = page(s.states, states, Size/2+left, func(r cluster.RunState) string { return r.Service }, stateCost)
}

// page chooses what was said least often, in the order of the list, and counts it.
func page[T comparable](before map[string]told[T], list []T, size int, name func(T) string, cost func(T) int) (map[string]told[T], []T, int) {
	now, order := make(map[string]told[T], len(list)), make([]int, len(list))
	for i, e := range list {
		t := before[name(e)]
		if t.what != e {
			t = told[T]{what: e}
		}
		now[name(e)], order[i] = t, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(now[name(list[a])].times, now[name(list[b])].times) })
	var chosen []int
	for _, i := range order {
		if c := cost(list[i]); c <= size {
			size -= c
			chosen = append(chosen, i)
		}
	}
	slices.Sort(chosen)
	var said []T
	for _, i := range chosen {
		said = append(said, list[i])
		t := now[name(list[i])]
		t.times++
		now[name(list[i])] = t
	}
	return now, said, size
}

// Join is what is known of a peer after m, when before was known: m itself, with
// what it leaves out taken from before if that is of the same incarnation.
func Join(before, m *cluster.Message) *cluster.Message {
	if !m.Partial || before == nil || before.Inc != m.Inc {
		return m
	}
	joined := *m
	joined.Services = merge(before.Services, m.Services, func(a, b cluster.RunState) int { return cmp.Compare(a.Service, b.Service) })
	joined.Released = merge(before.Released, m.Released, func(a, b cluster.Released) int { return cmp.Compare(a.Service, b.Service) })
	return &joined
}

// merge joins two sorted lists; where both have an entry, that of newer counts.
func merge[T any](older, newer []T, compare func(a, b T) int) []T {
	all := make([]T, 0, len(older)+len(newer))
	for len(older) > 0 && len(newer) > 0 {
		c := compare(older[0], newer[0])
		if c < 0 {
			all, older = append(all, older[0]), older[1:]
			continue
		}
		if c == 0 {
			older = older[1:]
		}
		all, newer = append(all, newer[0]), newer[1:]
	}
	return append(append(all, older...), newer...)
}
