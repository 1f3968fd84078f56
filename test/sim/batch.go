package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Sum is what many stories were, together.
type Sum struct {
	Seeds     int
	Trouble   time.Duration // simulated, with faults in the air
	Virtual   time.Duration // simulated, all in all
	Events    uint64
	Resets    int
	Versions  int
	Takeovers [16]int
	Bad       []Result
	Unlike    []uint64 // seeds whose two runs differ
}

func (s *Sum) add(r, again Result) {
	s.Seeds++
	s.Trouble += r.Length
	s.Virtual += r.At
	s.Events += r.Tally.Events
	s.Resets += r.Tally.Resets
	s.Versions += r.Tally.Versions
	for i, n := range r.Tally.Takeovers {
		s.Takeovers[i] += n
	}
	switch {
	case r.Failed != "":
		s.Bad = append(s.Bad, r)
	case again.Tally.Digest() != r.Tally.Digest():
		s.Unlike = append(s.Unlike, r.Plan.Seed)
	}
}

// Total counts the takeovers: the terms that began although the owner before had
// not released its own.
func (s *Sum) Total() int {
	n := 0
	for kind, count := range s.Takeovers {
		if k := cluster.ProofKind(kind); k != cluster.NoProof && k != cluster.ProofReleased {
			n += count
		}
	}
	return n
}

// String is what people read; took is the time that it took by the wall.
func (s *Sum) String() string {
	return fmt.Sprintf("%d seeds, each told twice: %.1f simulated hours with faults (%.1f in all), %d takeovers (%.1f an hour), %d moves, %d resets, %d versions, %d million events; proofs: %s",
		s.Seeds, s.Trouble.Hours(), s.Virtual.Hours(), s.Total(), float64(s.Total())/s.Trouble.Hours(),
		s.Takeovers[cluster.ProofReleased], s.Resets, s.Versions, s.Events/1_000_000, s.proofs())
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

// Batch tells the stories of count seeds from first on, each of them twice, by
// workers at once, as long as more says so. It stops at the first bad one.
func Batch(first uint64, count, workers int, more func(done int) bool) *Sum {
	var (
		mu   sync.Mutex
		sum  Sum
		next = first
		wait sync.WaitGroup
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= first+uint64(count) || len(sum.Bad)+len(sum.Unlike) > 0 || !more(int(next-first)) {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range workers {
		wait.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				p := MakePlan(seed)
				r := Tell(p)
				again := r
				if r.Failed == "" {
					again = Tell(p)
				}
				mu.Lock()
				sum.add(r, again)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return &sum
}
