package services_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/services"
)

// runs takes the Runs that the set wants.
func runs(s *services.Set) []cluster.Run {
	var list []cluster.Run
	for _, a := range s.Take() {
		if r, ok := a.(cluster.Run); ok {
			list = append(list, r)
		}
	}
	return list
}

// TestStorageFirst: while a former owner is pending only the storage starts; the
// rest follows when the list is empty, in the same term.
func TestStorageFirst(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	stack := []cluster.Member{{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true}, {ID: "ip", Kind: "ip"}}
	state := &cluster.State{
		Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: stack}}},
		Nodes:    []cluster.NodeState{{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
		Services: []cluster.Grant{{Service: "orders", Owner: 2, Inc: inc, Term: 5, Pending: []cluster.Pending{{Node: 1, Inc: ident.Incarnation{N: 9}}}}},
	}
	env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
	s := services.New(nil)
	s.Manage(env)
	first := runs(s)
	if len(first) != 1 || first[0].Kind != cluster.RunStart || !first[0].Storage {
		t.Fatalf("%+v, want a start of the storage", first)
	}
	s.Done(env, cluster.RunDone{Op: first[0].Op, Outcome: cluster.OK})
	s.Manage(env)
	if more := runs(s); len(more) != 0 {
		t.Fatalf("while the former owner is pending: %+v", more)
	}
	if r, _ := s.State("orders", 5); r.State == cluster.Up {
		t.Error("half a service is called running")
	}
	after := state.Clone()
	after.Services[0].Pending = nil
	env.State = after
	s.Manage(env)
	rest := runs(s)
	if len(rest) != 1 || rest[0].Kind != cluster.RunStart || rest[0].Storage || rest[0].Term != 5 {
		t.Fatalf("%+v, want the rest", rest)
	}
	s.Done(env, cluster.RunDone{Op: rest[0].Op, Outcome: cluster.OK})
	if r, _ := s.State("orders", 5); r.State != cluster.Up {
		t.Errorf("%+v, want it running", r)
	}
}

// TestHalfIsStopped: what was started of the storage is stopped like a whole.
func TestHalfIsStopped(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	state := &cluster.State{
		Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "filesystem", Storage: true, Guarded: true}}}}},
		Nodes:    []cluster.NodeState{{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
		Services: []cluster.Grant{{Service: "orders", Owner: 2, Inc: inc, Term: 5, Pending: []cluster.Pending{{Node: 1, Inc: ident.Incarnation{N: 9}}}}},
	}
	env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
	s := services.New(nil)
	s.Manage(env)
	s.Done(env, cluster.RunDone{Op: runs(s)[0].Op, Outcome: cluster.OK})
	env.Standing = services.Ending
	s.Manage(env)
	if list := runs(s); len(list) != 1 || list[0].Kind != cluster.RunKill {
		t.Fatalf("%+v, want the emergency stop", list)
	}
}

// TestAStopWaitsForNoCheck: a check that hangs must not hold up an emergency stop,
// and what it says when it has ended counts for nothing any more.
func TestAStopWaitsForNoCheck(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	state := &cluster.State{
		Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "exec"}}}}},
		Nodes:    []cluster.NodeState{{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
		Services: []cluster.Grant{{Service: "orders", Owner: 2, Inc: inc, Term: 5}},
	}
	env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
	s := services.New(nil)
	s.Manage(env)
	s.Done(env, cluster.RunDone{Op: runs(s)[0].Op, Outcome: cluster.OK})
	env.Now = env.Now.Add(time.Minute)
	s.Manage(env)
	check := runs(s)
	if len(check) != 1 || check[0].Kind != cluster.RunCheck {
		t.Fatalf("%+v, want a check", check)
	}
	env.Standing = services.Ending
	s.Manage(env)
	kill := runs(s)
	if len(kill) != 1 || kill[0].Kind != cluster.RunKill {
		t.Fatalf("%+v, want the emergency stop at once", kill)
	}
	s.Done(env, cluster.RunDone{Op: check[0].Op, Outcome: cluster.Failed})
	s.Manage(env)
	if more := runs(s); len(more) != 0 || s.AllDown() {
		t.Fatalf("%+v after the check that was interrupted; all down: %v", more, s.AllDown())
	}
	s.Done(env, cluster.RunDone{Op: kill[0].Op, Outcome: cluster.OK})
	if !s.AllDown() {
		t.Error("not down after the stop")
	}
}

