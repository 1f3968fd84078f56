package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage/scsi"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/san"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

// array is a storage machine and nodes that are logged in to it.
type array struct {
	*lab.Lab
	lan    *network.Switch
	lun    *disk.Disk // what is behind the target
	target *machine.Machine
	nodes  []*machine.Machine
}

const sda = "/dev/sda"

// openArray boots a storage machine and nodes, with tests of packages in their initial file system.
func openArray(t *testing.T, nodes int, tests ...string) *array {
	t.Helper()
	dir, files := t.TempDir(), map[string]string{}
	for _, pkg := range tests {
		program, err := image.TestProgram(t.Context(), dir, pkg)
		if err != nil {
			t.Fatal(err)
		}
		files["tests/"+filepath.Base(program)] = program
	}
	cache, err := image.OpenCache()
	if err != nil {
		t.Fatal(err)
	}
	initiator, err := cache.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	l := lab.Open(t, image.Content{Files: files, Records: initiator, Modules: append(san.TargetModules(), san.InitiatorModules()...)})
	a := &array{Lab: l, lan: l.Network("san"), lun: l.Disk("ARRAY1", 64<<20)}
	const number = 99
	a.target = l.Machine(lab.Plan{
		Name: "array", Number: number, Networks: []*network.Switch{a.lan}, Disks: []*disk.Disk{a.lun}, Modules: san.TargetModules(), Memory: 320,
	})
	for i := 1; i <= nodes; i++ {
		a.nodes = append(a.nodes, l.Machine(lab.Plan{
			Name: "n" + string(rune('0'+i)), Number: i, Networks: []*network.Switch{a.lan}, Modules: san.InitiatorModules(),
		}))
	}
	l.PowerOn(append(a.nodes, a.target)...)
	ctx := l.Context(3 * time.Minute)
	if err := san.Serve(ctx, a.target, "/dev/disk/by-id/virtio-ARRAY1", lab.Address(0, number), a.nodes...); err != nil {
		t.Fatal(err)
	}
	for _, n := range a.nodes {
		if name, err := san.Login(ctx, n, lab.Address(0, number)); err != nil || name != sda {
			t.Fatalf("%s: disk %q, %v", n.Name, name, err)
		}
	}
	return a
}

// TestReservationsOnRealLUN runs the tests of storage/scsi and the conformance suite of storage inside a node, on the disk of
// a target that knows persistent reservations.
func TestReservationsOnRealLUN(t *testing.T) {
	whole(t)
	a := openArray(t, 1, "storage", "storage/scsi")
	ctx := a.Context(4 * time.Minute)
	for _, c := range []struct{ program, test, variable string }{
		{"storage.test", "TestScratchDisk", "HOLDFAST_SCRATCH_DISK=" + sda},
		{"scsi.test", "TestRealLUN", "HOLDFAST_SCSI_LUN=" + sda},
	} {
		w, err := a.nodes[0].Ask(ctx, wire.Request{
			Op: wire.Run, Env: []string{c.variable}, Timeout: 3 * time.Minute,
			Args: []string{"/tests/" + c.program, "-test.v", "-test.run", "^" + c.test + "$"},
		})
		if err != nil || w.Code != 0 || !strings.Contains(string(w.Output), "--- PASS: "+c.test+" ") {
			t.Errorf("%s: exit status %d, %v\n%s", c.test, w.Code, err, w.Output)
		}
		t.Logf("%s", w.Output)
	}
}

// The keys of the two nodes, as Holdfast makes them: its letter, the cluster, the node, the incarnation.
const (
	keyOne = "48abcdef01000005"
	keyTwo = "48abcdef02000003"
)

// settled is how long a target may still work on commands that it has taken, where it did not say that it has aborted them:
// the time that the cluster counts then.
const settled = time.Second

// keysStep does one step with the keys of a node.
func keysStep(ctx context.Context, m *machine.Machine, args ...string) (string, error) {
	return m.Run(ctx, append([]string{"/init", "keys", args[0], sda}, args[1:]...)...)
}

