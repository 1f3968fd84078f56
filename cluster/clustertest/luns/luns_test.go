package luns_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

func TestKeys(t *testing.T) {
	lost := 0
	s := luns.New(luns.Watch{Key: func(_ ident.NodeID, _ string, on bool) {
		if !on {
			lost++
		}
	}})
	for _, l := range s.Of("orders") {
		l.Register(1, 11)
		l.Register(2, 22)
		l.Register(3, 33)
	}
	a := cluster.Reserve{Kind: cluster.ReserveTake, Service: &cluster.Service{Name: "orders"}, Key: 22, Keep: []uint64{33}}
	f := &luns.Faults{}
	if e := luns.ReadBack(a, s.Of("orders"), 2, f); e.Outcome != cluster.FenceUnknown {
		t.Errorf("another key is there: %+v", e)
	}
	arrives := s.Take(a, 2, f)
	if !arrives() {
		t.Error("everything was aborted, and it is not sure")
	}
	if e := luns.ReadBack(a, s.Of("orders"), 2, f); e.Outcome != cluster.FenceProven || len(e.LUNs) != luns.PerService || lost != luns.PerService {
		t.Errorf("%+v, %d keys lost", e, lost)
	}
	f.Cut = []bool{false, true}
	if e := luns.ReadBack(a, s.Of("orders"), 2, f); e.Outcome != cluster.FenceUnknown {
		t.Errorf("one LUN does not answer: %+v", e)
	}
	s.Forget("orders")
	if s.Registered("orders", 2) != 0 || s.Registered("orders", 3) != 0 {
		t.Error("keys are left")
	}
}

// TestWrites: who has no key writes nothing, and what was on its way when the key
// was taken away lands only where nobody aborted it.
func TestWrites(t *testing.T) {
	var landed []uint64
	loose := 0
	s := luns.New(luns.Watch{
		Key:    func(ident.NodeID, string, bool) {},
		Loose:  func(ident.NodeID, string) { loose++ },
		Landed: func(_ ident.NodeID, _ string, term uint64) { landed = append(landed, term) },
	})
	l := s.Of("orders")[0]
	l.Register(1, 11)
	l.Register(2, 22)
	a, b := l.Accept(1, 7), l.Accept(1, 7)
	l.Land(a)
	take := cluster.Reserve{Kind: cluster.ReserveTake, Service: &cluster.Service{Name: "orders"}, Key: 22, Victim: 11}
	if s.Take(take, 2, &luns.Faults{Cut: []bool{false, true, true}})(); l.Accept(1, 7) != nil {
		t.Error("a write without a key is accepted")
	}
	l.Land(b)
	if len(landed) != 1 || s.Counts != (luns.Counts{Landed: 1, Refused: 1, Aborted: 1}) {
		t.Errorf("%d landed: %+v", len(landed), s.Counts)
	}
	l.Register(1, 12)
	c := l.Accept(1, 8)
	take.Victim = 12
	if s.Take(take, 2, &luns.Faults{Cut: []bool{false, true, true}, Aborts: true})() {
		t.Error("nobody knows of the commands, and it is sure")
	}
	if l.Land(c); s.Counts.Late != 1 || loose != 1 {
		t.Errorf("what nobody aborted lands: %+v, loose %d", s.Counts, loose)
	}
	l.Register(1, 13)
	take.Victim = 99
	late := s.Take(take, 2, &luns.Faults{Cut: []bool{false, true, true}})
	l.Register(1, 14)
	if late() || !l.Has(1, 14) {
		t.Error("a command that comes late takes a key that it did not know, or says that the victim's commands were aborted")
	}
}
