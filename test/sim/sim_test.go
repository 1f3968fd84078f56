package sim

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	_ = flag.Int("seeds", 0, "how many seeds to run; 0: as many as belong to the test")
	_ = flag.Uint64("seed", 1, "the first seed")
	_ = flag.Duration("for", 0, "run no seed after this time; 0: no end")
	_ = flag.String("keep", "", "of a single seed, the numbers of the strikes to keep, with commas; none: no strike")
	_ = flag.Bool("shrink", true, "make the schedule of a seed that fails smaller")
	_ = flag.Int("nodes", 0, "of a single seed, how many nodes to keep")
	_ = flag.Int("services", 0, "of a single seed, how many services to keep")
)

func value[V any](name string) V {
	return flag.Lookup(name).Value.(flag.Getter).Get().(V)
}

// chosen is the plan of a seed, as small as the flags want it.
func chosen(t *testing.T, seed uint64) (p Plan, cut bool) {
	p = MakePlan(seed)
	if keep := value[string]("keep"); keep != "" {
		var numbers []int
		for _, word := range strings.Split(strings.TrimSuffix(keep, "none"), ",") {
			if word == "" {
				continue
			}
			n, err := strconv.Atoi(word)
			if err != nil {
				t.Fatalf("-keep %s: %v", keep, err)
			}
			numbers = append(numbers, n)
		}
		p, cut = p.Keep(numbers), true
	}
	if n := value[int]("nodes"); n > 0 {
		p.Nodes, cut = n, true
	}
	if n := value[int]("services"); n > 0 {
		p.Services, cut = p.Services[:min(n, len(p.Services))], true
	}
	return p, cut
}

// TestSeeds tells the stories of many seeds, each of them twice: the second time
// must be like the first, or a failure could not be looked into. A story that
// fails is made smaller before it is shown.
//
//	go test ./test/sim -run TestSeeds -seeds 1000 -seed 5000 -v
func TestSeeds(t *testing.T) {
	seeds, first, limit := value[int]("seeds"), value[uint64]("seed"), value[time.Duration]("for")
	if p, cut := chosen(t, first); cut {
		if r := Tell(p); r.Failed != "" {
			show(t, r)
		}
		return
	}
	switch {
	case seeds > 0:
	case testing.Short():
		if seeds = 200; limit == 0 {
			limit = 75 * time.Second // of a check that has to end in minutes
		}
	default:
		seeds = 150
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // the heap is small and all of it young
	begun := time.Now()
	more := func(done int) bool { return limit == 0 || done < 2 || time.Since(begun) < limit }
	sum := Batch(first, seeds, runtime.GOMAXPROCS(0), more)
	took := time.Since(begun)
	t.Logf("%s; %.0f simulated hours a minute\n%s", sum.String(), sum.Virtual.Hours()*2/took.Minutes(), sum.Shares(biting()))
	for _, seed := range sum.Unlike {
		t.Errorf("seed %d tells another story the second time", seed)
	}
	for _, r := range sum.Bad {
		if !value[bool]("shrink") {
			show(t, r)
			continue
		}
		t.Logf("seed %d fails: %s: %s\nmaking its schedule smaller", r.Plan.Seed, r.Failed, firstLine(r.Text))
		from := time.Now()
		show(t, Shrink(r, func() bool { return time.Since(from) < time.Minute }))
	}
	for _, c := range sum.Complaints(kinds(), biting()) {
		t.Error(c)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// show prints a story that failed, and how to have it told again.
func show(t *testing.T, r Result) {
	t.Helper()
	for _, line := range r.Lines[max(0, len(r.Lines)-200):] {
		t.Log(line)
	}
	var schedule strings.Builder
	for _, s := range r.Plan.Strikes {
		fmt.Fprintln(&schedule, s)
	}
	t.Errorf("broken: %s\n%s\n%d nodes, %d disks, %d services, watchdogs: %s, failover within %s; steps: %d; schedule:\n%sagain: %s",
		r.Failed, r.Text, r.Plan.Nodes, r.Plan.Disks, len(r.Plan.Services), r.Plan.Dogs, r.Plan.Within, r.Tally.Events, &schedule, r.Plan.Again())
}

// TestEveryFaultStrikesOften: a kind of fault that hardly any seed has proves
// nothing. Each has to strike in a tenth of them.
func TestEveryFaultStrikesOften(t *testing.T) {
	const seeds = 1000
	struck := map[string]int{}
	for seed := range uint64(seeds) {
		for _, kind := range MakePlan(seed + 1).has() {
			struck[kind]++
		}
	}
	for _, k := range kinds() {
		if struck[k] < seeds/10 {
			t.Errorf("%q is in %d of %d seeds, want a tenth", k, struck[k], seeds)
		}
	}
}

// TestProcessesAgree: a story is the same in other processes, with other seeds of
// their maps and with one processor or two.
func TestProcessesAgree(t *testing.T) {
	if os.Getenv("HOLDFAST_SIM_DIGEST") != "" {
		for seed := uint64(900); seed < 903; seed++ {
			r := Tell(MakePlan(seed))
			fmt.Printf("digest %d %x %q\n", seed, r.Tally.Digest(), r.Failed)
		}
		return
	}
	var told []string
	for _, procs := range []string{"1", "2"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestProcessesAgree$")
		cmd.Env = append(os.Environ(), "HOLDFAST_SIM_DIGEST=1", "GOMAXPROCS="+procs)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("with GOMAXPROCS=%s: %v\n%s", procs, err, out)
		}
		told = append(told, strings.Join(digests(string(out)), "\n"))
	}
	if told[0] != told[1] || strings.Count(told[0], "digest") != 3 {
		t.Errorf("with one processor:\n%s\nwith two:\n%s", told[0], told[1])
	}
}

func digests(out string) []string {
	var list []string
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "digest") {
			list = append(list, line)
		}
	}
	return list
}

// TestShrink: of a story that fails, what is left fails in the same way and is no
// larger.
func TestShrink(t *testing.T) {
	p := MakePlan(4)
	bad := Result{Plan: p, Failed: ""}
	small := Shrink(bad, func() bool { return true }) // every story "fails" with nothing broken
	if small.Failed != "" || len(small.Plan.Strikes) != 0 || small.Plan.Nodes != 2 || len(small.Plan.Services) != 1 {
		t.Errorf("left are %d strikes, %d nodes and %d services of seed %d (%s)", len(small.Plan.Strikes), small.Plan.Nodes, len(small.Plan.Services), p.Seed, small.Failed)
	}
}
