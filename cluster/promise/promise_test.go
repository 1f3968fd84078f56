package promise_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/promise"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

const sec = ident.Instant(time.Second)

// rig is a node that has claimed with failover_within 20 s, at 100 s.
type rig struct {
	promise.Node
	t   *testing.T
	now ident.Instant
	in  timing.Table // in force
	seq uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	in := timing.Input{FailoverWithin: 20 * time.Second, SecondHolder: true, Devices: []timing.Device{
		{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: 2 * time.Second, TMax: 2300 * time.Millisecond, At: 2 * time.Second},
		{Name: "hardware", Class: timing.Qualified, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
	}}
	table, err := timing.Derive(in)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, now: 100 * sec, in: table}
	r.Claimed(params(table))
	return r
}

func params(t timing.Table) lease.Params { return lease.Params{F: t.F, G: t.G} }

// table is what a failover_within asks for on this hardware.
func (r *rig) table(within time.Duration) timing.Table {
	r.t.Helper()
	t, err := r.in.Again(within, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

// orders says whether the guard is told of something when this is configured, and
// notes the order.
func (r *rig) orders(within time.Duration) (timing.Table, bool) {
	t, ok := r.Next(r.now, r.in, within, 0)
	if ok {
		r.seq++
		r.Sent(r.seq)
	}
	return t, ok
}

// echo is the guard's answer to the latest order; why is empty if it obeys.
func (r *rig) echo(why string) cluster.Note {
	in, note := r.Echoed(r.now, cluster.Echoed{Seq: r.seq, Err: why}, r.in)
	r.in = in
	return note
}

func (r *rig) lives(by timing.Table, when string) {
	r.t.Helper()
	if r.Used() != params(by) {
		r.t.Errorf("%s it lives by F %s, want %s", when, r.Used().F, by.F)
	}
}

func TestLowered(t *testing.T) {
	r := newRig(t)
	before, low := r.in, r.table(10*time.Second)
	if _, ok := r.orders(20 * time.Second); ok {
		t.Error("what is in force is ordered again")
	}
	if got, ok := r.orders(10 * time.Second); !ok || got.F != low.F {
		t.Fatalf("ordered: %v, F %s, want %s", ok, got.F, low.F)
	}
	r.lives(low, "from the order on")
	if r.in.F != before.F {
		t.Error("the table is in force before the guard has answered")
	}
	if _, ok := r.orders(10 * time.Second); ok {
		t.Error("it is ordered twice")
	}
	if note := r.echo(""); note.Kind != cluster.NoteAdmin || !strings.Contains(note.Text, "failover_within 10s") {
		t.Errorf("told: %+v", note)
	}
	if r.in.F != low.F {
		t.Errorf("in force is F %s, want %s", r.in.F, low.F)
	}
	r.lives(low, "afterwards")
	if _, ok := r.orders(10 * time.Second); ok {
		t.Error("what has been obeyed is ordered again")
	}
}

// TestRaised: a longer lease is lived by only once it rests on nothing but beats
// that promise it.
func TestRaised(t *testing.T) {
	r := newRig(t)
	before, high := r.in, r.table(30*time.Second)
	if _, ok := r.orders(30 * time.Second); !ok {
		t.Fatal("nothing is ordered")
	}
	r.lives(before, "when ordered")
	r.Settle(r.now.Add(time.Hour))
	r.lives(before, "before the guard has answered")
	r.now += sec
	r.echo("")
	r.Settle(r.now)
	r.lives(before, "while the lease starts no later than the answer")
	r.Settle(r.now + 1)
	r.lives(high, "once it starts later")
}

func TestRefused(t *testing.T) {
	r := newRig(t)
	low := r.table(10 * time.Second)
	r.orders(10 * time.Second)
	if note := r.echo("the disk is gone"); note.Kind != cluster.NoteAlarm || !strings.Contains(note.Text, "the disk is gone") {
		t.Errorf("told: %+v", note)
	}
	r.lives(low, "all the same: it may not know that it was refused")
	if _, ok := r.orders(10 * time.Second); ok {
		t.Error("it is repeated at once")
	}
	r.now += sec
	if _, ok := r.orders(10 * time.Second); !ok {
		t.Fatal("it is not repeated after a second")
	}
	if note := r.echo("the disk is gone"); note.Text != "" {
		t.Errorf("the same refusal is told again: %+v", note)
	}
	r.now += sec
	r.orders(10 * time.Second)
	r.echo("")
	if r.in.F != low.F {
		t.Error("it is not in force after it was obeyed")
	}
}

func TestEchoOfAnotherOrder(t *testing.T) {
	r := newRig(t)
	r.orders(10 * time.Second)
	r.seq++ // some other order was given since
	if note := r.echo(""); note.Text != "" {
		t.Errorf("told: %+v", note)
	}
	if r.in.B != 20*time.Second {
		t.Error("another order's echo puts the table in force")
	}
}

// TestWishChangesMeanwhile: what is configured while an order is on its way waits
// for the answer, and is ordered then.
func TestWishChangesMeanwhile(t *testing.T) {
	r := newRig(t)
	r.orders(10 * time.Second)
	if _, ok := r.orders(30 * time.Second); ok {
		t.Error("two orders are on their way")
	}
	r.echo("")
	if got, ok := r.orders(30 * time.Second); !ok || got.B != 30*time.Second {
		t.Errorf("ordered: %v, %s", ok, got.B)
	}
	r.lives(r.table(10*time.Second), "until then")
}

func TestUnsafeWish(t *testing.T) {
	r := newRig(t)
	if _, ok := r.orders(3 * time.Second); ok {
		t.Error("an unsafe wish is ordered")
	}
	if p := r.Problem(); !strings.Contains(p, "next incarnation") || !strings.Contains(p, "3 s") {
		t.Errorf("the problem: %q", p)
	}
	if _, ok := r.orders(10 * time.Second); !ok || r.Problem() != "" {
		t.Errorf("a safe one: %v, %q", ok, r.Problem())
	}
}

// TestAdopted: a daemon that comes back goes on with what the guard holds.
func TestAdopted(t *testing.T) {
	r := newRig(t)
	low, high := r.table(10*time.Second), r.table(30*time.Second)
	r.Adopt(cluster.Started{F: low.F, G: low.G, Says: cluster.Lease{F: high.F, G: high.G}, Since: 90 * sec})
	r.lives(low, "while its lease may rest on older beats")
	if _, ok := r.Next(r.now, high, 30*time.Second, 0); ok {
		t.Error("what the beats promise is ordered again")
	}
	r.Settle(90*sec + 1)
	r.lives(high, "afterwards")
	r.Adopt(cluster.Started{F: low.F, G: low.G})
	r.lives(low, "of a guard that says no more")
}
