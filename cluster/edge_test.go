package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// replies are the answers that administrators got since from.
func replies(w *clustertest.World, from time.Duration) string {
	var b strings.Builder
	for _, n := range w.Notes {
		if n.At >= from && n.Kind == "reply" {
			b.WriteString(n.Text + "\n")
		}
	}
	return b.String()
}

func config(services ...cluster.Service) cluster.Config {
	return cluster.Config{Name: "test", FailoverWithin: 10 * time.Second, Services: services}
}

// TestUnreadableConfigurationStopsDecisions: a newer node has applied what this
// version does not understand. Nobody panics, nothing is stopped for it, and the
// node that cannot read it leaves the deciding to the others.
func TestUnreadableConfigurationStopsDecisions(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Blind(w.Node("alpha"), true)
		c := config(orders("alpha", "beta"), cluster.Service{Name: "web", Prefer: []string{"beta"}})
		w.Node("beta").Ask(w.Configure(c))
		w.Until("web runs, though the first node cannot decide", 30*time.Second, up(w, "web", "beta", from))
		w.Node("alpha").Ask(cluster.MoveService{Service: "orders", To: "beta"})
		w.Run(2 * time.Second)
		if !strings.Contains(replies(w, from), "cannot be read by this version") {
			t.Errorf("the move was answered: %s", replies(w, from))
		}
		if w.Owner("orders") != w.Node("alpha") {
			t.Error("the service moved")
		}
		w.Node("gamma").NoReboot = true
		w.Node("beta").NoReboot = true
		w.Node("beta").PowerOff()
		w.Until("web runs on gamma", 30*time.Second, func() bool { return w.Owner("web") == w.Node("gamma") })
		_ = w.Node("alpha").View()
	})
}

// TestNobodyCanReadTheConfiguration: nothing is decided, services run on, and a
// configuration that can be read mends it.
func TestNobodyCanReadTheConfiguration(t *testing.T) {
	w := boot(t, clustertest.Options{})
	alpha := w.Node("alpha")
	w.Blind(alpha, true)
	c := config(orders("alpha", "beta"))
	c.FailoverWithin = 11 * time.Second
	w.Node("beta").Ask(w.Configure(c))
	w.Run(5 * time.Second)
	from := w.Now
	for _, name := range []string{"beta", "gamma"} {
		w.Node(name).NoReboot = true
		w.Node(name).PowerOff()
	}
	w.Run(30 * time.Second)
	never(t, w, cluster.NoteFencing, "", from)
	if w.Owner("orders") != alpha || alpha.Resets != 0 {
		t.Fatal("the service does not run on")
	}
	w.Blind(alpha, false)
	alpha.Ask(w.Configure(config(orders("alpha", "beta"))))
	w.Until("gamma is fenced", 10*time.Second, func() bool { return w.Told(cluster.NoteProof, "gamma", from) != nil })
}

// TestDaemonRestartedWithAnUnreadableConfiguration: it renews the guard's
// permission and waits, instead of letting the node be reset.
func TestDaemonRestartedWithAnUnreadableConfiguration(t *testing.T) {
	w := boot(t, clustertest.Options{})
	w.Blind(w.Node("alpha"), true)
	w.Node("alpha").KillDaemon()
	w.Node("alpha").StartDaemon()
	w.Run(90 * time.Second)
	if w.Node("alpha").Resets != 0 || w.Owner("orders") != w.Node("alpha") {
		w.Tell()
		t.Fatal("alpha was reset, or its service was stopped")
	}
	w.Blind(w.Node("alpha"), false)
	w.Node("alpha").KillDaemon()
	w.Node("alpha").StartDaemon()
	w.Until("all are members", 20*time.Second, func() bool { return members(w) == 3 })
}

