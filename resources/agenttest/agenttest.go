// Package agenttest is the suite that every kind of member passes: the promises
// that the runner builds on, whatever the kind does.
//
// Run calls the agent in the test's own process. Lives runs it as a daemon does,
// each operation in a process of its own, and kills those half-way; for that the
// test binary is the agent too: its TestMain calls Main.
package agenttest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// Main is TestMain of a package whose tests call Lives.
func Main(m *testing.M, kinds resources.Kinds) {
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		os.Exit(kinds.AgentMain(os.Args[2], os.Args[3], resources.ProcessStdio()))
	}
	os.Exit(m.Run())
}

// Run exercises the agent with a specification that can be started here, on the
// calling goroutine. The member must not be running, and is not afterwards.
func Run(t *testing.T, agent resources.Agent, spec any) {
	t.Helper()
	raw := encode(t, spec)
	ask := func(why string, verb func(context.Context, resources.Request) resources.Report, req resources.Request, want resources.Outcome) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		req.Service, req.Term, req.Member, req.Timeout = "suite", 1, "m", time.Minute
		if r := verb(ctx, req); r.Outcome != want {
			t.Fatalf("%s: %v: %s %v; want %v", why, r.Outcome, r.Text, r.Holders, want)
		} else if r.Text == "" {
			t.Errorf("%s: a report without a text", why)
		}
	}
	good, bad := resources.Request{Spec: raw}, resources.Request{Spec: json.RawMessage(`{"no such field": 1}`)}
	kill := resources.Request{Spec: raw, Emergency: true}

	ask("start with an unknown field", agent.Start, bad, resources.Failed)
	ask("stop with an unknown field", agent.Stop, bad, resources.Failed)
	ask("probe with an unknown field", agent.Probe, bad, resources.Unknown)
	fitter, can := agent.(resources.Fitter)
	if !can {
		t.Fatal("the kind cannot say whether it could run here")
	}
	ask("fit with an unknown field", fitter.Fit, bad, resources.Failed)
	for _, stop := range []resources.Request{good, kill} {
		ask("fit before the start", fitter.Fit, good, resources.OK)
		ask("probe before the start", agent.Probe, good, resources.NotRunning)
		ask("check before the start", agent.Check, good, resources.NotRunning)
		ask("stop before the start", agent.Stop, stop, resources.OK)
		ask("start", agent.Start, good, resources.OK)
		ask("start of what runs", agent.Start, good, resources.OK)
		ask("probe of what runs", agent.Probe, good, resources.OK)
		ask("check of what runs", agent.Check, good, resources.OK)
		ask("stop", agent.Stop, stop, resources.OK)
		ask("probe after the stop", agent.Probe, good, resources.NotRunning)
		ask("stop of what does not run", agent.Stop, stop, resources.OK)
	}
}

