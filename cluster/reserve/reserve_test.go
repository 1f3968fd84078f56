package reserve_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
	"github.com/holdfast-ha/holdfast/cluster/reserve"
)

// rig is node 2 of two, whose service orders is owned by node 1.
type rig struct {
	*reserve.Set
	env reserve.Env
}

func inc(n uint32) ident.Incarnation { return ident.Incarnation{N: n} }

// threeDisks are three quorum disks, of which two are needed.
type threeDisks struct{}

func (threeDisks) Met(is func(int) bool) bool {
	return is(0) && is(1) || is(0) && is(2) || is(1) && is(2)
}

// fencingSince is a fencing that this node knows of since then; 0: of none.
type fencingSince ident.Instant

// watchdogs are those of every other node.
type watchdogs cluster.WatchdogClass

func (w watchdogs) Watchdogs(ident.NodeID) cluster.WatchdogClass { return cluster.WatchdogClass(w) }

func (f fencingSince) Reserves(ident.NodeID, ident.Incarnation) (ident.Instant, bool) {
	return ident.Instant(f), f != 0
}

func newRig(orphan bool) *rig {
	stack := []cluster.Member{{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true}, {ID: "ip", Kind: "ip"}}
	s := &cluster.State{
		Ver: 9, ConfigRev: 1, Conf: &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: stack}}},
		Nodes: []cluster.NodeState{
			{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: inc(5)}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc(3)},
		},
		Services: []cluster.Grant{{Service: "orders", Owner: 1, Inc: inc(5), Term: 4}},
	}
	return &rig{reserve.New(orphan), reserve.Env{
		Now: 100e9, State: s, Self: 2, Inc: inc(3), Member: true, Tz: time.Second, Issued: 99e9,
		Disks: threeDisks{}, Fencing: fencingSince(0), Sights: watchdogs(cluster.WatchdogNone),
	}}
}

// step lets a millisecond pass, and returns the work that is wanted.
func (r *rig) step() []cluster.Reserve {
	r.env.Now = r.env.Now.Add(time.Millisecond)
	r.Manage(r.env)
	return r.work()
}

func (r *rig) work() []cluster.Reserve {
	var list []cluster.Reserve
	for _, a := range r.Take() {
		if w, ok := a.(cluster.Reserve); ok {
			list = append(list, w)
		}
	}
	return list
}

func (r *rig) done(e cluster.ReserveDone) {
	r.env.Now = r.env.Now.Add(time.Millisecond)
	e.Gone = r.env.Now
	r.Done(r.env, e)
}

// register takes the rig through a whole handshake.
func (r *rig) register(t *testing.T) {
	t.Helper()
	r.step()
	r.env.Open = r.env.Now
	r.env.Issued = r.env.Now.Add(time.Microsecond)
	if list := r.step(); len(list) != 0 || !r.WantsRead() {
		t.Fatalf("after a majority holds the word: %v, wants to read %v", list, r.WantsRead())
	}
	r.Read(r.env, r.env.Now.Add(time.Millisecond))
	list := r.work()
	if len(list) != 1 || list[0].Kind != cluster.ReserveRegister || list[0].Key != cluster.KeyOf(ident.UUID{}, 2, inc(3)) {
		t.Fatalf("after the register was read: %+v", list)
	}
	r.done(cluster.ReserveDone{Op: list[0].Op, Outcome: cluster.FenceProven, LUNs: []string{"a"}})
	if r.step(); r.Open() {
		t.Fatal("still open after every REGISTER has returned")
	}
}

func TestHandshake(t *testing.T) {
	r := newRig(false)
	if list := r.step(); len(list) != 0 || !r.Open() || r.WantsRead() {
		t.Fatalf("at first: %v, open %v, reads %v", list, r.Open(), r.WantsRead())
	}
	r.env.Open = r.env.Now
	if list := r.step(); len(list) != 0 || r.WantsRead() {
		t.Fatal("the register is read before a majority of the disks holds the word")
	}
	r.env.Issued = r.env.Now
	r.step()
	r.Read(r.env, r.env.Now.Add(-time.Second))
	if len(r.work()) != 0 {
		t.Fatal("a read that began before counts")
	}
}

// TestFencedNeverRegisters: a fencing that the read shows ends it for good.
func TestFencedNeverRegisters(t *testing.T) {
	r := newRig(false)
	r.step()
	r.env.Open, r.env.Issued = r.env.Now, r.env.Now.Add(time.Microsecond)
	r.step()
	fenced := r.env.State.Clone()
	fenced.Nodes[1].Fencing = inc(3)
	free := r.env.State
	r.env.State = fenced
	r.Read(r.env, r.env.Now.Add(time.Millisecond))
	r.env.State = free // an older picture must not wake it
	for range 5 {
		if list := r.step(); len(list) != 0 || r.Open() {
			t.Fatalf("%+v, open %v", list, r.Open())
		}
	}
	r.env.Inc, r.env.State = inc(4), free.Clone()
	r.env.State.Nodes[1].Inc = inc(4)
	if r.step(); !r.Open() {
		t.Error("the next incarnation does not begin")
	}
}

