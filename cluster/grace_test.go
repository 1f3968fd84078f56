package cluster_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// cutAll takes all disks from every node, or gives them back.
func cutAll(w *clustertest.World, cut bool) {
	for _, n := range w.Nodes {
		cutDisks(n, cut)
	}
}

// freeze makes every disk hang for every node.
func freezeArray(w *clustertest.World) {
	for _, n := range w.Nodes {
		for d := range n.DiskHang {
			n.DiskHang[d] = true
		}
	}
}

func thawArray(w *clustertest.World) {
	for _, n := range w.Nodes {
		for d := range n.DiskHang {
			n.Unhang(d)
		}
	}
}

func resets(w *clustertest.World) int {
	sum := 0
	for _, n := range w.Nodes {
		sum += n.Resets
	}
	return sum
}

// untouched says that orders was neither stopped nor started anywhere since
// from, nobody was fenced and nobody was reset.
func untouched(t *testing.T, w *clustertest.World, from time.Duration) {
	t.Helper()
	never(t, w, cluster.NoteFencing, "", from)
	never(t, w, cluster.NoteProof, "", from)
	never(t, w, cluster.NoteStarting, "orders", from)
	never(t, w, cluster.NoteStopping, "orders", from)
	if o := w.Owner("orders"); o == nil || o.Name != "alpha" {
		w.Tell()
		t.Error("orders does not run on alpha any more")
	}
	if n := resets(w); n != 0 {
		w.Tell()
		t.Errorf("%d resets, want none", n)
	}
}

// TestArrayFreezesForHalfAMinute: the failover of an array's controller resets
// nobody and moves nothing, for all members consent to each other's going on.
func TestArrayFreezesForHalfAMinute(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		for _, within := range []time.Duration{5 * time.Second, 10 * time.Second} {
			o.Grace, o.Within = 120*time.Second, within
			w := boot(t, o)
			from := w.Now
			freezeArray(w)
			w.Run(25 * time.Second)
			for _, n := range w.Nodes {
				if v := n.View(); v.Lease.Grace == 0 || !v.Lease.Held {
					t.Fatalf("%s does not know that it lives on grace: %+v", n.Name, v.Lease)
				}
				if !warned(n, "consent of all members") {
					t.Errorf("the status of %s does not say that it lives on grace: %q", n.Name, n.View().Warnings)
				}
			}
			w.Run(5 * time.Second)
			thawArray(w)
			w.Run(30 * time.Second)
			untouched(t, w, from)
			if members(w) != 3 {
				t.Error("not all are members")
			}
			if n := w.Node("alpha"); n.View().Lease.Grace != 0 {
				t.Error("alpha still believes that it lives on grace")
			}
		}
	})
}

// TestWithoutGraceAFreezeEndsEverything is what grace is for.
func TestWithoutGraceAFreezeEndsEverything(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 3, Disks: 1})
	freezeArray(w)
	w.Run(30 * time.Second)
	if w.Owner("orders") != nil {
		t.Error("orders still runs without a lease and without grace")
	}
}

// TestDisksLostForAllWithKeep: services go on for as long as all members answer;
// nobody takes over, nobody is shot, however long it lasts.
func TestDisksLostForAllWithKeep(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Keep = true
		w := boot(t, o)
		from := w.Now
		cutAll(w, true)
		w.Run(15 * time.Minute)
		untouched(t, w, from)
		if !warned(w.Node("alpha"), "on_disk_loss: keep") {
			t.Errorf("status does not say until when: %q", w.Node("alpha").View().Warnings)
		}
		cutAll(w, false)
		w.Run(30 * time.Second)
		untouched(t, w, from)
	})
}

// TestDisksLostForAllWithStop: when the grace is about to end everything is
// stopped in order, so nobody is reset, nobody takes over; and when the disks
// are back everybody comes back as a new incarnation.
func TestDisksLostForAllWithStop(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 60 * time.Second
		w := boot(t, o)
		from := w.Now
		cutAll(w, true)
		w.Run(45 * time.Second)
		untouched(t, w, from)
		w.Run(40 * time.Second)
		if w.Owner("orders") != nil {
			w.Tell()
			t.Error("orders still runs after the end of the grace")
		}
		never(t, w, cluster.NoteStarting, "orders", from)
		if n := resets(w); n != 0 {
			w.Tell()
			t.Errorf("%d resets, want none: the stop has to be in time", n)
		}
		cutAll(w, false)
		w.Until("all are members again", 60*time.Second, func() bool { return members(w) == 3 })
		w.Until("orders runs again", 30*time.Second, func() bool { return w.Running("orders") })
	})
}

