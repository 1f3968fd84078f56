package sim

import (
	"flag"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	_ = flag.String("focus", "", "of TestHunt: which trouble, for example \"kinds=freeze|power off, disks=3\"")
	_ = flag.Int("workers", 1, "of TestHunt: how many stories at a time")
)

// TestHunt tells the stories of many seeds once, with a focus, until one is bad.
// Without flags it tells two, which are good.
//
//	go test ./test/sim -run TestHunt -focus "kinds=suspend, disks=3" -seeds 50 -v
func TestHunt(t *testing.T) {
	f, err := ParseFocus(value[string]("focus"))
	if err != nil {
		t.Fatal(err)
	}
	seeds, first, limit := value[int]("seeds"), value[uint64]("seed"), value[time.Duration]("for")
	if seeds == 0 {
		seeds, f.Kinds = 2, []string{"freeze", "power off"}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	begun := time.Now()
	bad, told := Hunt(f, first, seeds, value[int]("workers"), func() bool { return limit == 0 || time.Since(begun) < limit })
	if t.Logf("told: %d", told); bad == nil {
		return
	}
	for _, line := range bad.Lines[max(0, len(bad.Lines)-60):] {
		t.Log(line)
	}
	t.Errorf("broken: %s\n%s\nsteps: %d; again: go test ./test/sim -run TestHunt -focus %q -seeds 1 -seed %d",
		bad.Failed, bad.Text, bad.Tally.Events, value[string]("focus"), bad.Plan.Seed)
}

// TestFocus: a focus says which faults strike on which hardware, and the rest is
// as the seed has it.
func TestFocus(t *testing.T) {
	f, err := ParseFocus("kinds=freeze|power off, disks=3, nodes=2, dogs=one, grace=45s, pause=2s, slack=1s, bmc")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		p := f.Plan(seed)
		if p.Nodes != 2 || p.Disks != 3 || p.Dogs != "one" || p.Grace != 45*time.Second || p.Pause != 2*time.Second || !p.BMC || len(p.Strikes) < 20 {
			t.Fatalf("seed %d: %+v", seed, p)
		}
		if i := slices.IndexFunc(p.Strikes, func(s Strike) bool { return !slices.Contains(f.Kinds, s.Kind) }); i >= 0 {
			t.Fatalf("seed %d: %v strikes", seed, p.Strikes[i])
		}
		for _, s := range p.Services {
			if strings.Contains(strings.Join(s.Prefer, " "), "gamma") {
				t.Fatalf("seed %d: %s prefers a node that is not there", seed, s.Name)
			}
		}
	}
	if plain, full := (Focus{}).Plan(7), MakePlan(7); len(plain.Strikes) != len(full.Strikes) || plain.Within != full.Within {
		t.Errorf("no focus gives %+v, the seed %+v", plain, full)
	}
	for _, wrong := range []string{"kinds=sunshine", "disks=many", "colour=red"} {
		if _, err := ParseFocus(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
