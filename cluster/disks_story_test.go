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

// exchange is the request that puts another disk in the place of one.
func exchange(s *cluster.State, old, next ident.UUID) cluster.ChangeDisks {
	r := cluster.ChangeDisks{From: s.Disks, To: append([]ident.UUID(nil), s.Disks...), Paths: make([]string, len(s.Disks))}
	for i := range r.To {
		if r.To[i] == old {
			r.To[i], r.Paths[i] = next, "/dev/new"
		}
	}
	return r
}

// settled says that every member knows the generation, and that nothing is under way.
func settled(w *clustertest.World, gen uint32) func() bool {
	return func() bool {
		for _, n := range w.Nodes {
			if !n.Up() || n.Core() == nil {
				continue
			}
			s := n.View().State
			if s == nil || s.DiskGen != gen || s.Change.Stage != cluster.DisksSettled {
				return false
			}
		}
		return true
	}
}

// threeNodes is a world of three nodes with orders on alpha.
func threeNodes(t *testing.T, seed uint64, disks int) *clustertest.World {
	t.Helper()
	w := clustertest.New(t, clustertest.Options{Seed: seed, Nodes: 3, Disks: disks, Services: []cluster.Service{{Name: "orders", Prefer: []string{"alpha"}}}})
	w.Boot()
	w.Until("orders runs on alpha", 30*time.Second, func() bool { return w.Running("orders") && w.Owner("orders").Name == "alpha" })
	w.Run(5 * time.Second)
	return w
}

// undisturbed fails if orders was ever started but once, or a node reset.
func undisturbed(t *testing.T, w *clustertest.World) {
	t.Helper()
	starts := 0
	for i := range w.Notes {
		if w.Notes[i].Kind == cluster.NoteStarting && w.Notes[i].Service == "orders" {
			starts++
		}
	}
	if starts != 1 || w.Owner("orders") == nil || w.Owner("orders").Name != "alpha" {
		w.Tell()
		t.Errorf("orders was started %d times", starts)
	}
	for _, n := range w.Nodes {
		if n.Resets > 0 {
			t.Errorf("%s was reset", n.Name)
		}
	}
}

func eachSeed(t *testing.T, n int, story func(t *testing.T, seed uint64)) {
	for seed := range n {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { story(t, uint64(seed)) })
	}
}

// TestLostDiskIsReplaced: one of three disks is lost, replaced on the running
// cluster, and then another one is lost: nothing happens to the service.
func TestLostDiskIsReplaced(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		w := threeNodes(t, seed, 3)
		w.Disks[2].Gone = true
		w.Run(20 * time.Second)
		next := w.AddDisk()
		beta := w.Node("beta")
		beta.Ask(exchange(beta.View().State, w.Disks[2].UUID, next.UUID))
		w.Until("the new set counts alone", 30*time.Second, settled(w, 2))
		w.Run(5 * time.Second)
		w.Disks[0].Gone = true
		w.Run(60 * time.Second)
		undisturbed(t, w)
		gamma := w.Node("gamma")
		gamma.Ask(cluster.StandbyNode{Node: "gamma", On: true})
		w.Until("a commit on the new disk and the one that is left", 10*time.Second, func() bool {
			return w.Node("alpha").View().State.NodeNamed("gamma").Standby
		})
		w.Disks[2].Gone = false // the old disk is back: nobody looks at it
		w.Run(20 * time.Second)
		undisturbed(t, w)
		w.Node("alpha").PowerOff()
		w.Until("beta takes over", 60*time.Second, func() bool { return w.Running("orders") && w.Owner("orders").Name == "beta" })
	})
}

// TestOneDiskGrowsToThree, under load and with a node that falls asleep.
func TestOneDiskGrowsToThree(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		w := threeNodes(t, seed, 1)
		w.Loss = 0.1
		load := 0
		var work func()
		work = func() {
			load++
			n := w.Nodes[load%3]
			if n.Core() != nil {
				n.Ask(cluster.StandbyNode{Node: "gamma", On: load%2 == 0})
			}
			w.After(150*time.Millisecond, work)
		}
		w.After(0, work)
		d2, d3 := w.AddDisk(), w.AddDisk()
		alpha := w.Node("alpha")
		alpha.Ask(cluster.ChangeDisks{From: []ident.UUID{w.Disks[0].UUID}, To: []ident.UUID{w.Disks[0].UUID, d2.UUID, d3.UUID}, Paths: []string{"", "/dev/2", "/dev/3"}})
		w.Until("three disks count", 60*time.Second, settled(w, 2))
		w.Run(5 * time.Second)
		w.Disks[0].Gone = true
		w.Run(30 * time.Second)
		undisturbed(t, w)
	})
}