// TestSecondFailureDuringDiskLoss: with a member dead nobody has the consent of
// all, so everybody stops or is reset; what may not happen is a takeover.
func TestSecondFailureDuringDiskLoss(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Keep = true
		w := boot(t, o)
		from := w.Now
		cutAll(w, true)
		w.Run(20 * time.Second)
		untouched(t, w, from)
		w.Node("gamma").NoReboot = true
		w.Node("gamma").PowerOff()
		w.Run(30 * time.Second)
		if w.Owner("orders") != nil {
			t.Error("orders runs although gamma could not consent")
		}
		never(t, w, cluster.NoteStarting, "orders", from)
	})
}

// TestOneNodeLosesItsDisks: the others bear with it for t_asym, then ask it over
// the network to release its services; they move without a reset.
func TestOneNodeLosesItsDisks(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		from := w.Now
		cutDisks(w.Node("alpha"), true)
		w.Run(5 * time.Second)
		if w.Owner("orders") != w.Node("alpha") {
			w.Tell()
			t.Error("alpha gave orders up before it was asked to")
		}
		took := 5*time.Second + w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
		if took > 12*time.Second {
			t.Errorf("the release took %s, want suspicion, t_asym and the move", took)
		}
		w.Run(20 * time.Second)
		never(t, w, cluster.NoteFencing, "", from)
		if n := resets(w); n != 0 {
			w.Tell()
			t.Errorf("%d resets, want none", n)
		}
		cutDisks(w.Node("alpha"), false)
		w.Until("alpha is a member again", 60*time.Second, func() bool { return members(w) == 3 })
		if w.Owner("orders") != w.Node("beta") {
			t.Error("orders moved again")
		}
	})
}

// TestDisksBackWithinAsym: a path that fails over in a few seconds changes
// nothing, also when only one node sees it.
func TestDisksBackWithinAsym(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		from := w.Now
		cutDisks(w.Node("alpha"), true)
		w.Run(7 * time.Second)
		cutDisks(w.Node("alpha"), false)
		w.Run(30 * time.Second)
		untouched(t, w, from)
	})
}

// TestReleaseThatDoesNotCome: alpha cannot stop its service, so the consent ends,
// it is fenced and its watchdogs end it; the takeover waits for that.
func TestReleaseThatDoesNotCome(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		from := w.Now
		w.Node("alpha").StopFails, w.Node("alpha").NoReboot = true, true
		cutDisks(w.Node("alpha"), true)
		w.Until("orders runs on beta", 60*time.Second, up(w, "orders", "beta", from))
		if n := w.Node("alpha").Resets; n != 1 {
			t.Errorf("alpha was reset %d times, want once", n)
		}
		f := w.Told(cluster.NoteFencing, "alpha", from)
		if f == nil {
			w.Tell()
			t.Fatal("alpha was never fenced")
		}
		if p := w.Told(cluster.NoteProof, "alpha", from); p.Proof != cluster.ProofTime {
			t.Errorf("the proof was %v, want one by time", p.Proof)
		}
	})
}

// TestNoPromiseWhileFencing: alpha lives on grace when it is fenced by the
// administrator: from then on it gets no consent, and the proof by time waits
// until the last promise has run out.
func TestNoPromiseWhileFencing(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace, o.Keep = 0, true
		w := boot(t, o)
		alpha := w.Node("alpha")
		alpha.StopFails, alpha.NoReboot = true, true
		cutDisks(alpha, true)
		w.Until("alpha lives on grace", 10*time.Second, func() bool { return alpha.View().Lease.Grace != 0 })
		from := w.Now
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
		w.Until("alpha is being fenced", 5*time.Second, func() bool { return w.Told(cluster.NoteFencing, "alpha", from) != nil })
		w.Until("alpha was reset", 15*time.Second, func() bool { return alpha.Resets == 1 })
		w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
		p, f := w.Told(cluster.NoteProof, "alpha", from), w.Told(cluster.NoteFencing, "alpha", from)
		if wait := w.Node("beta").View().Timing.W; p.At-f.At < wait*98/100 {
			t.Errorf("the death was proven %s after the last promise, the wait is %s", p.At-f.At, wait)
		}
	})
}

