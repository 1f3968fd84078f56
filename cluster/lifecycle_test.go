package cluster_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// warned says that a node's status warns of something.
func warned(n *clustertest.Node, text string) bool {
	return n.Core() != nil && strings.Contains(strings.Join(n.View().Warnings, "\n"), text)
}

// inMaintenance is a booted cluster that has agreed on a maintenance.
func inMaintenance(t *testing.T, o clustertest.Options, r cluster.Maintain) *clustertest.World {
	t.Helper()
	w := boot(t, o)
	from := w.Now
	w.Node("beta").Ask(r)
	w.Until("the maintenance is agreed on", 5*time.Second, func() bool { return w.Told(cluster.NoteMaintenance, "", from) != nil })
	w.Until("every node has learned it", 5*time.Second, func() bool {
		for _, n := range w.Nodes {
			if n.View().State.Ver < w.Node("beta").View().State.Ver {
				return false
			}
		}
		return true
	})
	return w
}

// TestMaintenanceLeavesServicesAlone: the check fails, the owner dies, a better
// node comes: nothing is started, stopped or moved until the maintenance ends by
// itself; then the service is taken over.
func TestMaintenanceLeavesServicesAlone(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		for _, r := range []cluster.Maintain{{Node: "alpha", For: 20 * time.Minute}, {For: 20 * time.Minute}, {Service: "orders", For: 20 * time.Minute}} {
			w := inMaintenance(t, o, r)
			alpha, from := w.Node("alpha"), w.Now
			alpha.CheckFails = true
			w.Run(time.Minute)
			never(t, w, cluster.NoteStopping, "orders", from)
			if told := w.Told(cluster.NoteFailed, "orders", from); told == nil || !strings.Contains(told.Text, "maintenance") {
				t.Errorf("the failed check was told as %+v", told)
			}
			alpha.CheckFails = false
			alpha.NoReboot = true
			alpha.PowerOff()
			w.Until("alpha is proven dead all the same", time.Minute, func() bool { return w.Told(cluster.NoteProof, "alpha", from) != nil })
			w.Run(10 * time.Minute)
			never(t, w, cluster.NoteStarting, "orders", from)
			if !warned(w.Node("beta"), "in maintenance for another") {
				t.Errorf("status does not warn: %q", w.Node("beta").View().Warnings)
			}
			ended := w.Now
			w.Until("orders is taken over when the maintenance is over", 20*time.Minute, up(w, "orders", "beta", ended))
			if told := w.Told(cluster.NoteMaintenance, "", ended); told == nil || !strings.Contains(told.Text, "ends by itself in") {
				t.Errorf("nobody was reminded: %+v", told)
			}
			if w.Now-from < 19*time.Minute {
				t.Errorf("it ended after %s, asked for were 20 minutes", w.Now-from)
			}
		}
	})
}

// TestMaintenanceEndsNeverEarly: the coordinator dies again and again while it
// counts; the time that it had not committed is counted once more, so the
// maintenance lasts longer, and never ends too early.
func TestMaintenanceEndsNeverEarly(t *testing.T) {
	w := inMaintenance(t, clustertest.Options{Nodes: 3, Disks: 3, Seed: 3}, cluster.Maintain{Service: "orders", For: 15 * time.Minute})
	from := w.Now
	for range 6 {
		w.Run(90 * time.Second)
		w.Node("alpha").KillDaemon()
		w.Run(10 * time.Second)
		w.Node("alpha").StartDaemon()
	}
	over := func() bool {
		g := w.Node("beta").View().State.Grant("orders")
		return !g.Maintenance.On()
	}
	w.Until("it ends", 20*time.Minute, over)
	if took := w.Now - from; took < 15*time.Minute-time.Second || took > 15*time.Minute+13*cluster.ClockStep {
		t.Errorf("15 minutes of maintenance took %s", took)
	}
}