// TestInFlight: what has not returned keeps the word out, whatever else happens.
func TestInFlight(t *testing.T) {
	r := newRig(false)
	r.step()
	r.env.Open, r.env.Issued = r.env.Now, r.env.Now.Add(time.Microsecond)
	r.step()
	r.Read(r.env, r.env.Now.Add(time.Millisecond))
	op := r.work()[0].Op
	r.done(cluster.ReserveDone{Op: op, InFlight: true, Text: "no answer"})
	r.env.Member = false
	if r.step(); !r.Open() {
		t.Fatal("a REGISTER is on its way, and nobody is told")
	}
	r.done(cluster.ReserveDone{Op: op, Outcome: cluster.FenceUnknown})
	if r.step(); r.Open() {
		t.Error("everything has returned")
	}
	if o := newRig(true); !o.Open() {
		t.Error("what a former life may have on its way is not said")
	}
}

// beat shows node 1's beat on a disk.
func (r *rig) beat(disk int, read ident.Instant, seq uint64, open bool) {
	b := &cluster.Beat{Node: 1, Inc: inc(5), Seq: seq, Payload: cluster.Payload{Registering: open}}
	r.Saw(disk, read, &cluster.SeenBeat{Node: 1, Beat: b})
}

func TestProof(t *testing.T) {
	fencing := func(t *testing.T) *rig {
		r := newRig(false)
		r.register(t)
		r.env.State = r.env.State.Clone()
		r.env.State.Nodes[0].Fencing = inc(5)
		since := r.env.Now
		r.env.Fencing = fencingSince(since)
		return r
	}
	take := func(r *rig) *cluster.Reserve {
		for _, w := range r.step() {
			if w.Kind == cluster.ReserveTake {
				return &w
			}
		}
		return nil
	}
	grant := func(r *rig) *cluster.Grant { return &r.env.State.Services[0] }
	t.Run("the beat first", func(t *testing.T) {
		r := fencing(t)
		old := r.env.Now.Add(-time.Millisecond)
		r.beat(0, old, 7, false)
		r.beat(1, old, 7, false)
		if take(r) != nil {
			t.Fatal("a beat that was read before the fencing counts")
		}
		r.beat(0, r.env.Now, 7, false)
		r.Saw(1, r.env.Now, &cluster.SeenBeat{Node: 1, Err: "torn"})
		if take(r) != nil {
			t.Fatal("one disk of three is enough")
		}
		r.beat(1, r.env.Now, 8, true)
		if take(r) != nil {
			t.Fatal("a key may be on its way, and the proof begins")
		}
		r.beat(2, r.env.Now, 9, false)
		if take(r) == nil {
			t.Fatal("the newest beat says that nothing is on its way, and nothing begins")
		}
	})
	t.Run("keys gone", func(t *testing.T) {
		r := fencing(t)
		r.beat(0, r.env.Now.Add(1), 7, false)
		r.beat(1, r.env.Now.Add(1), 7, false)
		w := take(r)
		if w == nil || len(w.Keep) != 0 {
			t.Fatalf("%+v: the keys of the fenced node may stay", w)
		}
		r.done(cluster.ReserveDone{Op: w.Op, Outcome: cluster.FenceUnknown, LUNs: []string{"a"}, Text: "b does not answer"})
		if r.Cleared(r.env, grant(r)).Kind != cluster.NoProof {
			t.Fatal("a part is a proof")
		}
		r.env.Now = r.env.Now.Add(time.Second)
		if w = take(r); w == nil {
			t.Fatal("it is not tried again")
		}
		r.done(cluster.ReserveDone{Op: w.Op, Outcome: cluster.FenceProven, Drain: true, LUNs: []string{"a", "b"}, Text: "gone"})
		if r.Cleared(r.env, grant(r)).Kind != cluster.NoProof {
			t.Fatal("commands that were not aborted may still land")
		}
		r.env.Now = r.env.Now.Add(time.Second)
		stalled := new(landing.Stalls)
		stalled.Took(r.env.Now.Add(-900*time.Millisecond), r.env.Now, time.Second)
		if r.env.Stalls = stalled; r.Cleared(r.env, grant(r)).Kind != cluster.NoProof {
			t.Fatal("the array has stalled, and may carry out now what was not aborted")
		}
		r.env.Now = r.env.Now.Add(time.Second)
		if p := r.Cleared(r.env, grant(r)); p.Kind != cluster.ProofReservation || p.Inc != inc(5) || !strings.Contains(p.Text, "2 LUNs (a, b)") || !r.Holds(r.env) {
			t.Fatalf("%+v", p)
		}
		r.env.State = r.env.State.Clone()
		r.env.State.ConfigRev++
		if r.Cleared(r.env, grant(r)).Kind != cluster.NoProof {
			t.Error("other LUNs may be below the service now")
		}
	})
}

