package accept

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl/drill"
	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestDrillFence rehearses the fencing of the node that runs nothing: first the way
// is only asked, then the power goes and comes back. The service stays where it is
// all the time, and every step is an event.
func TestDrillFence(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 4*time.Minute)
	c := &controllers.Set{}
	t.Cleanup(c.Unplug)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Names: []string{"alpha", "beta"}, Within: 25 * time.Second, Controllers: c.Install})
	active := owner(ctx, t, s)
	spare := s.Nodes[0]
	if spare == active {
		spare = s.Nodes[1]
	}
	if r := rehearse(ctx, t, active, spare.Name); !r.OK || !c.GivesPower(spare) {
		t.Fatalf("%+v", r)
	}
	if out, err := active.Holdfast(ctx, "drill", "fence", spare.Name, "--cycle", "--yes"); err == nil || !c.GivesPower(spare) {
		t.Fatalf("the power of a node that may be given a service was cut: %s", out)
	}
	if _, err := active.Holdfast(ctx, "node", "standby", spare.Name); err != nil {
		t.Fatal(err)
	}
	booted := make(chan error, 1)
	go func() { booted <- bootWithPower(ctx, c, spare) }()
	r := rehearse(ctx, t, active, spare.Name, "--cycle", "--yes", "--by", "bmc")
	if err := <-booted; err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	if !r.OK || len(r.Ways) != 1 || len(r.Ways[0].Steps) != 3 {
		t.Errorf("%+v", r)
	}
	if now := owner(ctx, t, s); now != active {
		t.Errorf("the service has moved from %s to %s", active.Name, now.Name)
	}
	drills := 0
	for _, e := range s.Story(ctx, 0) {
		if e.Kind == "drill" && e.Way == "bmc" && e.Outcome == "proven" {
			drills++
		}
	}
	if drills < 6 { // two rehearsals: the check and its verdict; then check, off, on, verdict
		t.Errorf("%d steps of drills are among the events", drills)
	}
}

// rehearse runs drill fence on a node.
func rehearse(ctx context.Context, t *testing.T, n *stage.Node, args ...string) drill.Report {
	t.Helper()
	out, err := n.Holdfast(ctx, append([]string{"drill", "fence", "--json"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var r drill.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// bootWithPower boots a node once its controller has taken its power and given it
// back, as a machine does by itself.
func bootWithPower(ctx context.Context, c *controllers.Set, n *stage.Node) error {
	for _, on := range []bool{false, true} {
		for c.GivesPower(n) != on {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return n.Boot(ctx)
}
