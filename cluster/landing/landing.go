// Package landing says when the last writes of a machine that has ended have landed.
//
// They take effect within T_z of its end, or never: that is what an array is trusted
// with. An array that stalls works on nothing meanwhile, so where a request of this
// node's own took longer than half of T_z, T_z counts again from the end of that
// stall. Only stalls count that began within twice T_z of the machine's end, and that
// this node has seen the end of: a disk that is always slow, or never answers again,
// does not put a proof off for ever.
package landing

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Stalls are the requests of this node that took long. The zero value has seen none,
// and so has nil.
type Stalls struct {
	seen []stall
}

// stall is one request.
type stall struct{ issued, completed ident.Instant }

// Took notes how long a request of this node to a shared disk has taken.
func (s *Stalls) Took(issued, completed ident.Instant, tz time.Duration) {
	if tz <= 0 || completed.Sub(issued) <= tz/2 {
		return
	}
	s.seen = slices.DeleteFunc(s.seen, func(old stall) bool { return completed.Sub(old.completed) >= tz })
	s.seen = append(s.seen, stall{issued, completed})
}

// Landed says that what a machine had sent that ended at end, at the latest, has
// landed by now.
func (s *Stalls) Landed(end, now ident.Instant, tz time.Duration) bool {
	if now.Sub(end) < tz {
		return false
	}
	if s == nil {
		return true
	}
	return !slices.ContainsFunc(s.seen, func(x stall) bool {
		return x.completed > end && x.issued <= end.Add(2*tz) && now.Sub(x.completed) < tz
	})
}
