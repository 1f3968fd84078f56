package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

func inc(n uint32) ident.Incarnation { return ident.Incarnation{N: n, Boot: ident.BootID{byte(n)}} }

// pair is a cluster of two members; alpha owns orders in term 4.
func pair() (*cluster.State, *decide.Sight) {
	s := &cluster.State{
		Ver: 10, View: 3, ConfigRev: 1,
		Conf: &cluster.Config{Name: "test", Services: []cluster.Service{{Name: "orders", Prefer: []string{"alpha", "beta"}}}},
		Nodes: []cluster.NodeState{
			{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: inc(5), Dead: 4},
			{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc(7), Dead: 6},
		},
		Services: []cluster.Grant{{Service: "orders", Owner: 1, Inc: inc(5), Term: 4}},
	}
	v := &decide.Sight{Now: 1e12, Self: 2, Timed: true, Coordinates: true, Fit: true, Nodes: []decide.Node{
		{ID: 1, Present: true, Claims: inc(5), Phase: cluster.MemberPhase, Acked: 3, Last: inc(5)},
		{ID: 2, Present: true, Claims: inc(7), Phase: cluster.MemberPhase, Acked: 3, Last: inc(7)},
	}, Runs: []decide.Run{{RunState: cluster.RunState{Service: "orders", Term: 4, State: cluster.Up}, Known: true}}}
	return s, v
}

func revise(s *cluster.State, v *decide.Sight, asked ...cluster.Request) *decide.Draft {
	var questions []decide.Question
	for i, r := range asked {
		questions = append(questions, decide.Question{ID: uint64(i + 1), Request: r})
	}
	return decide.NewMemory().Revise(s, v, questions)
}

func TestNothingToDoChangesNothing(t *testing.T) {
	s, v := pair()
	if d := revise(s, v); d.Changed() {
		t.Errorf("changed: %+v", d.State)
	}
}

// TestFencedThenProvenThenTaken: three drafts, never one. A proof that is there
// already does not count before the fencing is committed.
func TestFencedThenProvenThenTaken(t *testing.T) {
	s, v := pair()
	v.Nodes[0] = decide.Node{ID: 1, Suspect: "silent", Last: inc(5), Proof: cluster.Proof{Kind: cluster.ProofTime, Node: 1, Inc: inc(5)}}
	d := revise(s, v)
	if n := d.State.Node(1); n.Fencing != inc(5) || n.Dead != 4 || d.State.Grant("orders").Owner != 1 {
		t.Fatalf("after the suspicion: %+v, %+v", n, d.State.Grant("orders"))
	}
	wrong := *v
	wrong.Nodes = append([]decide.Node(nil), v.Nodes...)
	wrong.Nodes[0].Proof.Inc = inc(4)
	if d := revise(d.State, &wrong); d.Changed() {
		t.Fatal("a proof for another incarnation was taken")
	}
	d = revise(d.State, v)
	g := d.State.Grant("orders")
	if n := d.State.Node(1); n.Dead != 5 || !n.Fencing.IsZero() || n.Phase != cluster.Out {
		t.Fatalf("after the proof: %+v", n)
	}
	if g.Owner != 2 || g.Inc != inc(7) || g.Term != 5 || g.Proof.Kind != cluster.ProofTime {
		t.Errorf("the grant: %+v", g)
	}
}

func TestOnlyReleaseOrDeathFreesAService(t *testing.T) {
	s, v := pair()
	v.Nodes[0].Present, v.Nodes[0].Claims = false, ident.Incarnation{}
	v.Runs[0] = decide.Run{RunState: cluster.RunState{Service: "orders", Term: 4}}
	if d := revise(s, v); d.State.Grant("orders").Owner != 1 {
		t.Error("an owner that is merely not seen has lost its service")
	}
	v.Runs[0].Released, v.Runs[0].Term = true, 3
	if d := revise(s, v); d.State.Grant("orders").Owner != 1 {
		t.Error("the release of an older term has ended this one")
	}
	v.Runs[0].Term, v.Runs[0].Why = 4, "exit status 1"
	g := revise(s, v).State.Grant("orders")
	if g.Owner != 2 || g.Term != 5 || len(g.Fails) != 1 || g.Fails[0].Node != 1 {
		t.Errorf("after the release: %+v", g)
	}
}

