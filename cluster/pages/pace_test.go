package pages_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/pages"
)

// TestPace: a beat goes out every period; news go out at once, but for those that come
// with others; old news are none.
func TestPace(t *testing.T) {
	const period = 500 * time.Millisecond
	var p pages.Pace
	now := ident.Instant(time.Hour)
	due := func(after time.Duration, n pages.News, want bool) {
		t.Helper()
		now = now.Add(after)
		if got := p.Due(now, period, n); got != want {
			t.Fatalf("at %v with %+v: %v", time.Duration(now), n, got)
		}
	}
	due(0, pages.News{Chosen: 7}, true)
	due(period/2, pages.News{Chosen: 7}, false)
	due(period/2, pages.News{Chosen: 7}, true)
	due(100*time.Millisecond, pages.News{Chosen: 8}, true)
	if p.Next() != now.Add(period) {
		t.Error("the period does not begin with the early beat")
	}
	due(time.Millisecond, pages.News{Chosen: 8, Served: 1}, false)
	due(p.Next().Sub(now), pages.News{Chosen: 8, Served: 1}, true)
	if gap := now.Sub(ident.Instant(time.Hour)); gap >= 2*period-100*time.Millisecond {
		t.Errorf("what came right after a beat waited until %v", gap)
	}
	due(100*time.Millisecond, pages.News{Chosen: 8, Acked: 3}, true) // Served is not known for a while
	due(100*time.Millisecond, pages.News{Chosen: 8, Acked: 3, Served: 1}, false)
	due(period, pages.News{Chosen: 8, Acked: 3, Served: 1}, true)
}
