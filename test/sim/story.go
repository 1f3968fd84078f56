package sim

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
)

// NoProgress is what a story fails with if the cluster does not recover once every
// fault is healed, Panic if the program is wrong.
const (
	NoProgress = "no progress"
	Panic      = "panic"
)

// Result is how a story ended.
type Result struct {
	Plan   Plan
	Failed string // the rule that was broken; empty: none
	Text   string
	Lines  []string // the story so far, where it failed
	Tally  tally.Tally
	Length time.Duration // of the trouble: what follows is healed and does not count
	At     time.Duration // true time of the end
}

// teller takes the place of a test for one story: it collects what is said, and
// ends the story where it fails.
type teller struct {
	lines []string
	text  string
}

type ended struct{}

func (*teller) Helper() {}

func (s *teller) Logf(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *teller) Fatalf(format string, args ...any) {
	s.text = fmt.Sprintf(format, args...)
	panic(ended{})
}

// Tell tells a plan's story to its end, good or bad.
func Tell(p Plan) Result {
	return told(p, func(t clustertest.T, show func(*clustertest.World)) { tell(t, p, show) })
}

// told lets a story be told to its end, good or bad: a failure ends it, and show is
// given the world as soon as there is one.
func told(p Plan, tell func(t clustertest.T, show func(*clustertest.World))) (res Result) {
	s := &teller{}
	var w *clustertest.World
	defer func() {
		r := recover()
		res = Result{Plan: p, Text: s.text, Lines: s.lines, Length: p.Length}
		if w != nil {
			res.Tally, res.At = w.Tally, w.Now
		}
		switch _, ours := r.(ended); {
		case r == nil:
			return
		case !ours:
			res.Failed, res.Text = Panic, fmt.Sprintf("%v\n%s", r, debug.Stack())
		case w != nil && w.Tally.Broke != "":
			res.Failed = string(w.Tally.Broke)
		default:
			res.Failed = NoProgress
		}
	}()
	tell(s, func(begun *clustertest.World) { w = begun })
	return res
}

// Shrink makes the plan of a story that failed smaller while it still fails in the
// same way: fewer strikes (Zeller and Hildebrandt, "Simplifying and isolating
// failure-inducing input", 2002), then fewer nodes and services. more says whether
// there is time for another try.
func Shrink(bad Result, more func() bool) Result {
	try := func(p Plan) bool {
		if !more() {
			return false
		}
		r := Tell(p)
		if r.Failed != bad.Failed {
			return false
		}
		bad = r
		return true
	}
	for parts := 2; len(bad.Plan.Strikes) > 0 && more(); {
		all := bad.Plan.Numbers()
		size := (len(all) + parts - 1) / parts
		smaller := false
		for from := 0; from < len(all) && !smaller; from += size {
			rest := slices.Delete(slices.Clone(all), from, min(from+size, len(all)))
			smaller = try(bad.Plan.Keep(rest))
		}
		switch {
		case smaller:
			parts = max(parts-1, 2)
		case size == 1:
			return shrinkCluster(bad, try)
		default:
			parts = min(2*parts, len(all))
		}
	}
	return shrinkCluster(bad, try)
}

func shrinkCluster(bad Result, try func(Plan) bool) Result {
	last := bad.Plan
	keep := func(p Plan) bool {
		if try(p) {
			last = p
			return true
		}
		return false
	}
	for p := last; len(p.Services) > 1; p = last {
		if p.Services = p.Services[:len(p.Services)-1]; !keep(p) {
			break
		}
	}
	for p := last; p.Nodes > 2; p = last {
		if p.Nodes--; !keep(p) {
			break
		}
	}
	return Tell(last)
}

// Again is the command that tells a plan's story again.
func (p Plan) Again() string {
	s := fmt.Sprintf("go test ./test/sim -run TestSeeds -seeds 1 -seed %d", p.Seed)
	full := MakePlan(p.Seed)
	if len(p.Strikes) < len(full.Strikes) {
		s += " -keep "
		if len(p.Strikes) == 0 {
			s += "none"
		}
		for i, n := range p.Numbers() {
			if i > 0 {
				s += ","
			}
			s += fmt.Sprint(n)
		}
	}
	if p.Nodes < full.Nodes {
		s += fmt.Sprintf(" -nodes %d", p.Nodes)
	}
	if len(p.Services) < len(full.Services) {
		s += fmt.Sprintf(" -services %d", len(p.Services))
	}
	return s
}
