package rehearsal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/incidents"
	"github.com/holdfast-ha/holdfast/internal/rehearsal"
)

func seconds(s float64) *api.Seconds {
	v := api.Seconds(s)
	return &v
}

// well is a cluster of two nodes in which nothing is wrong; beta runs the service.
func well() *rehearsal.World {
	age := seconds(0.1)
	return &rehearsal.World{
		Status: &api.Status{
			Self:     api.Self{Name: "alpha", Stage: "member"},
			Nodes:    []api.Node{{Name: "alpha", Phase: "member"}, {Name: "beta", Phase: "member"}},
			Services: []api.Service{{Name: "orders", State: "running", Node: "beta", Term: 4}, {Name: "web", State: "stopped", Stopped: true}},
			Disks:    []api.Disk{{Age: age}},
			Links:    []api.Link{{Peer: "beta", Up: true}},
			Fencing:  []api.Readiness{{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works"}, {Way: "disk", State: "always there"}}}},
		},
		Timing: &api.Timing{
			Within: 7, Rows: []api.Row{{Name: "h", Value: 0.4}, {Name: "h_poll", Value: 0.2}},
			Expected: []api.Expected{{Proof: "E3 time", Known: true, Typical: 5, Worst: 6}, {Proof: "E2 newer incarnation"}},
		},
		Told: &api.Simulation{
			Services: []api.Foretold{{Name: "orders", From: "beta", To: "alpha", Runs: true, Granted: seconds(5.1), Proof: &api.Proof{Kind: "E3 time"}}, {Name: "web"}},
			Nodes:    []api.ForetoldNode{{Name: "beta", Proof: &api.Proof{Kind: "E3 time"}}},
		},
	}
}

// TestRefusals: each thing that is missing refuses a drill, with a remedy, and where all
// is well none is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	kill := rehearsal.Drill{Kind: api.DrillKillNode, Node: "beta"}
	move := rehearsal.Drill{Kind: api.DrillMove, Node: "beta", Service: "orders", To: "alpha"}
	for _, c := range []struct {
		drill rehearsal.Drill
		spoil func(w *rehearsal.World)
		want  string // empty: it may be run
	}{
		{kill, func(*rehearsal.World) {}, ""},
		{move, func(*rehearsal.World) {}, ""},
		{kill, func(w *rehearsal.World) {
			w.Told.Services[0].Runs, w.Told.Services[0].Why = false, "alpha is on standby"
		}, "orders would end: alpha is on standby"},
		{kill, func(w *rehearsal.World) { w.Told.Nodes[0].Proof = nil }, "sure of the end"},
		{kill, func(w *rehearsal.World) { w.Told, w.Unknown = nil, "it falls silent" }, "it falls silent"},
		{kill, func(w *rehearsal.World) { w.Status.Self.Name = "beta" }, "is this node"},
		{kill, func(w *rehearsal.World) { w.Status.Self.Stage = "joining" }, "no member now (joining)"},
		{kill, func(w *rehearsal.World) { w.Status.Nodes[1].Phase = "out" }, "beta is no member"},
		{kill, func(w *rehearsal.World) { w.Status.Disks[0].Error = "it hangs" }, "quorum disk 1 does not answer"},
		{kill, func(w *rehearsal.World) { w.Status.Links[0].Up = false }, "link 0 to beta is silent"},
		{kill, func(w *rehearsal.World) { w.Status.Fencing[0].Ways[0].State = "failed" }, "the way bmc"},
		{kill, func(w *rehearsal.World) { w.Status.Failover.Problem = "no watchdog" }, "no watchdog"},
		{kill, func(w *rehearsal.World) { w.Status.DiskSet.Stage = api.DisksJoint }, "being changed"},
		{kill, func(w *rehearsal.World) { w.Status.Cluster.Maintenance = &api.Until{Left: 9} }, "in maintenance"},
		{kill, func(w *rehearsal.World) { w.Status.Nodes[0].Maintenance = &api.Until{Left: 9} }, "alpha is in maintenance"},
		{kill, func(w *rehearsal.World) { w.Status.Services[0].Maintenance = &api.Until{Left: 9} }, "orders is in maintenance"},
		{kill, func(w *rehearsal.World) { w.Status.Services[0].Frozen = true }, "frozen"},
		{kill, func(w *rehearsal.World) { w.Status.Cluster.Stopped = true }, "is stopped"},
		{kill, func(w *rehearsal.World) { w.Status.Services[0].State = "starting" }, "begins with everything well"},
		{kill, func(w *rehearsal.World) {
			w.Running = map[string]*api.DrillRun{"beta": {Kind: api.DrillCutDisk}}
		}, "the drill cut-disk is under way on beta"},
		{rehearsal.Drill{Kind: api.DrillKillNode, Node: "gamma"}, func(*rehearsal.World) {}, "no node"},
		{rehearsal.Drill{Kind: api.DrillFailService, Node: "alpha", Service: "orders"}, func(*rehearsal.World) {}, "does not run on alpha"},
		{rehearsal.Drill{Kind: api.DrillMove, Node: "beta", Service: "orders"}, func(w *rehearsal.World) { w.Nowhere = "alpha: on standby" }, "nowhere else now: alpha: on standby"},
		{move, func(w *rehearsal.World) { w.Told.Services[0].To = "beta" }, "would not move"},
		{move, func(w *rehearsal.World) { w.Status.Links[0].Up = false }, ""},
	} {
		w := well()
		c.spoil(w)
		list := rehearsal.Refusals(&c.drill, w)
		switch {
		case c.want == "" && len(list) > 0:
			t.Errorf("%+v is refused: %+v", c.drill, list)
		case c.want != "" && (len(list) != 1 || !strings.Contains(list[0].Why, c.want) || !strings.HasPrefix(strings.TrimPrefix(list[0].Remedy, "on another node: "), "holdfast ")):
			t.Errorf("%+v: %+v; want %q", c.drill, list, c.want)
		}
	}
}

// TestJudge: what comes later than foretold and its bound fails, and so does what
// should have stayed, or went elsewhere; another proof may come first.
func TestJudge(t *testing.T) {
	t.Parallel()
	began := time.Unix(1e9, 0)
	told := func(s float64, e api.Event) incidents.Told {
		return incidents.Told{Event: e, By: "alpha", On: began.Add(api.Seconds(s).Duration())}
	}
	course := func(granted float64, to, proof string) []incidents.Told {
		return []incidents.Told{
			told(-9, api.Event{Kind: "grant", Service: "orders", Node: "beta", Proof: "E1 released"}),
			told(0.2, api.Event{Kind: "last-beat", Node: "beta"}),
			told(granted, api.Event{Kind: "grant", Service: "orders", Node: to, Proof: proof}),
			told(granted+0.5, api.Event{Kind: "started", Service: "orders"}),
		}
	}
	kill := rehearsal.Drill{Kind: api.DrillKillNode, Node: "beta"}
	for _, c := range []struct {
		name  string
		told  []incidents.Told
		stall time.Duration
		ok    bool
	}{
		{"as foretold", course(5.3, "alpha", "E3 time"), 0, true},
		{"just within: 5.1 s, and h, h_poll and worst less typical on top", course(0.2+5.1+1.59, "alpha", "E3 time"), 0, true},
		{"later", course(0.2+5.1+1.61, "alpha", "E3 time"), 0, false},
		{"later, on a machine that stalled", course(0.2+5.1+1.61, "alpha", "E3 time"), 100 * time.Millisecond, true},
		{"earlier than the proof can be", course(2, "alpha", "E3 time"), 0, false},
		{"earlier, on another proof", course(2, "alpha", "E2 newer incarnation"), 0, true},
		{"elsewhere", course(5.3, "gamma", "E3 time"), 0, false},
		{"to nobody", course(5.3, "alpha", "E3 time")[:2], 0, false},
	} {
		w, seen := well(), &rehearsal.Seen{Began: began, Told: c.told, Stall: c.stall}
		if out := rehearsal.Judge(&kill, w, seen); len(out) != 1 || out[0].OK != c.ok {
			t.Errorf("%s: %+v", c.name, out)
		}
	}
	cut := rehearsal.Drill{Kind: api.DrillCutNetwork, Node: "beta"}
	w := well()
	w.Told.Services[0].Granted, w.Told.Services[0].To = nil, "beta"
	if out := rehearsal.Judge(&cut, w, &rehearsal.Seen{Began: began}); len(out) != 1 || !out[0].OK {
		t.Errorf("it stayed: %+v", out)
	}
	if out := rehearsal.Judge(&cut, w, &rehearsal.Seen{Began: began, Told: course(3, "alpha", "E3 time")}); len(out) != 1 || out[0].OK {
		t.Errorf("it went though foretold to stay: %+v", out)
	}
}

// TestOwnStop: what a service takes to stop is its own, and no part of the takeover.
func TestOwnStop(t *testing.T) {
	t.Parallel()
	began := time.Unix(1e9, 0)
	at := func(s float64, kind string) incidents.Told {
		return incidents.Told{Event: api.Event{Kind: kind, Service: "orders", Node: "alpha", Proof: "E1 released"}, By: "beta", On: began.Add(api.Seconds(s).Duration())}
	}
	move := rehearsal.Drill{Kind: api.DrillMove, Node: "beta", Service: "orders", To: "alpha"}
	w := well()
	w.Told.Services[0].Granted, w.Told.Services[0].Proof = seconds(0.1), nil
	out := rehearsal.Judge(&move, w, &rehearsal.Seen{Began: began, Told: []incidents.Told{at(0.1, "stopping"), at(30.1, "stopped"), at(30.2, "grant"), at(31.2, "started")}})
	if len(out) != 1 || !out[0].OK || *out[0].Measured > 0.21 || *out[0].Down < 31 {
		t.Errorf("%+v", out)
	}
}
