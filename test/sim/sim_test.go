package sim

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// story collects what a run says, and ends it where it fails.
type story struct {
	lines  []string
	failed string
}

type ended struct{}

func (*story) Helper() {}

func (s *story) Logf(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *story) Fatalf(format string, args ...any) {
	s.failed = fmt.Sprintf(format, args...)
	panic(ended{})
}

// tell runs a seed to its end, good or bad.
func tell(seed uint64) (s *story, w *clustertest.World) {
	s = &story{}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(ended); !ok {
				panic(fmt.Sprintf("seed %d: %v", seed, r))
			}
		}
	}()
	w = Run(s, seed)
	return s, w
}

var (
	_ = flag.Int("seeds", 0, "how many seeds to run; 0: as many as the time allows")
	_ = flag.Uint64("seed", 1, "the first seed")
)

func number(name string) uint64 {
	return flag.Lookup(name).Value.(flag.Getter).Get().(uint64)
}

// TestFaultsThenRecovery runs seeds one after the other, each of them twice: the
// second time must tell the same story, or a failure could not be looked into.
//
//	go test ./test/sim -seeds 1000 -seed 5000
func TestFaultsThenRecovery(t *testing.T) {
	seeds := flag.Lookup("seeds").Value.(flag.Getter).Get().(int)
	if seeds == 0 {
		seeds = 150
		if testing.Short() {
			seeds = 25
		}
	}
	first := number("seed")
	for seed := first; seed < first+uint64(seeds); seed++ {
		s, w := tell(seed)
		if s.failed != "" {
			for _, line := range s.lines[max(0, len(s.lines)-200):] {
				t.Log(line)
			}
			t.Fatalf("%s\nagain: go test ./test/sim -seeds 1 -seed %d", s.failed, seed)
		}
		_, again := tell(seed)
		if again == nil || !slices.Equal(w.Notes, again.Notes) {
			t.Fatalf("seed %d tells another story the second time", seed)
		}
	}
}
