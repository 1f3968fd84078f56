package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

func orders(prefer ...string) cluster.Service {
	return cluster.Service{Name: "orders", Prefer: prefer, Stack: []cluster.Member{{ID: "exec", Kind: "exec", CheckEvery: time.Second}}}
}

// up says that node runs the service, and has said so since from.
func up(w *clustertest.World, service, node string, from time.Duration) func() bool {
	return func() bool {
		o := w.Owner(service)
		return o != nil && o.Name == node && o.Core() != nil && w.Told(cluster.NoteStarted, service, from) != nil
	}
}

func boot(t *testing.T, o clustertest.Options) *clustertest.World {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes, o.Disks = 3, 1
	}
	if o.Services == nil {
		o.Services = []cluster.Service{orders("alpha", "beta")}
	}
	w := clustertest.New(t, o)
	w.Boot()
	w.Until("orders runs on alpha", 30*time.Second, up(w, "orders", "alpha", 0))
	w.Until("all are members", 30*time.Second, func() bool { return members(w) == o.Nodes })
	w.Run(w.Jitter(2*time.Second, 4*time.Second))
	return w
}

func members(w *clustertest.World) int {
	n := 0
	for _, node := range w.Nodes {
		if c := node.Core(); c != nil && c.View(0).Stage == "member" {
			n++
		}
	}
	return n
}

func never(t *testing.T, w *clustertest.World, kind cluster.NoteKind, about string, from time.Duration) {
	t.Helper()
	if n := w.Told(kind, about, from); n != nil {
		w.Tell()
		t.Fatalf("%s about %s was told at %s: %s", kind, about, n.At, n.Text)
	}
}

// everywhere runs a story with one and with three disks, and with several seeds.
func everywhere(t *testing.T, story func(t *testing.T, o clustertest.Options)) {
	for _, disks := range []int{1, 3} {
		seeds := uint64(4)
		if testing.Short() {
			seeds = 1
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("disks=%d/seed=%d", disks, seed), func(t *testing.T) {
				story(t, clustertest.Options{Seed: seed, Nodes: 3, Disks: disks})
			})
		}
	}
}

func TestKilledOwnerIsTakenOver(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		w.Node("alpha").NoReboot = true
		from := w.Now
		w.Node("alpha").PowerOff()
		took := w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
		if took > 11*time.Second {
			t.Errorf("failover took %s, promised were 10 s and the start", took)
		}
		if p := w.Told(cluster.NoteProof, "alpha", from); p == nil || p.Proof != cluster.ProofTime {
			t.Errorf("the proof was %v, want a proof by time", p)
		}
	})
}

// TestLastNodeStanding: quorum is a majority of the disks, never of the nodes.
func TestLastNodeStanding(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		for _, name := range []string{"alpha", "beta"} {
			w.Node(name).NoReboot = true
			w.Node(name).PowerOff()
		}
		w.Until("orders runs on gamma", 30*time.Second, up(w, "orders", "gamma", from))
	})
}

func TestFrozenOwnerIsResetBeforeTheTakeover(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").Freeze()
		w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
		if w.Node("alpha").Resets != 1 {
			t.Errorf("alpha was reset %d times, want once, by its watchdogs", w.Node("alpha").Resets)
		}
		w.Until("alpha is back", 60*time.Second, func() bool { return members(w) == 3 })
		w.Run(20 * time.Second)
		if w.Owner("orders").Name != "beta" {
			t.Error("the service went back although failback is manual")
		}
	})
}

// TestShortStallChangesNothing: less than the lease is forgiven.
func TestShortStallChangesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").Freeze()
		w.Run(1500 * time.Millisecond)
		w.Node("alpha").Thaw()
		w.Run(20 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		if w.Owner("orders") != w.Node("alpha") {
			t.Error("the service moved")
		}
	})
}

func TestCutNetworkFencesNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.CutNetwork(true)
		w.Run(60 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		never(t, w, cluster.NoteStarting, "orders", from)
		if w.Owner("orders") != w.Node("alpha") {
			t.Fatal("the service moved although the disks are fine")
		}
		w.Node("alpha").NoReboot = true
		from = w.Now
		w.Node("alpha").PowerOff()
		w.Until("orders runs on beta, through the disk alone", 30*time.Second, up(w, "orders", "beta", from))
	})
}

func TestOneWayLinkFencesNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Net.Cut(w.Node("alpha").ID, w.Node("beta").ID, true)
		w.Net.Cut(w.Node("gamma").ID, w.Node("alpha").ID, true)
		w.Run(40 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		never(t, w, cluster.NoteGrant, "orders", from)
	})
}

// TestCutDiskOnTheOwner: it stops by itself and releases, or is reset; either
// way the service moves, and the node comes back with its disk.
func TestCutDiskOnTheOwner(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		cutDisks(w.Node("alpha"), true)
		w.Until("orders runs on beta", 40*time.Second, up(w, "orders", "beta", from))
		cutDisks(w.Node("alpha"), false)
		w.Until("alpha is back", 60*time.Second, func() bool { return members(w) == 3 })
	})
}

