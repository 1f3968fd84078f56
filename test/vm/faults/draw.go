package faults

import (
	"math/rand/v2"
)

// Draw draws faults at random, each kind as often as every other one: it goes through all of them in an order of its own, and
// then again in another. Two in three steps make a second fault at once, of another part.
type Draw struct {
	random *rand.Rand
	deck   []Fault
	drawn  map[string]int
}

// NewDraw gives the draws of a seed.
func NewDraw(seed uint64) *Draw {
	return &Draw{random: rand.New(rand.NewPCG(seed, 2)), drawn: map[string]int{}}
}

// Random is where a fault takes its own choices from.
func (d *Draw) Random() *rand.Rand { return rand.New(rand.NewPCG(d.random.Uint64(), 3)) }

// Next draws the faults of one step.
func (d *Draw) Next() []Fault {
	first := d.take(func(Fault) bool { return true })
	if first.Parts&Whole != 0 || first.Seldom || d.random.IntN(3) == 0 {
		return []Fault{first}
	}
	// The second of two is one that the owner outlives, or each step would be a takeover.
	second := d.take(func(f Fault) bool {
		return f.Parts&first.Parts == 0 && f.Parts&Whole == 0 && !f.Seldom && f.Want == Stays && !(first.NeedsController && f.Parts&Board != 0)
	})
	if second.Name == "" {
		return []Fault{first}
	}
	return []Fault{first, second}
}

// take takes the first fault that fits from the deck, which is filled up when it is empty. There may be none.
func (d *Draw) take(fits func(Fault) bool) Fault {
	if len(d.deck) == 0 {
		for _, f := range All() {
			if !f.Seldom || d.drawn[f.Name] < 2 {
				d.deck = append(d.deck, f)
			}
		}
		d.random.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	for i, f := range d.deck {
		if fits(f) {
			d.deck = append(d.deck[:i:i], d.deck[i+1:]...)
			d.drawn[f.Name]++
			return f
		}
	}
	return Fault{}
}

// Extra draws a fault for the time in which nodes come back: one that the owner outlives. There may be none in the deck.
func (d *Draw) Extra() (Fault, bool) {
	f := d.take(func(f Fault) bool { return f.Want == Stays && f.Parts&Whole == 0 && !f.Seldom && f.Hold <= Brief })
	return f, f.Name != ""
}
