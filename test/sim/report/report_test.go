package report_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/test/sim/report"
)

// told is half an hour with so many takeovers.
func told(seed uint64, takeovers int, kinds ...string) report.Told {
	t := report.Told{Seed: seed, Trouble: 30 * time.Minute, Virtual: time.Hour, Kinds: kinds}
	t.Tally.Takeovers[cluster.ProofTime] = takeovers
	t.Tally.Takeovers[cluster.ProofReleased] = 5
	return t
}

func TestHours(t *testing.T) {
	var s report.Sum
	for _, x := range []report.Told{told(4, 0), told(1, 2), told(3, 0), told(2, 1), told(5, 7)} {
		s.Add(x)
	}
	if hours := s.Hours(); !slices.Equal(hours, []int{3, 0}) {
		t.Errorf("takeovers by whole hours, in the order of the seeds: %v", hours)
	}
	if c := s.Complaints(nil, nil); len(c) != 1 || !strings.Contains(c[0], "hour 2") {
		t.Errorf("an hour without a takeover does not count: %q", c)
	}
	if s.Total() != 10 || s.Seeds() != 5 {
		t.Errorf("%d takeovers of %d seeds: a move is none", s.Total(), s.Seeds())
	}
}

func TestShares(t *testing.T) {
	var s report.Sum
	for i := range uint64(200) {
		x := told(i, 1)
		if i%20 == 0 {
			x.Kinds = append(x.Kinds, "rare")
		}
		if x.Kinds = append(x.Kinds, "often"); i == 7 {
			x.Tally = tally.Tally{Takeovers: x.Tally.Takeovers}
			x.Tally.Effect("often")
		}
		s.Add(x)
	}
	c := s.Complaints([]string{"rare", "often"}, []string{"often", "rare"})
	if len(c) != 2 || !strings.Contains(c[0], `"rare" is in 10 of 200`) || !strings.Contains(c[1], `"rare" never had an effect`) {
		t.Errorf("one in twenty is not a tenth, and it never had an effect: %q", c)
	}
	if text := s.Shares([]string{"often"}); !strings.Contains(text, "100 %  often (had an effect in 0 %)") || !strings.Contains(text, "5 %  rare") {
		t.Errorf("the shares:\n%s", text)
	}
}