// TestDeadDaemonDoesNotStopTheOthers: the first node's guard goes on for the
// rest of its permission, but somebody else decides.
func TestDeadDaemonDoesNotStopTheOthers(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Services = []cluster.Service{orders("beta", "gamma")}
		w := clustertest.New(t, o)
		w.Boot()
		w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", 0))
		w.Until("all are members", 30*time.Second, func() bool { return members(w) == 3 })
		w.Run(3 * time.Second)
		w.Node("alpha").KillDaemon()
		w.Node("beta").NoReboot = true
		from := w.Now
		w.Node("beta").PowerOff()
		took := w.Until("orders runs on gamma", 60*time.Second, up(w, "orders", "gamma", from))
		if took > 13*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestSlowDisksOfTheFirstNodeDoNotStopTheOthers: its beats get through in time, but
// it cannot decide by disks that take so long to answer.
func TestSlowDisksOfTheFirstNodeDoNotStopTheOthers(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Services, o.Within = []cluster.Service{orders("beta", "gamma")}, 20*time.Second
		w := clustertest.New(t, o)
		w.Boot()
		w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", 0))
		w.Until("all are members", 30*time.Second, func() bool { return members(w) == 3 })
		w.Run(3 * time.Second)
		w.Node("alpha").DiskLag = time.Second // a beat is a write and a read
		w.Run(5 * time.Second)
		w.Node("beta").NoReboot = true
		from := w.Now
		w.Node("beta").PowerOff()
		took := w.Until("orders runs on gamma", 60*time.Second, up(w, "orders", "gamma", from))
		if took > o.Within+3*time.Second {
			t.Errorf("took %s", took)
		}
		w.Run(10 * time.Second)
		alpha := w.Node("alpha")
		if v := alpha.View(); alpha.Resets != 0 || v.Stage != "member" {
			t.Errorf("alpha was not to lose its lease, so this shows nothing: %s", v.Stage)
		}
		alpha.DiskLag = 0
		w.Until("alpha decides again", 10*time.Second, func() bool { v := alpha.View(); return v.Coordinator == v.Self })
	})
}

// TestEverybodysDisksAreSlow: nobody is fit to decide, so the first one does.
func TestEverybodysDisksAreSlow(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 3})
	from := w.Now
	for _, n := range w.Nodes {
		n.DiskLag = 500 * time.Millisecond
	}
	w.Run(5 * time.Second)
	w.Node("beta").Ask(cluster.MoveService{Service: "orders", To: "beta"})
	w.Until("orders runs on beta", 60*time.Second, up(w, "orders", "beta", from))
}

// TestFencedNodeWithADeadDaemon: its guard obeys the kill record alone.
func TestFencedNodeWithADeadDaemon(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		w.Node("alpha").KillDaemon()
		w.Run(time.Second)
		from := w.Now
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
		w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
		if w.Node("alpha").Resets != 1 {
			t.Error("the guard has not reset alpha")
		}
	})
}

// TestLeaveAtEveryStage: a node that is asked to leave leaves, however far it
// has come, and is never reset for it.
func TestLeaveAtEveryStage(t *testing.T) {
	for at := range 45 {
		w := clustertest.New(t, clustertest.Options{Seed: uint64(at), Nodes: 2, Disks: 1, Services: []cluster.Service{orders("alpha")}})
		w.Boot()
		w.Run(time.Duration(at) * 60 * time.Millisecond)
		n := w.Node("alpha")
		n.Ask(cluster.LeaveCluster{})
		w.Until(fmt.Sprintf("alpha has left, asked after %d ms", at*60), 60*time.Second, func() bool { return n.Core() == nil })
		w.Run(60 * time.Second)
		if n.Resets != 0 || w.Owner("orders") == n {
			w.Tell()
			t.Fatalf("asked after %d ms: alpha was reset %d times", at*60, n.Resets)
		}
		n.StartDaemon()
		w.Until("alpha is back", 60*time.Second, func() bool { return members(w) == 2 })
	}
}

// TestDaemonRestartedWhileLeaving goes on leaving.
func TestDaemonRestartedWhileLeaving(t *testing.T) {
	w := boot(t, clustertest.Options{})
	n := w.Node("alpha")
	n.StopTime = 5 * time.Second
	n.Ask(cluster.LeaveCluster{})
	w.Run(2 * time.Second)
	n.KillDaemon()
	w.Run(time.Second)
	from := w.Now
	n.StartDaemon()
	w.Until("orders runs on beta", 40*time.Second, up(w, "orders", "beta", from))
	w.Until("alpha has left", 20*time.Second, func() bool { return n.Core() == nil })
	never(t, w, cluster.NoteFencing, "", from)
}

