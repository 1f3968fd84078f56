package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// adviser is an actor that knows how long its operations take, and what it lacks.
type adviser struct{ actor }

type advice struct {
	role
	StartMS int    // its usual limit of a start
	Lacks   string // what is missing on this node
	Severe  bool   // its start fails, and always will
	Ponders string // it says how long it takes only once this file is gone
}

func (adviser) read(req resources.Request) (a advice) {
	_ = json.Unmarshal(req.Spec, &a)
	return a
}

func (a adviser) Start(ctx context.Context, req resources.Request) resources.Report {
	if a.read(req).Severe {
		return resources.Missing("what it needs is not installed")
	}
	return a.actor.Start(ctx, req)
}

func (a adviser) Usual(_ context.Context, req resources.Request) (resources.Limits, error) {
	for ponders := a.read(req).Ponders; ponders != ""; <-time.After(5 * time.Millisecond) {
		if _, err := os.Stat(ponders); err != nil {
			break
		}
	}
	if a.read(req).StartMS == 0 {
		return resources.Limits{}, fmt.Errorf("nobody knows")
	}
	return resources.Limits{Start: time.Duration(a.read(req).StartMS) * time.Millisecond}, nil
}

func (a adviser) Fit(_ context.Context, req resources.Request) resources.Report {
	if lacks := a.read(req).Lacks; lacks != "" {
		return resources.Missing("%s is missing", lacks)
	}
	return resources.Done("it could run below %s", strings.Join(req.Above, ", "))
}

func (a adviser) Reload(_ context.Context, req resources.Request) resources.Report {
	if a.read(req).Lacks != "" {
		return resources.Absent("it has to be restarted")
	}
	return resources.Done("reloaded")
}

func advised(t *testing.T, id string, a advice) resources.Member {
	t.Helper()
	a.Up = t.TempDir() + "/up"
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return resources.Member{ID: id, Kind: "adviser", Spec: raw}
}

func advisedRunner(t *testing.T) *resources.Runner {
	t.Helper()
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	emptyAfterwards(t, keeper)
	return newRunner(t, keeper)
}

// A kind's own limits hold where the member has none, and are asked for once.
func TestTheLimitsThatAKindAdvises(t *testing.T) {
	r := advisedRunner(t)
	slow := resources.Service{Name: "slow", Stack: []resources.Member{advised(t, "m", advice{role: role{OnStart: "hang"}, StartMS: 300})}}
	if longest := r.Longest(slow); longest < 2*time.Hour {
		t.Errorf("before it was asked a Run may last %v, want hours", longest)
	}
	res := r.Start(context.Background(), slow, 1, resources.StartOptions{})
	if res.Outcome != resources.Unknown || !strings.Contains(res.Text, "no answer within 300ms") {
		t.Errorf("start: %v: %s; want the limit of 300 ms", res.Outcome, res.Text)
	}
	if longest := r.Longest(slow); longest > 10*time.Minute {
		t.Errorf("now that it was asked a Run may last %v", longest)
	}
	own := slow
	own.Name, own.Stack = "own", []resources.Member{slow.Stack[0]}
	own.Stack[0].Start = 100 * time.Millisecond
	if res := r.Start(context.Background(), own, 1, resources.StartOptions{}); !strings.Contains(res.Text, "no answer within 100ms") {
		t.Errorf("start: %s; want the member's own limit", res.Text)
	}
	silent := resources.Service{Name: "silent", Stack: []resources.Member{advised(t, "m", advice{})}}
	if res := r.Start(context.Background(), silent, 1, resources.StartOptions{}); res.Outcome != resources.OK {
		t.Errorf("a kind that cannot advise: %v: %s; want the defaults", res.Outcome, res.Text)
	}
}

// Everything that is missing is said at once; the question disturbs nothing.
func TestFit(t *testing.T) {
	r := advisedRunner(t)
	svc := resources.Service{Name: "orders", Stack: []resources.Member{advised(t, "a", advice{}), advised(t, "b", advice{})}}
	res := r.Fit(context.Background(), svc, nil)
	if res.Outcome != resources.OK || len(res.Steps) != 2 || res.Steps[1].Text != "it could run below adviser" {
		t.Errorf("%+v", res)
	}
	svc.Stack = append(svc.Stack, advised(t, "c", advice{Lacks: "nginx"}), advised(t, "d", advice{Lacks: "eth7"}))
	res = r.Fit(context.Background(), svc, nil)
	if res.Outcome != resources.Failed || res.Member != "c" || res.Severity != resources.Hard || res.Text != "c: nginx is missing; d: eth7 is missing" {
		t.Errorf("%+v", res)
	}
	if res := r.Fit(context.Background(), resources.Service{Name: "orders", Stack: svc.Stack[:2]}, []string{"lvm"}); res.Steps[1].Text != "it could run below lvm, adviser" {
		t.Errorf("beside a service with lvm: %+v", res)
	}
	if terms, err := r.Terms(); err != nil || len(terms) != 0 {
		t.Errorf("a question left %v, %v", terms, err)
	}
}

