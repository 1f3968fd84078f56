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
		fault, demo, seconds, disks, bmc string
		bad                              string
		want                             settings
	}{
		{want: settings{fault: "kill", disks: 1, cut: defaultCut}},
		{fault: "cut-network", demo: "active-active", seconds: "0.5", disks: "3", want: settings{fault: "cut-network", pair: true, disks: 3, cut: 500 * time.Millisecond}},
		{fault: "lose-disk", disks: "3", want: settings{fault: "lose-disk", disks: 3, cut: defaultCut}},
		{fault: "freeze", bmc: "1", want: settings{fault: "freeze", disks: 1, cut: defaultCut, bmc: true, within: besideWithin}},
		{fault: "explode", bad: "want one of cut-disk, cut-network, freeze, kill, lose-disk, move"},
		{fault: "lose-disk", bad: "make demo DEMO_DISKS=3 DEMO_FAULT=lose-disk"},
		{fault: "move", bmc: "1", bad: "want kill or freeze"},
		{bmc: "yes", bad: "want 1, or nothing"},
		{disks: "2", bad: "want 1 or 3"},
		{demo: "passive", bad: "want active-active"},
		{seconds: "-1", bad: "want a number of seconds"},
	} {
		for name, text := range map[string]string{"DEMO_FAULT": c.fault, "DEMO": c.demo, "DEMO_SECONDS": c.seconds, "DEMO_DISKS": c.disks, "DEMO_BMC": c.bmc} {
			t.Setenv(name, text)
		}
		s, err := parse([]string{"-bin", "/opt"}, io.Discard)
		c.want.bin, c.want.watch = "/opt", defaultWatch
		switch {
		case c.bad == "" && err != nil, c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%+v: %v", c, err)
		case c.bad == "" && s != c.want:
			t.Errorf("%+v: %+v", c, s)
		}
	}
}

// TestJudge: only a takeover by the power that was faster than one by time shows
// that controllers help.
func TestJudge(t *testing.T) {
	at := func(proof string, d time.Duration) side { return side{failover: failover{permission: d, proof: proof}} }
	for _, c := range []struct {
		with, without side
		bad           string
	}{
		{at("E4 power off", time.Second), at("E3 time", 2*time.Second), ""},
		{at("E4 power off", 2*time.Second), at("E3 time", 2*time.Second), "did not help"},
		{at("E3 time", time.Second), at("E3 time", 2*time.Second), "want the power being off"},
		{at("E4 power off", time.Second), at("E4 power off", 2*time.Second), "want the time"},
	} {
		err := judge(c.with, c.without)
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v, %+v: %v", c.with, c.without, err)
		}
	}
}

// TestShown: a status that hides the loss of a disk, or how to replace it, is not
// accepted, nor one with a set that is not whole again.
func TestShown(t *testing.T) {
	age := api.Of(time.Second)
	good := func(path string) api.Disk { return api.Disk{Path: path, Age: &age} }
	lost := &api.Status{Disks: []api.Disk{good("a"), {Path: "b", Age: &age, Error: "gone"}, good("c")}, Notes: api.Notes{Warnings: []string{"it fails: " + remedy + "UUID NEW"}}}
	if err := shownLost(lost, "b"); err != nil {
		t.Error(err)
	}
	if shownLost(lost, "a") == nil || shownLost(&api.Status{Disks: lost.Disks}, "b") == nil {
		t.Error("a status that does not tell was accepted")
	}
	whole := api.Status{Disks: []api.Disk{good("a"), good("d"), good("c")}, DiskSet: api.DiskSet{Stage: api.DisksSettled}}
	if err := shownWhole(&whole, "d"); err != nil {
		t.Error(err)
	}
	joint := whole
	joint.DiskSet.Stage = api.DisksJoint
	for i, s := range []*api.Status{lost, &joint, {Disks: whole.Disks[:2], DiskSet: whole.DiskSet}} {
		if shownWhole(s, "d") == nil {
			t.Errorf("status %d was accepted", i)
		}
	}
}

// TestCalmly: an event of a takeover is found.
func TestCalmly(t *testing.T) {
	story := []stage.Event{{Event: api.Event{Kind: "disks"}}}
	if err := calmly(story); err != nil {
		t.Error(err)
	}
	if calmly(append(story, stage.Event{Event: api.Event{Kind: "suspected"}})) == nil {
		t.Error("a suspicion was accepted")
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
