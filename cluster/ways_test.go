package cluster_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// withControllers gives every node a management controller.
func withControllers(o clustertest.Options) clustertest.Options {
	for i := range o.Nodes {
		o.Fencing = append(o.Fencing, cluster.Ways{Node: clustertest.NodeName(i + 1), Ways: []cluster.Way{{Kind: cluster.WayBMC}, {Kind: cluster.WayDisk}}})
	}
	return o
}

// proofOf is the proof by which a node's end was committed since from.
func proofOf(w *clustertest.World, node string, from time.Duration) cluster.ProofKind {
	if n := w.Told(cluster.NoteProof, node, from); n != nil {
		return n.Proof
	}
	return cluster.NoProof
}

// takeover cuts the power of alpha, or does with it what the story wants, and
// returns the time until orders runs on beta.
func takeover(w *clustertest.World, what func(alpha *clustertest.Node)) (time.Duration, cluster.ProofKind) {
	from := w.Now
	what(w.Node("alpha"))
	took := w.Until("orders runs elsewhere", 90*time.Second, func() bool {
		o := w.Owner("orders")
		return o != nil && o.Name != "alpha" && w.Running("orders")
	})
	return took, proofOf(w, "alpha", from)
}

// TestPowerProvesFasterThanTime: the same fault, with and without a controller.
func TestPowerProvesFasterThanTime(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		off := func(n *clustertest.Node) { n.NoReboot = true; n.Freeze() }
		o.Within = 30 * time.Second
		slow, by := takeover(boot(t, o), off)
		if by != cluster.ProofTime {
			t.Errorf("without a controller the proof was %v", by)
		}
		quick, by := takeover(boot(t, withControllers(o)), off)
		if by != cluster.ProofPower {
			t.Errorf("with a controller the proof was %v", by)
		}
		if quick*3 > slow*2 {
			t.Errorf("%s with a controller, %s without: that is not much faster", quick, slow)
		}
	})
}

// TestControllersThatProveNothing: none of them makes a proof, and none keeps
// the proof by time from being made.
func TestControllersThatProveNothing(t *testing.T) {
	for name, kind := range map[string]clustertest.Controller{
		"unreachable": clustertest.Unreachable, "hanging": clustertest.Hanging, "says on": clustertest.SaysOn,
		"dies with its node": clustertest.DiesWithNode,
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, o clustertest.Options) {
				w := boot(t, withControllers(o))
				_, by := takeover(w, func(n *clustertest.Node) {
					n.BMC, n.NoReboot = kind, true
					n.PowerOff()
				})
				if by != cluster.ProofTime {
					t.Errorf("the proof was %v, want the one by time", by)
				}
			})
		})
	}
}

// TestControllerThatSaysOffTooEarly: the machine is still on when it is first
// called off. The second reading tells, and nothing runs twice.
func TestControllerThatSaysOffTooEarly(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Within = 40 * time.Second
		w := boot(t, withControllers(o))
		from := w.Now
		w.Node("alpha").BMC = clustertest.SaysOffOnce
		w.Node("alpha").NoReboot = true
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha", Why: "a drill"})
		w.Until("alpha is proven off", 60*time.Second, func() bool { return proofOf(w, "alpha", from) != cluster.NoProof })
		w.Until("orders runs again", 30*time.Second, func() bool { return w.Running("orders") })
	})
}

// TestFencedByRequestByOneWay: what the administrator asks for, and what a dry
// run says.
func TestFencedByRequestByOneWay(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.PowerOn = true
		w := boot(t, withControllers(o))
		from := w.Now
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha", DryRun: true})
		w.Run(time.Second)
		if r := w.Told("reply", "", from); r == nil || !strings.Contains(r.Text, "bmc:") {
			t.Fatalf("the dry run said %v", r)
		}
		never(t, w, cluster.NoteFencing, "", from)
		from = w.Now
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha", By: "pdu"})
		w.Run(time.Second)
		if r := w.Told("reply", "", from); r == nil || !strings.Contains(r.Text, "no way") {
			t.Fatalf("a way that is not there: %v", r)
		}
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha", By: "bmc"})
		w.Until("orders runs elsewhere", 30*time.Second, up(w, "orders", "beta", from))
		w.Until("alpha has its power back and has joined", 60*time.Second, func() bool { return w.Node("alpha").Up() && members(w) == 3 })
	})
}

// TestTwoNodesFencedAtOnce: neither waits for the other.
func TestTwoNodesFencedAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		o.Within = 30 * time.Second
		w := boot(t, withControllers(o))
		from := w.Now
		for _, name := range []string{"alpha", "beta"} {
			w.Node(name).NoReboot = true
			w.Node(name).Freeze()
		}
		w.Until("orders runs on gamma", 60*time.Second, up(w, "orders", "gamma", from))
		for _, name := range []string{"alpha", "beta"} {
			w.Until(name+" is proven off", 10*time.Second, func() bool { return proofOf(w, name, from) != cluster.NoProof })
			if by := proofOf(w, name, from); by != cluster.ProofPower {
				t.Errorf("%s: %v, want the proof by power", name, by)
			}
		}
	})
}

