package faults

import (
	"math/rand/v2"
	"slices"
)

// Draw draws faults at random. A step is of a kind that the owner may not outlive, or that is of everything: it goes through
// all of these in an order of its own, and then again in another, so that each comes as often as every other one; in two of
// three steps with a second one at once, of another part. The second ones, and those that are made while nodes come back, are
// kinds that the owner outlives, drawn in the same way.
type Draw struct {
	random     *rand.Rand
	hard, mild deck
	drawn      map[string]int
}

// deck is all kinds that are drawn from, and what is left of one order of them.
type deck struct{ kinds, left []Fault }

// NewDraw gives the draws of a seed.
func NewDraw(seed uint64) *Draw {
	d := &Draw{random: rand.New(rand.NewPCG(seed, 2)), drawn: map[string]int{}}
	for _, f := range All() {
		if outlived(f) {
			d.mild.kinds = append(d.mild.kinds, f)
		} else {
			d.hard.kinds = append(d.hard.kinds, f)
		}
	}
	return d
}

// Random is where a fault takes its own choices from.
func (d *Draw) Random() *rand.Rand { return rand.New(rand.NewPCG(d.random.Uint64(), 3)) }

// seldom is how often a fault is drawn that is to come seldom.
const seldom = 2

// Next draws the faults of one step.
func (d *Draw) Next() []Fault {
	first, _ := d.take(&d.hard, func(f Fault) bool { return !f.Seldom || d.drawn[f.Name] < seldom })
	d.drawn[first.Name]++
	if first.Parts&Whole != 0 || first.Seldom || d.random.IntN(3) == 0 {
		return []Fault{first}
	}
	second, found := d.take(&d.mild, func(f Fault) bool {
		return f.Parts&first.Parts == 0 && !(first.NeedsController && f.Parts&Board != 0)
	})
	if !found {
		return []Fault{first}
	}
	return []Fault{first, second}
}

// Extra draws a fault for the time in which nodes come back.
func (d *Draw) Extra() Fault {
	f, _ := d.take(&d.mild, func(f Fault) bool { return f.Hold <= Brief })
	return f
}

// Back takes back faults that were drawn and could not be made: they come next.
func (d *Draw) Back(list ...Fault) {
	for _, f := range list {
		if outlived(f) {
			d.mild.left = slices.Insert(d.mild.left, 0, f)
			continue
		}
		d.drawn[f.Name]--
		d.hard.left = slices.Insert(d.hard.left, 0, f)
	}
}

// outlived says that the owner outlives the fault, and that it can be made beside another.
func outlived(f Fault) bool { return f.Want == Stays && f.Parts&Whole == 0 && !f.Seldom }

// take takes the first fault that fits. Where none is left that does, a new order of all follows those that are left.
func (d *Draw) take(from *deck, fits func(Fault) bool) (Fault, bool) {
	for range 2 {
		if i := slices.IndexFunc(from.left, fits); i >= 0 {
			f := from.left[i]
			from.left = slices.Delete(from.left, i, i+1)
			return f, true
		}
		more := slices.Clone(from.kinds)
		d.random.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
		from.left = append(from.left, more...)
	}
	return Fault{}, false
}
