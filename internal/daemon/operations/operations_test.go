package operations

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/daemon/pressure"
	"github.com/holdfast-ha/holdfast/resources"
)

// left is what a former life left.
type left struct {
	orphans []resources.Orphan
	terms   []resources.Held
	probe   resources.State
}

func (l *left) EmptyOrphans(context.Context) ([]resources.Orphan, error) { return l.orphans, nil }

func (l *left) Terms() ([]resources.Held, error) { return l.terms, nil }

func (l *left) Probe(context.Context, resources.Service, uint32) (resources.State, []resources.Step) {
	return l.probe, nil
}

func held(service string, term uint32) resources.Held {
	return resources.Held{Group: resources.Group{Service: service, Term: term}}
}

// verdicts is a runner that gives one result.
type verdicts struct {
	res  resources.Result
	term uint32
	opts resources.StopOptions

	members int
}

func (v *verdicts) Start(_ context.Context, _ resources.Service, term uint32, _ resources.StartOptions) resources.Result {
	v.term = term
	return v.res
}

func (v *verdicts) Stop(_ context.Context, _ resources.Service, _ uint32, o resources.StopOptions) resources.Result {
	v.opts = o
	return v.res
}

func (*verdicts) Longest(resources.Service) time.Duration { return time.Minute }

func (v *verdicts) Check(_ context.Context, s resources.Service, _ uint32) resources.Result {
	v.members = len(s.Stack)
	return v.res
}

func (v *verdicts) Fit(_ context.Context, s resources.Service, beside []string) resources.Result {
	v.members = len(s.Stack) + len(beside)
	return v.res
}

func (v *verdicts) Reload(_ context.Context, _ resources.Service, term uint32, was map[string]json.RawMessage) resources.Result {
	v.term, v.members = term, len(was)
	return v.res
}

func (*verdicts) Watch(_ context.Context, changed func(service, member, what string)) error {
	changed("orders", "ip", "eth0 has no carrier")
	changed("reports", "filesystem", "nothing is mounted at /srv any more")
	return nil
}

// calm is a node on which nothing stalls; busy is one whose tasks wait for I/O.
type calm struct{}

func (calm) Recent() pressure.Sample { return calm{}.Read() }

func (calm) Read() pressure.Sample { return pressure.Sample{At: time.Second} }

type busy struct{ at time.Duration }

func (b *busy) Recent() pressure.Sample { return b.Read() }

func (b *busy) Read() pressure.Sample {
	b.at += 10 * time.Second
	return pressure.Sample{At: b.at, IO: b.at * 8 / 10}
}

// What stalls is told of a check without an answer, and of nothing else, and which
// member it was.
func TestStalls(t *testing.T) {
	svc := &cluster.Service{Name: "s", Stack: []cluster.Member{{ID: "filesystem"}, {ID: "ip"}, {ID: "exec"}}}
	for _, c := range []struct {
		outcome resources.Outcome
		stall   bool
	}{{resources.Unknown, true}, {resources.Failed, false}, {resources.OK, false}} {
		v := &verdicts{res: resources.Result{Outcome: c.outcome, Member: "ip"}}
		done := CarryOut(context.Background(), v, &busy{}, cluster.Run{Kind: cluster.RunCheck, Service: svc, To: 2})
		if (done.Stall != "") != c.stall || done.Member != 2 || v.members != 2 {
			t.Errorf("%+v of %d members", done, v.members)
		}
	}
	v := &verdicts{res: resources.Result{Outcome: resources.OK}}
	done := CarryOut(context.Background(), v, calm{}, cluster.Run{Kind: cluster.RunStop, Service: svc, From: 1})
	if done.Outcome != cluster.OK || v.opts.From != 1 || done.Member != 0 {
		t.Errorf("a stop of a part: %+v %+v", done, v.opts)
	}
}

