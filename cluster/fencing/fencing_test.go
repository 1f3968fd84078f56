package fencing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// at is a time of day of these tests.
func at(d time.Duration) ident.Instant { return ident.Instant(time.Hour + d) }

// scene is beta, which has chosen the fencing of alpha at 0 s.
type scene struct {
	set *fencing.Set
	env fencing.Env
}

func newScene() *scene {
	s := &scene{set: fencing.New()}
	alpha, beta := ident.Incarnation{N: 5}, ident.Incarnation{N: 7}
	s.env = fencing.Env{
		Now: at(0), Self: 2, Member: true, Tz: time.Second, Tsus: 3 * time.Second,
		State: &cluster.State{
			Conf: &cluster.Config{Fencing: []cluster.Ways{{Node: "alpha", Ways: []cluster.Way{{Kind: cluster.WayBMC}, {Kind: cluster.WayAgent, Agent: "fence_pdu"}}}}},
			Nodes: []cluster.NodeState{
				{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: alpha, Dead: 4, Fencing: alpha},
				{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: beta, Dead: 6},
			},
		},
	}
	return s
}

// go takes the set to an instant and returns the attempts that it begins.
func (s *scene) to(d time.Duration) (begun []cluster.Fence, stopped int) {
	s.env.Now = at(d)
	s.set.Manage(s.env)
	for _, a := range s.set.Take() {
		switch a := a.(type) {
		case cluster.Fence:
			if a.Kind != cluster.FenceCheck {
				begun = append(begun, a)
			}
		case cluster.FenceStop:
			stopped++
		}
	}
	return begun, stopped
}

// chosen is newScene after the register was read again.
func chosen() *scene {
	s := newScene()
	s.set.Chose(1, ident.Incarnation{N: 5}, "")
	s.to(0)
	s.set.Read(s.env, at(0))
	return s
}

func (s *scene) proof() (cluster.Proof, bool) { return s.set.Proof(s.env, &s.env.State.Nodes[0]) }

func TestNothingBeforeTheRegisterWasReadAgain(t *testing.T) {
	s := newScene()
	s.set.Chose(1, ident.Incarnation{N: 5}, "")
	if begun, _ := s.to(0); len(begun) != 0 || !s.set.WantsRead(s.env) {
		t.Fatalf("%+v", begun)
	}
	s.set.Read(s.env, at(-time.Second))
	if begun, _ := s.to(time.Second); len(begun) != 0 {
		t.Fatalf("a reading from before the fencing was known has counted: %+v", begun)
	}
	s.set.Read(s.env, at(time.Second))
	if begun, _ := s.to(time.Second); len(begun) != 2 {
		t.Fatalf("%+v, want both ways", begun)
	}
}

func TestAFencedNodeShootsNobody(t *testing.T) {
	s := chosen()
	s.env.State.Nodes[1].Fencing = s.env.State.Nodes[1].Inc
	if begun, _ := s.to(time.Second); len(begun) != 0 || s.set.WantsRead(s.env) {
		t.Errorf("%+v", begun)
	}
}

// TestOthersJoinInLater: who has not chosen the fencing waits, and then acts
// only if it acts on the evidence.
func TestOthersJoinInLater(t *testing.T) {
	s := newScene()
	s.env.Acts = true
	s.to(0)
	if s.set.WantsRead(s.env) {
		t.Error("at once")
	}
	s.to(3 * time.Second)
	if !s.set.WantsRead(s.env) {
		t.Error("never")
	}
	if s.env.Acts = false; s.set.WantsRead(s.env) {
		t.Error("a node that does not act on the evidence")
	}
}

// TestPowerCountsFromTheFirstReading, and only when its writes have landed; the
// other way is called off.
func TestPowerCountsFromTheFirstReading(t *testing.T) {
	s := chosen()
	begun, _ := s.to(0)
	s.env.Now = at(2 * time.Second)
	s.set.Done(s.env, cluster.FenceDone{Op: begun[0].Op, Outcome: cluster.FenceProven, First: at(1500 * time.Millisecond), Second: at(1600 * time.Millisecond)})
	if _, stopped := s.to(2 * time.Second); stopped != 1 {
		t.Errorf("%d attempts were called off, want the other one", stopped)
	}
	for d, want := range map[time.Duration]bool{2 * time.Second: false, 2499 * time.Millisecond: false, 2500 * time.Millisecond: true} {
		s.env.Now = at(d)
		if p, ok := s.proof(); ok != want || ok && (p.Kind != cluster.ProofPower || p.Inc.N != 5) {
			t.Errorf("at %s: %+v %v, want %v", d, p, ok, want)
		}
	}
}

func TestReadingsThatDoNotCount(t *testing.T) {
	for name, done := range map[string]cluster.FenceDone{
		"from before the attempt": {Outcome: cluster.FenceProven, First: at(-time.Second), Second: at(time.Second)},
		"only one":                {Outcome: cluster.FenceProven, First: at(time.Second)},
		"failed":                  {Outcome: cluster.FenceFailed, First: at(time.Second), Second: at(2 * time.Second)},
		"unknown":                 {First: at(time.Second), Second: at(2 * time.Second)},
	} {
		s := chosen()
		begun, _ := s.to(0)
		done.Op = begun[0].Op
		s.env.Now = at(2 * time.Second)
		s.set.Done(s.env, done)
		s.env.Now = at(time.Hour)
		if p, ok := s.proof(); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestRetriesSlowDown: what has proven nothing is tried again, ever more slowly.
func TestRetriesSlowDown(t *testing.T) {
	s := chosen()
	begun, _ := s.to(0)
	op, last := begun[0].Op, time.Duration(0)
	var gaps []time.Duration
	for d := time.Duration(0); d < 5*time.Minute; d += 100 * time.Millisecond {
		if op != 0 {
			s.env.Now = at(d)
			s.set.Done(s.env, cluster.FenceDone{Op: op, Text: "no answer"})
			op, last = 0, d
		}
		again, _ := s.to(d)
		for _, f := range again {
			op = f.Op
			gaps = append(gaps, d-last)
		}
	}
	if len(gaps) < 8 || gaps[0] > 2*time.Second || gaps[len(gaps)-1] < 29*time.Second {
		t.Errorf("%v", gaps)
	}
}

// TestOneWayFirst: --by names the way to begin with, and the plan says so.
func TestOneWayFirst(t *testing.T) {
	s := newScene()
	s.set.Chose(1, ident.Incarnation{N: 5}, "fence_pdu")
	s.to(0)
	s.set.Read(s.env, at(0))
	if begun, _ := s.to(0); len(begun) != 1 || begun[0].Way.Agent != "fence_pdu" {
		t.Fatalf("%+v", begun)
	}
	if begun, _ := s.to(3 * time.Second); len(begun) != 1 || begun[0].Way.Kind != cluster.WayBMC {
		t.Errorf("%+v, want the other way after the time of a suspicion", begun)
	}
	plan := s.set.Plan(at(0), &s.env.State.Nodes[0], s.env.State.Conf, "fence_pdu")
	if !strings.Contains(plan, "later, if fence_pdu") || !strings.Contains(plan, "always runs") {
		t.Error(plan)
	}
}