// TestChangeSurvivesItsCoordinator: whoever asked or coordinates is powered off
// at any moment of the change; the others end it, either way.
func TestChangeSurvivesItsCoordinator(t *testing.T) {
	for _, after := range []time.Duration{0, 5, 20, 50, 80, 120, 200, 300, 450, 600, 800, 1000, 1300, 1700, 2200, 3000} {
		t.Run(fmt.Sprintf("after=%dms", after), func(t *testing.T) {
			eachSeed(t, 1, func(t *testing.T, seed uint64) {
				w := threeNodes(t, seed, 3)
				next := w.AddDisk()
				alpha := w.Node("alpha")
				alpha.Ask(exchange(alpha.View().State, w.Disks[1].UUID, next.UUID))
				w.Run(after * time.Millisecond)
				alpha.PowerOff()
				w.Until("orders runs elsewhere", 60*time.Second, func() bool { return w.Running("orders") && w.Owner("orders") != alpha })
				w.Until("no change is under way", 30*time.Second, func() bool {
					return w.Node("beta").View().State.Change.Stage == cluster.DisksSettled && w.Node("gamma").View().State.Change.Stage == cluster.DisksSettled
				})
				if a, b := w.Node("beta").View().State, w.Node("gamma").View().State; a.DiskGen != b.DiskGen {
					t.Errorf("beta is at generation %d, gamma at %d", a.DiskGen, b.DiskGen)
				}
				alpha.PowerOn()
				w.Until("alpha is back", 60*time.Second, func() bool { return alpha.Core() != nil && alpha.View().Stage == "member" })
				again := w.Node("beta")
				if again.View().State.DiskGen == 1 {
					again.Ask(exchange(again.View().State, w.Disks[1].UUID, next.UUID))
				}
				w.Until("the new set counts alone", 30*time.Second, settled(w, 2))
				w.Disks[0].Gone = true
				w.Run(30 * time.Second)
				if !w.Running("orders") {
					t.Error("orders does not run on the two that are left")
				}
			})
		})
	}
}

func TestChangeNeedsEveryMember(t *testing.T) {
	w := threeNodes(t, 1, 3)
	next := w.AddDisk()
	gamma, beta := w.Node("gamma"), w.Node("beta")
	gamma.NoReboot = true
	gamma.PowerOff()
	w.Run(7 * time.Second)
	from := w.Now
	beta.Ask(exchange(beta.View().State, w.Disks[1].UUID, next.UUID))
	w.Run(time.Second)
	r := w.Told("reply", "", from)
	if r == nil || !strings.Contains(r.Text, "gamma") {
		t.Fatalf("the answer with gamma down: %+v", r)
	}
	gamma.PowerOn()
	w.Until("gamma is back", 60*time.Second, func() bool { return gamma.Core() != nil && gamma.View().Stage == "member" })
	w.Run(2 * time.Second) // beta has read that gamma knows the latest view
	// A member that does not reach the new disk holds the change where it is.
	gamma.DiskCut[3] = true // the fourth disk of the world
	beta.Ask(exchange(beta.View().State, w.Disks[1].UUID, next.UUID))
	w.Run(20 * time.Second)
	if s := beta.View().State; s.Change.Stage != cluster.DisksOffered || s.DiskGen != 1 {
		t.Fatalf("the change went on without gamma: %+v", s.Change)
	}
	beta.Ask(cluster.KeepDisks{Why: "gamma does not see it"})
	w.Until("the offer is withdrawn", 5*time.Second, settled(w, 1))
	undisturbed(t, w)
}

// TestNodeThatWasAwayFollowsTheDisks: the change happens without it, for it has
// left; it comes back with a file that lists the old set.
func TestNodeThatWasAwayFollowsTheDisks(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		w := threeNodes(t, seed, 3)
		gamma, beta := w.Node("gamma"), w.Node("beta")
		gamma.Ask(cluster.LeaveCluster{})
		w.Until("gamma has left", 30*time.Second, func() bool { return gamma.Core() == nil })
		gamma.PowerOff()
		next := w.AddDisk()
		beta.Ask(exchange(beta.View().State, w.Disks[1].UUID, next.UUID))
		w.Until("the new set counts alone", 30*time.Second, settled(w, 2))
		w.Run(10 * time.Second)
		gamma.PowerOn()
		w.Until("gamma is a member", 60*time.Second, func() bool { return gamma.Core() != nil && gamma.View().Stage == "member" })
		w.Disks[0].Gone = true
		w.Run(30 * time.Second)
		undisturbed(t, w)
	})
}

