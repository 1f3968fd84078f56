package vm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	vmcluster "github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/san"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

// What the array wants to know of who logs in.
const (
	chapUser     = "orders"
	chapPassword = "open-sesame-1234"
	chapFile     = "/own/orders.chap"
)

// arrayNumber is the storage machine's, and arrayNetwork the place of its network in the nodes, behind the two links.
const (
	arrayNumber  = 99
	arrayNetwork = 2
	// nodeMemory is for the programs of Holdfast and of open-iscsi, in MiB: what a
	// machine has as files is in its memory.
	nodeMemory = 448
)

// sanCluster is two nodes and an array that wants CHAP, on whose LUN the service stands.
type sanCluster struct {
	*vmcluster.Cluster
	target *machine.Machine
	lun    *disk.Disk
}

func openSANCluster(t *testing.T) *sanCluster {
	t.Helper()
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	initiator, err := cache.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	s := &sanCluster{Cluster: vmcluster.OpenWith(t, 2, vmcluster.Extra{
		Records: initiator, Modules: append(san.TargetModules(), san.InitiatorModules()...), Load: san.InitiatorModules(), Networks: []string{"san"}, Times: 2, Memory: nodeMemory,
		Boot: func(ctx context.Context, n *vmcluster.Node) error {
			_, err := n.Ask(ctx, wire.Request{Op: wire.Write, Args: []string{chapFile}, Data: []byte(chapPassword + "\n"), Mode: 0o600})
			return errors.Join(err, san.Initiate(ctx, n.Machine))
		},
	})}
	s.lun = s.Disk("ARRAY1", 8<<20)
	target := s.Machine(lab.Plan{
		Name: "array", Number: arrayNumber, Networks: []*network.Switch{s.Links[0], s.Links[1], s.Extra[0]}, Disks: []*disk.Disk{s.lun},
		Modules: san.TargetModules(), Memory: nodeMemory,
	})
	s.target = target
	s.PowerOn(target)
	ctx := s.Context(2 * time.Minute)
	var nodes []*machine.Machine
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Machine)
	}
	if err := san.Serve(ctx, target, "/dev/disk/by-id/virtio-ARRAY1", lab.Address(arrayNetwork, arrayNumber), nodes...); err != nil {
		t.Fatal(err)
	}
	if err := san.Protect(ctx, target, chapUser, chapPassword, nodes...); err != nil {
		t.Fatal(err)
	}
	s.Data = s.lun // where a Watch looks
	return s
}

// stack is the service's, on a LUN of the array.
func (s *sanCluster) stack(more string) []string {
	return []string{
		fmt.Sprintf("- iscsi: {target: %q, portal: %q, user: %s, password_file: %s, discover: true%s}",
			san.Target, san.Portal(lab.Address(arrayNetwork, arrayNumber)), chapUser, chapFile, more),
		fmt.Sprintf("- exec: {run: [/init, witness, -disk, %s, -depth, \"2\", -pace, 20ms]}", sda),
	}
}

// other is the node that a given one is not.
func (s *sanCluster) other(n *vmcluster.Node) *vmcluster.Node {
	return s.Nodes[2-n.Number]
}

