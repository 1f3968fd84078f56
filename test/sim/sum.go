package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Sum is what many stories were, together. Only what was told to a good end
// counts, and of that only the time with faults.
type Sum struct {
	Trouble   time.Duration // simulated, with faults in the air
	Virtual   time.Duration // simulated, all in all
	Events    uint64
	Resets    int
	Versions  int
	Takeovers [16]int
	Struck    map[string]int // by kind of fault or rule: the seeds that had it
	Bitten    map[string]int // and those in which it had an effect, of the kinds that say so
	Bad       []Result
	Unlike    []uint64 // seeds whose two runs differ
	told      []story
}

// story is one of them.
type story struct {
	seed      uint64
	length    time.Duration // of the trouble
	takeovers int
}

func (s *Sum) add(r, again Result) {
	switch {
	case r.Failed != "":
		s.Bad = append(s.Bad, r)
		return
	case again.Tally.Digest() != r.Tally.Digest():
		s.Unlike = append(s.Unlike, r.Plan.Seed)
		return
	}
	s.Trouble += r.Length
	s.Virtual += r.At
	s.Events += r.Tally.Events
	s.Resets += r.Tally.Resets
	s.Versions += r.Tally.Versions
	for i, n := range r.Tally.Takeovers {
		s.Takeovers[i] += n
	}
	s.told = append(s.told, story{r.Plan.Seed, r.Length, takeovers(r.Tally.Takeovers)})
	if s.Struck == nil {
		s.Struck, s.Bitten = map[string]int{}, map[string]int{}
	}
	for _, kind := range r.Plan.has() {
		s.Struck[kind]++
	}
	for kind := range r.Tally.Effects {
		s.Bitten[kind]++
	}
}

// Seeds is how many stories count.
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
	slices.SortFunc(s.told, func(a, b story) int { return cmp.Compare(a.seed, b.seed) })
	var hours []int
	var length time.Duration
	sum := 0
	for _, t := range s.told {
		length += t.length
		if sum += t.takeovers; length >= time.Hour {
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
// that never had an effect.
func (s *Sum) Complaints() []string {
	var list []string
	for i, n := range s.Hours() {
		if n == 0 {
			list = append(list, fmt.Sprintf("hour %d has no takeover: it does not count", i+1))
		}
	}
	if s.Seeds() < enough {
		return list
	}
	for _, k := range kinds() {
		if s.Struck[k]*10 < s.Seeds() {
			list = append(list, fmt.Sprintf("%q is in %d of %d seeds, want a tenth", k, s.Struck[k], s.Seeds()))
		}
	}
	for _, k := range biting() {
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
		s.Takeovers[cluster.ProofReleased], s.Resets, s.Versions, float64(s.Events)/1e6, s.proofs())
}

func (s *Sum) proofs() string {
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
func (s *Sum) Shares() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.Struck)) {
		fmt.Fprintf(&b, "%4.0f %%  %s", 100*float64(s.Struck[k])/float64(s.Seeds()), k)
		if slices.Contains(biting(), k) {
			fmt.Fprintf(&b, " (had an effect in %.0f %%)", 100*float64(s.Bitten[k])/float64(s.Seeds()))
		}
		b.WriteByte('\n')
	}
	for _, k := range biting() {
		if s.Struck[k] == 0 {
			fmt.Fprintf(&b, "%4.0f %%  %s (an effect)\n", 100*float64(s.Bitten[k])/float64(s.Seeds()), k)
		}
	}
	return b.String()
}