// TestOnlineEndsMaintenance: the admin is done early, and the service, whose
// check fails, is handled again.
func TestOnlineEndsMaintenance(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := inMaintenance(t, o, cluster.Maintain{Node: "alpha", For: 2 * time.Hour})
		alpha, from := w.Node("alpha"), w.Now
		w.Node("gamma").Ask(cluster.MoveService{Service: "orders", To: "beta"})
		w.Node("gamma").Ask(cluster.StopService{Service: "orders"})
		alpha.CheckFails = true
		w.Run(30 * time.Second)
		never(t, w, cluster.NoteStopping, "orders", from)
		if !strings.Contains(replies(w, from), "holdfast node online alpha") {
			t.Errorf("the refusals have no remedy: %s", replies(w, from))
		}
		w.Node("beta").Ask(cluster.StandbyNode{Node: "alpha"})
		w.Until("orders moves away from the node where it fails", time.Minute, up(w, "orders", "beta", from))
	})
}

// TestMaintenanceDoesNotLoosenTheLease: a node in maintenance that loses its
// disks stops everything as ever: who may own is not touched.
func TestMaintenanceDoesNotLoosenTheLease(t *testing.T) {
	w := inMaintenance(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: 5}, cluster.Maintain{For: time.Hour})
	from := w.Now
	cutDisks(w.Node("alpha"), true)
	w.Until("alpha has stopped orders", time.Minute, func() bool { return w.Owner("orders") == nil })
	cutDisks(w.Node("alpha"), false)
	w.Run(5 * time.Minute)
	never(t, w, cluster.NoteStarting, "orders", from)
}

// TestDaemonRestartedInMaintenance: the services run on over it, and one that
// the admin has ended by hand is not started.
func TestDaemonRestartedInMaintenance(t *testing.T) {
	w := inMaintenance(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: 6}, cluster.Maintain{Node: "alpha", For: time.Hour})
	alpha, from := w.Node("alpha"), w.Now
	alpha.KillDaemon()
	w.Run(5 * time.Second)
	alpha.StartDaemon()
	w.Run(2 * time.Minute)
	never(t, w, cluster.NoteStopping, "orders", from)
	never(t, w, cluster.NoteStarting, "orders", from)
	if w.Owner("orders") != alpha || alpha.Resets > 0 {
		t.Error("orders does not run on")
	}
}

// flapping crashes a node often enough.
func flapping(t *testing.T, o clustertest.Options) *clustertest.World {
	t.Helper()
	o.Configure = func(c *cluster.Config) {
		c.Quarantine = cluster.FlapRule{Budget: cluster.Budget{Count: 3, Within: 15 * time.Minute}, For: time.Hour}
	}
	w := boot(t, o)
	alpha := w.Node("alpha")
	for range 3 {
		alpha.PowerOff()
		w.Run(15 * time.Second)
		alpha.PowerOn()
		w.Until("alpha is back", time.Minute, func() bool { return members(w) == 3 })
		w.Run(30 * time.Second)
	}
	return w
}

// TestFlappingNodeIsQuarantined: it comes back every time, but after the third
// crash it runs nothing, although the service prefers it and nobody else is left
// that could; `node online` lets it again.
func TestFlappingNodeIsQuarantined(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Services = []cluster.Service{{Name: "orders", Prefer: []string{"alpha"}, Failback: cluster.Failback{Mode: cluster.Automatic}, Stack: orders().Stack}}
		w := flapping(t, o)
		from := w.Now
		w.Run(5 * time.Minute)
		never(t, w, cluster.NoteStarting, "orders", from)
		if w.Owner("orders") == w.Node("alpha") {
			t.Fatal("a quarantined node runs a service")
		}
		q := w.Node("beta").View().State.NodeNamed("alpha").Life.Quarantine
		if !strings.Contains(q.Why, "3 times within 15m00s") || !warned(w.Node("gamma"), "holdfast node online alpha") {
			t.Errorf("quarantine %+v, warnings %q", q, w.Node("gamma").View().Warnings)
		}
		w.Node("gamma").Ask(cluster.StandbyNode{Node: "alpha"})
		w.Until("orders is back on alpha", time.Minute, up(w, "orders", "alpha", from))
	})
}