func cutDisks(n *clustertest.Node, cut bool) {
	for d := range n.DiskCut {
		n.DiskCut[d] = cut
	}
}

func TestOneOfThreeDisksChangesNothing(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 3})
	from := w.Now
	for _, n := range w.Nodes {
		n.DiskCut[1] = true
	}
	w.Run(40 * time.Second)
	never(t, w, cluster.NoteFencing, "", from)
	never(t, w, cluster.NoteGrant, "orders", from)
	w.Node("alpha").NoReboot = true
	from = w.Now
	w.Node("alpha").PowerOff()
	w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
}

// TestAllDisksGoneShootsNobody: the array froze for everybody.
func TestAllDisksGoneShootsNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		for _, n := range w.Nodes {
			cutDisks(n, true)
		}
		w.Run(4 * time.Second) // less than the lease
		for _, n := range w.Nodes {
			cutDisks(n, false)
		}
		w.Run(30 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		never(t, w, cluster.NoteGrant, "orders", from)
	})
}

func TestMoveStopsBeforeItStarts(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("gamma").Ask(cluster.MoveService{Service: "orders", To: "gamma"})
		took := w.Until("orders runs on gamma", 20*time.Second, up(w, "orders", "gamma", from))
		if took > 4*time.Second {
			t.Errorf("a clean move took %s: it waits for no timeout", took)
		}
		never(t, w, cluster.NoteFencing, "", from)
		if r := w.Told(cluster.NoteReleased, "orders", from); r == nil {
			t.Error("nobody released the service")
		}
	})
}

func TestMoveToANodeThatCannotIsRefused(t *testing.T) {
	w := boot(t, clustertest.Options{})
	w.Node("gamma").NoReboot = true
	w.Node("gamma").PowerOff()
	w.Run(20 * time.Second)
	from := w.Now
	w.Node("alpha").Ask(cluster.MoveService{Service: "orders", To: "gamma"})
	w.Run(10 * time.Second)
	never(t, w, cluster.NoteStopping, "orders", from)
}

func TestStopAndStart(t *testing.T) {
	w := boot(t, clustertest.Options{})
	w.Node("beta").Ask(cluster.StopService{Service: "orders"})
	w.Until("orders is stopped", 10*time.Second, func() bool { return w.Owner("orders") == nil })
	w.Run(20 * time.Second)
	if w.Owner("orders") != nil {
		t.Fatal("a stopped service was started again")
	}
	from := w.Now
	w.Node("gamma").Ask(cluster.StartService{Service: "orders"})
	w.Until("orders runs", 10*time.Second, up(w, "orders", "alpha", from))
}

func TestStandbyEmptiesANode(t *testing.T) {
	w := boot(t, clustertest.Options{})
	from := w.Now
	w.Node("beta").Ask(cluster.StandbyNode{Node: "alpha", On: true})
	w.Until("orders runs on beta", 10*time.Second, up(w, "orders", "beta", from))
	never(t, w, cluster.NoteFencing, "", from)
}

func TestFailedStartMovesOn(t *testing.T) {
	w := clustertest.New(t, clustertest.Options{Nodes: 3, Disks: 1, Services: []cluster.Service{orders("alpha", "beta")}})
	w.Node("alpha").StartFails = true
	w.Boot()
	w.Until("orders runs on beta", 40*time.Second, up(w, "orders", "beta", 0))
	never(t, w, cluster.NoteFencing, "", 0)
	w.Run(30 * time.Second)
	if w.Owner("orders").Name != "beta" {
		t.Error("it went back to where it failed")
	}
}

func TestFailedCheckRestartsWithinItsBudgetThenMoves(t *testing.T) {
	svc := orders("alpha", "beta")
	svc.Restarts = cluster.Budget{Count: 2, Within: 15 * time.Minute}
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 1, Services: []cluster.Service{svc}})
	from := w.Now
	w.Node("alpha").CheckFails = true
	w.Until("orders runs on beta", 60*time.Second, up(w, "orders", "beta", from))
	starts := 0
	for _, n := range w.Notes {
		if n.At >= from && n.Kind == cluster.NoteStarting && n.Node == 1 {
			starts++
		}
	}
	if starts != 2 {
		w.Tell()
		t.Errorf("alpha restarted it %d times, want twice", starts)
	}
	never(t, w, cluster.NoteFencing, "", from)
}

// TestFailedStopFences: a service that cannot be stopped is never "blocked and
// forgotten", and never started elsewhere before its node is dead.
func TestFailedStopFences(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").StopFails = true
		w.Node("beta").Ask(cluster.MoveService{Service: "orders", To: "beta"})
		w.Until("orders runs on beta", 40*time.Second, up(w, "orders", "beta", from))
		if w.Told(cluster.NoteFencing, "alpha", from) == nil {
			t.Error("alpha was not fenced")
		}
		if w.Node("alpha").Resets != 1 {
			t.Errorf("alpha was reset %d times, want once", w.Node("alpha").Resets)
		}
	})
}

