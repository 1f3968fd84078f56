package lease_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// Sets of the disks 0 to 3, of which each test has as many as it needs.
const (
	first quorum.Set = 0b0001 // disk 0 alone
	three quorum.Set = 0b0111
	other quorum.Set = 0b1110 // disk 3 in the place of disk 0
)

// over returns a lease over four disks that counts by set, claimed at 100 s with F
// 5 s, after these cycles.
func over(t *testing.T, set quorum.Set, cycles map[int]ident.Instant) *lease.Lease {
	t.Helper()
	l := lease.New(4, set)
	must(t, l.Claim(100*sec, k7, 130*sec, params))
	for d := range 4 {
		if at, ok := cycles[d]; ok {
			l.CycleCompleted(d, k7, at)
		}
	}
	return l
}

func TestChangeSets(t *testing.T) {
	type cycle = map[int]ident.Instant
	for name, c := range map[string]struct {
		set    quorum.Set
		cycles cycle
		now    ident.Instant
		to     []quorum.Set
		want   error
		start  ident.Instant // of the lease afterwards
	}{
		"nothing": {first, cycle{0: 104 * sec}, 104 * sec, nil, lease.ErrSets, 104 * sec},
		"a disk that is not there": {
			first,
			cycle{0: 104 * sec},
			104 * sec,
			[]quorum.Set{0b10000},
			lease.ErrSets, 104 * sec,
		},
		"one grows to three that all carry the beat": {
			first,
			cycle{0: 104 * sec, 1: 104 * sec, 2: 103 * sec},
			104 * sec,
			[]quorum.Set{first, three},
			nil, 104 * sec,
		},
		"one grows to three of which two carry it a little late": {
			first,
			cycle{0: 106 * sec, 1: 103 * sec},
			106 * sec,
			[]quorum.Set{first, three},
			nil, 103 * sec,
		},
		"one grows to three of which no majority ever carried it": {
			first,
			cycle{0: 106 * sec},
			106 * sec,
			[]quorum.Set{first, three},
			lease.ErrStale, 106 * sec,
		},
		"one grows to three of which the majority carried it too long ago": {
			first,
			cycle{0: 110 * sec, 1: 103 * sec},
			110 * sec,
			[]quorum.Set{first, three},
			lease.ErrStale, 110 * sec,
		},
		"the new set alone": {
			three,
			cycle{0: 108 * sec, 1: 108 * sec, 2: 107 * sec, 3: 107 * sec},
			108 * sec,
			[]quorum.Set{other},
			nil, 107 * sec,
		},
		"a set that carries it better moves the start on": {
			three,
			cycle{0: 104 * sec, 1: 103 * sec, 2: 108 * sec, 3: 107 * sec},
			108 * sec,
			[]quorum.Set{other},
			nil, 107 * sec,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := over(t, c.set, c.cycles)
			if err := l.ChangeSets(c.now, c.to...); err != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if got := l.View().Start; got != c.start {
				t.Errorf("the lease starts at %v, want %v", time.Duration(got), time.Duration(c.start))
			}
		})
	}
}

// TestCyclesCountByTheChangedSets: a majority of each set is needed, and of a set
// that counts no more none.
func TestCyclesCountByTheChangedSets(t *testing.T) {
	l := over(t, first, map[int]ident.Instant{0: 104 * sec, 1: 104 * sec, 2: 104 * sec})
	starts := func(want ident.Instant, when string) {
		t.Helper()
		if got := l.View().Start; got != want {
			t.Errorf("%s the lease starts at %v, want %v", when, time.Duration(got), time.Duration(want))
		}
	}
	must(t, l.ChangeSets(104*sec, first, three))
	l.CycleCompleted(0, k7, 106*sec)
	starts(104*sec, "with one disk of the new set")
	l.CycleCompleted(2, k7, 107*sec)
	starts(106*sec, "with two of them, and the old one")
	l.CycleCompleted(1, k7, 108*sec)
	starts(106*sec, "without another cycle of the old one")
	must(t, l.ChangeSets(108*sec, three))
	starts(107*sec, "by the new set alone")
	l.Forget(0) // it is in the set
	starts(107*sec, "after a disk of the set is to be forgotten")
	l.CycleCompleted(1, k7, 109*sec)
	l.CycleCompleted(2, k7, 109*sec)
	starts(109*sec, "with two of three")
	if l.MayFeed(114*sec+1) || !l.MayFeed(114*sec) {
		t.Error("the lease does not end F after its start")
	}
}

// TestChangeSetsOfNoLease: nothing is bound, or it is stopping: the sets change, and
// nothing begins by it.
func TestChangeSetsOfNoLease(t *testing.T) {
	l := lease.New(4, first)
	must(t, l.ChangeSets(50*sec, three))
	must(t, l.Claim(100*sec, k7, 130*sec, params))
	l.CycleCompleted(0, k7, 101*sec)
	if got := l.View().Start; got != 100*sec {
		t.Errorf("one disk of the three that count moves the start to %v", time.Duration(got))
	}
	l.CycleCompleted(3, k7, 104*sec)
	l.CycleCompleted(2, k7, 103*sec)
	must(t, l.Stopping(k7))
	before := l.View()
	must(t, l.ChangeSets(104*sec, other))
	if l.View() != before {
		t.Errorf("a frozen lease became %+v, was %+v", l.View(), before)
	}
}