// TestQuarantineEnds by itself.
func TestQuarantineEnds(t *testing.T) {
	w := flapping(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: 2})
	from := w.Now
	w.Run(50 * time.Minute)
	if !w.Node("beta").View().State.NodeNamed("alpha").Life.Quarantine.On() {
		t.Fatal("it ended too early")
	}
	w.Until("it ends", 20*time.Minute, func() bool { return !w.Node("beta").View().State.NodeNamed("alpha").Life.Quarantine.On() })
	never(t, w, cluster.NoteFencing, "", from)
}

// TestAskedFencingsAreNoFlapping: what the administrator asks for counts for nothing.
func TestAskedFencingsAreNoFlapping(t *testing.T) {
	o := clustertest.Options{Nodes: 3, Disks: 1, Seed: 9, Configure: func(c *cluster.Config) {
		c.Quarantine = cluster.FlapRule{Budget: cluster.Budget{Count: 2, Within: time.Hour}, For: time.Hour}
	}}
	w := boot(t, o)
	for range 3 {
		from := w.Now
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
		w.Until("alpha is proven dead", time.Minute, func() bool { return w.Told(cluster.NoteProof, "alpha", from) != nil })
		w.Until("alpha is back", 2*time.Minute, func() bool { return members(w) == 3 })
	}
	if w.Node("beta").View().State.NodeNamed("alpha").Life.Quarantine.On() {
		t.Error("quarantined for what the administrator asked for")
	}
}

func out(w *clustertest.World) bool {
	for _, n := range w.Nodes {
		if n.Core() != nil && (n.View().Stage != "reading the quorum disk" || !n.View().Inc.IsZero() && n.Bound()) {
			return false
		}
	}
	return true
}

func stack() []cluster.Service {
	return []cluster.Service{
		{Name: "storage", Prefer: []string{"beta"}},
		{Name: "orders", Prefer: []string{"alpha"}, After: []string{"storage"}},
		{Name: "web", Prefer: []string{"gamma"}, After: []string{"orders"}},
	}
}

// TestClusterStopAndStart: services go down in reverse order, then the nodes,
// nobody is fenced; after the SAN was away and every node was switched off and
// on, nothing has begun by itself; cluster start brings everything back.
func TestClusterStopAndStart(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Services = stack()
		w := clustertest.New(t, o)
		w.Boot()
		w.Until("web runs", time.Minute, func() bool { return w.Running("web") && members(w) == 3 })
		from := w.Now
		w.Node("beta").Ask(cluster.StopCluster{By: "root"})
		w.Until("every node is out", 2*time.Minute, func() bool { return out(w) })
		order := []time.Duration{}
		for _, name := range []string{"web", "orders", "storage"} {
			order = append(order, w.Told(cluster.NoteReleased, name, from).At)
		}
		if order[0] >= order[1] || order[1] >= order[2] {
			t.Errorf("released at %v, want web, orders, storage", order)
		}
		for _, n := range w.Nodes {
			cutDisks(n, true)
		}
		w.Run(5 * time.Minute)
		for _, n := range w.Nodes {
			cutDisks(n, false)
		}
		for _, n := range w.Nodes {
			n.PowerOff()
			w.Run(20 * time.Second)
			n.PowerOn()
		}
		stopped := w.Now
		w.Run(5 * time.Minute)
		never(t, w, cluster.NoteFencing, "", from)
		never(t, w, cluster.NoteStarting, "", stopped)
		for _, n := range w.Nodes {
			if n.Resets > 0 || !strings.Contains(n.View().Waiting, "holdfast cluster start") {
				t.Errorf("%s was reset %d times and waits for %q", n.Name, n.Resets, n.View().Waiting)
			}
		}
		w.Node("gamma").Ask(cluster.StartCluster{})
		w.Until("web runs again", 2*time.Minute, func() bool { return w.Running("web") })
	})
}