func TestWhoDoesNotCoordinateOnlyFulfilsWishes(t *testing.T) {
	s, v := pair()
	v.Coordinates = false
	v.Nodes[0] = decide.Node{ID: 1, Suspect: "silent"}
	if d := revise(s, v); d.Changed() {
		t.Error("acted on evidence")
	}
	d := revise(s, v, cluster.StopService{Service: "orders"})
	if !d.State.Grant("orders").Stopped || d.Answers[0].Err != "" || !d.State.Node(1).Fencing.IsZero() {
		t.Errorf("%+v %+v", d.State, d.Answers)
	}
}

func TestMemberOnlyWhenEverybodyKnows(t *testing.T) {
	s, v := pair()
	s.Nodes[0].Phase = cluster.Joining
	s.Services = nil
	s.Conf = &cluster.Config{}
	v.Runs = nil
	v.Nodes[1].Acked = 2
	if d := revise(s, v); d.Changed() {
		t.Error("a member that does not know of the join yet was not waited for")
	}
	v.Nodes[1].Acked = 3
	if d := revise(s, v); d.State.Node(1).Phase != cluster.MemberPhase || d.State.View != 4 {
		t.Errorf("%+v", d.State)
	}
}

func TestNewIncarnationEndsTheOld(t *testing.T) {
	s, v := pair()
	v.Nodes[0].Claims = inc(6)
	d := revise(s, v)
	n := d.State.Node(1)
	if n.Inc != inc(6) || n.Dead != 5 || n.Phase != cluster.Joining || n.Proof.Kind != cluster.ProofReborn {
		t.Errorf("%+v", n)
	}
	if g := d.State.Grant("orders"); g.Owner != 2 {
		t.Errorf("%+v", g)
	}
}

func TestTermsNeverBeginAgain(t *testing.T) {
	s, v := pair()
	s.Services, v.Runs = nil, nil
	if g := revise(s, v).State.Grant("orders"); g == nil || g.Term <= s.Ver {
		t.Errorf("%+v: an owner may remember terms up to %d", g, s.Ver)
	}
}

func TestWishes(t *testing.T) {
	cases := []struct {
		name    string
		before  func(s *cluster.State, v *decide.Sight)
		request cluster.Request
		refused string // part of the refusal; empty: granted
	}{
		{"move", nil, cluster.MoveService{Service: "orders", To: "beta"}, ""},
		{"move what is not there", nil, cluster.MoveService{Service: "web"}, "no service"},
		{"move to a stranger", nil, cluster.MoveService{Service: "orders", To: "gamma"}, "no node"},
		{
			"move to standby", func(s *cluster.State, _ *decide.Sight) { s.Nodes[1].Standby = true },
			cluster.MoveService{Service: "orders", To: "beta"},
			"standby",
		},
		{
			"move what is frozen", func(s *cluster.State, _ *decide.Sight) { s.Services[0].Frozen = true },
			cluster.MoveService{Service: "orders", To: "beta"},
			"frozen",
		},
		{
			"move without a configuration", func(s *cluster.State, _ *decide.Sight) { s.Conf = nil },
			cluster.MoveService{Service: "orders", To: "beta"},
			"cannot be read",
		},
		{
			"fence without a configuration", func(s *cluster.State, _ *decide.Sight) { s.Conf = nil },
			cluster.FenceNode{Node: "alpha"},
			"",
		},
		{"confirm off what speaks", nil, cluster.ConfirmOff{Node: "alpha", Operator: "ann"}, "signs of life"},
		{"confirm off oneself", nil, cluster.ConfirmOff{Node: "beta", Operator: "ann"}, "itself"},
		{"remove a member", nil, cluster.RemoveNode{Node: "alpha"}, "in the cluster"},
		{
			"remove before its services are taken over", func(s *cluster.State, _ *decide.Sight) { s.Nodes[0].Dead = 5 },
			cluster.RemoveNode{Node: "alpha"},
			"still being taken over",
		},
		{"add a name twice", nil, cluster.AddNode{Name: "alpha"}, "already"},
		{"apply to another version", nil, cluster.ApplyConfig{Config: []byte("x"), Expect: 9}, "somebody changed it"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, v := pair()
			v.Coordinates = false
			if c.before != nil {
				c.before(s, v)
			}
			d := revise(s, v, c.request)
			if err := d.Answers[0].Err; c.refused == "" && err != "" || !strings.Contains(err, c.refused) || (c.refused != "") == d.Changed() {
				t.Errorf("answered %+v, changed: %v", d.Answers[0], d.Changed())
			}
		})
	}
}

