package accept

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
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

// disksCut takes the disks from the active node alone. It stops the service itself
// and releases it over the network; if it is too slow for that, its watchdogs reset
// it. One of the two comes before another node starts, and the story says which.
func disksCut(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	if err := n.CutDisks(); err != nil {
		t.Fatal(err)
	}
	heir, mount := r.takenOver(ctx, t, n, instant, event)
	proof, stopped := r.account(ctx, t, n, heir, instant)
	t.Logf("the proof was %s", proof)
	switch proof {
	case "E1 released":
		if stopped == 0 || stopped >= mount.At {
			t.Errorf("%s mounts although %s has not stopped before", heir.Name, n.Name)
		}
		r.noLoss(ctx, t, event)
		r.mend(ctx, t, n)
	case "E3 time":
		r.wasReset(ctx, t, n, event, mount)
		comeBack(ctx, t, r.stage, n)
	default:
		t.Fatalf("%s was granted the service on %q; want a release or the proof by time", heir.Name, proof)
	}
}

// mend gives a node its disks back. It has lost nothing but its incarnation, and
// becomes a member again without a boot.
func (r *rig) mend(ctx context.Context, t *testing.T, n *stage.Node) {
	t.Helper()
	if err := n.MendDisks(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := r.stage.AwaitMembers(ctx, r.stage.Nodes...); err != nil {
		t.Fatal(err)
	}
}

// wasReset fails unless the node lost its power before another one began to mount.
func (r *rig) wasReset(ctx context.Context, t *testing.T, n *stage.Node, event int, mount power.Event) {
	t.Helper()
	reset, err := r.log.await(ctx, event, n.Name+" is reset", loss(n.Name))
	if err != nil {
		t.Fatal(err)
	}
	if reset.At > mount.At {
		t.Errorf("%s mounts %v before %s is reset", mount.Node, time.Duration(reset.At-mount.At), n.Name)
	}
}

// disksCutDaemonHung takes the disks from the active node when its daemon cannot
// stop anything any more: its watchdogs reset it before another node starts.
func disksCutDaemonHung(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	if err := unix.Kill(n.DaemonPID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := n.CutDisks(); err != nil {
		t.Fatal(err)
	}
	heir, mount := r.takenOver(ctx, t, n, instant, event)
	if proof, _ := r.account(ctx, t, n, heir, instant); proof != "E3 time" {
		t.Errorf("%s was granted the service on %q; want the proof by time, for nobody could release it", heir.Name, proof)
	}
	r.wasReset(ctx, t, n, event, mount)
	comeBack(ctx, t, r.stage, n)
}

// account returns the proof on which the heir was granted the service after an
// instant, and when the old node has verified that it stopped it; 0: it has not.
func (r *rig) account(ctx context.Context, t *testing.T, old, heir *stage.Node, instant int64) (proof string, stopped int64) {
	t.Helper()
	for _, e := range r.stage.Story(ctx, instant) {
		switch {
		case e.Kind == "grant" && e.Node == heir.Name && proof == "":
			proof = e.Proof
		case e.Kind == "stopped" && e.Observer == old.Name && stopped == 0:
			stopped = e.Mono
		}
	}
	return proof, stopped
}
