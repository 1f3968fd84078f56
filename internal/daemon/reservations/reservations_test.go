package reservations_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/reservations"
	"github.com/holdfast-ha/holdfast/storage/scsi"
	"github.com/holdfast-ha/holdfast/storage/scsi/scsitest"
)

// rig is two LUNs that two nodes see.
type rig struct {
	targets map[string]*scsitest.Target
	clock   atomic.Int64
}

func newRig(faults ...scsitest.Fault) *rig {
	r := &rig{targets: map[string]*scsitest.Target{}}
	for i, f := range faults {
		r.targets[fmt.Sprintf("/dev/lun%d", i+1)] = scsitest.New(f)
	}
	return r
}

func (r *rig) node(name string) *reservations.Keeper {
	return reservations.New(reservations.Settings{
		Now: func() ident.Instant { return ident.Instant(r.clock.Add(1)) },
		Open: func(device string) (scsi.LUN, func(), error) {
			t := r.targets[device]
			if t == nil {
				return scsi.LUN{}, nil, errors.New(device + " is not there")
			}
			return t.LUN(name, "p1", "p2"), func() {}, nil
		},
	})
}

func (r *rig) work(kind cluster.ReserveKind, node int, victim uint64) cluster.Reserve {
	s := &cluster.Service{Name: "orders"}
	for d := range len(r.targets) {
		s.Stack = append(s.Stack, cluster.Member{
			ID: fmt.Sprint("fs", d), Kind: "filesystem", Storage: true, Guarded: true, Spec: fmt.Appendf(nil, `{"device":"/dev/lun%d"}`, d+1),
		})
	}
	return cluster.Reserve{Op: 7, Kind: kind, Service: s, Key: key(node), Victim: victim, Within: time.Minute}
}

func key(node int) uint64 {
	return cluster.KeyOf(ident.UUID{}, ident.NodeID(node), ident.Incarnation{N: 5})
}

func carry(t *testing.T, k *reservations.Keeper, a cluster.Reserve) cluster.ReserveDone {
	t.Helper()
	var got []cluster.ReserveDone
	k.CarryOut(t.Context(), a, func(e cluster.ReserveDone) { got = append(got, e) })
	if len(got) != 1 || got[0].Op != a.Op || got[0].Text == "" {
		t.Fatalf("%+v", got)
	}
	return got[0]
}

// TestTake: proven only where every LUN has shown it.
func TestTake(t *testing.T) {
	for name, c := range map[string]struct {
		second scsitest.Fault
		want   cluster.FenceOutcome
		drain  bool
	}{
		"both honest":       {scsitest.Honest, cluster.FenceProven, false},
		"one abort hangs":   {scsitest.HangsOnAbort, cluster.FenceProven, true},
		"one keeps its key": {scsitest.KeepsKeys, cluster.FenceUnknown, false},
		"one forgets":       {scsitest.Forgets, cluster.FenceProven, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(scsitest.Honest, c.second)
			a, b := r.node("alpha"), r.node("beta")
			for i, k := range []*reservations.Keeper{a, b} {
				if e := carry(t, k, r.work(cluster.ReserveRegister, i+1, 0)); e.Outcome != cluster.FenceProven {
					t.Fatal(e.Text)
				}
			}
			e := carry(t, b, r.work(cluster.ReserveTake, 2, key(1)))
			if e.Outcome != c.want || e.Drain != c.drain && c.want == cluster.FenceProven || len(e.LUNs) != 2 || e.Gone == 0 {
				t.Fatalf("%+v, want %+v", e, c)
			}
			if e.Forgets != (c.second == scsitest.Forgets) {
				t.Errorf("forgets with its power: %v", e.Forgets)
			}
			if e.Outcome == cluster.FenceProven && (r.targets["/dev/lun1"].Writes("alpha", "p1") || r.targets["/dev/lun2"].Writes("alpha", "p2")) {
				t.Error("a false yes")
			}
			if again := carry(t, b, r.work(cluster.ReserveTake, 2, key(1))); again.Outcome == cluster.FenceProven && !again.Drain {
				t.Error("this node has not aborted anything now: somebody's writes may still land")
			}
		})
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	r := newRig(scsitest.NoReservations)
	if e := carry(t, r.node("alpha"), r.work(cluster.ReserveRegister, 1, 0)); e.Outcome != cluster.FenceFailed || !strings.Contains(e.Text, "no persistent reservations") {
		t.Errorf("%+v", e)
	}
	w := r.work(cluster.ReserveCheck, 1, 0)
	w.Service.Stack[0].Spec = []byte(`{}`)
	if e := carry(t, r.node("alpha"), w); e.Outcome != cluster.FenceFailed || !strings.Contains(e.Text, "names no device") {
		t.Errorf("%+v", e)
	}
	w.Service.Stack[0].Spec = []byte(`{"device":"/dev/gone"}`)
	if e := carry(t, r.node("alpha"), w); e.Outcome != cluster.FenceUnknown {
		t.Errorf("%+v", e)
	}
}

// TestNoWay: where the way to the LUNs cannot be made nothing is sent to any, and the
// answer says why.
func TestNoWay(t *testing.T) {
	r := newRig(scsitest.Honest)
	k := reservations.New(reservations.Settings{
		Now:    func() ident.Instant { return 1 },
		Open:   func(string) (scsi.LUN, func(), error) { panic("a LUN was opened") },
		Attach: func(s *cluster.Service) error { return errors.New("no session for " + s.Name) },
	})
	if e := carry(t, k, r.work(cluster.ReserveRegister, 1, 0)); e.Outcome != cluster.FenceFailed || e.Text != "no session for orders" {
		t.Errorf("%+v", e)
	}
}

// TestHangs: the deadline holds, and a REGISTER is told of again when it returns.
func TestHangs(t *testing.T) {
	r := newRig(scsitest.Honest)
	stuck := make(chan struct{})
	k := reservations.New(reservations.Settings{
		Now: func() ident.Instant { return 1 },
		Open: func(device string) (scsi.LUN, func(), error) {
			<-stuck
			return r.targets[device].LUN("alpha", "p1"), func() {}, nil
		},
	})
	a := r.work(cluster.ReserveRegister, 1, 0)
	a.Within = time.Millisecond
	got, ended := make(chan cluster.ReserveDone, 2), make(chan struct{})
	go func() {
		k.CarryOut(context.Background(), a, func(e cluster.ReserveDone) { got <- e })
		close(ended)
	}()
	if e := <-got; !e.InFlight || e.Outcome != cluster.FenceUnknown {
		t.Errorf("at the deadline: %+v", e)
	}
	if e := carry(t, k, a); e.Outcome != cluster.FenceUnknown || e.InFlight || !strings.Contains(e.Text, "earlier request") {
		t.Errorf("while one is under way: %+v", e)
	}
	close(stuck)
	if e := <-got; e.InFlight || e.Outcome != cluster.FenceProven {
		t.Errorf("when it has returned: %+v", e)
	}
	<-ended
}
