package sim

import (
	"sync"

	"github.com/holdfast-ha/holdfast/test/sim/report"
)

// Sum is what a batch of stories was: what those that ended well were together, and
// the others.
type Sum struct {
	report.Sum
	Bad    []Result
	Unlike []uint64 // seeds whose two runs differ
}

func (s *Sum) add(r, again Result) {
	switch {
	case r.Failed != "":
		s.Bad = append(s.Bad, r)
	case again.Tally.Digest() != r.Tally.Digest():
		s.Unlike = append(s.Unlike, r.Plan.Seed)
	default:
		s.Add(report.Told{Seed: r.Plan.Seed, Trouble: r.Length, Virtual: r.At, Tally: r.Tally, Kinds: r.Plan.has()})
	}
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
