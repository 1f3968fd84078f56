package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/drill"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
)

// TestDrills runs the drills that hit a node on whole machines: a reset line that is the
// kernel's own, and watchdogs that nobody feeds any more. Each ends with a verdict that
// what was measured is within its bound, and with everything as it was; one that would
// end the service is refused.
func TestDrills(t *testing.T) {
	whole(t)
	c := cluster.Open(t, 2)
	for _, kind := range []string{api.DrillKillNode, api.DrillFreezeNode, api.DrillCutDisk, api.DrillMove} {
		if !t.Run(kind, func(t *testing.T) { drilled(t, c, kind) }) {
			t.Fatal("the cluster is not what the other drills need")
		}
	}
	ctx := c.Context(time.Minute)
	owner, err := c.AwaitOwner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	spare := c.Nodes[2-owner.Number]
	if out, err := spare.Holdfast(ctx, "node", "standby", spare.Name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r := rehearsed(ctx, t, spare, api.DrillKillNode, "--node", owner.Name); r.OK || len(r.Refused) == 0 || !r.Began.IsZero() {
		t.Errorf("%+v", r)
	}
}

func drilled(t *testing.T, c *cluster.Cluster, kind string) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	owner, err := c.AwaitOwner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	from, boots := c.Nodes[2-owner.Number], owner.Boots()
	if err := cluster.AwaitWord(ctx, from.Name+" sees everything well", func() error {
		st, err := from.Status(ctx)
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
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	back := make(chan error, 1)
	lost := kind == api.DrillKillNode || kind == api.DrillFreezeNode
	if lost {
		go func() { back <- owner.Boot(ctx, boots+1) }()
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
