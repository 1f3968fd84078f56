package faults

import (
	"math/rand/v2"
)

// Draw draws faults at random. It goes through all kinds in an order of its own, and then again in another, so that each comes as
// often as every other one; in two of three steps with a second one at once, of another part. The second ones, and those that
// are made while nodes come back, are kinds that the owner outlives, drawn in the same way.
type Draw struct {
	random    *rand.Rand
	all, mild deck
	drawn     map[string]int
}

// deck is what is left of one order.
type deck []Fault

// NewDraw gives the draws of a seed.
func NewDraw(seed uint64) *Draw {
	return &Draw{random: rand.New(rand.NewPCG(seed, 2)), drawn: map[string]int{}}
}

// Random is where a fault takes its own choices from.
func (d *Draw) Random() *rand.Rand { return rand.New(rand.NewPCG(d.random.Uint64(), 3)) }

// seldom is how often a fault is drawn that is to come seldom.
const seldom = 2

// Next draws the faults of one step.
func (d *Draw) Next() []Fault {
	first, _ := d.take(&d.all, func(f Fault) bool { return !f.Seldom || d.drawn[f.Name] < seldom })
	d.drawn[first.Name]++
	if first.Parts&Whole != 0 || first.Seldom || d.random.IntN(3) == 0 {
		return []Fault{first}
	}
	second, found := d.take(&d.mild, func(f Fault) bool {
		return outlived(f) && f.Parts&first.Parts == 0 && !(first.NeedsController && f.Parts&Board != 0)
	})
	if !found {
		return []Fault{first}
	}
	return []Fault{first, second}
}

// Extra draws a fault for the time in which nodes come back.
func (d *Draw) Extra() Fault {
	f, _ := d.take(&d.mild, func(f Fault) bool { return outlived(f) && f.Hold <= Brief })
	return f
}

// outlived says that the owner outlives the fault, and that it can be made beside another.
func outlived(f Fault) bool { return f.Want == Stays && f.Parts&Whole == 0 && !f.Seldom }

// take takes the first fault that fits. Where none is left that does, the deck is thrown away for a new one, once.
func (d *Draw) take(from *deck, fits func(Fault) bool) (Fault, bool) {
	for range 2 {
		for i, f := range *from {
			if fits(f) {
				*from = append((*from)[:i:i], (*from)[i+1:]...)
				return f, true
			}
		}
		*from = All()
		d.random.Shuffle(len(*from), func(i, j int) { (*from)[i], (*from)[j] = (*from)[j], (*from)[i] })
	}
	return Fault{}, false
}