// TestWordForAMachineThatWasNeverLetIn: a spare machine beat in the slot of a node that
// was out, and ended before it was let in. The operator's word lets the slot be used
// again; while the machine shows signs of life it is refused.
func TestWordForAMachineThatWasNeverLetIn(t *testing.T) {
	for _, present := range []bool{false, true} {
		s, v := pair()
		s.Services, v.Runs = nil, nil
		s.Nodes[0] = cluster.NodeState{ID: 1, Name: "alpha", Inc: inc(5), Dead: 5}
		v.Nodes[0] = decide.Node{ID: 1, Present: present, Last: inc(6), Host: ident.UUID{1, 1}}
		v.Coordinates = false
		d := revise(s, v, cluster.ConfirmOff{Node: "alpha", Operator: "ann", How: "looked"})
		if a, n := d.Answers[0], d.State.Node(1); present != (a.Err != "") || (n.Dead == 6) == present {
			t.Errorf("present %v: answered %+v, dead up to %d", present, a, n.Dead)
		}
	}
}

// TestAddedIntoAnOldSlot: what the slot's former user wrote is over.
func TestAddedIntoAnOldSlot(t *testing.T) {
	s, v := pair()
	v.Nodes = append(v.Nodes, decide.Node{ID: 3, Last: inc(8)})
	d := revise(s, v, cluster.AddNode{Name: "gamma", Host: ident.UUID{9}})
	if n := d.State.Node(3); n == nil || n.Dead != 8 {
		t.Errorf("%+v", n)
	}
}

// failing is the pair with a failure of orders on beta, for a minute.
func failing() (*cluster.State, *decide.Sight) {
	s, v := pair()
	s.Conf.Services[0].Restarts = cluster.Budget{Count: 1, Within: time.Minute}
	s.Services[0].Fails = []cluster.Fail{{Node: 2, Count: 1, Text: "x"}}
	return s, v
}

// forgets looks every second for so long, and says after how long the failure is
// forgotten; 0 if it is not.
func forgets(m *decide.Memory, s *cluster.State, v *decide.Sight, within time.Duration) time.Duration {
	for past := time.Duration(0); past <= within; past += time.Second {
		if d := m.Revise(s, v, nil); len(d.State.Grant("orders").Fails) == 0 {
			return past
		}
		v.Now = v.Now.Add(time.Second)
	}
	return 0
}

func TestFailureIsForgottenAfterItsWindow(t *testing.T) {
	s, v := failing()
	if past := forgets(decide.NewMemory(), s, v, time.Hour); past != time.Minute {
		t.Errorf("forgotten after %s", past)
	}
}

// TestClearedFailureIsNotRemembered: the same failure again has its own window.
func TestClearedFailureIsNotRemembered(t *testing.T) {
	s, v := failing()
	m := decide.NewMemory()
	if forgets(m, s, v, 50*time.Second) != 0 {
		t.Fatal("forgotten too early")
	}
	cleared := s.Clone()
	cleared.Services[0].Fails = nil
	m.Revise(cleared, v, nil)
	if past := forgets(m, s, v, time.Hour); past != time.Minute {
		t.Errorf("the second failure was forgotten after %s", past)
	}
}

// TestWhoHasNotLookedCountsAnew: somebody else coordinated meanwhile, and what this
// node had begun to count may have ended and begun again.
func TestWhoHasNotLookedCountsAnew(t *testing.T) {
	s, v := failing()
	m := decide.NewMemory()
	forgets(m, s, v, 50*time.Second)
	v.Now, v.Coordinates = v.Now.Add(time.Minute), false
	m.Revise(s, v, nil)
	v.Coordinates = true
	if past := forgets(m, s, v, time.Hour); past != time.Minute {
		t.Errorf("forgotten after %s", past)
	}
}

