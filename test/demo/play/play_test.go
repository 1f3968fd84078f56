package play

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestEnvironment: what the environment asks for is understood or refused.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		fault, demo, seconds string
		bad                  string
	}{
		{"", "", "", ""},
		{"cut-network", "active-active", "0.5", ""},
		{"explode", "", "", "want one of cut-disk, cut-network, freeze, kill, move"},
		{"", "passive", "", "want active-active"},
		{"", "", "-1", "want a number of seconds"},
	} {
		t.Setenv("DEMO_FAULT", c.fault)
		t.Setenv("DEMO", c.demo)
		t.Setenv("DEMO_SECONDS", c.seconds)
		s, err := parse(nil, io.Discard)
		switch {
		case c.bad == "" && err != nil, c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%+v: %v", c, err)
		case c.fault == "cut-network" && (s.fault != c.fault || !s.pair || s.cut != 500*time.Millisecond):
			t.Errorf("%+v: %+v", c, s)
		case c.fault == "" && c.bad == "" && (s.fault != "kill" || s.cut != defaultCut):
			t.Errorf("%+v: %+v", c, s)
		}
	}
}

// TestStory: of what several nodes tell, what belongs to the takeover is kept,
// once each, and the permission with its proof.
func TestStory(t *testing.T) {
	at := func(mono int64, observer string, e api.Event) stage.Event {
		return stage.Event{Event: e, Mono: mono, Observer: observer}
	}
	events := []stage.Event{
		at(40, "beta", api.Event{Kind: "grant", Node: "alpha", Service: "orders", Proof: "none"}), // the takeover before
		at(90, "beta", api.Event{Kind: "last-beat", Node: "alpha"}),
		at(92, "gamma", api.Event{Kind: "last-beat", Node: "alpha"}),
		at(110, "beta", api.Event{Kind: "suspected", Node: "alpha", Text: "silent"}),
		at(115, "beta", api.Event{Kind: "suspected", Node: "gamma", Text: "silent"}),
		at(120, "gamma", api.Event{Kind: "proof", Node: "alpha", Proof: "E3 time"}),
		at(130, "gamma", api.Event{Kind: "grant", Node: "beta", Service: "orders", Proof: "E3 time"}),
		at(131, "beta", api.Event{Kind: "grant", Node: "beta", Service: "orders", Proof: "E3 time"}),
		at(132, "beta", api.Event{Kind: "grant", Node: "beta", Service: "reports", Proof: "E1 released"}),
		at(140, "beta", api.Event{Kind: "started", Service: "orders"}),
	}
	got := story(events, &stage.Service{Name: "orders"}, "alpha", "beta", 100)
	if got.granted != 130 || got.proof != "E3 time" || got.stopped != 0 {
		t.Errorf("granted at %d on %q, stopped at %d", got.granted, got.proof, got.stopped)
	}
	var times []int64
	for _, m := range got.moments {
		times = append(times, m.at)
	}
	if want := []int64{90, 110, 120, 130, 140}; !slices.Equal(times, want) {
		t.Errorf("moments at %v, want %v: %+v", times, want, got.moments)
	}
}

// TestBenchFormat: the lines are what benchstat reads.
func TestBenchFormat(t *testing.T) {
	var out bytes.Buffer
	all := []failover{{answer: 3 * time.Second}, {answer: time.Second}, {answer: 2 * time.Second}}
	printBench(&out, "Failover", all, func(f failover) time.Duration { return f.answer }, "\t2.500 predicted-s")
	fields := strings.Split(strings.TrimSpace(out.String()), "\t")
	if !strings.HasPrefix(fields[0], "BenchmarkFailover-") || strings.Join(fields[1:], "|") != "3|2000000000 ns/op|2.000 p50-s|3.000 max-s|2.500 predicted-s" {
		t.Errorf("%q", out.String())
	}
}