// TestOutsiderWaitsForTheGrace: a node that boots while the owner lives on grace
// by its former members' consent was never asked, so it waits for W_c.
func TestOutsiderWaitsForTheGrace(t *testing.T) {
	for _, disks := range []int{1, 3} {
		w := boot(t, clustertest.Options{Nodes: 3, Disks: disks, Grace: 40 * time.Second})
		for _, n := range w.Nodes {
			n.NoReboot = true
			n.PowerOff()
		}
		w.Run(2 * time.Second)
		from := w.Now
		w.Node("gamma").PowerOn()
		w.Run(35 * time.Second)
		never(t, w, cluster.NoteProof, "alpha", from)
		never(t, w, cluster.NoteProof, "beta", from)
		never(t, w, cluster.NoteStarting, "orders", from)
		w.Until("orders runs on gamma", 30*time.Second, up(w, "orders", "gamma", from))
	}
}

// TestOutsiderNeverProvesUnlimitedGrace: with keep only a clock-free proof ends
// an absent node: here the operator's word.
func TestOutsiderNeverProvesUnlimitedGrace(t *testing.T) {
	w := boot(t, clustertest.Options{Nodes: 2, Disks: 1, Keep: true})
	for _, n := range w.Nodes {
		n.NoReboot = true
		n.PowerOff()
	}
	w.Run(2 * time.Second)
	from := w.Now
	w.Node("beta").PowerOn()
	w.Run(10 * time.Minute)
	never(t, w, cluster.NoteProof, "alpha", from)
	never(t, w, cluster.NoteStarting, "orders", from)
	w.Node("beta").Ask(cluster.ConfirmOff{Node: "alpha", Operator: "ann", How: "looked"})
	w.Until("orders runs on beta", 30*time.Second, up(w, "orders", "beta", from))
}

// TestRestartedDaemonCountsItsPromisesAsNew: it does not know what it promised.
func TestRestartedDaemonCountsItsPromisesAsNew(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		wait := w.Node("beta").View().Timing.W
		w.Node("alpha").NoReboot, w.Node("gamma").NoReboot = true, true
		w.Node("gamma").PowerOff()
		w.Node("alpha").PowerOff()
		from := w.Now
		w.Run(6 * time.Second)
		w.Node("beta").KillDaemon()
		w.Node("beta").StartDaemon()
		restarted := w.Now
		w.Until("orders runs on beta", 60*time.Second, up(w, "orders", "beta", from))
		if p := w.Told(cluster.NoteProof, "alpha", from); p.At-restarted < wait*98/100 {
			t.Errorf("the death was proven %s after the daemon's restart, the wait is %s", p.At-restarted, wait)
		}
	})
}

// TestHungMemberHoldsUpAJoin: a node becomes a member only once everybody who
// might ask for grace without it has acknowledged it, or is proven dead; that a
// hung member is being fenced is not enough.
func TestHungMemberHoldsUpAJoin(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		gamma := w.Node("gamma")
		gamma.Ask(cluster.LeaveCluster{})
		w.Until("gamma has left", 20*time.Second, func() bool { return gamma.Core() == nil })
		from := w.Now
		w.Node("beta").NoReboot = true
		w.Node("beta").KillDaemon() // its guard goes on until the permission ends
		gamma.StartDaemon()
		w.Run(25 * time.Second)
		if v := gamma.View(); v.Stage != "joining" {
			w.Tell()
			t.Fatalf("gamma is %s although beta has not acknowledged it", v.Stage)
		}
		w.Node("alpha").Ask(cluster.FenceNode{Node: "beta"})
		w.Until("beta is being fenced", 5*time.Second, func() bool { return w.Told(cluster.NoteFencing, "beta", from) != nil })
		w.Until("gamma is a member", 60*time.Second, func() bool { return gamma.View().Stage == "member" })
		joined, proven := w.Told(cluster.NoteJoined, "gamma", from), w.Told(cluster.NoteProof, "beta", from)
		if proven == nil || joined == nil || joined.At < proven.At {
			w.Tell()
			t.Error("gamma became a member before the death of beta was proven")
		}
	})
}

// TestSlowArrayAccusesNobody: while the disks are slow for everybody nobody is
// asked to release anything.
func TestSlowArrayAccusesNobody(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Grace = 120 * time.Second
		w := boot(t, o)
		from := w.Now
		for _, k := range w.Disks {
			k.Slow = 400 // up to 5 s for a request
		}
		w.Run(60 * time.Second)
		untouched(t, w, from)
		for _, k := range w.Disks {
			k.Slow = 1
		}
		w.Run(20 * time.Second)
		untouched(t, w, from)
	})
}