// TestPreemptFrozenNode freezes a node with writes in every place between its program and the disk: in its kernel, on the
// wire and inside the target. From the moment at which the other node's PREEMPT AND ABORT is done and verified none of them
// may land, neither before nor after the frozen node goes on; its program is told that they failed.
func TestPreemptFrozenNode(t *testing.T) {
	whole(t)
	a := openArray(t, 2)
	ctx := a.Context(4 * time.Minute)
	one, two := a.nodes[0], a.nodes[1]
	for _, n := range []struct {
		*machine.Machine
		key string
	}{{one, keyOne}, {two, keyTwo}} {
		if out, err := keysStep(ctx, n.Machine, "register", n.key); err != nil {
			t.Fatal(out, err)
		}
	}
	if err := one.Start(ctx, "witness", "/init", "witness", "-disk", sda, "-owner", "1", "-region", "1", "-depth", "16"); err != nil {
		t.Fatal(err)
	}
	a.awaitBlocks(t, ctx, 1, 100)
	// From here on the target's disk is slow and the wire long, so that there is something everywhere.
	if err := a.lun.Set("array", disk.Fault{Delay: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	before := a.awaitBlocks(t, ctx, 1, 0)
	a.awaitBlocks(t, ctx, 1, before+1)
	a.lan.Set(one.Name, "array", network.Fault{Delay: 2 * time.Second})
	if err := one.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	out, err := keysStep(ctx, two, "take", keyTwo, keyOne)
	if err != nil {
		t.Fatalf("take: %v: %s", err, out)
	}
	t.Logf("taken after %v: %s", time.Since(at), out)
	var report scsi.Report
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if report.Unsure {
		<-time.After(settled) // what is proved then, and not before
	}
	then, err := witness.Look(a.lun.File(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.lun.Set("array", disk.Fault{}); err != nil {
		t.Fatal(err)
	}
	if err := two.Start(ctx, "witness", "/init", "witness", "-disk", sda, "-owner", "2", "-region", "2", "-depth", "2"); err != nil {
		t.Fatal(err)
	}
	a.awaitBlocks(t, ctx, 2, 10)
	if err := one.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	a.lan.Set(one.Name, "array", network.Fault{})
	if w, err := one.AwaitEnd(ctx, "witness"); err != nil || w.Code == 0 {
		t.Errorf("the writer of the node that lost: exit status %d, %v", w.Code, err)
	}
	newest := a.awaitBlocks(t, ctx, 2, 0)
	a.awaitBlocks(t, ctx, 2, newest+10) // the winner goes on
	if _, err := two.Ask(ctx, wire.Request{Op: wire.Signal, Args: []string{"witness"}, Code: 9}); err != nil {
		t.Fatal(err)
	}
	a.unchanged(t, then)
	if out, err := keysStep(ctx, one, "check", keyOne); err == nil {
		t.Errorf("the loser believes that it is registered: %s", out)
	}
}

// awaitBlocks waits until an owner's blocks with that number or a higher one have landed, and returns the newest number.
func (a *array) awaitBlocks(t *testing.T, ctx context.Context, owner uint32, number uint64) uint64 {
	t.Helper()
	var newest uint64
	if err := await(ctx, func() error {
		all, err := witness.Look(a.lun.File(), int(owner))
		if errors.Is(err, witness.ErrTorn) {
			return err // it is being written
		}
		if newest = witness.Newest(all, owner); err == nil && newest < number {
			err = errors.New("too few blocks")
		}
		return err
	}); err != nil {
		t.Fatalf("blocks of owner %d up to %d: %v; %d are there", owner, number, err, newest)
	}
	return newest
}

// unchanged checks that no write of the loser has landed since an earlier look.
func (a *array) unchanged(t *testing.T, then []witness.Block) {
	t.Helper()
	now, err := witness.Look(a.lun.File(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(now, then) {
		t.Errorf("writes of the node that lost have landed after it was preempted: up to block %d, and now up to %d", witness.Newest(then, 1), witness.Newest(now, 1))
	}
}