// sessions waits until the nodes that have a session with the array are these.
func (s *sanCluster) sessions(ctx context.Context, t *testing.T, want ...*vmcluster.Node) {
	t.Helper()
	if err := vmcluster.AwaitWord(ctx, "sessions are as they should be", func() error {
		for _, n := range s.Nodes {
			list, err := san.Sessions(ctx, n.Machine)
			if err != nil {
				return err
			}
			if has := strings.Contains(list, san.Target); has != slices.Contains(want, n) {
				return fmt.Errorf("%s has a session: %v: %s", n.Name, has, list)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// owner waits until the service runs. A start that failed on both nodes, because this
// machine had other things to do than to emulate them, is tried again.
func (s *sanCluster) owner(ctx context.Context, t *testing.T) *vmcluster.Node {
	t.Helper()
	for {
		short, cancel := context.WithTimeout(ctx, time.Minute)
		owner, err := s.AwaitOwner(short)
		cancel()
		if err == nil {
			return owner
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		out, err := s.Nodes[0].Holdfast(ctx, "service", "clear", "witness")
		t.Logf("tried again: %v %s", err, out)
	}
}

// moves has the service moved by hand.
func (s *sanCluster) moves(ctx context.Context, t *testing.T) *vmcluster.Node {
	t.Helper()
	owner := s.owner(ctx, t)
	next := s.other(owner)
	// A first login may have taken longer than a service waits for its storage: that counts as a failure of the node.
	if out, err := owner.Holdfast(ctx, "service", "clear", "witness"); err != nil {
		t.Logf("%v: %s", err, out)
	}
	if out, err := owner.Holdfast(ctx, "service", "move", "witness", "--to", next.Name, "--wait", "2m"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return next
}

// TestServiceOnISCSI runs a service on a LUN of an array that wants a user and a password: first with sessions that come and
// go with the service, then with reservations and sessions of the nodes.
func TestServiceOnISCSI(t *testing.T) {
	whole(t)
	s := openSANCluster(t)
	if !t.Run("sessions of the service", s.ownSessions) {
		t.FailNow()
	}
	t.Run("target restarted", s.restartedTarget)
	t.Run("path lost", s.lostPath)
	if t.Run("sessions of the nodes, and reservations", s.nodeSessions) {
		t.Run("ISID changed", s.changedISID)
	}
}

func (s *sanCluster) ownSessions(t *testing.T) {
	ctx := s.Context(10 * time.Minute)
	if out, err := s.Nodes[0].Run(ctx, "/sbin/iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", san.Portal(lab.Address(arrayNetwork, arrayNumber))); err == nil {
		t.Errorf("the array tells its targets to whoever asks: %s", out)
	}
	if err := s.Apply(ctx, s.stack("")...); err != nil {
		t.Fatal(err)
	}
	owner := s.owner(ctx, t)
	s.sessions(ctx, t, owner)
	owner = s.moves(ctx, t)
	s.sessions(ctx, t, owner)
	boots := owner.Boots()
	at := time.Now()
	if err := owner.PowerOff(); err != nil {
		t.Fatal(err)
	}
	next := s.other(owner)
	if err := vmcluster.AwaitWord(ctx, "it runs elsewhere", func() error {
		st, err := next.Status(ctx)
		if err == nil && (len(st.Services) != 1 || st.Services[0].State != "running" || st.Services[0].Node != next.Name) {
			err = fmt.Errorf("services %+v", st.Services)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("power lost: runs on n%d after %v", next.Number, time.Since(at).Round(100*time.Millisecond))
	if err := s.Recover(ctx, owner, boots); err != nil {
		t.Fatal(err)
	}
	s.sessions(ctx, t, next)
}

// registered waits until a node's own reservations work.
func (s *sanCluster) registered(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, n := range s.Nodes {
		if err := vmcluster.AwaitWord(ctx, "its reservations work", func() error {
			st, err := n.Status(ctx)
			if err != nil {
				return err
			}
			works := false
			for _, r := range st.Fencing {
				for _, w := range r.Ways {
					works = works || w.Way == cluster.WayReservation && w.State == "works"
				}
			}
			if !works {
				return fmt.Errorf("%s says: %+v", n.Name, st.Fencing)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *sanCluster) nodeSessions(t *testing.T) {
	ctx := s.Context(12 * time.Minute)
	s.Fencing = "fencing:\n  ways:\n    n1: [reservation, disk]\n    n2: [reservation, disk]\n"
	if err := s.Apply(ctx, s.stack(", devices: ["+sda+"], guard: reservation")...); err != nil {
		t.Fatal(err)
	}
	s.sessions(ctx, t, s.Nodes...)
	s.registered(ctx, t)
	owner := s.moves(ctx, t)
	s.sessions(ctx, t, s.Nodes...)
	watch := s.Watch()
	if err := await(ctx, func() error {
		if len(watch.Reigns()) == 0 {
			return errors.New("the owner writes nothing")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// Frozen with writes under way, and going on after the takeover: without reservations it would write once more.
	at, boots := time.Now(), owner.Boots()
	if err := owner.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	next, err := watch.Other(ctx, owner.Number)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.other(owner).Holdfast(ctx, "events", "--json"); err != nil || !strings.Contains(out, "E5") {
		t.Errorf("no proof by reservation (%v) in\n%s", err, out)
	}
	then, err := witness.Look(s.lun.File(), owner.Number)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(ctx, owner, boots); err != nil {
		t.Fatal(err)
	}
	now, err := witness.Look(s.lun.File(), owner.Number)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(now, then) {
		t.Errorf("n%d wrote after the takeover: up to block %d, then up to %d", owner.Number, witness.Newest(then, uint32(owner.Number)), witness.Newest(now, uint32(owner.Number)))
	}
	s.registered(ctx, t)
	reigns, err := watch.Stop()
	if err != nil || len(reigns) != 2 {
		t.Errorf("%d reigns, %v", len(reigns), err)
	}
	t.Logf("n%d frozen: n%d writes after %v; %s", owner.Number, next.Owner, next.First.Sub(at).Round(100*time.Millisecond), vmcluster.Story(at, reigns))
}