// TestForgetfulTarget: where the target forgets its keys with its power, taking them
// proves something only of a node that a watchdog ends.
func TestForgetfulTarget(t *testing.T) {
	for class, want := range map[cluster.WatchdogClass]cluster.ProofKind{
		cluster.WatchdogNone: cluster.NoProof, cluster.WatchdogSoftOnly: cluster.NoProof,
		cluster.WatchdogUnqualified: cluster.ProofReservation, cluster.WatchdogQualified: cluster.ProofReservation,
	} {
		r := newRig(false)
		r.env.Sights = watchdogs(class)
		r.register(t)
		r.env.State = r.env.State.Clone()
		r.env.State.Nodes[0].Fencing = inc(5)
		r.env.Fencing = fencingSince(r.env.Now)
		r.beat(0, r.env.Now.Add(1), 7, false)
		r.beat(1, r.env.Now.Add(1), 7, false)
		list := r.step()
		if len(list) != 1 || list[0].Kind != cluster.ReserveTake {
			t.Fatalf("%v: %+v", class, list)
		}
		r.done(cluster.ReserveDone{Op: list[0].Op, Outcome: cluster.FenceProven, Forgets: true, LUNs: []string{"a"}, Text: "gone"})
		if p := r.Cleared(r.env, &r.env.State.Services[0]); p.Kind != want {
			t.Errorf("%v: %+v, want %v", class, p, want)
		}
	}
}

// TestStart: the storage is this node's alone before the start, in each term.
func TestStart(t *testing.T) {
	r := newRig(false)
	r.register(t)
	r.env.State = r.env.State.Clone()
	g := &r.env.State.Services[0]
	g.Owner, g.Inc, g.Term, g.Pending = 2, inc(3), 5, []cluster.Pending{{Node: 1, Inc: inc(5)}}
	if why, _ := r.Storage(r.env, g); why == "" {
		t.Fatal("it may start at once")
	}
	list := r.step()
	if len(list) != 1 || list[0].Kind != cluster.ReserveTake || len(list[0].Keep) != 0 {
		t.Fatalf("%+v: a former owner's key may stay", list)
	}
	r.done(cluster.ReserveDone{Op: list[0].Op, Outcome: cluster.FenceProven, LUNs: []string{"a"}})
	if why, _ := r.Storage(r.env, g); why != "" {
		t.Fatal(why)
	}
	g.Term = 6
	if why, stuck := r.Storage(r.env, g); why == "" || stuck {
		t.Error("the next term needs nothing")
	}
	r.env.Now = r.env.Now.Add(time.Minute)
	list = r.step()
	r.done(cluster.ReserveDone{Op: list[0].Op, Outcome: cluster.FenceFailed, Text: "no answer"})
	if _, stuck := r.Storage(r.env, g); !stuck {
		t.Error("after a minute another node may try")
	}
}

// TestWhoMayStay: at a start the keys of members that may run the service stay, and
// those of all others go.
func TestWhoMayStay(t *testing.T) {
	r := newRig(false)
	r.register(t)
	r.env.State = r.env.State.Clone()
	r.env.State.Nodes = append(r.env.State.Nodes,
		cluster.NodeState{ID: 3, Name: "gamma", Phase: cluster.MemberPhase, Inc: inc(2)},
		cluster.NodeState{ID: 4, Name: "delta", Phase: cluster.MemberPhase, Inc: inc(8), Fencing: inc(8)},
		cluster.NodeState{ID: 5, Name: "epsilon", Inc: inc(1), Dead: 1},
	)
	key := func(id ident.NodeID, n uint32) uint64 { return cluster.KeyOf(ident.UUID{}, id, inc(n)) }
	for term, c := range []struct {
		only, never []string
		keep        []uint64
	}{
		{nil, nil, []uint64{key(1, 5), key(3, 2)}},
		{nil, []string{"gamma"}, []uint64{key(1, 5)}},
		{[]string{"beta", "gamma"}, nil, []uint64{key(3, 2)}},
		{[]string{"beta"}, nil, nil},
	} {
		g, svc := &r.env.State.Services[0], &r.env.State.Conf.Services[0]
		g.Owner, g.Inc, g.Term = 2, inc(3), uint64(10+term)
		svc.Only, svc.Never = c.only, c.never
		list := r.step()
		if len(list) != 1 || list[0].Kind != cluster.ReserveTake || !slices.Equal(list[0].Keep, c.keep) {
			t.Fatalf("only %v, never %v: %+v, want %x to stay", c.only, c.never, list, c.keep)
		}
		r.done(cluster.ReserveDone{Op: list[0].Op, Outcome: cluster.FenceProven, LUNs: []string{"a"}})
	}
}
