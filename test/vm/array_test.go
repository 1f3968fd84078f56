package vm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	vmcluster "github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/faults"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/san"
	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

// trial is one fault of an array on the cluster that has one.
type trial struct {
	*sanCluster
	owner  *vmcluster.Node
	watch  *vmcluster.Watch
	at     time.Time // of the fault
	starts int       // of the owner's writer, before it
}

// makes makes a fault of the list and mends it when it has lasted, or once another node writes; it compares what came of it with
// what was to come, and has it written down.
func (s *sanCluster) makes(t *testing.T, name string, strike, mend func(context.Context, *vmcluster.Node) error) {
	ctx := s.Context(8 * time.Minute)
	fault, err := faults.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	y := trial{sanCluster: s, owner: s.owner(ctx, t)}
	// What has failed on a node before would keep the service from it.
	if out, err := y.owner.Holdfast(ctx, "service", "clear", vmcluster.Service); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.writes(ctx, t, y.owner)
	st, err := y.owner.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	boots, told := y.owner.Boots(), y.owner.Telling()
	y.starts, y.watch, y.at = starts(t, y.owner), s.Watch(), time.Now()
	r := faults.Result{Fault: fault, Owner: y.owner.Number}
	err = strike(ctx, y.owner)
	if err == nil && fault.Want == faults.Stays {
		<-time.After(fault.Hold) // the fault itself
	} else if err == nil {
		err = y.begun(ctx, t, &r)
	}
	if err = errors.Join(err, mend(ctx, y.owner)); err != nil {
		t.Fatal(err)
	}
	mended := time.Now()
	if r.Next != 0 {
		if r.Proof, err = s.Nodes[r.Next-1].Ended(ctx, y.owner, st.Self.Incarnation); r.Proof == "" {
			r.Proof = "E1 released"
		}
	}
	if err = errors.Join(err, s.AwaitMembers(ctx, s.Nodes...)); err != nil {
		t.Fatal(err)
	}
	now := s.owner(ctx, t)
	s.writes(ctx, t, now)
	r.Settled = time.Since(mended)
	if fault.Want == faults.Stays {
		<-time.After(faults.Brief) // a check that fails does so by then
		s.writes(ctx, t, now)
	}
	r.Tell(y.at, told())
	reigns, err := y.watch.Stop()
	if err != nil {
		t.Error(err)
	}
	r.Story = vmcluster.Story(y.at, reigns)
	if r.Next == 0 && !r.Again && (len(reigns) != 1 || starts(t, y.owner) != y.starts) {
		t.Errorf("the owner was to go on, and the service was started %d times; %s", starts(t, y.owner)-y.starts, r.Story)
	}
	t.Log(r)
	if err := r.Wrong(); err != nil {
		t.Error(err)
	}
	if y.owner.Boots() != boots {
		t.Errorf("%s was reset", y.owner.Name)
	}
	if *document && !t.Failed() {
		if err := faults.Write("../../docs/VM.md", []faults.Result{r}); err != nil {
			t.Error(err)
		}
	}
}

// begun waits until another node writes, or the owner's service does that was started once more.
func (y *trial) begun(ctx context.Context, t *testing.T, r *faults.Result) error {
	return vmcluster.Await(ctx, "the service begins again", func() error {
		reigns := y.watch.Reigns() // the owner's is not among them where it wrote no more
		for _, k := range reigns {
			if k.Owner != y.owner.Number {
				r.Next, r.Gap = k.Owner, k.First.Sub(y.at)
				return nil
			}
		}
		if r.Want == faults.Either && starts(t, y.owner) > y.starts && len(reigns) == 1 && time.Since(reigns[0].Last) < time.Second {
			r.Again, r.Gap = true, reigns[0].Last.Sub(y.at)
			return nil
		}
		return fmt.Errorf("%d owners, %d starts", len(reigns), starts(t, y.owner)-y.starts)
	})
}

// starts counts how often a node has started the service's writer.
func starts(t *testing.T, n *vmcluster.Node) int {
	t.Helper()
	text, err := os.ReadFile(n.Log())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "runs as process ")
}

// writes waits until a node has written more than it had.
func (s *sanCluster) writes(ctx context.Context, t *testing.T, n *vmcluster.Node) {
	t.Helper()
	var before []witness.Block
	if err := await(ctx, func() error {
		now, err := witness.Look(s.lun.File(), n.Number)
		if err != nil {
			return err // a block is being written
		}
		for i := range before {
			if before[i] != now[i] {
				return nil
			}
		}
		before = now
		return fmt.Errorf("%s writes nothing", n.Name)
	}); err != nil {
		t.Fatal(err)
	}
}

// restartedTarget takes the target away for some seconds, with all sessions, and gives it back: the owner logs in again, what it
// had under way lands, and it stays the owner.
func (s *sanCluster) restartedTarget(t *testing.T) {
	s.makes(t, "iSCSI target restarted",
		func(ctx context.Context, _ *vmcluster.Node) error { return san.Enable(ctx, s.target, false) },
		func(ctx context.Context, _ *vmcluster.Node) error { return san.Enable(ctx, s.target, true) })
}

// lostPath cuts the owner off from the array: its service fails there and goes on elsewhere, and the node comes back without a
// reset.
func (s *sanCluster) lostPath(t *testing.T) {
	path := func(f network.Fault) func(context.Context, *vmcluster.Node) error {
		return func(_ context.Context, n *vmcluster.Node) error {
			s.Extra[0].Set(n.Name, s.target.Name, f)
			s.Extra[0].Set(s.target.Name, n.Name, f)
			return nil
		}
	}
	s.makes(t, "iSCSI path lost", path(network.Fault{Loss: 1}), path(network.Fault{}))
}

// changedISID ends the owner's session with the array and makes another one, as a new login of open-iscsi does: an array knows a
// registration by the initiator's name and the session's part of it, so the new one has none until the node has registered again.
func (s *sanCluster) changedISID(t *testing.T) {
	var before string
	var node *vmcluster.Node
	s.makes(t, "iSCSI ISID changed", func(ctx context.Context, n *vmcluster.Node) (err error) {
		if before, err = san.ISID(ctx, s.target, n.Machine); err != nil {
			return err
		}
		node = n
		session := []string{"/sbin/iscsiadm", "-m", "node", "-T", san.Target, "-p", san.Portal(lab.Address(arrayNetwork, arrayNumber))}
		if out, err := n.Run(ctx, append(session, "--logout")...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		_, _ = n.Run(ctx, append(session, "--login")...) // the node may have been faster, and has it then
		return nil
	}, func(context.Context, *vmcluster.Node) error { return nil })
	ctx := s.Context(3 * time.Minute)
	s.registered(ctx, t)
	after, err := san.ISID(ctx, s.target, node.Machine)
	if err != nil || after == before {
		t.Errorf("the session was %s and is %s: %v", before, after, err)
	}
	t.Logf("session %s is %s now, and its key is registered", before, after)
}