// TestDaemonRestartedWhileStopping: an interrupted stop is begun again.
func TestDaemonRestartedWhileStopping(t *testing.T) {
	w := boot(t, clustertest.Options{})
	n := w.Node("alpha")
	n.StopTime = 5 * time.Second
	w.Node("beta").Ask(cluster.StopService{Service: "orders"})
	w.Run(2 * time.Second)
	n.KillDaemon()
	from := w.Now
	n.StartDaemon()
	w.Until("orders is stopped", 30*time.Second, func() bool { return w.Owner("orders") == nil })
	w.Run(10 * time.Second)
	never(t, w, cluster.NoteFencing, "", from)
	if w.Told(cluster.NoteReleased, "orders", from) == nil {
		t.Error("nobody released it")
	}
}

// TestDaemonRestartedWhileEnding: everything was to be stopped at once; the next
// life finishes that and does not go on as if nothing had been.
func TestDaemonRestartedWhileEnding(t *testing.T) {
	w := boot(t, clustertest.Options{})
	n := w.Node("alpha")
	n.StopTime = 2 * time.Second
	from := w.Now
	w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
	w.Until("alpha is stopping everything", 10*time.Second, func() bool { return w.Told(cluster.NoteStopping, "orders", from) != nil })
	n.KillDaemon()
	n.StartDaemon()
	w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
	w.Until("alpha is back", 60*time.Second, func() bool { return members(w) == 3 })
}

// TestStopInterruptsAStart: a start that takes minutes does not hold up the stop.
func TestStopInterruptsAStart(t *testing.T) {
	w := clustertest.New(t, clustertest.Options{Nodes: 2, Disks: 1, Services: []cluster.Service{orders("alpha", "beta")}})
	w.Node("alpha").StartTime = 5 * time.Minute
	w.Boot()
	w.Until("alpha is starting it", 30*time.Second, func() bool { return w.Told(cluster.NoteStarting, "orders", 0) != nil })
	w.Until("all are members", 30*time.Second, func() bool { return members(w) == 2 })
	from := w.Now
	w.Node("beta").Ask(cluster.MoveService{Service: "orders", To: "beta"})
	took := w.Until("orders runs on beta", 20*time.Second, up(w, "orders", "beta", from))
	if took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	never(t, w, cluster.NoteFencing, "", 0)
}

func TestServiceTakenFromTheConfiguration(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		term := w.Node("beta").View().State.Grant("orders").Term
		w.Node("beta").Ask(w.Configure(config()))
		w.Until("it is stopped", 10*time.Second, func() bool { return w.Owner("orders") == nil })
		w.Until("it is forgotten", 10*time.Second, func() bool { return w.Node("beta").View().State.Grant("orders") == nil })
		from := w.Now
		w.Node("gamma").Ask(w.Configure(config(orders("alpha", "beta"))))
		w.Until("it runs again", 10*time.Second, up(w, "orders", "alpha", from))
		if again := w.Node("beta").View().State.Grant("orders").Term; again <= term {
			t.Errorf("its terms began again at %d, the last one was %d: a release of then could end a term of now", again, term)
		}
	})
}

// TestUnknownLeftoverFencesTheNode: while the daemon was down its service was
// taken from the configuration. Nobody knows how to stop it, so it is not
// "verified stopped" by doing nothing.
func TestUnknownLeftoverFencesTheNode(t *testing.T) {
	w := boot(t, clustertest.Options{})
	w.Node("alpha").KillDaemon()
	from := w.Now
	w.Node("beta").Ask(w.Configure(config()))
	w.Run(5 * time.Second)
	w.Node("alpha").StartDaemon()
	w.Until("alpha is fenced", 40*time.Second, func() bool { return w.Told(cluster.NoteFencing, "alpha", from) != nil })
	w.Until("alpha is back, empty", 60*time.Second, func() bool { return members(w) == 3 && w.Owner("orders") == nil })
	if w.Node("alpha").Resets == 0 {
		t.Error("alpha has stopped what it did not know how to stop")
	}
}

func TestTwoAdministratorsAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").Ask(cluster.MoveService{Service: "orders", To: "beta"})
		w.Node("beta").Ask(cluster.MoveService{Service: "orders", To: "gamma"})
		w.Node("gamma").Ask(cluster.FreezeService{Service: "orders", On: false})
		w.Run(20 * time.Second)
		if n := strings.Count(replies(w, from), "\n"); n != 3 {
			t.Errorf("%d of three requests were answered: %s", n, replies(w, from))
		}
		if !w.Running("orders") || w.Owner("orders") == w.Node("alpha") {
			t.Error("it has not moved")
		}
		never(t, w, cluster.NoteFencing, "", from)
	})
}

