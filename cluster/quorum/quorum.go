// Package quorum counts: what a majority of the quorum disks is, and which
// instant a majority of them vouches for. Quorum is always one of disks, never
// of nodes, so that the last node standing can serve.
package quorum

import "github.com/holdfast-ha/holdfast/cluster/ident"

// Majority is the smallest number of disks that any other majority of n shares
// a disk with: 1 of 1, 2 of 3. It is 1 for n <= 0, so that no disks are never
// a quorum.
func Majority(n int) int {
	if n <= 0 {
		return 1
	}
	return n/2 + 1
}

// Set is a set of disks by index: bit d stands for disk d.
type Set uint32

// MaxDisks is how many disks a Set can name: far more than any cluster has,
// also while one set of disks is being exchanged for another.
const MaxDisks = 32

// All is the set of the disks 0 to n-1.
func All(n int) Set {
	if n >= MaxDisks {
		return ^Set(0)
	}
	return Set(1)<<n - 1
}

// Has says whether disk d is in the set.
func (s Set) Has(d int) bool { return d >= 0 && d < MaxDisks && s&(1<<d) != 0 }

// Len is the number of disks in the set.
func (s Set) Len() int {
	n := 0
	for ; s != 0; s &= s - 1 {
		n++
	}
	return n
}

// KthLargest returns the k-th largest (from 1) of the instants that belong to
// the disks of s, and LongAgo if there are fewer than k. Equal instants count
// one by one. It neither sorts nor allocates: there are one or three disks.
func KthLargest(at []ident.Instant, s Set, k int) ident.Instant {
	best := ident.LongAgo
	for d, t := range at {
		if !s.Has(d) || t <= best {
			continue
		}
		if notEarlier(at, s, t) >= k {
			best = t
		}
	}
	return best
}

// notEarlier counts the disks of s whose instant is t or later.
func notEarlier(at []ident.Instant, s Set, t ident.Instant) int {
	n := 0
	for d, o := range at {
		if s.Has(d) && o >= t {
			n++
		}
	}
	return n
}

// Sets are the sets of disks of each of which a majority is needed: one, and
// two while one set is being exchanged for another.
type Sets []Set

// Met says that a majority of every set is among the disks of by. No sets are
// never met.
func (s Sets) Met(by Set) bool {
	for _, set := range s {
		if (set & by).Len() < Majority(set.Len()) {
			return false
		}
	}
	return len(s) > 0
}

// Since is the latest instant that a majority of every set vouches for, and
// LongAgo where one set has no majority at all.
func (s Sets) Since(at []ident.Instant) ident.Instant {
	if len(s) == 0 {
		return ident.LongAgo
	}
	start := ident.Never
	for _, set := range s {
		start = min(start, KthLargest(at, set, Majority(set.Len())))
	}
	return start
}

// All is every disk of any of the sets.
func (s Sets) All() Set {
	var all Set
	for _, set := range s {
		all |= set
	}
	return all
}
