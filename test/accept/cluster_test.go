package accept

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// rig is the cluster that the tests of one TestCluster share, with one client
// that writes all the time.
type rig struct {
	stage   *stage.Stage
	service *stage.Service
	client  *ledger.Client
	log     *journal
	marks   int
}

// TestCluster puts one cluster of three nodes through everything that leaves it
// whole again; its failover_within leaves some tolerance of a busy machine, for
// here nothing depends on the smallest. Each part begins and ends with all nodes being members; one client
// writes through all of it, and at the end reads back what was acknowledged.
func TestCluster(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 6*time.Minute)
	r := &rig{stage: raise(ctx, t, stage.Options{Services: witnessed(), Within: 7 * time.Second})}
	r.service, r.log = r.stage.Services[0], follow(t, r.stage)
	var err error
	if r.client, err = r.stage.Client(r.service, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		test func(context.Context, *testing.T, *rig)
	}{
		{"daemon restarted", daemonRestarted},
		{"upgraded", upgraded},
		{"guard killed", guardKilled},
		{"writer wakes up", writerWakesUp},
		{"network cut", networkCut},
		{"disks cut", disksCut},
		{"disks cut, daemon hung", disksCutDaemonHung},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(ctx, t, r) }) {
			return // the next part would begin with a cluster that is not whole
		}
	}
	v, err := r.client.Verify(time.Minute)
	switch {
	case err != nil:
		t.Error(err)
	case !v.Good():
		t.Errorf("of %d acknowledged writes %d are missing: %v %s", v.Acknowledged, len(v.Missing), v.Missing, v.Err)
	default:
		t.Logf("%d acknowledged writes were read back", v.Acknowledged)
	}
}

// begin returns the active node, and the instant and the event from which on what
// happens belongs to the part; the client is being served.
func (r *rig) begin(ctx context.Context, t *testing.T) (n *stage.Node, instant int64, event int) {
	t.Helper()
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.stage.AwaitRunning(within); err != nil {
		t.Fatal(err)
	}
	n = owner(ctx, t, r.stage)
	r.answer(ctx, t, ledger.Now(), "the service answers before anything happens", func(a ledger.Record) bool { return a.Node == n.Name })
	r.marks++
	event = r.log.mark(ctx, t, r.stage, fmt.Sprintf("part %d", r.marks))
	return n, ledger.Now(), event
}

// answer waits for an acknowledged write that began after an instant.
func (r *rig) answer(ctx context.Context, t *testing.T, after int64, what string, wanted func(ledger.Record) bool) ledger.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, r.stage.Within+30*time.Second)
	defer cancel()
	var found ledger.Record
	err := stage.Await(ctx, what, func() error {
		a, ok := r.client.First(after, wanted)
		if !ok {
			return fmt.Errorf("no such answer among %d", len(r.client.Records()))
		}
		found = a
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// takenOver waits until another node answers, and returns it and the emulator's
// mark of its beginning to mount.
func (r *rig) takenOver(ctx context.Context, t *testing.T, from *stage.Node, instant int64, event int) (*stage.Node, power.Event) {
	t.Helper()
	a := r.answer(ctx, t, instant, "another node answers than "+from.Name, func(a ledger.Record) bool { return a.Node != from.Name })
	mount, err := r.log.await(ctx, event, a.Node+" mounts", func(e power.Event) bool {
		return e.What == power.Mark && e.Node == a.Node && e.Text == r.service.WitnessText()
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.stage.Node(a.Node), mount
}

// noLoss fails if a node has lost its power since an event.
func (r *rig) noLoss(ctx context.Context, t *testing.T, event int) {
	t.Helper()
	r.marks++
	end := r.log.mark(ctx, t, r.stage, fmt.Sprintf("part %d, no loss", r.marks))
	for _, e := range r.log.events[event:end] {
		if loss(e.Node)(e) {
			t.Fatalf("%s lost its power: %s %s", e.Node, e.What, e.Text)
		}
	}
}
