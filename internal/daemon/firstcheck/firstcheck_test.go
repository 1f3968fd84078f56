package firstcheck_test

import (
	"context"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/firstcheck"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
	"github.com/holdfast-ha/holdfast/resources"
)

// verdict answers everything with one outcome.
type verdict struct {
	operations.Runner
	outcome resources.Outcome
}

func (v *verdict) Start(context.Context, resources.Service, uint32, resources.StartOptions) resources.Result {
	return resources.Result{Outcome: v.outcome}
}

func (v *verdict) Stop(context.Context, resources.Service, uint32, resources.StopOptions) resources.Result {
	return resources.Result{Outcome: v.outcome}
}

func (v *verdict) Check(context.Context, resources.Service, uint32) resources.Result {
	return resources.Result{Outcome: v.outcome}
}

// TestFirst: only the first check that finds a service well is told, once for each start.
func TestFirst(t *testing.T) {
	ctx, orders := t.Context(), resources.Service{Name: "orders"}
	var told []api.Event
	v := &verdict{outcome: resources.OK}
	r := firstcheck.Around(v, "beta", func() ident.Instant { return 7 }, func(e api.Event) { told = append(told, e) })
	want := func(n int, when string) {
		t.Helper()
		if len(told) != n {
			t.Fatalf("%s: told %+v", when, told)
		}
	}
	r.Check(ctx, orders, 2)
	want(0, "it was found running by a daemon that has not started it")
	r.Start(ctx, orders, 3, resources.StartOptions{StorageOnly: true})
	r.Check(ctx, orders, 3)
	want(0, "only its storage was started")
	r.Start(ctx, orders, 3, resources.StartOptions{})
	v.outcome = resources.Failed
	r.Check(ctx, orders, 3)
	want(0, "the check fails")
	v.outcome = resources.OK
	r.Check(ctx, orders, 4)
	want(0, "another term")
	r.Check(ctx, orders, 3)
	r.Check(ctx, orders, 3)
	want(1, "well, twice")
	if e := told[0]; e.Kind != firstcheck.Kind || e.Node != "beta" || e.At != 7 || e.Service != "orders" || e.Term != 3 || e.Text == "" {
		t.Errorf("%+v", e)
	}
	r.Start(ctx, orders, 3, resources.StartOptions{})
	r.Stop(ctx, orders, 3, resources.StopOptions{})
	r.Check(ctx, orders, 3)
	want(1, "it was stopped meanwhile")
	v.outcome = resources.Failed
	r.Start(ctx, orders, 5, resources.StartOptions{})
	v.outcome = resources.OK
	r.Check(ctx, orders, 5)
	want(1, "the start has failed")
}
