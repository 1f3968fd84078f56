package agenda

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

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
