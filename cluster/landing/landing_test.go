package landing_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
)

const tz = time.Second

func at(seconds float64) ident.Instant {
	return ident.Instant(time.Hour + time.Duration(seconds*float64(time.Second)))
}

// TestStalls: T_z counts from the end of the machine, and again from the end of every
// stall that its writes may have been caught in.
func TestStalls(t *testing.T) {
	type request struct{ issued, completed float64 }
	for name, c := range map[string]struct {
		took []request
		want float64 // seconds after the end
	}{
		"quick requests":                   {[]request{{-0.2, 0.3}, {0.5, 1}, {0.9, 1.3}}, 1},
		"a stall across the end":           {[]request{{-3, 0.5}}, 1.5},
		"a stall that was over before":     {[]request{{-3, -0.1}}, 1},
		"a stall that began within T_z":    {[]request{{0.9, 4}}, 5},
		"a stall that began a little late": {[]request{{1.1, 4}}, 5},
		"a stall that began later":         {[]request{{2.1, 9}}, 1},
		"two stalls, the later one is it":  {[]request{{-1, 0.2}, {0.4, 2}}, 3},
		"two disks, one after the other":   {[]request{{0.5, 2}, {0.5, 3.5}}, 4.5},
		"always slow, for ever":            {[]request{{-0.6, 0}, {0, 0.6}, {0.6, 1.2}, {1.2, 1.8}, {1.8, 2.5}, {2.5, 3.2}}, 3.5},
	} {
		for _, late := range []time.Duration{-time.Nanosecond, 0} {
			var s landing.Stalls
			now := at(c.want).Add(late)
			for _, r := range c.took {
				if at(r.completed) <= now {
					s.Took(at(r.issued), at(r.completed), tz)
				}
			}
			if got := s.Landed(at(0), now, tz); got != (late == 0) {
				t.Errorf("%s: landed %v after the end: %v", name, now.Sub(at(0)), got)
			}
		}
	}
	if (*landing.Stalls)(nil).Landed(at(0), at(0.9), tz) || !(*landing.Stalls)(nil).Landed(at(0), at(1), tz) {
		t.Error("without any stall T_z is what counts")
	}
}
