package diskset_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const second = time.Second

// request is one request to a disk, in time of the test.
type request struct {
	disk     int
	from, to time.Duration
	fails    bool
}

func at(d time.Duration) ident.Instant { return ident.Instant(time.Hour + d) }

// landed is when everything has landed, after these requests, of a machine that ended
// at 0 s, if that takes one second on disks that answer.
func landed(list []request) time.Duration {
	w := diskset.NewWatch([]ident.UUID{{1}, {2}, {3}}, 0)
	for _, r := range list {
		e := cluster.Table{Disk: r.disk, ReadIssued: at(r.from), Completed: at(r.to)}
		if r.fails {
			e.Err, e.Completed = "no answer", 0
		}
		w.Answered(&e, second)
	}
	return w.Landed(at(0), second).Sub(at(0))
}

// every is n requests, one after another with a pause, that take so long each.
func every(n int, took, pause time.Duration) (list []request) {
	from := -took / 2
	for range n {
		list = append(list, request{from: from, to: from + took})
		from += took + pause
	}
	return list
}

func TestLanded(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		list []request
		want time.Duration
	}{
		{"no request", nil, second},
		{"disks that answer", every(20, 20*ms, 500*ms), second},
		{"just fast enough", every(20, 500*ms, 500*ms), second},
		{"a stall across the end", []request{{0, -300 * ms, 400 * ms, false}}, 1400 * ms},
		{"of any disk", []request{{2, -300 * ms, 400 * ms, false}, {0, 0, 10 * ms, false}}, 1400 * ms},
		{"a stall before the end", []request{{0, -5 * second, 0, false}}, second},
		{"a stall after it", []request{{0, 600 * ms, 8 * second, false}}, 9 * second},
		{"a stall once everything has landed", []request{{0, 1100 * ms, 8 * second, false}}, second},
		{"one after another", []request{{0, 600 * ms, 3 * second, false}, {0, 3500 * ms, 6 * second, false}}, 7 * second},
		{"an error ends no stall", []request{{0, 600 * ms, 0, true}, {0, 4 * second, 0, true}, {0, 5 * second, 5010 * ms, false}}, 6010 * ms},
		{"one short error", []request{{0, 600 * ms, 0, true}, {0, 800 * ms, 810 * ms, false}}, second},
		{"a disk that never answers again", []request{{2, 600 * ms, 0, true}, {2, 4 * second, 0, true}, {0, 5 * second, 5010 * ms, false}}, second},
	} {
		if got := landed(c.list); got != c.want {
			t.Errorf("%s: landed after %s, want %s", c.name, got, c.want)
		}
	}
}

// TestSlowDiskDelaysNobodyForEver: a disk on which every request takes as long as a stall
// puts a proof off by a few requests, however often it is asked.
func TestSlowDiskDelaysNobodyForEver(t *testing.T) {
	for _, took := range []time.Duration{501 * time.Millisecond, 700 * time.Millisecond, 999 * time.Millisecond} {
		for n := 1; n < 200; n++ {
			list := every(n, took, time.Millisecond)
			last := list[n-1].to
			if got := landed(list); n > 8 && got > last {
				t.Fatalf("after %d requests of %s the end is %s away still", n, took, got-last)
			}
		}
	}
	slower := append(every(5, 700*time.Millisecond, time.Millisecond), request{0, 3200 * time.Millisecond, 9 * second, false})
	if got := landed(slower); got != 10*second {
		t.Errorf("a stall that is longer than the disk is slow counts: %s", got)
	}
}
