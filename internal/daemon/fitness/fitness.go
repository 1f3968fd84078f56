// Package fitness answers whether services could run on this node, for a plan that is
// made here or on another node. Nothing is tried, and nothing that runs is disturbed:
// the kinds of resources look whether what they need is there.
package fitness

import (
	"context"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/resources"
)

// within bounds one request: somebody waits for the plan. What was not asked by then
// is not known.
const within = 15 * time.Second

// Runner asks the members of a service; resources.Runner is one.
type Runner interface {
	// Fit asks every member whether it could run here, where others bring members of
	// the kinds beside.
	Fit(ctx context.Context, s resources.Service, beside []string) resources.Result
}

// Of is Judge for one runner.
func Of(r Runner) func(context.Context, *api.FitRequest) *api.FitReply {
	return func(ctx context.Context, ask *api.FitRequest) *api.FitReply { return Judge(ctx, r, ask) }
}

// Judge answers a request, one service after the other.
func Judge(ctx context.Context, r Runner, ask *api.FitRequest) *api.FitReply {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	reply := &api.FitReply{Version: api.Version, Services: []api.Fitness{}}
	for i := range ask.Services {
		reply.Services = append(reply.Services, judge(ctx, r, &ask.Services[i]))
	}
	return reply
}

func judge(ctx context.Context, r Runner, s *api.FitService) api.Fitness {
	out := api.Fitness{Service: s.Name, Verdict: api.FitUnknown, Text: "there was no time to look"}
	if ctx.Err() != nil {
		return out
	}
	svc := resources.Service{Name: s.Name}
	for _, m := range s.Stack {
		svc.Stack = append(svc.Stack, resources.Member{ID: m.ID, Kind: m.Kind, Spec: m.Spec, Storage: m.Storage, Guarded: m.Guarded})
	}
	res := r.Fit(ctx, svc, s.Beside)
	switch out.Text = res.Text; res.Outcome {
	case resources.OK:
		out.Verdict = api.Fits
	case resources.Failed, resources.NotRunning:
		out.Verdict = api.FitLacks
	}
	return out
}