// TestClusterStopNamesWhoCannot: a stop fails on one node, another one is
// silent: nobody is shot for it, both are named, and the stop goes on once they
// are mended.
func TestClusterStopNamesWhoCannot(t *testing.T) {
	o := clustertest.Options{Nodes: 3, Disks: 1, Seed: 8, Services: stack()}
	w := clustertest.New(t, o)
	w.Boot()
	w.Until("web runs", time.Minute, func() bool { return w.Running("web") && members(w) == 3 })
	from, alpha, gamma := w.Now, w.Node("alpha"), w.Node("gamma")
	alpha.StopFails = true
	w.Node("beta").Ask(cluster.StopCluster{})
	w.Until("the failed stop is named", time.Minute, func() bool { return warned(w.Node("beta"), "cannot be stopped: still mounted") })
	gamma.NoReboot = true
	gamma.PowerOff()
	w.Until("the silent node is named", time.Minute, func() bool { return warned(w.Node("beta"), "holdfast node confirm-off gamma") })
	w.Run(2 * time.Minute)
	never(t, w, cluster.NoteFencing, "", from)
	if w.Owner("storage") != w.Node("beta") {
		t.Error("storage was stopped although orders runs on top of it")
	}
	alpha.StopFails = false
	w.Node("beta").Ask(cluster.ConfirmOff{Node: "gamma", Operator: "root", How: "looked at it"})
	w.Until("every node is out", 2*time.Minute, func() bool { return out(w) })
}

// TestClusterStartInTheMiddleOfAStop brings everything back.
func TestClusterStartInTheMiddleOfAStop(t *testing.T) {
	for at := range 20 {
		w := boot(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: uint64(at)})
		from := w.Now
		w.Node("beta").Ask(cluster.StopCluster{})
		w.Run(time.Duration(at) * 150 * time.Millisecond)
		w.Node("beta").Ask(cluster.StartCluster{})
		w.Until("all are members and orders runs", 2*time.Minute, func() bool { return members(w) == 3 && w.Running("orders") })
		never(t, w, cluster.NoteFencing, "", from)
	}
}

// TestDaemonRestartedInAClusterStop goes on with it.
func TestDaemonRestartedInAClusterStop(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: 4})
	from, alpha := w.Now, w.Node("alpha")
	alpha.StopTime = 5 * time.Second
	w.Node("beta").Ask(cluster.StopCluster{})
	w.Run(2 * time.Second)
	alpha.KillDaemon()
	w.Run(time.Second)
	alpha.StartDaemon()
	w.Until("every node is out", 2*time.Minute, func() bool { return out(w) })
	never(t, w, cluster.NoteFencing, "", from)
}

// TestSpareMachineWaitsForAProof: a spare with the node's identity boots while
// the other machine may still run. It claims only after the outsider's wait, and
// the frozen machine has been reset by then.
func TestSpareMachineWaitsForAProof(t *testing.T) {
	for seed := range uint64(8) {
		w := boot(t, clustertest.Options{Nodes: 2, Disks: 1, Seed: seed})
		w.Node("beta").PowerOff()
		alpha, from := w.Node("alpha"), w.Now
		w.Run(10 * time.Millisecond)
		spare := alpha.Replace() // its power is cut, and another machine gets its disk
		w.Until("the spare says what it waits for", 10*time.Second, func() bool {
			return strings.Contains(spare.View().Waiting, "another machine") && strings.Contains(spare.View().Waiting, "proves it after")
		})
		w.Until("the spare runs the service", 10*time.Minute, up(w, "orders", "alpha", from))
		if took, wait := w.Now-from, spare.View().Timing.W; took < wait {
			t.Errorf("it took %s, the proof alone takes %s", took, wait)
		}
	}
}

// TestSpareMachineIsRefusedWhileTheOtherRuns: never, as long as that one beats.
func TestSpareMachineIsRefusedWhileTheOtherRuns(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 1, Seed: 1})
	from := w.Now
	gamma := w.Node("gamma")
	twin := gamma.Twin() // a second machine with gamma's disk boots while gamma runs
	w.Run(3 * time.Minute)
	if !strings.Contains(twin.View().Waiting, "machine") {
		t.Errorf("the twin waits for %q", twin.View().Waiting)
	}
	if inc := twin.View().Inc; !inc.IsZero() {
		t.Errorf("the twin claimed %s", inc)
	}
	never(t, w, cluster.NoteFencing, "", from)
	never(t, w, cluster.NoteProof, "gamma", from)
}