func encode(t *testing.T, spec any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Case is a member that Lives can start on this machine.
type Case struct {
	Kind string
	Spec any
	// Lose ends the running member behind the agent's back, as a crash does.
	Lose func(t *testing.T)
	// After makes good what Lose has broken for longer than a start can; may be nil.
	After func(t *testing.T)
	Env   []string // of the operations
	// Prefix stands before the agent's command, such as what enters a namespace.
	Prefix []string
	// Glance is that of the kinds under test; nil: every check takes a process.
	Glance func(kind string, req resources.Request) (resources.Report, bool)
	// Brief leaves out what a slow member would take minutes for: fewer cuts. So does
	// -short.
	Brief bool
	// Patience is how long one operation may take; zero means a minute.
	Patience time.Duration
}

// stage is a runner with one service of one member.
type stage struct {
	t      *testing.T
	c      Case
	groups resources.Groups
	svc    resources.Service
	runner *resources.Runner
}

// Lives runs the member through the lives and deaths of operations and daemons.
func Lives(t *testing.T, c Case) {
	t.Helper()
	s := &stage{t: t, c: c, groups: newGroups(t)}
	s.c.Brief = s.c.Brief || testing.Short()
	if s.c.Patience == 0 {
		s.c.Patience = time.Minute
	}
	s.svc = resources.Service{Name: "suite", Stack: []resources.Member{{
		ID: "m", Kind: c.Kind, Spec: encode(t, c.Spec), Start: s.c.Patience, Stop: s.c.Patience, Check: s.c.Patience,
	}}}
	s.runner = s.newRunner()
	t.Cleanup(func() {
		s.newRunner().Stop(context.Background(), s.svc, 1, resources.StopOptions{Kill: true})
	})
	if r := s.runner.Fit(context.Background(), s.svc, nil); r.Outcome != resources.OK {
		t.Fatalf("fit: %v: %s", r.Outcome, r.Text)
	}
	s.whole()
	s.lost()
	s.cut()
	s.orphaned()
	s.late()
}

func (s *stage) newRunner() *resources.Runner {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return resources.NewRunner(resources.RunnerConfig{Groups: s.groups, AgentCommand: append(slices.Clone(s.c.Prefix), self, "agent"), Env: s.c.Env, Glance: s.c.Glance})
}

func (s *stage) start(why string) {
	s.t.Helper()
	if r := s.runner.Start(context.Background(), s.svc, 1, resources.StartOptions{}); r.Outcome != resources.OK {
		s.t.Fatalf("%s: start: %v: %s", why, r.Outcome, r.Text)
	}
}

func (s *stage) stop(why string, kill bool) {
	s.t.Helper()
	r := s.runner.Stop(context.Background(), s.svc, 1, resources.StopOptions{Kill: kill})
	if r.Outcome != resources.OK || !r.Stopped {
		s.t.Fatalf("%s: stop: %v: %s\n%+v", why, r.Outcome, r.Text, r.Steps)
	}
	if state, steps := s.runner.Probe(context.Background(), s.svc, 1); state != resources.StateStopped {
		s.t.Fatalf("%s: after the stop the probe says %v\n%+v", why, state, steps)
	}
}

// whole is a life in which nothing goes wrong, twice over.
func (s *stage) whole() {
	s.t.Helper()
	for _, kill := range []bool{false, true} {
		if kill && s.c.Brief {
			return
		}
		s.start("first")
		s.start("again")
		if r := s.runner.Check(context.Background(), s.svc, 1); r.Outcome != resources.OK {
			s.t.Fatalf("check: %v: %s", r.Outcome, r.Text)
		}
		if state, steps := s.runner.Probe(context.Background(), s.svc, 1); state != resources.StateRunning {
			s.t.Fatalf("probe of what runs: %v\n%+v", state, steps)
		}
		s.stop("whole", kill)
		s.stop("what does not run", kill)
	}
}

// lost is a member that crashed: the check sees it, and a stop of it succeeds.
func (s *stage) lost() {
	s.t.Helper()
	if s.c.Lose == nil {
		return
	}
	s.start("before it is lost")
	s.c.Lose(s.t)
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := s.runner.Check(context.Background(), s.svc, 1)
		if r.Outcome == resources.NotRunning || r.Outcome == resources.Failed {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("check of what is lost: %v: %s", r.Outcome, r.Text)
		}
	}
	s.stop("what is lost", false)
	if s.c.After != nil {
		s.c.After(s.t)
	}
	s.start("after it was lost")
	s.stop("after it was lost", false)
}