// How far a failure reaches comes with the result.
func TestSeverity(t *testing.T) {
	r := advisedRunner(t)
	svc := resources.Service{Name: "orders", Stack: []resources.Member{advised(t, "m", advice{Severe: true, StartMS: 10_000})}}
	res := r.Start(context.Background(), svc, 1, resources.StartOptions{})
	if res.Outcome != resources.Failed || res.Severity != resources.Hard || !res.Stopped {
		t.Errorf("%+v; want a hard failure that was undone", res)
	}
}

// A running member takes over its new settings, or says that it has to be restarted.
func TestReload(t *testing.T) {
	r := advisedRunner(t)
	svc := resources.Service{Name: "orders", Stack: []resources.Member{advised(t, "a", advice{}), advised(t, "b", advice{Lacks: "reload"})}}
	if res := r.Reload(context.Background(), svc, 1, changed("a")); res.Outcome != resources.OK || len(res.Steps) == 0 {
		t.Errorf("%+v", res)
	}
	if res := r.Reload(context.Background(), svc, 1, changed("a", "b")); res.Outcome != resources.NotRunning || res.Member != "b" {
		t.Errorf("%+v; want b to be restarted", res)
	}
	svc.Stack[0].Kind = "actor"
	if res := r.Reload(context.Background(), svc, 1, changed("a")); res.Outcome != resources.NotRunning || !strings.Contains(res.Text, "has to be restarted") {
		t.Errorf("%+v; want a kind that cannot reload to be restarted", res)
	}
}

// changed are members whose settings were others.
func changed(ids ...string) map[string]json.RawMessage {
	was := map[string]json.RawMessage{}
	for _, id := range ids {
		was[id] = json.RawMessage(`{}`)
	}
	return was
}

// Settings that are read anew at every check need no restart; any other does.
func TestTakesOver(t *testing.T) {
	type spec struct {
		Address string `json:"address"`
		Reach   string `json:"reach,omitempty"`
	}
	free := func(s *spec) { s.Reach = "" }
	for _, c := range []struct {
		was, is string
		want    resources.Outcome
	}{
		{`{"address":"a"}`, `{"address":"a","reach":"b"}`, resources.OK},
		{`{"address":"a","reach":"b"}`, `{"address":"c","reach":"b"}`, resources.NotRunning},
		{``, `{"address":"a"}`, resources.NotRunning},
		{`{"address":"a"}`, `{"adress":"a"}`, resources.Failed},
	} {
		req := resources.Request{Was: json.RawMessage(c.was), Spec: json.RawMessage(c.is)}
		if got := resources.TakesOver(req, free); got.Outcome != c.want || got.Text == "" {
			t.Errorf("from %s to %s: %v: %s; want %v", c.was, c.is, got.Outcome, got.Text, c.want)
		}
	}
}

// A question that takes its time, the kind's own limits included, is not in the
// way of a start that comes meanwhile.
func TestAQuestionHoldsNothing(t *testing.T) {
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	emptyAfterwards(t, keeper)
	r := newRunner(t, keeper)
	file := t.TempDir() + "/ponders"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := resources.Service{Name: "orders", Stack: []resources.Member{advised(t, "a", advice{Ponders: file})}}
	answered := make(chan resources.Result, 1)
	go func() { answered <- r.Fit(context.Background(), asked, nil) }()
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
		if held, err := keeper.List(groups.Group{}); err == nil && len(held) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it was not asked within 10 s")
		}
	}
	started := asked
	started.Stack = []resources.Member{advised(t, "a", advice{})}
	m := &started.Stack[0]
	m.Start, m.Stop, m.Check = time.Minute, time.Minute, time.Minute
	if res := r.Start(context.Background(), started, 8, resources.StartOptions{}); res.Outcome != resources.OK {
		t.Errorf("a start beside a question: %v: %s", res.Outcome, res.Text)
	}
	if terms, err := r.Terms(); err != nil || len(terms) != 1 || terms[0].Term != 8 {
		t.Errorf("held: %v, %v; want term 8 alone", terms, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if res := <-answered; res.Outcome != resources.OK {
		t.Errorf("the question: %v: %s", res.Outcome, res.Text)
	}
}
