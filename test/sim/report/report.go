// Package report says what many simulated stories were, together: how much time and
// how many takeovers, and which kinds of fault were in which share of them; and
// what makes all that worth less than it seems.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
)

// Told is one story that was told to a good end.
type Told struct {
	Seed    uint64
	Trouble time.Duration // simulated, with faults in the air: only that counts
	Virtual time.Duration // simulated, all in all
	Tally   tally.Tally
	Kinds   []string // of fault, and rules, that it had
}

// Sum is many of them.
type Sum struct {
	Trouble   time.Duration
	Virtual   time.Duration
	Events    uint64
	Resets    int
	Versions  int
	Takeovers [16]int
	Struck    map[string]int // by kind of fault or rule: the seeds that had it
	Bitten    map[string]int // and those in which it had an effect, of the kinds that say so
	told      []Told
}

// Add adds a story.
func (s *Sum) Add(t Told) {
	s.Trouble += t.Trouble
	s.Virtual += t.Virtual
	s.Events += t.Tally.Events
	s.Resets += t.Tally.Resets
	s.Versions += t.Tally.Versions
	for i, n := range t.Tally.Takeovers {
		s.Takeovers[i] += n
	}
	s.told = append(s.told, t)
	if s.Struck == nil {
		s.Struck, s.Bitten = map[string]int{}, map[string]int{}
	}
	for _, kind := range t.Kinds {
		s.Struck[kind]++
	}
	for kind := range t.Tally.Effects {
		s.Bitten[kind]++
	}
}

// Seeds is how many stories there are.
func (s *Sum) Seeds() int { return len(s.told) }

// Total counts the takeovers: the terms that began although the owner before had
// not released its own.
func (s *Sum) Total() int { return takeovers(s.Takeovers) }

func takeovers(by [16]int) int {
	n := 0
	for kind, count := range by {
		if k := cluster.ProofKind(kind); k != cluster.NoProof && k != cluster.ProofReleased {
			n += count
		}
	}
	return n
}

// Hours are the whole hours that the stories make up, one after the other by
// their seeds: how many takeovers there were in each.
func (s *Sum) Hours() []int {
	slices.SortFunc(s.told, func(a, b Told) int { return cmp.Compare(a.Seed, b.Seed) })
	var hours []int
	var length time.Duration
	sum := 0
	for _, t := range s.told {
		length += t.Trouble
		if sum += takeovers(t.Tally.Takeovers); length >= time.Hour {
			hours = append(hours, sum)
			length, sum = 0, 0
		}
	}
	return hours
}

// enough is from how many seeds on their shares say something.
const enough = 200

// Complaints are what makes many stories worth less than they seem: an hour
// without a takeover, a kind of fault in less than a tenth of the seeds, or one
// of those that tell, biting, that never had an effect.
func (s *Sum) Complaints(kinds, biting []string) []string {
	var list []string
	for i, n := range s.Hours() {
		if n == 0 {
			list = append(list, fmt.Sprintf("hour %d has no takeover: it does not count", i+1))
		}
	}
	if s.Seeds() < enough {
		return list
	}
	for _, k := range kinds {
		if s.Struck[k]*10 < s.Seeds() {
			list = append(list, fmt.Sprintf("%q is in %d of %d seeds, want a tenth", k, s.Struck[k], s.Seeds()))
		}
	}
	for _, k := range biting {
		if s.Bitten[k] == 0 {
			list = append(list, fmt.Sprintf("%q never had an effect", k))
		}
	}
	return list
}

// String is what people read.
func (s *Sum) String() string {
	hours := s.Hours()
	fewest := 0
	if len(hours) > 0 {
		fewest = slices.Min(hours)
	}
	return fmt.Sprintf("%d seeds, each told twice: %.1f simulated hours with faults (%.1f in all), %d takeovers (%.1f an hour, %d in the hour with fewest), %d moves, %d resets, %d versions, %.1f million events; proofs: %s",
		s.Seeds(), s.Trouble.Hours(), s.Virtual.Hours(), s.Total(), float64(s.Total())/max(s.Trouble.Hours(), 1e-9), fewest,
		s.Takeovers[cluster.ProofReleased], s.Resets, s.Versions, float64(s.Events)/1e6, s.Proofs())
}

// Proofs lists on what the terms rested that were not the first.
func (s *Sum) Proofs() string {
	var list []string
	for kind, count := range s.Takeovers {
		if count > 0 {
			list = append(list, fmt.Sprintf("%d %v", count, cluster.ProofKind(kind)))
		}
	}
	return strings.Join(list, ", ")
}

// Shares lists every kind of fault with the share of the seeds that had it and,
// where that is known, of those in which it had an effect.
func (s *Sum) Shares(biting []string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.Struck)) {
		fmt.Fprintf(&b, "%4.0f %%  %s", 100*float64(s.Struck[k])/float64(s.Seeds()), k)
		if slices.Contains(biting, k) {
			fmt.Fprintf(&b, " (had an effect in %.0f %%)", 100*float64(s.Bitten[k])/float64(s.Seeds()))
		}
		b.WriteByte('\n')
	}
	for _, k := range biting {
		if s.Struck[k] == 0 {
			fmt.Fprintf(&b, "%4.0f %%  %s (an effect)\n", 100*float64(s.Bitten[k])/float64(s.Seeds()), k)
		}
	}
	return b.String()
}