// TestTwoNodesLoseNetworkThenDisks, one after the other, and get them back.
func TestTwoNodesLoseNetworkThenDisks(t *testing.T) {
	for seed := range uint64(8) {
		w := boot(t, clustertest.Options{Seed: seed, Nodes: 2, Disks: 1})
		w.CutNetwork(true)
		w.Run(w.Jitter(0, 15*time.Second))
		cutDisks(w.Node("alpha"), true)
		w.Run(w.Jitter(0, 15*time.Second))
		cutDisks(w.Node("beta"), true)
		w.Run(w.Jitter(0, 15*time.Second))
		cutDisks(w.Node("alpha"), false)
		w.Run(w.Jitter(0, 15*time.Second))
		cutDisks(w.Node("beta"), false)
		w.CutNetwork(false)
		w.Until("both are back and the service runs", 90*time.Second, func() bool { return members(w) == 2 && w.Running("orders") })
	}
}

func TestStandbyOfTheOnlyNode(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 2, Disks: 1})
	w.Node("beta").Ask(cluster.LeaveCluster{})
	w.Run(10 * time.Second)
	w.Node("alpha").Ask(cluster.StandbyNode{Node: "alpha", On: true})
	w.Until("nothing runs", 10*time.Second, func() bool { return w.Owner("orders") == nil })
	w.Run(2 * time.Second)
	if g := w.Node("alpha").View().State.Grant("orders"); !strings.Contains(g.Why, "standby") {
		t.Errorf("why it runs nowhere: %q", g.Why)
	}
	from := w.Now
	w.Node("alpha").Ask(cluster.StandbyNode{Node: "alpha", On: false})
	w.Until("it runs again", 10*time.Second, up(w, "orders", "alpha", from))
}

func TestMoveToANodeThatDiesMeanwhile(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		w.Node("alpha").StopTime = 3 * time.Second
		w.Node("alpha").Ask(cluster.MoveService{Service: "orders", To: "gamma"})
		w.Run(time.Second)
		w.Node("gamma").NoReboot = true
		w.Node("gamma").PowerOff()
		w.Until("orders runs somewhere", 60*time.Second, func() bool { return w.Running("orders") && w.Owner("orders") != w.Node("gamma") })
		w.Run(20 * time.Second)
		if !w.Running("orders") {
			t.Error("it does not stay there")
		}
	})
}

// TestRetiredNodeComesBack: with its disks cut and its network whole it stops
// everything in time, retires and returns without a reset.
func TestRetiredNodeComesBack(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Timing = slowWatchdogs
		o.Within = 30 * time.Second
		w := boot(t, o)
		from := w.Now
		n := w.Node("alpha")
		cutDisks(n, true)
		w.Until("alpha has stopped everything", 60*time.Second, func() bool { return n.View().Stage == "retired" })
		w.Run(5 * time.Second)
		cutDisks(n, false)
		w.Until("alpha is back", 60*time.Second, func() bool { return members(w) == 3 })
		w.Until("orders runs", 20*time.Second, func() bool { return w.Running("orders") })
		if n.Resets != 0 {
			t.Error("alpha was reset")
		}
		if n.View().Inc.N < 2 || w.Told(cluster.NoteProof, "alpha", from) == nil {
			t.Error("it came back as the incarnation that had retired")
		}
	})
}

func TestRemovedNode(t *testing.T) {
	w := boot(t, clustertest.Options{})
	gamma := w.Node("gamma")
	gamma.NoReboot = true
	gamma.PowerOff()
	w.Until("gamma is proven dead", 30*time.Second, func() bool { return w.Told(cluster.NoteProof, "gamma", 0) != nil })
	from := w.Now
	w.Node("alpha").Ask(cluster.RemoveNode{Node: "gamma"})
	w.Run(2 * time.Second)
	gamma.PowerOn()
	w.Run(20 * time.Second)
	if v := gamma.View(); v.Stage != "reading the quorum disk" || !strings.Contains(v.Waiting, "holdfast join") {
		t.Errorf("a removed node is %s (%s)", v.Stage, v.Waiting)
	}
	w.Node("beta").Ask(cluster.AddNode{Name: "gamma", Host: ident.UUID{3}})
	w.Until("gamma is a member again, in a slot with old beats", 30*time.Second, func() bool { return members(w) == 3 })
	never(t, w, cluster.NoteFencing, "", from)
}

