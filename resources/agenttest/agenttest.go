// Package agenttest is the suite that every kind of member passes: the promises
// that the runner builds on, whatever the kind does.
package agenttest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
)

// Run exercises the agent with a specification that can be started here, on the
// calling goroutine. The member must not be running, and is not afterwards.
func Run(t *testing.T, agent resources.Agent, spec any) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
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
	for _, stop := range []resources.Request{good, kill} {
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
