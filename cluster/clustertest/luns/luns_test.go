package luns_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

func TestKeys(t *testing.T) {
	lost := 0
	s := luns.New(func(_ ident.NodeID, _ string, on bool) {
		if !on {
			lost++
		}
	})
	for _, l := range s.Of("orders") {
		l.Register(1, 11)
		l.Register(2, 22)
		l.Register(3, 33)
	}
	a := cluster.Reserve{Kind: cluster.ReserveTake, Key: 22, Keep: []uint64{33}}
	f := &luns.Faults{}
	if e := luns.ReadBack(a, s.Of("orders"), 2, f); e.Outcome != cluster.FenceUnknown {
		t.Errorf("another key is there: %+v", e)
	}
	for _, l := range s.Of("orders") {
		l.Preempt(2, a.Keep)
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