// TestTwoMachinesBootAtOnce: two machines with alpha's identity boot at the same
// instant, when nobody beats in its slot. The register's block has one writer at a
// time, so one of them gets in, and the other says what is wrong.
func TestTwoMachinesBootAtOnce(t *testing.T) {
	for seed := range uint64(12) {
		w := boot(t, clustertest.Options{Nodes: 2, Disks: 1 + 2*int(seed%2), Seed: seed})
		alpha := w.Node("alpha")
		alpha.PowerOff()
		w.Until("beta runs the service", 2*time.Minute, func() bool { return w.Running("orders") && w.Owner("orders").Name == "beta" })
		w.Run(time.Minute) // the old slot has stood still for as long as anybody would wait
		alpha.PowerOn()
		twin := alpha.Twin()
		w.Run(2 * time.Minute)
		if alpha.Bound() == twin.Bound() {
			t.Errorf("seed %d: of two machines bound are: the first %v, the second %v", seed, alpha.Bound(), twin.Bound())
		}
		for _, n := range []*clustertest.Node{alpha, twin} {
			if why := n.View().Waiting; !n.Bound() && !strings.Contains(why, "machine") {
				t.Errorf("seed %d: who is not let in waits for %q", seed, why)
			}
		}
	}
}

// TestWhoFencedMeIsRemembered: the node has come back, and everybody can tell who
// had it fenced, why and on what proof it was held for dead.
func TestWhoFencedMeIsRemembered(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").Freeze()
		w.Until("orders runs on beta", time.Minute, up(w, "orders", "beta", from))
		w.Until("alpha is back", 2*time.Minute, func() bool { return members(w) == 3 })
		for _, n := range w.Nodes {
			a := n.View().State.NodeNamed("alpha")
			f := a.Life.Fenced
			if f.By == 0 || f.By == a.ID || f.Asked || !strings.Contains(f.Why, "silent on the quorum disk") || a.Proof.Kind != cluster.ProofTime || a.Proof.Inc != f.Inc || f.Inc == a.Inc {
				t.Errorf("%s knows of alpha's fencing: %+v, proof %+v", n.Name, f, a.Proof)
			}
		}
		never(t, w, cluster.NoteProof, "beta", from)
	})
}

// TestOldMemberKeepsNewRulesOut: one member speaks less, so a maintenance is
// refused with its name; when it is upgraded the cluster uses the rules, and the
// old program is not let in any more.
func TestOldMemberKeepsNewRulesOut(t *testing.T) {
	w := clustertest.New(t, clustertest.Options{Seed: 3, Nodes: 3, Disks: 1, Services: []cluster.Service{orders("alpha")}})
	gamma := w.Node("gamma")
	gamma.Protocol = cluster.Protocol1
	gamma.PowerOn()
	w.Until("gamma is a member", time.Minute, func() bool { return members(w) == 1 })
	w.Boot()
	w.Until("all are members", time.Minute, func() bool { return members(w) == 3 })
	from := w.Now
	w.Node("beta").Ask(cluster.Maintain{For: time.Hour})
	w.Run(2 * time.Second)
	if !strings.Contains(replies(w, from), "gamma speaks 1: upgrade holdfast there first") {
		t.Fatalf("answered: %s", replies(w, from))
	}
	never(t, w, cluster.NoteMaintenance, "", 0)
	gamma.KillDaemon()
	gamma.Protocol = 0
	gamma.PowerOff()
	gamma.PowerOn()
	w.Until("gamma is back", time.Minute, func() bool { return members(w) == 3 })
	w.Run(2 * time.Second)
	w.Node("beta").Ask(cluster.Maintain{For: time.Hour})
	w.Until("the maintenance is agreed on", 10*time.Second, func() bool { return w.Told(cluster.NoteMaintenance, "", from) != nil })
	gamma.Protocol = cluster.Protocol1
	gamma.PowerOff()
	gamma.PowerOn()
	w.Run(time.Minute)
	if v := gamma.View(); !strings.Contains(v.Waiting, "speaks up to 1: upgrade holdfast") || members(w) != 2 {
		t.Errorf("the old program waits for %q, %d members", v.Waiting, members(w))
	}
}