// TestRollbackOfOneDiskEjectsIt, and that of two halts the node.
func TestRollbackOfOneDiskEjectsIt(t *testing.T) {
	for _, lost := range []int{1, 2} {
		t.Run(fmt.Sprintf("disks=%d", lost), func(t *testing.T) {
			w := threeNodes(t, 1, 3)
			var old []clustertest.Snapshot
			for _, k := range w.Disks[:lost] {
				old = append(old, k.Snapshot())
			}
			alpha := w.Node("alpha")
			for range 4 {
				alpha.Ask(cluster.FreezeService{Service: "orders", On: true})
				w.Run(2 * time.Second)
				alpha.Ask(cluster.FreezeService{Service: "orders", On: false})
				w.Run(2 * time.Second)
			}
			from := w.Now
			for d, s := range old {
				w.Disks[d].Restore(s)
			}
			w.Until("the rollback is noticed without a decision", 10*time.Second, func() bool {
				return w.Told(cluster.NoteAlarm, "", from) != nil
			})
			w.Run(5 * time.Second)
			ejected := 0
			for _, k := range alpha.View().Disks {
				if strings.Contains(k.Err, "ejected") {
					ejected++
				}
			}
			if ejected != lost {
				t.Errorf("%d disks were ejected, %d rolled back", ejected, lost)
			}
			if lost == 1 {
				next := w.AddDisk()
				alpha.Ask(exchange(alpha.View().State, w.Disks[0].UUID, next.UUID))
				w.Until("the disk is replaced", 30*time.Second, settled(w, 2))
				undisturbed(t, w)
			} else if warns := strings.Join(alpha.View().Warnings, " "); !strings.Contains(warns, "nothing is decided") {
				t.Errorf("warnings: %s", warns)
			}
		})
	}
}

// TestWipedDiskIsReplaced: a disk that was wiped shows nothing of what it has
// acknowledged.
func TestWipedDiskIsReplaced(t *testing.T) {
	w := threeNodes(t, 2, 3)
	w.Disks[1].Wipe(true)
	w.Run(30 * time.Second)
	undisturbed(t, w)
	next := w.AddDisk()
	alpha := w.Node("alpha")
	alpha.Ask(exchange(alpha.View().State, w.Disks[1].UUID, next.UUID))
	w.Until("the disk is replaced", 30*time.Second, settled(w, 2))
	w.Run(10 * time.Second)
	undisturbed(t, w)
}

// replaceDisks puts new disks in the places of the first so many, one after the other.
func replaceDisks(w *clustertest.World, by *clustertest.Node, many int) {
	for i := range many {
		old, next := w.Disks[i], w.AddDisk()
		by.Ask(exchange(by.View().State, old.UUID, next.UUID))
		w.Until("the new set counts alone", 30*time.Second, settled(w, uint32(2+i)))
		old.Gone = true
		w.Run(2 * time.Second)
	}
}

// TestDeathAfterManyExchanges: daemons that have seen four disks come and go still
// notice when a member falls silent on the three that count.
func TestDeathAfterManyExchanges(t *testing.T) {
	w := threeNodes(t, 1, 3)
	replaceDisks(w, w.Node("beta"), 4)
	undisturbed(t, w)
	w.Node("alpha").NoReboot = true
	w.Node("alpha").PowerOff()
	w.Until("beta takes over", 30*time.Second, func() bool { return w.Running("orders") && w.Owner("orders").Name == "beta" })
}

// TestSlotIsFreeAfterExchanges: a node that was removed while it was away, and while
// two of three disks were exchanged, is given the slot that it had: nobody beats in it.
func TestSlotIsFreeAfterExchanges(t *testing.T) {
	w := threeNodes(t, 1, 3)
	alpha, gamma := w.Node("alpha"), w.Node("gamma")
	gamma.NoReboot = true
	gamma.PowerOff()
	w.Until("gamma is known to be dead", 30*time.Second, func() bool {
		n := alpha.View().State.NodeNamed("gamma")
		return n.Dead >= n.Inc.N
	})
	alpha.Ask(cluster.RemoveNode{Node: "gamma"})
	w.Until("gamma is no node any more", 10*time.Second, func() bool { return alpha.View().State.NodeNamed("gamma") == nil })
	replaceDisks(w, alpha, 2)
	w.Run(20 * time.Second)
	alpha.Ask(cluster.AddNode{Name: "gamma"})
	w.Until("gamma is a node again", 10*time.Second, func() bool { return alpha.View().State.NodeNamed("gamma") != nil })
	if n := alpha.View().State.NodeNamed("gamma"); n.ID != gamma.ID {
		t.Errorf("gamma was given slot %d, and nobody uses slot %d", n.ID, gamma.ID)
	}
}