// A timeout is never an answer: what is not known stays Unknown, and a stop that
// was not verified is not OK.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		kind cluster.RunKind
		res  resources.Result
		want cluster.Outcome
	}{
		{cluster.RunStart, resources.Result{Outcome: resources.OK}, cluster.OK},
		{cluster.RunStart, resources.Result{Outcome: resources.Failed, Stopped: true}, cluster.Failed},
		{cluster.RunStart, resources.Result{}, cluster.Unknown},
		{cluster.RunStop, resources.Result{Outcome: resources.OK, Stopped: true}, cluster.OK},
		{cluster.RunStop, resources.Result{Outcome: resources.OK}, cluster.Unknown},
		{cluster.RunStop, resources.Result{Outcome: resources.Failed}, cluster.Failed},
		{cluster.RunKill, resources.Result{}, cluster.Unknown},
		{cluster.RunCheck, resources.Result{Outcome: resources.OK}, cluster.OK},
		{cluster.RunCheck, resources.Result{Outcome: resources.NotRunning}, cluster.Failed},
		{cluster.RunCheck, resources.Result{}, cluster.Unknown},
		{cluster.RunReload, resources.Result{Outcome: resources.OK}, cluster.OK},
		{cluster.RunReload, resources.Result{Outcome: resources.NotRunning}, cluster.Failed}, // it has to be restarted
		{cluster.RunReload, resources.Result{}, cluster.Unknown},
		{cluster.RunFit, resources.Result{Outcome: resources.OK}, cluster.OK},
		{cluster.RunFit, resources.Result{Outcome: resources.Failed}, cluster.Failed},
		{cluster.RunFit, resources.Result{}, cluster.Unknown},
		{99, resources.Result{Outcome: resources.OK}, cluster.Failed},
	} {
		v := &verdicts{res: c.res}
		done := CarryOut(context.Background(), v, calm{}, cluster.Run{Op: 5, Kind: c.kind, Term: 9, Service: &cluster.Service{Name: "s"}})
		if done.Outcome != c.want || done.Op != 5 {
			t.Errorf("%s with %+v became %+v, want %s", c.kind, c.res, done, c.want)
		}
		if v.opts.Kill != (c.kind == cluster.RunKill) || c.kind == cluster.RunStart && v.term != 9 {
			t.Errorf("%s: options %+v, term %d", c.kind, v.opts, v.term)
		}
	}
	v := &verdicts{res: resources.Result{Outcome: resources.OK}}
	if d := CarryOut(context.Background(), v, calm{}, cluster.Run{Kind: cluster.RunStart, Term: 1 << 40, Service: &cluster.Service{}}); d.Outcome != cluster.Failed {
		t.Errorf("a term that does not fit: %+v", d)
	}
}

// How far a failure reaches goes with it, and which members a reload is about.
func TestReachOfAFailure(t *testing.T) {
	svc := &cluster.Service{Name: "s", Stack: []cluster.Member{{ID: "filesystem"}, {ID: "ip", Spec: []byte("{}")}}}
	old := &cluster.Service{Name: "s", Stack: []cluster.Member{{ID: "filesystem"}, {ID: "ip"}}}
	for is, want := range map[resources.Severity]cluster.Severity{resources.Soft: cluster.Soft, resources.Hard: cluster.Hard, resources.Fatal: cluster.Fatal} {
		v := &verdicts{res: resources.Result{Outcome: resources.Failed, Member: "ip", Text: "ip: there is no eth7", Severity: is}}
		done := CarryOut(context.Background(), v, calm{}, cluster.Run{Kind: cluster.RunFit, Service: svc})
		if done.Severity != want || done.Member != 2 || done.Text != "ip: there is no eth7" {
			t.Errorf("%q became %+v", is, done)
		}
	}
	v := &verdicts{res: resources.Result{Outcome: resources.OK}}
	CarryOut(context.Background(), v, calm{}, cluster.Run{Kind: cluster.RunReload, Service: svc, Term: 4, Was: old})
	if v.term != 4 || v.members != 1 {
		t.Errorf("a reload of one member in term 4 was one of %d in %d", v.members, v.term)
	}
}

// What the kernel tells becomes an event; one for which there is no room is dropped,
// and keeps nobody waiting.
func TestListen(t *testing.T) {
	events := make(chan cluster.Event, 1)
	if err := Listen(context.Background(), &verdicts{}, events); err != nil {
		t.Fatal(err)
	}
	if got, want := <-events, cluster.Event(cluster.Stirred{Service: "orders", Text: "ip: eth0 has no carrier"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAdopt(t *testing.T) {
	conf := &cluster.Config{Services: []cluster.Service{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	r := &left{
		terms: []resources.Held{held("a", 3), held("b", 4), held("gone", 1)}, probe: resources.StateRunning,
		orphans: []resources.Orphan{
			{Group: resources.Group{Service: "a", Term: 3, Part: "op-1-check-x"}},
			{Group: resources.Group{Service: "b", Term: 4, Part: "op-2-stop-x"}, Err: errors.New("stuck in the kernel")},
		},
	}
	got, err := Adopt(context.Background(), r, conf)
	want := []cluster.Adopted{
		{Service: "a", Term: 3, Running: true},
		{Service: "b", Term: 4, Stuck: "stuck in the kernel"},
		{Service: "gone", Term: 1}, // nobody knows how to ask it
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("adopted %+v, %v, want %+v", got, err, want)
	}
	r.probe = resources.StatePartly
	if got, _ := Adopt(context.Background(), r, conf); got[0].Running {
		t.Error("half a service counts as running")
	}
	if got, _ := Adopt(context.Background(), r, nil); got[0].Running {
		t.Error("a service without a kept configuration counts as running")
	}
	two := newest([]cluster.Adopted{{Service: "a", Term: 3, Running: true}, {Service: "a", Term: 5, Running: true}, {Service: "b", Term: 1, Running: true}})
	if want := []cluster.Adopted{{Service: "a", Term: 5}, {Service: "b", Term: 1, Running: true}}; !reflect.DeepEqual(two, want) {
		t.Errorf("two terms of one service became %+v, want %+v", two, want)
	}
}
