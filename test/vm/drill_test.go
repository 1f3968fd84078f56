package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/drill"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
)

// The ways to end a node, for the configuration: by its watchdogs alone, or with its controller.
const (
	byTime       = "fencing:\n  ways:\n    n1: [disk]\n    n2: [disk]\n"
	byController = "fencing:\n  ways:\n    n1: [bmc, disk]\n    n2: [bmc, disk]\n"
)

// TestDrills runs every drill on whole machines: a reset line that is the kernel's own, watchdogs
// that nobody feeds any more, the rules of a firewall in a kernel of the node's own, and a
// controller that takes the machine's power. Each ends with a verdict that what was measured is
// within its bound, and with everything as it was; one that would end the service is refused.
func TestDrills(t *testing.T) {
	whole(t)
	c := cluster.OpenWith(t, 2, cluster.Extra{
		Controlled: true, Programs: []string{"nft"}, Modules: []string{"nf_tables"}, Load: []string{"nf_tables"},
	})
	c.Fencing = byTime
	ctx := c.Context(2 * time.Minute)
	if err := applyWitness(ctx, c); err != nil {
		t.Fatal(err)
	}
	for _, kind := range api.DrillKinds() {
		run := func(t *testing.T) { drilled(t, c, kind) }
		if kind == api.DrillFence {
			run = func(t *testing.T) { drilledFence(t, c) }
		}
		if !t.Run(kind, run) {
			t.Fatal("the cluster is not what the other drills need")
		}
	}
	t.Run("refused", func(t *testing.T) { refusedDrill(t, c) })
}

// applyWitness gives the cluster its service and the ways that it has now.
func applyWitness(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Apply(ctx, "- exec: {run: [/init, witness, -disk, /dev/disk/by-id/virtio-DATA1, -depth, \"2\", -pace, 20ms]}"); err != nil {
		return err
	}
	_, err := c.AwaitOwner(ctx)
	return err
}

// refusedDrill: while the other node may run nothing, no drill takes the service from its owner.
func refusedDrill(t *testing.T, c *cluster.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	owner, spare := wellOff(ctx, t, c)
	if out, err := spare.Holdfast(ctx, "node", "standby", spare.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, kind := range []string{api.DrillKillNode, api.DrillFreezeNode, api.DrillCutDisk} {
		if r := rehearsed(ctx, t, spare, kind, "--node", owner.Name); r.OK || len(r.Refused) == 0 || !r.Began.IsZero() {
			t.Errorf("%s: %+v", kind, r)
		}
	}
	if now, err := c.AwaitOwner(ctx); err != nil || now != owner {
		t.Errorf("%v, %v", now, err)
	}
}

// wellOff waits until both nodes see everything well and the service runs, and returns who runs it.
func wellOff(ctx context.Context, t *testing.T, c *cluster.Cluster) (owner, spare *cluster.Node) {
	t.Helper()
	owner, err := c.AwaitOwner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if err := cluster.AwaitWord(ctx, n.Name+" sees everything well", func() error { return seesWell(ctx, n) }); err != nil {
			t.Fatal(err)
		}
	}
	return owner, c.Nodes[2-owner.Number]
}

func seesWell(ctx context.Context, n *cluster.Node) error {
	st, err := n.Status(ctx)
	switch {
	case err != nil:
		return err
	case st.Self.Stage != "member" || len(st.Services) != 1 || st.Services[0].State != "running":
		return fmt.Errorf("%s, %+v", st.Self.Stage, st.Services)
	}
	for _, l := range st.Links {
		if !l.Up {
			return errors.New("link to " + l.Peer + " is silent")
		}
	}
	for _, r := range st.Fencing {
		for _, w := range r.Ways {
			if r.Node == n.Name {
				continue // who would fence it knows
			}
			if w.State != "works" && w.State != "always there" || w.Stale {
				return fmt.Errorf("the way %s of %s: %s", w.Way, r.Node, w.State)
			}
		}
	}
	return nil
}

func drilled(t *testing.T, c *cluster.Cluster, kind string) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	owner, from := wellOff(ctx, t, c)
	back, last := make(chan error, 1), owner.LastBoot().ID
	lost := kind == api.DrillKillNode || kind == api.DrillFreezeNode
	if lost {
		go func() { back <- owner.Return(ctx, last) }()
	}
	r := rehearsed(ctx, t, from, kind, "--service", "witness")
	t.Logf("%s of %s: %s (%s was late by up to %v)", kind, owner.Name, r.Verdict, from.Name, r.Stall.Duration())
	if !r.OK || !r.Restored || len(r.Services) != 1 {
		for _, l := range r.Timeline {
			t.Logf("%8.2f %-4s %s %s", l.On.Sub(r.Began).Seconds(), l.By, l.Kind, l.Text)
		}
		t.Fatalf("%+v", r)
	}
	if lost {
		if err := <-back; err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AwaitMembers(ctx, c.Nodes...); err != nil {
		t.Fatal(err)
	}
	if owner.LastBoot().ID == last == lost {
		t.Errorf("%s booted again: %v", owner.Name, !lost)
	}
}

// drilledFence has a node's controller asked, then has it take the node's power and give it back.
func drilledFence(t *testing.T, c *cluster.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	c.Fencing = byController
	if err := applyWitness(ctx, c); err != nil {
		t.Fatal(err)
	}
	owner, spare := wellOff(ctx, t, c)
	if r := rehearsedFence(ctx, t, owner, spare.Name); !r.OK || len(r.Ways) != 2 {
		t.Fatalf("%+v", r)
	}
	if out, err := owner.Holdfast(ctx, "node", "standby", spare.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	back, last := make(chan error, 1), spare.LastBoot().ID
	go func() { back <- spare.Return(ctx, last) }()
	r := rehearsedFence(ctx, t, owner, spare.Name, "--by", "bmc", "--cycle", "--yes", "--wait", "4m")
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Ways) != 1 || len(r.Ways[0].Steps) != 3 {
		t.Fatalf("%+v", r)
	}
	t.Logf("the power of %s: %s", spare.Name, r.Ways[0].Text)
	if i := slices.Index(c.Nodes, spare); c.Controllers[i].Requests() == 0 || !c.Controllers[i].GivesPower() {
		t.Errorf("its controller was asked %d times to take the power, and gives it: %v", c.Controllers[i].Requests(), c.Controllers[i].GivesPower())
	}
	if out, err := owner.Holdfast(ctx, "node", "online", spare.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if now, err := c.AwaitOwner(ctx); err != nil || now != owner {
		t.Errorf("the service is on %v, %v", now, err)
	}
}

// rehearsedFence runs drill fence on a node.
func rehearsedFence(ctx context.Context, t *testing.T, n *cluster.Node, args ...string) drill.Report {
	t.Helper()
	out, err := n.Holdfast(ctx, append([]string{"drill", "fence", "--json"}, args...)...)
	var r drill.Report
	if bad := json.Unmarshal([]byte(out), &r); bad != nil {
		t.Fatalf("%v, %v: %s", err, bad, out)
	}
	return r
}

// rehearsed runs a drill on a node.
func rehearsed(ctx context.Context, t *testing.T, n *cluster.Node, args ...string) drill.Rehearsed {
	t.Helper()
	out, err := n.Holdfast(ctx, append(append([]string{"drill"}, args...), "--yes", "--json", "--wait", "4m")...)
	var r drill.Rehearsed
	if bad := json.Unmarshal([]byte(out), &r); bad != nil {
		t.Fatalf("%v, %v: %s", err, bad, out)
	}
	return r
}