// TestFencerDies between the fencing and the takeover: another one finishes,
// from what the register says and not from the beginning.
func TestFencerDies(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, withControllers(o))
		from := w.Now
		w.Node("alpha").BMC = clustertest.Unreachable
		w.Node("alpha").NoReboot, w.Node("beta").NoReboot = true, true
		w.Node("alpha").PowerOff()
		w.Until("alpha is being fenced", 30*time.Second, func() bool { return w.Told(cluster.NoteFencing, "alpha", from) != nil })
		w.Node(w.Nodes[w.Told(cluster.NoteFencing, "alpha", from).Node-1].Name).PowerOff()
		w.Until("orders runs", 60*time.Second, func() bool { return w.Running("orders") })
		if took := w.Now - from; took > 25*time.Second {
			t.Errorf("the takeover took %s: the new fencer has waited again", took)
		}
	})
}

// TestReadiness: a way that does not work is known before it is needed.
func TestReadiness(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, withControllers(o))
		from := w.Now
		state := func() string {
			for _, n := range w.Node("beta").View().Fencing {
				if n.Name == "alpha" {
					return n.Ways[0].State
				}
			}
			return ""
		}
		w.Until("the way is known to work", time.Minute, func() bool { return state() == "works" })
		w.Node("alpha").BMC = clustertest.Unreachable
		w.Until("it is known not to work", 10*time.Minute, func() bool { return state() == "unknown" })
		if n := w.Told(cluster.NoteAlarm, "alpha", from); n == nil {
			t.Error("nobody was told")
		}
		w.Node("alpha").BMC = clustertest.Honest
		w.Until("it works again", 5*time.Minute, func() bool { return state() == "works" })
	})
}

// TestLyingController: one that says off in every session, with the machine on,
// cannot be told from an honest one once the machine is neither read nor heard:
// that it speaks the truth then is assumed, and the oracle that sees the machine
// itself must notice when it does not.
func TestLyingController(t *testing.T) {
	o := withControllers(clustertest.Options{Nodes: 3, Disks: 1, Within: 30 * time.Second})
	if !notices(t, o, 8, func(w *clustertest.World) {
		w.Node("alpha").BMC = clustertest.SaysOff
		cutDisks(w.Node("alpha"), true)
		w.CutNetwork(true)
		w.Node("alpha").StopFails = true
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
		w.Run(30 * time.Second)
	}) {
		t.Error("a machine that is on was called off, and no oracle noticed")
	}
}

// TestLiarIsKnownBefore: a controller that says off of a node that runs is found
// out by the checks, and not believed when the node falls silent in earnest.
func TestLiarIsKnownBefore(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, withControllers(o))
		from := w.Now
		w.Node("alpha").BMC = clustertest.SaysOff
		w.Until("all others know of the lie", 10*time.Minute, func() bool {
			return knowsLiar(w.Node("beta")) && knowsLiar(w.Node("gamma"))
		})
		if n := w.Told(cluster.NoteAlarm, "alpha", from); n == nil || !strings.Contains(n.Text, "says off while the node runs") {
			t.Errorf("%+v", n)
		}
		w.Node("alpha").NoReboot = true
		w.Node("alpha").PowerOff()
		w.Until("orders runs elsewhere", 2*time.Minute, func() bool { return w.Running("orders") })
		if by := proofOf(w, "alpha", from); by == cluster.ProofPower {
			t.Error("a known liar was believed")
		}
	})
}

// knowsLiar says that a node counts alpha's controller as a liar.
func knowsLiar(n *clustertest.Node) bool {
	for _, r := range n.View().Fencing {
		if r.Name == "alpha" {
			return strings.Contains(r.Ways[0].Text, "says off while the node runs")
		}
	}
	return false
}

// TestWhoRunsIsNotOff: a node that is fenced for a reason of its own and goes on
// beating is not off, whatever its controller says.
func TestWhoRunsIsNotOff(t *testing.T) {
	everywhere(t, func(t *testing.T, o clustertest.Options) {
		w := boot(t, withControllers(o))
		from := w.Now
		w.Node("alpha").BMC = clustertest.SaysOff
		w.Node("beta").Ask(cluster.FenceNode{Node: "alpha"})
		w.Until("alpha is known to have ended", 2*time.Minute, func() bool { return proofOf(w, "alpha", from) != cluster.NoProof })
		if n := w.Node("alpha"); proofOf(w, "alpha", from) == cluster.ProofPower && n.Resets == 0 {
			t.Error("off was believed of a node that ran")
		}
	})
}