// cut kills a start, and a stop, after more and more of its time. Whatever it had
// done by then, it is not called a success, and a stop cleans up behind it.
func (s *stage) cut() {
	s.t.Helper()
	began := time.Now()
	s.start("to be measured")
	whole := time.Since(began)
	s.stop("to be measured", false)
	parts := []time.Duration{8, 4, 2}
	if s.c.Brief {
		parts = []time.Duration{2}
	}
	for _, part := range parts {
		after := whole / part
		ctx, cancel := context.WithTimeout(context.Background(), after)
		r := s.runner.Start(ctx, s.svc, 1, resources.StartOptions{})
		cancel()
		if r.Outcome == resources.NotRunning || r.Outcome == resources.Failed && !r.Stopped {
			s.t.Fatalf("start cut after %v: %v: %s", after, r.Outcome, r.Text)
		}
		s.stop(fmt.Sprintf("start cut after %v", after), part == 4)
		s.start("after a cut start")
		ctx, cancel = context.WithTimeout(context.Background(), after)
		if r := s.runner.Stop(ctx, s.svc, 1, resources.StopOptions{}); r.Outcome != resources.OK && r.Stopped {
			s.t.Fatalf("stop cut after %v: %v, but stopped", after, r.Outcome)
		}
		cancel()
		s.stop("after a cut stop", false)
	}
}

// orphaned leaves a start to itself and lets the next daemon find it.
func (s *stage) orphaned() {
	s.t.Helper()
	former := s.newRunner()
	ended := make(chan resources.Result, 1)
	go func() {
		ended <- former.Start(context.Background(), s.svc, 1, resources.StartOptions{})
	}()
	s.await("the start of the former daemon is under way, or over", func() bool {
		held, err := s.groups.List(resources.Group{})
		return err == nil && len(held) > 0
	})
	s.runner = s.newRunner()
	orphans, err := s.runner.EmptyOrphans(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range orphans {
		if o.Err != nil {
			s.t.Fatalf("orphan %v: %v", o.Group, o.Err)
		}
	}
	<-ended
	s.stop("after the daemon was restarted half-way", false)
	s.start("after the daemon was restarted half-way")
	s.runner = s.newRunner() // a daemon that finds it running
	if state, steps := s.runner.Probe(context.Background(), s.svc, 1); state != resources.StateRunning {
		s.t.Fatalf("adoption: %v\n%+v", state, steps)
	}
	s.stop("adopted", false)
}

// late gives a start no time: it must not be called started unless it is, nor
// stopped, and no process of it may be left. A probe that has no time either says
// nothing, or the truth if it was quicker than the clock.
func (s *stage) late() {
	s.t.Helper()
	hurried := s.svc
	hurried.Stack = []resources.Member{s.svc.Stack[0]}
	hurried.Stack[0].Start = time.Millisecond
	r := s.runner.Start(context.Background(), hurried, 1, resources.StartOptions{})
	state, _ := s.runner.Probe(context.Background(), s.svc, 1)
	if r.Outcome == resources.NotRunning || r.Outcome == resources.OK && state != resources.StateRunning {
		s.t.Fatalf("a start without time: %v: %s; the probe says %v", r.Outcome, r.Text, state)
	}
	s.stop("a start without time", false)
	s.start("to be probed without time")
	hurried.Stack[0].Start, hurried.Stack[0].Check = s.c.Patience, time.Millisecond
	if state, _ := s.runner.Probe(context.Background(), hurried, 1); state == resources.StateStopped {
		s.t.Fatal("a probe without an answer was taken for stopped")
	}
	s.stop("probed without time", false)
}

func (s *stage) await(what string, condition func() bool) {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// newGroups keeps processes in cgroups where the test may make them, and else by
// their marks.
func newGroups(t *testing.T) resources.Groups {
	t.Helper()
	if at, err := groups.FindCgroup2(); err == nil && os.Geteuid() == 0 {
		root := filepath.Join(at, fmt.Sprintf("holdfast-suite-%d-%x", os.Getpid(), time.Now().UnixNano()))
		if keeper, err := groups.NewCgroups(root); err == nil {
			t.Cleanup(func() {
				if err := os.Remove(root); err != nil {
					t.Errorf("cgroup left behind: %v", err)
				}
			})
			return keeper
		}
	}
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return keeper
}