// TestRemovedWhileJoining: nothing panics, and the guard is not left bound.
func TestRemovedWhileJoining(t *testing.T) {
	for at := range 25 {
		w := boot(t, clustertest.Options{Seed: uint64(at), Nodes: 3, Disks: 1})
		gamma := w.Node("gamma")
		gamma.Ask(cluster.LeaveCluster{})
		w.Until("gamma has left", 20*time.Second, func() bool { return gamma.Core() == nil })
		w.Run(2 * time.Second)
		gamma.StartDaemon()
		w.Run(time.Duration(at) * 60 * time.Millisecond)
		w.Node("alpha").Ask(cluster.RemoveNode{Node: "gamma"})
		w.Run(40 * time.Second)
		if gamma.Resets != 0 {
			w.Tell()
			t.Fatalf("removed %d ms after its start, gamma was reset", at*60)
		}
	}
}

// TestFailoverWithinChanges: every node lives by a changed value within a few
// beats, in the incarnation that it has.
func TestFailoverWithinChanges(t *testing.T) {
	w := boot(t, clustertest.Options{})
	from := w.Now
	inc := w.Node("alpha").View().Inc
	for _, within := range []time.Duration{20 * time.Second, 8 * time.Second} {
		c := config(orders("alpha", "beta"))
		c.FailoverWithin = within
		w.Node("beta").Ask(w.Configure(c))
		w.Until(fmt.Sprintf("everybody lives by %s", within), 20*time.Second, func() bool {
			for _, n := range w.Nodes {
				if n.View().Timing.B != within {
					return false
				}
			}
			return true
		})
	}
	if got := w.Node("alpha").View().Inc; got != inc {
		t.Errorf("alpha went from incarnation %s to %s", inc, got)
	}
	never(t, w, cluster.NoteFencing, "", from)
	never(t, w, cluster.NoteStopping, "orders", from)
}

// TestSixtyFourNodes boots a large cluster and takes its coordinator, which runs
// the service, away.
func TestSixtyFourNodes(t *testing.T) {
	nodes := 64
	if testing.Short() {
		nodes = 24
	}
	w := clustertest.New(t, clustertest.Options{Nodes: nodes, Disks: 1, Services: []cluster.Service{orders("alpha", "beta")}})
	w.Boot()
	for n := 0; n < nodes; n = members(w) {
		if w.Now > 30*time.Second {
			t.Fatalf("%d of %d nodes are members", n, nodes)
		}
		w.Run(time.Second)
	}
	w.Until("orders runs on alpha", 30*time.Second, up(w, "orders", "alpha", 0))
	w.Node("alpha").NoReboot = true
	from := w.Now
	w.Node("alpha").PowerOff()
	took := w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
	if took > 11*time.Second {
		t.Errorf("took %s", took)
	}
	for _, n := range w.Nodes {
		if n != w.Node("alpha") && n.Resets > 0 {
			t.Errorf("%s was reset", n.Name)
		}
	}
}

// TestStartThatBeginsAfterItsStop: the thread of a start got no processor until
// the stop that was to interrupt it had ended. The service is not released
// before the start has ended too, and was stopped again.
func TestStartThatBeginsAfterItsStop(t *testing.T) {
	for seed := range uint64(20) {
		w := clustertest.New(t, clustertest.Options{Seed: seed, Nodes: 2, Disks: 1, Services: []cluster.Service{orders("alpha", "beta")}})
		w.Boot()
		w.Until("all are members", 30*time.Second, func() bool { return members(w) == 2 })
		for range 6 {
			w.Node("beta").Ask(cluster.StopService{Service: "orders"})
			w.Until("it is stopped", 10*time.Second, func() bool { return w.Owner("orders") == nil })
			w.Run(time.Second)
			from := w.Now
			w.Node("beta").Ask(cluster.StartService{Service: "orders"})
			w.Until("it is being started", 10*time.Second, func() bool { return w.Told(cluster.NoteStarting, "orders", from) != nil })
			w.Node("alpha").Ask(cluster.MoveService{Service: "orders"})
			w.Run(w.Jitter(2*time.Second, 4*time.Second))
		}
		w.Until("it runs", 20*time.Second, func() bool { return w.Running("orders") })
	}
}
