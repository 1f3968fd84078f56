package steps_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/steps"
)

func healthy() *api.Status {
	left := api.Seconds(1)
	return &api.Status{
		Self: api.Self{Name: "alpha", Stage: "member", Guard: "connected", Lease: &left},
		Nodes: []api.Node{
			{Name: "alpha", Phase: "member"}, {Name: "beta", Phase: "member", Standby: true},
		},
		Services:  []api.Service{{Name: "orders", State: "running", Node: "alpha"}, {Name: "archive", State: "stopped", Stopped: true}},
		Disks:     []api.Disk{{Index: 0, ID: "a", Path: "/dev/a"}, {Index: 1, ID: "b", Path: "/dev/b"}, {Index: 2, ID: "c", Path: "/dev/c"}},
		DiskSet:   api.DiskSet{Stage: api.DisksSettled},
		Links:     []api.Link{{Peer: "beta", Up: true, Local: "10.0.0.1:7320", Remote: "10.0.0.2:7320"}, {Peer: "beta", Up: true}},
		Watchdogs: []api.Watchdog{{Path: "/dev/watchdog0"}},
		Fencing:   []api.Readiness{{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works"}}}},
	}
}

// TestSteps: where nothing is wrong there is nothing to do; each thing that is wrong
// is said first, with what to do about it.
func TestSteps(t *testing.T) {
	if list := steps.Of(healthy()); len(list) != 0 {
		t.Errorf("healthy, and yet %+v", list)
	}
	five, never := api.Seconds(5), api.Seconds(1e12)
	for name, c := range map[string]struct {
		spoil   func(s *api.Status)
		what    string
		command string
		left    api.Seconds
	}{
		"no guard":      {func(s *api.Status) { s.Self.Guard = "not connected: no such file" }, "not connected", "systemctl status holdfast-guard", 0},
		"drills":        {func(s *api.Status) { s.Drills = &api.Drills{Overdue: []string{"kill-node", "move"}} }, "too long: kill-node, move", "holdfast drill list", 0},
		"joining":       {func(s *api.Status) { s.Self.Stage, s.Self.Waiting = "joining", "a slot" }, "joining, waits for a slot", "journalctl -u holdfastd -u holdfast-guard -n 50", 0},
		"leaving":       {func(s *api.Status) { s.Self.Stage = "leaving" }, "alpha leaves the cluster", "", 0},
		"out":           {func(s *api.Status) { s.Self.Stage = "out" }, "has left", "systemctl restart holdfast", 0},
		"lease lost":    {func(s *api.Status) { s.Self.Stage = "stopping everything at once" }, "lost its lease", `holdfast doctor --section "quorum disks"`, 0},
		"held":          {func(s *api.Status) { s.Self.Stage, s.Self.Waiting = "held", "it panicked twice" }, "panicked twice", "holdfast report", 0},
		"other version": {func(s *api.Status) { s.Cluster.ConfigProblem = "unknown key" }, "unknown key", "holdfast node upgrade --dry-run", 0},
		"stopped":       {func(s *api.Status) { s.Cluster.Stopped, s.Self.Stage = true, "out" }, "stopped, by an administrator", "holdfast cluster start", 0},
		"no quorum":     {func(s *api.Status) { s.Disks[0].Error, s.Disks[1].Error = "gone", "gone" }, "2 of 3 quorum disks do not answer alpha: nothing can be decided", "holdfast disk show", 0},
		"one disk":      {func(s *api.Status) { s.Disks[1].Error = "gone" }, "quorum disk 2 (/dev/b)", "holdfast disk replace b NEW", 0},
		"fenced": {func(s *api.Status) {
			s.Nodes[1].Fencing, s.Nodes[1].Remaining, s.Services[0].Node = true, &five, "beta"
		}, "beta is being fenced; orders waits for a proof", "holdfast explain node beta", 5},
		"fenced, no time":  {func(s *api.Status) { s.Nodes[1].Fencing, s.Nodes[1].Remaining = true, &never }, "beta is being fenced", "holdfast node confirm-off beta", 0},
		"fenced, no proof": {func(s *api.Status) { s.Nodes[1].Fencing = true }, "beta is being fenced", "holdfast node confirm-off beta", 0},
		"unknown":          {func(s *api.Status) { s.Services[0].State, s.Services[0].Node = "unknown", "beta" }, "whether orders runs is not known: beta is silent", "holdfast explain node beta", 0},
		"broken":           {func(s *api.Status) { s.Services[0].State, s.Services[0].Text = "broken", "still mounted" }, "orders is broken on alpha: still mounted", "holdfast explain orders", 0},
		"failed everywhere": {func(s *api.Status) {
			s.Services[0] = api.Service{Name: "orders", State: "stopped", Why: "no node can run it: alpha: failed there"}
		}, "orders does not run: no node can run it", "holdfast service clear orders", 0},
		"missing": {func(s *api.Status) {
			s.Services[0] = api.Service{Name: "orders", State: "stopped", Why: "it waits for storage"}
		}, "orders is stopped: it waits for storage", "holdfast explain orders", 0},
		"lost": {func(s *api.Status) {
			s.Nodes[1].Phase, s.Nodes[1].Fenced = "out", &api.Fenced{Why: "silent for 3.5s", Proof: &api.Proof{Kind: "E3 time"}}
		}, "beta was lost and is out: silent for 3.5s", "holdfast explain node beta", 0},
		"left":         {func(s *api.Status) { s.Nodes[1].Phase = "out" }, "beta is out", "holdfast explain node beta", 0},
		"no takeover":  {func(s *api.Status) { s.Failover.Problem = "no watchdog" }, "no takeover by time is possible: no watchdog", "holdfast timing -f explain", 0},
		"one link":     {func(s *api.Status) { s.Links[0].Up = false }, "beta is not heard on 1 of 2 links, as 10.0.0.1:7320 to 10.0.0.2:7320", "holdfast doctor --section links", 0},
		"bad way":      {func(s *api.Status) { s.Fencing[0].Ways[0].State = "failed" }, "fencing beta by bmc would not work", "holdfast drill fence beta", 0},
		"old way":      {func(s *api.Status) { s.Fencing[0].Ways[0].Stale = true }, "not checked for long", "holdfast drill fence beta", 0},
		"watchdog":     {func(s *api.Status) { s.Watchdogs[0].Why = "another kernel" }, "another kernel", "holdfast watchdog qualify /dev/watchdog0", 0},
		"quarantine":   {func(s *api.Status) { s.Nodes[1].Quarantine = &api.Until{Left: 60, Why: "fenced 3 times"} }, "beta is quarantined and runs nothing: fenced 3 times", "holdfast node online beta", 60},
		"maintenance":  {func(s *api.Status) { s.Services[0].Maintenance = &api.Until{Left: 90, By: "root"} }, "orders is in maintenance: it is not taken over, by root", "holdfast service maintenance orders --off", 90},
		"of a node":    {func(s *api.Status) { s.Nodes[1].Maintenance = &api.Until{Left: 90} }, "beta is in maintenance", "holdfast node maintenance beta --off", 90},
		"of all":       {func(s *api.Status) { s.Cluster.Maintenance = &api.Until{Left: 90} }, "the cluster is in maintenance", "holdfast cluster maintenance --off", 90},
		"comes":        {func(s *api.Status) { s.Nodes[1].Phase = "joining" }, "beta is joining", "", 0},
		"disk set":     {func(s *api.Status) { s.DiskSet = api.DiskSet{Stage: api.DisksJoint, Waits: []string{"beta"}} }, "being changed (joint), waits for beta", "holdfast disk show", 0},
		"waits itself": {func(s *api.Status) { s.Self.Waiting = "a proof" }, "alpha waits for a proof", "", 0},
	} {
		s := healthy()
		c.spoil(s)
		list := steps.Of(s)
		if len(list) == 0 || !strings.Contains(list[0].What, c.what) || list[0].Command != c.command || list[0].Do == "" {
			t.Errorf("%s: %+v, want %q and %q", name, list, c.what, c.command)
			continue
		}
		if l := list[0].Left; c.left > 0 && (l == nil || *l != c.left) || c.left == 0 && l != nil {
			t.Errorf("%s: left %v, want %v", name, l, c.left)
		}
	}
}

// TestOrder: a node without a proof comes before what waits for it, and what somebody
// wanted comes last.
func TestOrder(t *testing.T) {
	s := healthy()
	s.Nodes[1].Fencing, s.Services[0].Maintenance, s.Links[0].Up, s.Disks[0].Error = true, &api.Until{Left: 1}, false, "gone"
	var got []string
	for _, x := range steps.Of(s) {
		word, _, _ := strings.Cut(x.What, " ")
		got = append(got, word)
	}
	if text := strings.Join(got, " "); text != "beta quorum orders" {
		t.Errorf("%s", text)
	}
}

// TestCovered: a warning that a step says is not said twice, any other one is shown.
func TestCovered(t *testing.T) {
	s := healthy()
	s.Watchdogs[0].Why = "another kernel"
	for w, want := range map[string]bool{
		"link 0 to beta is silent": true, "quorum disk 1: gone": true, "watchdog /dev/watchdog0 is not qualified": true,
		"beta has only softdog": false, "orders is in maintenance for another 1m": false,
	} {
		if steps.Covered(s, w) != want {
			t.Errorf("%q: %t", w, !want)
		}
	}
}
