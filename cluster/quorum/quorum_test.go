package quorum_test

import (
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"pgregory.net/rapid"
)

func TestTwoMajoritiesAlwaysMeet(t *testing.T) {
	for n := 1; n <= quorum.MaxDisks; n++ {
		m := quorum.Majority(n)
		if 2*m <= n || 2*(m-1) > n {
			t.Errorf("Majority(%d) = %d: either two of them can miss each other, or one less would do", n, m)
		}
	}
	if quorum.Majority(0) != 1 {
		t.Errorf("Majority(0) = %d: no disks must never be a quorum", quorum.Majority(0))
	}
}

func TestSet(t *testing.T) {
	s := quorum.All(3)
	if s != 7 || s.Len() != 3 || !s.Has(0) || !s.Has(2) || s.Has(3) || s.Has(-1) || s.Has(99) {
		t.Errorf("All(3) = %b", s)
	}
	if quorum.All(32).Len() != 32 || quorum.All(0) != 0 {
		t.Error("All is wrong at its ends")
	}
}

func TestKthLargestAgreesWithSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ident.Instant {
			return ident.Instant(rapid.Int64Range(0, 6).Draw(t, "t"))
		}), 0, 6).Draw(t, "at")
		s := quorum.Set(rapid.Uint32Range(0, 63).Draw(t, "set"))
		k := rapid.IntRange(1, 6).Draw(t, "k")
		var in []ident.Instant
		for d, x := range at {
			if s.Has(d) {
				in = append(in, x)
			}
		}
		slices.Sort(in)
		want := ident.LongAgo
		if k <= len(in) {
			want = in[len(in)-k]
		}
		if got := quorum.KthLargest(at, s, k); got != want {
			t.Fatalf("KthLargest(%v, %b, %d) = %v, sorting says %v", at, s, k, got, want)
		}
	})
}