func TestRestartedDaemonAdoptsWhatRuns(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").KillDaemon()
		w.Run(5 * time.Second)
		w.Node("alpha").StartDaemon()
		w.Run(30 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		never(t, w, cluster.NoteStopping, "orders", from)
		never(t, w, cluster.NoteGrant, "orders", from)
		if members(w) != 3 {
			w.Tell()
			t.Error("not everybody is a member")
		}
	})
}

// TestRestartedDaemonThatLearnsSlowly: it hears of the latest version before it
// has agreed on anything itself. What it owns was not granted in this life: it
// must neither start it again nor believe that it is not running.
func TestRestartedDaemonThatLearnsSlowly(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		n := w.Node("alpha")
		n.KillDaemon()
		n.RegDrops = 1
		n.StartDaemon()
		w.Run(5 * time.Second)
		n.RegDrops = 0
		w.Run(20 * time.Second)
		never(t, w, cluster.NoteReleased, "orders", from)
		never(t, w, cluster.NoteStarting, "orders", from)
		if w.Owner("orders") != n || members(w) != 3 {
			w.Tell()
			t.Error("alpha does not go on with what runs")
		}
	})
}

// TestDeadDaemonIsNotForever: the guard waits out its permission, no longer.
func TestDeadDaemonIsNotForever(t *testing.T) {
	w := boot(t, clustertest.Options{})
	from := w.Now
	w.Node("alpha").KillDaemon()
	w.Node("alpha").NoReboot = true
	w.Until("orders runs on beta", 80*time.Second, up(w, "orders", "beta", from))
	if w.Node("alpha").Resets != 1 {
		t.Error("alpha was not reset")
	}
}

func TestDaemonRestartedInTheMiddleOfAStart(t *testing.T) {
	o := clustertest.Options{Nodes: 3, Disks: 1, Services: []cluster.Service{orders("alpha", "beta")}}
	w := clustertest.New(t, o)
	w.Node("alpha").StartTime = 10 * time.Second
	w.Boot()
	w.Until("alpha is starting it", 30*time.Second, func() bool { return w.Told(cluster.NoteStarting, "orders", 0) != nil })
	w.Run(time.Second)
	w.Node("alpha").KillDaemon()
	w.Run(time.Second)
	w.Node("alpha").StartDaemon()
	w.Until("orders runs", 60*time.Second, func() bool { return w.Told(cluster.NoteStarted, "orders", 0) != nil })
	never(t, w, cluster.NoteFencing, "", 0)
}

// TestColdStartWithOneMissing: the first to boot waits until the absent node,
// which may run the service for all it knows, must have ended.
func TestColdStartWithOneMissing(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		for _, n := range w.Nodes {
			n.NoReboot = true
			n.PowerOff()
		}
		w.Run(time.Minute)
		from := w.Now
		w.Node("gamma").PowerOn()
		took := w.Until("orders runs on gamma", 40*time.Second, up(w, "orders", "gamma", from))
		if took < 9*time.Second {
			t.Errorf("gamma took over after %s: it cannot have known that alpha is off", took)
		}
	})
}

func TestRebootFasterThanDetection(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").PowerOff()
		w.Run(500 * time.Millisecond)
		w.Node("alpha").PowerOn()
		took := w.Until("orders runs again", 30*time.Second, func() bool {
			return w.Owner("orders") != nil && w.Told(cluster.NoteStarted, "orders", from) != nil
		})
		if p := w.Told(cluster.NoteProof, "alpha", from); p == nil || p.Proof != cluster.ProofReborn {
			t.Errorf("the proof was %v, want a newer incarnation", p)
		}
		if took > 9*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestLeaveMovesServicesAndFencesNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").Ask(cluster.LeaveCluster{})
		w.Until("orders runs on beta", 20*time.Second, up(w, "orders", "beta", from))
		w.Run(30 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		if w.Node("alpha").Resets != 0 {
			t.Error("leaving reset the node")
		}
		if w.Told(cluster.NoteLeft, "alpha", from) == nil {
			t.Error("nobody saw it leave")
		}
	})
}

func TestOperatorsWordIsRefusedWhileTheNodeSpeaks(t *testing.T) {
	w := boot(t, clustertest.Options{})
	from := w.Now
	w.Node("beta").Ask(cluster.ConfirmOff{Node: "alpha", Operator: "ann", How: "PDU is off"})
	w.Run(5 * time.Second)
	never(t, w, cluster.NoteFencing, "", from)
	w.Node("alpha").NoReboot = true
	w.Node("alpha").PowerOff()
	w.Run(4 * time.Second)
	from = w.Now
	w.Node("gamma").Ask(cluster.ConfirmOff{Node: "alpha", Operator: "ann", How: "PDU is off"})
	took := w.Until("orders runs on beta", 20*time.Second, up(w, "orders", "beta", from))
	if took > 3*time.Second {
		t.Errorf("the operator's word took %s", took)
	}
}

// slowWatchdogs are hardware that takes long, so that there is time to stop
// everything between the end of the lease and the reset.
func slowWatchdogs(in *timing.Input) {
	for i := range in.Devices {
		in.Devices[i].Timeout = 6 * time.Second
		in.Devices[i].TMax, in.Devices[i].At = 6600*time.Millisecond, 6*time.Second
	}
}