// TestStirred: what the kernel tells is checked at once, and once more if a check was
// under way: nobody knows which came first.
func TestStirred(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	state := &cluster.State{
		Conf:     &cluster.Config{Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{{ID: "ip"}}}}},
		Nodes:    []cluster.NodeState{{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
		Services: []cluster.Grant{{Service: "orders", Owner: 2, Inc: inc, Term: 5}},
	}
	env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
	s := services.New(nil)
	s.Stirred(env, cluster.Stirred{Service: "orders"})
	s.Manage(env)
	s.Done(env, cluster.RunDone{Op: runs(s)[0].Op, Outcome: cluster.OK})
	s.Manage(env)
	if early := runs(s); len(early) != 0 {
		t.Fatalf("%+v before anything was told", early)
	}
	s.Stirred(env, cluster.Stirred{Service: "orders", Text: "ip: eth0 has no carrier"})
	s.Manage(env)
	check := runs(s)
	if len(check) != 1 || check[0].Kind != cluster.RunCheck {
		t.Fatalf("%+v, want a check at once", check)
	}
	s.Stirred(env, cluster.Stirred{Service: "orders"})
	s.Manage(env)
	if more := runs(s); len(more) != 0 {
		t.Fatalf("%+v while it is checked", more)
	}
	s.Done(env, cluster.RunDone{Op: check[0].Op, Outcome: cluster.OK})
	s.Manage(env)
	if again := runs(s); len(again) != 1 || again[0].Kind != cluster.RunCheck {
		t.Fatalf("%+v, want another check", again)
	}
	s.Stirred(env, cluster.Stirred{Service: "gone"}) // of what is not here nothing is known
}

// TestGrantedAgainWhileItLeaves: a node that gives everything up in order goes on with
// the next service although the one above it, which is down, is granted to it again.
func TestGrantedAgainWhileItLeaves(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	stack := []cluster.Member{{ID: "exec"}}
	state := &cluster.State{
		Conf:  &cluster.Config{Services: []cluster.Service{{Name: "db", Stack: stack}, {Name: "web", Stack: stack, After: []string{"db"}}}},
		Nodes: []cluster.NodeState{{ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc}},
		Services: []cluster.Grant{
			{Service: "db", Owner: 2, Inc: inc, Term: 5}, {Service: "web", Owner: 2, Inc: inc, Term: 6},
		},
	}
	env := services.Env{Now: 1e9, State: state, Self: 2, Inc: inc, Standing: services.Member, MayStart: true}
	s := services.New(nil)
	s.Manage(env)
	for _, r := range runs(s) {
		s.Done(env, cluster.RunDone{Op: r.Op, Outcome: cluster.OK})
	}
	env.Standing = services.Leaving
	s.Manage(env)
	first := runs(s)
	if len(first) != 1 || first[0].Kind != cluster.RunStop || first[0].Service.Name != "web" {
		t.Fatalf("%+v, want the stop of web", first)
	}
	s.Done(env, cluster.RunDone{Op: first[0].Op, Outcome: cluster.OK})
	again := state.Clone()
	again.Services[1].Term = 7
	env.State = again
	s.Manage(env)
	next := runs(s)
	if len(next) != 1 || next[0].Kind != cluster.RunStop || next[0].Service.Name != "db" {
		t.Fatalf("%+v, want the stop of db", next)
	}
}
