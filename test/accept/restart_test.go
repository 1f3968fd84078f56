package accept

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// daemonRestarted kills the daemon of the active node and starts it again: the
// service is left running, and its client notices nothing.
func daemonRestarted(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	before := serviceAt(ctx, t, n, r.service.Name)
	if err := n.KillDaemon(); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Second) // as long as a package upgrade takes
	if err := n.StartDaemon(ctx); err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.stage.AwaitMembers(within, r.stage.Nodes...); err != nil {
		t.Fatal(err)
	}
	if err := r.stage.AwaitRunning(within); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Second) // whatever a new daemon would do to the service
	r.answer(ctx, t, ledger.Now(), "the service answers", nil)
	for _, a := range r.client.Records() {
		if a.At >= instant && (a.Err != "" || a.Node != n.Name) {
			t.Fatalf("write %d while the daemon was restarted: answered by %q, error %q", a.Seq, a.Node, a.Err)
		}
	}
	if now := serviceAt(ctx, t, n, r.service.Name); now.Term != before.Term || now.Node != n.Name {
		t.Errorf("the service is on %s in term %d, it was on %s in term %d", now.Node, now.Term, n.Name, before.Term)
	}
	r.noLoss(ctx, t, event)
}

// serviceAt is what the node says of a service.
func serviceAt(ctx context.Context, t *testing.T, n *stage.Node, name string) api.Service {
	t.Helper()
	st, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range st.Services {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("%s does not know %s", n.Name, name)
	return api.Service{}
}

// guardKilled kills the guard of the active node and starts its successor, as a
// service manager does. The successor does not feed the watchdogs of a node that
// it did not bind itself: it resets the node.
func guardKilled(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	if err := n.KillGuard(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartGuard(); err != nil {
		t.Fatal(err)
	}
	reset, err := r.log.await(ctx, event, n.Name+" is reset", loss(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Duration(reset.At - instant); reset.What != power.ResetRequested || took >= stage.Timeout {
		t.Errorf("after %v: %s %s; want a reset at once by the new guard, before the watchdogs bite", took, reset.What, reset.Text)
	}
	_, mount := r.takenOver(ctx, t, n, instant, event)
	if mount.At < reset.At {
		t.Errorf("the other node mounted %v before the reset", time.Duration(reset.At-mount.At))
	}
	comeBack(ctx, t, r.stage, n)
}