// TestFailbackCountsWithoutAGap: a preferred node must have been able to run services for
// so long, not only have been a member.
func TestFailbackCountsWithoutAGap(t *testing.T) {
	s, v := pair()
	s.Conf.Services[0].Failback = cluster.Failback{Mode: cluster.Automatic, After: time.Minute}
	s.Services[0].Owner, s.Services[0].Inc = 2, inc(7)
	m := decide.NewMemory()
	look := func(seconds int) (returns int) {
		for i := range seconds {
			if d := m.Revise(s, v, nil); d.State.Grant("orders").Want == 1 {
				return i
			}
			v.Now = v.Now.Add(time.Second)
		}
		return -1
	}
	if look(50) != -1 {
		t.Fatal("returns too early")
	}
	for _, gap := range []func(on bool){
		func(on bool) { s.Nodes[0].Standby = on },
		func(on bool) { v.Nodes[0].Present = !on },
		func(on bool) { v.Nodes[0].Lost = on },
	} {
		gap(true)
		look(10)
		gap(false)
		if look(50) != -1 {
			t.Error("what was before the gap was counted")
		}
	}
	if n := look(20); n != 10 {
		t.Errorf("returns %d s late", n-10)
	}
}

// TestGrantedToOneThatRetires: a node that alone has lost its disks gives its service up and retires, and the service was
// granted to that same incarnation in between. It will never run it: the end of that incarnation is made known, so that
// another can.
func TestGrantedToOneThatRetires(t *testing.T) {
	s, v := pair()
	v.Nodes[0] = decide.Node{ID: 1, Retired: true, Last: inc(5)}
	v.Runs = nil
	if n := revise(s, v).State.Node(1); n.Fencing != inc(5) || !strings.Contains(n.Why, "has retired, and orders was granted") {
		t.Errorf("the owner: %+v", n)
	}
	v.Runs = []decide.Run{{RunState: cluster.RunState{Service: "orders", Term: 4}, Known: true, Released: true}}
	d := revise(s, v)
	if n := d.State.Node(1); !n.Fencing.IsZero() {
		t.Errorf("its release is enough: %+v", n)
	}
	if g := d.State.Grant("orders"); g.Owner != 2 {
		t.Errorf("the service: %+v", g)
	}
}

// TestNothingNewWithoutDisks: who gives a service up because its beats do not reach the disks is still heard over the
// network, and does not get it back.
func TestNothingNewWithoutDisks(t *testing.T) {
	s, v := pair()
	v.Nodes[0].Lost = true
	v.Runs = []decide.Run{{RunState: cluster.RunState{Service: "orders", Term: 4}, Known: true, Released: true}}
	if g := revise(s, v).State.Grant("orders"); g.Owner != 2 || g.Term != 5 {
		t.Errorf("the service: %+v", g)
	}
}

// TestWhatIsTakenAwayIsStillInUse: whatever the configuration says, the owner of a
// service may use what it was started with until its term is over.
func TestWhatIsTakenAwayIsStillInUse(t *testing.T) {
	disk := []cluster.Member{{ID: "filesystem", Kind: "filesystem", Storage: true, Sole: "filesystem /dev/x"}}
	next := &cluster.Config{Services: []cluster.Service{{Name: "shop", Stack: disk}}}
	for _, readable := range []bool{true, false} {
		s, v := pair()
		s.Conf.Services[0].Stack = disk
		if !readable {
			s.Conf = nil
		}
		d := revise(s, v, cluster.ApplyConfig{Config: []byte("new"), Conf: next})
		if g := d.State.Grant("orders"); len(g.Uses) != 1 {
			t.Fatalf("readable %v: %+v", readable, g)
		}
		d = revise(d.State, v)
		if g := d.State.Grant("shop"); g == nil || g.Owner != 0 || !strings.Contains(g.Why, "may still be in use by orders") {
			t.Fatalf("readable %v: a second owner of the disk: %+v", readable, g)
		}
		v.Runs[0].Released = true
		v.Runs = append(v.Runs, decide.Run{RunState: cluster.RunState{Service: "shop", Term: d.State.Grant("shop").Term}})
		if g := revise(d.State, v).State.Grant("shop"); g.Owner == 0 {
			t.Errorf("readable %v: it is free now: %+v", readable, g)
		}
	}
}
