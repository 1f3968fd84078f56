package liveness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/liveness"
)

// TestSuspicion: silence is held against a member only where the observer could
// have seen and heard it for as long.
func TestSuspicion(t *testing.T) {
	const second = time.Second
	silent := liveness.Quiet{Own: second / 10, Slow: second, Margin: second, Disk: 3 * second, Net: 3 * second}
	change := func(f func(q *liveness.Quiet)) liveness.Quiet { q := silent; f(&q); return q }
	for _, c := range []struct {
		name    string
		q       liveness.Quiet
		refused bool
		want    bool
	}{
		{"silent on disks and links", silent, false, true},
		{"its next life is heard", change(func(q *liveness.Quiet) { q.Next = true }), false, true},
		{"heard", change(func(q *liveness.Quiet) { q.Net = 0 }), false, false},
		{"heard, and asked to release its services in vain", change(func(q *liveness.Quiet) { q.Net = 0 }), true, true},
		{"beating", change(func(q *liveness.Quiet) { q.Disk = second }), false, false},
		{"the disks are slow for the observer too", change(func(q *liveness.Quiet) { q.Own = 2 * second }), false, false},
		{"registered a moment ago", change(func(q *liveness.Quiet) { q.Disk, q.Net = second/2, second/2 }), false, false},
	} {
		why := c.q.Suspect(2*second, c.refused)
		if (why != "") != c.want {
			t.Errorf("%s: suspected for %q, want %v", c.name, why, c.want)
		}
		if strings.Contains(why, "next life") != c.q.Next {
			t.Errorf("%s: suspected for %q, which has to name the next life only where one is heard", c.name, why)
		}
	}
}
