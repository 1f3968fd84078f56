package accept

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// networkCutFor is how long nothing may happen while every cable is out: three
// times as long as a takeover takes.
const networkCutFor = 15 * time.Second

// networkCut pulls every heartbeat cable: the active node keeps the service, and
// nobody starts it or shoots. Then, with the cables still out, the active node
// dies, and another one takes over by what stands on the disk alone.
func networkCut(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	if err := r.stage.CutHeartbeats(); err != nil {
		t.Fatal(err)
	}
	pause(ctx, networkCutFor)
	for _, a := range r.client.Records() {
		if a.At >= instant && (a.Err != "" || a.Node != n.Name) {
			t.Fatalf("write %d while the cables were out: answered by %q, error %q", a.Seq, a.Node, a.Err)
		}
	}
	for _, e := range r.stage.Story(ctx, instant) {
		if e.Kind == "fencing" || e.Kind == "proof" || e.Kind == "grant" {
			t.Fatalf("%s, while only cables were out: %s %s", e.Observer, e.Kind, e.Text)
		}
	}
	r.noLoss(ctx, t, event)
	if _, instant, event = r.begin(ctx, t); t.Failed() {
		return
	}
	if err := r.stage.Power.PowerOff(n.Name, "the test pulls the plug"); err != nil {
		t.Fatal(err)
	}
	r.takenOver(ctx, t, n, instant, event)
	if err := r.stage.MendHeartbeats(); err != nil {
		t.Fatal(err)
	}
	comeBack(ctx, t, r.stage, n)
}

// disksCut takes the disks from the active node alone. Before another node starts
// the service, the active one has released it or was reset; the story says which.
func disksCut(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	if err := n.CutDisks(); err != nil {
		t.Fatal(err)
	}
	heir, mount := r.takenOver(ctx, t, n, instant, event)
	var granted, stopped stage.Event
	for _, e := range r.stage.Story(ctx, instant) {
		switch {
		case e.Kind == "grant" && e.Node == heir.Name && granted.Kind == "":
			granted = e
		case e.Kind == "stopped" && e.Observer == n.Name && stopped.Kind == "":
			stopped = e
		}
	}
	switch granted.Proof {
	case "E1 released":
		if stopped.Kind == "" || stopped.Mono >= mount.At {
			t.Errorf("%s mounts although %s has not stopped before: %+v", heir.Name, n.Name, stopped)
		}
		if err := n.MendDisks(); err != nil {
			t.Fatal(err)
		}
		within, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		// It has lost nothing but its incarnation, and comes back without a boot.
		if err := r.stage.AwaitMembers(within, r.stage.Nodes...); err != nil {
			t.Fatal(err)
		}
	case "E3 time":
		reset, err := r.log.await(ctx, event, n.Name+" is reset", loss(n.Name))
		if err != nil {
			t.Fatal(err)
		}
		if reset.At > mount.At {
			t.Errorf("%s mounts %v before %s is reset", heir.Name, time.Duration(reset.At-mount.At), n.Name)
		}
		comeBack(ctx, t, r.stage, n)
	default:
		t.Fatalf("%s was granted the service on %q (%s); want a release, or the proof by time", heir.Name, granted.Proof, granted.Text)
	}
	t.Logf("the proof was %s", granted.Proof)
}
