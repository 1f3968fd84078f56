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

// TestPowerCountsFromTheSecondReading, and only when its writes have landed; the
// other way is called off.
func TestPowerCountsFromTheSecondReading(t *testing.T) {
	s := chosen()
	begun, _ := s.to(0)
	s.env.Now = at(2 * time.Second)
	s.set.Done(s.env, cluster.FenceDone{Op: begun[0].Op, Outcome: cluster.FenceProven, First: at(1000 * time.Millisecond), Second: at(1500 * time.Millisecond)})
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

// seen makes the victim one whose beat was read at an instant.
func (s *scene) seen(d time.Duration) {
	s.env.Signs = sight{Beat: &cluster.Beat{Inc: s.env.State.Nodes[0].Inc}, Changed: at(d)}
}

// sight is what is seen of alpha.
type sight fencing.Signs

func (s sight) Signs(id ident.NodeID) fencing.Signs {
	if id != 1 {
		return fencing.Signs{}
	}
	return fencing.Signs(s)
}

// off ends the first attempt that is begun from an instant on as proven.
func (s *scene) off(t *testing.T, d time.Duration) {
	t.Helper()
	for range 100 {
		begun, _ := s.to(d)
		for _, f := range begun {
			if f.Way.Kind == cluster.WayBMC {
				s.env.Now = at(d + time.Second)
				s.set.Done(s.env, cluster.FenceDone{Op: f.Op, Outcome: cluster.FenceProven, First: at(d + 100*time.Millisecond), Second: at(d + 200*time.Millisecond)})
				return
			}
		}
		d += 100 * time.Millisecond
	}
	t.Fatal("the way is not tried")
}

// TestWhoIsSeenIsNotOff: a beat that is read after the reading takes it back; what
// was under way then is repeated, and who runs on makes the way a liar.
func TestWhoIsSeenIsNotOff(t *testing.T) {
	for name, c := range map[string]struct {
		seen time.Duration // after the first reading
		want bool          // that the second attempt counts
	}{"a moment later": {500 * time.Millisecond, true}, "long after": {3 * time.Second, false}} {
		s := chosen()
		s.off(t, 0)
		s.seen(100*time.Millisecond + c.seen)
		s.env.Now = at(5 * time.Second)
		if p, ok := s.proof(); ok {
			t.Fatalf("%s: %+v", name, p)
		}
		s.to(5 * time.Second)
		s.off(t, 6*time.Second)
		s.env.Now = at(20 * time.Second)
		if p, ok := s.proof(); ok != c.want {
			t.Errorf("%s: %+v %v, want %v", name, p, ok, c.want)
		}
	}
}

// TestLiarsAreKnown: a check that reads off of a node that beats after it is told
// as a failure, and the way's off counts for nothing until it says on.
func TestLiarsAreKnown(t *testing.T) {
	for _, c := range []struct {
		name  string
		again ident.Instant // what the next check reads as off; 0: on
		want  bool
	}{{"still", at(400 * time.Second), false}, {"mended", 0, true}} {
		s := newScene()
		victim := &s.env.State.Nodes[0]
		inc := victim.Inc
		victim.Fencing = ident.Incarnation{}
		alarms := 0
		check := func(from, until time.Duration, off ident.Instant) {
			for d := from; d < until; d += time.Second {
				s.env.Now = at(d)
				s.set.Manage(s.env)
				for _, a := range s.set.Take() {
					switch a := a.(type) {
					case cluster.Fence:
						s.set.Done(s.env, cluster.FenceDone{Op: a.Op, Outcome: cluster.FenceProven, First: off, Text: "answers"})
					case cluster.Note:
						alarms++
					}
				}
			}
		}
		check(0, 8*time.Second, at(0))
		s.seen(9 * time.Second)
		check(9*time.Second, 12*time.Second, at(0))
		if w := s.set.Ways(s.env.Now, victim, s.env.State.Conf); w[0].State != "failed" || alarms != 2 {
			t.Fatalf("%s: %+v, %d alarms, want failed, and one for each way", c.name, w, alarms)
		}
		check(12*time.Second, 401*time.Second, c.again)
		victim.Fencing = inc
		s.env.Now = at(401 * time.Second)
		s.set.Chose(1, inc, "")
		s.to(401 * time.Second)
		s.set.Read(s.env, s.env.Now)
		s.off(t, 402*time.Second)
		s.env.Now = at(410 * time.Second)
		if p, ok := s.proof(); ok != c.want {
			t.Errorf("%s: %+v %v, want %v", c.name, p, ok, c.want)
		}
	}
}

// TestTally: attempts are counted by what they have shown, with the time of the latest.
func TestTally(t *testing.T) {
	s := chosen()
	begun, _ := s.to(0)
	for i, f := range begun {
		s.env.Now = at(time.Duration(i+1) * time.Second)
		s.set.Done(s.env, cluster.FenceDone{Op: f.Op, Outcome: cluster.FenceFailed, Text: "still on"})
	}
	w := s.set.Ways(s.env.Now, &s.env.State.Nodes[0], s.env.State.Conf)
	for i, want := range []time.Duration{time.Second, 2 * time.Second} {
		if w[i].Tried != (cluster.Tally{Failed: 1}) || w[i].Took != want {
			t.Errorf("%+v, want one failed after %s", w[i], want)
		}
	}
}

// TestStaleness: a check that is long ago says so, and the proof by time is as good
// as the watchdogs that the node's beat tells of.
func TestStaleness(t *testing.T) {
	s := newScene()
	s.env.State.Nodes[0].Fencing = ident.Incarnation{}
	for d := time.Duration(0); d < 8*time.Second; d += time.Second {
		s.env.Now = at(d)
		s.set.Manage(s.env)
		for _, a := range s.set.Take() {
			if f, ok := a.(cluster.Fence); ok {
				s.set.Done(s.env, cluster.FenceDone{Op: f.Op, Outcome: cluster.FenceProven})
			}
		}
	}
	for d, want := range map[time.Duration]bool{10 * time.Minute: false, time.Hour: true} {
		if w := s.set.Ways(at(d), &s.env.State.Nodes[0], s.env.State.Conf); w[0].Stale != want || w[0].State != "works" {
			t.Errorf("after %s: %+v", d, w[0])
		}
	}
	conf := &cluster.Config{Fencing: []cluster.Ways{{Node: "alpha", Ways: []cluster.Way{{Kind: cluster.WayDisk}}}}}
	if w := s.set.Ways(at(0), &s.env.State.Nodes[0], conf); w[0].State != "always there" {
		t.Errorf("%+v", w)
	}
	for class, want := range map[cluster.WatchdogClass]string{cluster.WatchdogNone: "failed", cluster.WatchdogQualified: "works"} {
		s.seen(time.Second)
		s.env.Signs.Signs(1).Beat.Lease.Class = class
		s.set.Manage(s.env)
		if w := s.set.Ways(at(time.Minute), &s.env.State.Nodes[0], conf); w[0].State != want || w[0].Age != 59*time.Second {
			t.Errorf("%v: %+v", class, w)
		}
	}
}
