// Package firstcheck notes when a service that was started here is found well for the
// first time. That it was started is the word of who started it; that it works is the
// word of its first check, with which an incident is really over for who uses it.
package firstcheck

import (
	"context"
	"sync"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
	"github.com/holdfast-ha/holdfast/resources"
)

// Kind is that of the events.
const Kind = "checked"

// runner is another one that takes notes.
type runner struct {
	operations.Runner
	self string
	now  func() ident.Instant
	tell func(api.Event)

	mu      sync.Mutex
	started map[string]uint32 // under mu: the term in which a service was started, until it was found well
}

// Around gives a runner that has tell told of first checks on the node self.
func Around(r operations.Runner, self string, now func() ident.Instant, tell func(api.Event)) operations.Runner {
	return &runner{Runner: r, self: self, now: now, tell: tell, started: map[string]uint32{}}
}

// Start implements operations.Operator.
func (r *runner) Start(ctx context.Context, s resources.Service, term uint32, o resources.StartOptions) resources.Result {
	res := r.Runner.Start(ctx, s, term, o)
	if res.Outcome == resources.OK && !o.StorageOnly {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.started[s.Name] = term
	}
	return res
}

// Stop implements operations.Operator.
func (r *runner) Stop(ctx context.Context, s resources.Service, term uint32, o resources.StopOptions) resources.Result {
	r.mu.Lock()
	delete(r.started, s.Name)
	r.mu.Unlock()
	return r.Runner.Stop(ctx, s, term, o)
}

// Check implements operations.Operator.
func (r *runner) Check(ctx context.Context, s resources.Service, term uint32) resources.Result {
	res := r.Runner.Check(ctx, s, term)
	if res.Outcome != resources.OK {
		return res
	}
	r.mu.Lock()
	was, is := r.started[s.Name]
	if is = is && was == term; is {
		delete(r.started, s.Name)
	}
	r.mu.Unlock()
	if is {
		r.tell(api.Event{At: int64(r.now()), Kind: Kind, Level: "info", Node: r.self, Service: s.Name, Term: uint64(term), Text: "its first check since it was started finds it well"})
	}
	return res
}
