package agenda

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Weather is what becomes of network beats: the shares of them that are Lost and
// doubled, and how much longer than usual one may be on its way.
type Weather struct {
	Loss, Dup float64
	Lag       time.Duration
}

// Copies is how often a network beat arrives: once, but for
// faults. chance is drawn from 0 to 1.
func (w *Weather) Copies(chance func() float64) int {
	n := 1
	if w.Loss > 0 && chance() < w.Loss {
		n--
	}
	if w.Dup > 0 && chance() < w.Dup {
		n++
	}
	return n
}

// Clock is a node's clock: since Base, in true time, it goes Rate times as fast
// as the truth.
type Clock struct {
	Base time.Duration
	Own  ident.Instant
	Rate float64
}

// At is what the clock shows at an instant of the true time.
func (c *Clock) At(now time.Duration) ident.Instant {
	return c.Own.Add(time.Duration(float64(now-c.Base) * c.Rate))
}
