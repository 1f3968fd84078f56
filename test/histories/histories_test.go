package histories_test

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-ha/holdfast/test/histories"
)

// number reads a number from the environment: HOLDFAST_HISTORIES says how many
// histories to play, HOLDFAST_SEED plays one again.
func number(t *testing.T, name string) (uint64, bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// play plays n histories and returns the sum of them, and those that broke a
// rule.
func play(n uint64, draw func(seed uint64) histories.Config) (sum histories.Result, broken []histories.Config) {
	stage := histories.NewStage()
	var next atomic.Uint64
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < n; seed = next.Add(1) - 1 {
				c := draw(seed)
				r := stage.Run(c)
				mu.Lock()
				sum.Commits, sum.Writes = sum.Commits+r.Commits, sum.Writes+r.Writes
				sum.Unknown, sum.Landed = sum.Unknown+r.Unknown, sum.Landed+r.Landed
				if r.Err != nil {
					broken = append(broken, c)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return sum, broken
}

// explain says how a history broke a rule, and how to see it again.
func explain(t *testing.T, c histories.Config) {
	t.Helper()
	stage := histories.NewStage()
	small := stage.Shrink(c)
	t.Errorf("%v\nto play it again: HOLDFAST_SEED=%d go test -run TestHistories ./test/histories\nthe smallest like it: %v\n%s",
		stage.Run(c).Err, c.Seed, stage.Run(small).Err, stage.Story(small))
}

// TestHistories plays 10,000 random histories; with -short 600, with
// HOLDFAST_HISTORIES=n n.
func TestHistories(t *testing.T) {
	if seed, ok := number(t, "HOLDFAST_SEED"); ok {
		if c := histories.Draw(seed); histories.NewStage().Run(c).Err != nil {
			explain(t, c)
		}
		return
	}
	n := uint64(10000)
	if testing.Short() {
		n = 600
	}
	if asked, ok := number(t, "HOLDFAST_HISTORIES"); ok {
		n = asked
	}
	sum, broken := play(n, histories.Draw)
	for i, c := range broken {
		if i == 3 {
			t.Errorf("and %d more", len(broken)-i)
			break
		}
		explain(t, c)
	}
	t.Logf("%d histories: %d commits, %d writes, %d of them of unknown outcome, of which %d had landed", n, sum.Commits, sum.Writes, sum.Unknown, sum.Landed)
	if sum.Unknown*5 < sum.Writes {
		t.Errorf("%d of %d writes ended unknown, less than a fifth: the disks are too kind", sum.Unknown, sum.Writes)
	}
	if share := sum.Landed * 100 / max(sum.Unknown, 1); share < 45 || share > 60 {
		t.Errorf("%d of 100 writes of unknown outcome had landed: about half shall", share)
	}
	if uint64(sum.Commits) < 5*n {
		t.Errorf("%d commits in %d histories: the test tests nothing", sum.Commits, n)
	}
}

// TestBrokenRulesAreNoticed: a random test that nothing can fail proves nothing.
// Each rule is broken in turn, by the glue around an intact register or by a disk
// that does what none may do.
func TestBrokenRulesAreNoticed(t *testing.T) {
	for _, m := range []struct {
		broken histories.Broken
		disks  []int
		runs   uint64
		more   func(c *histories.Config)
	}{
		{broken: histories.AnyDiskDecides, disks: []int{3}, runs: 50},
		{broken: histories.NoChecksum, disks: []int{1}, runs: 500},
		{broken: histories.AnyBody, disks: []int{3}, runs: 300, more: func(c *histories.Config) { c.Liar, c.Steps = histories.Loses, 2500 }},
		{broken: histories.ReusedBallot, disks: []int{3}, runs: 500, more: func(c *histories.Config) { c.Crashes = 4 }},
		{broken: histories.ClearedBlock, disks: []int{1, 3}, runs: 50},
		{broken: histories.GhostWraps, disks: []int{1}, runs: 200, more: func(c *histories.Config) { c.Steps, c.Ghosts = 2500, 40 }},
		{broken: histories.EarlyRead, disks: []int{1, 3}, runs: 50},
		{broken: histories.Blind, disks: []int{1, 3}, runs: 50},
		{broken: histories.NoReadBack, disks: []int{1, 3}, runs: 300, more: func(c *histories.Config) { c.Liar, c.Steps = histories.Loses, 800 }},
		{broken: histories.NoIdentity, disks: []int{3}, runs: 1500, more: func(c *histories.Config) { c.Liar, c.Steps, c.Crashes = histories.Wiped, 800, 6 }},
		{broken: histories.OnePlace, disks: []int{1}, runs: 100},
	} {
		t.Run(m.broken.String(), func(t *testing.T) {
			for _, disks := range m.disks {
				stage := histories.NewStage()
				found := false
				for seed := uint64(0); seed < m.runs && !found; seed++ {
					c := histories.Draw(seed)
					c.Disks, c.Liar, c.Broken = disks, histories.Honest, m.broken
					if m.more != nil {
						m.more(&c)
					}
					if err := stage.Run(c).Err; err != nil {
						found = true
						t.Logf("after %d histories: %v", seed+1, err)
					}
				}
				if !found {
					t.Errorf("not noticed in %d histories on %d disks", m.runs, disks)
				}
			}
		})
	}
}
