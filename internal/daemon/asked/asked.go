// Package asked keeps those who have put a request to the core and wait for its reply.
package asked

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Requests are those that wait for the core's reply.
type Requests struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan cluster.Reply // under mu
}

// New makes an empty list.
func New() *Requests { return &Requests{waiting: map[uint64]chan cluster.Reply{}} }

// Ask puts a request to the core and waits. An error means that there was no reply:
// the request may still take effect.
func (r *Requests) Ask(ctx context.Context, to chan<- cluster.Event, what cluster.Request) (cluster.Reply, error) {
	answer := make(chan cluster.Reply, 1)
	r.mu.Lock()
	r.last++
	id := r.last
	r.waiting[id] = answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiting, id)
		r.mu.Unlock()
	}()
	select {
	case to <- cluster.Asked{ID: id, Request: what}:
	case <-ctx.Done():
		return cluster.Reply{}, context.Cause(ctx)
	}
	select {
	case reply := <-answer:
		return reply, nil
	case <-ctx.Done():
	}
	select {
	case reply := <-answer: // the last word before the daemon ends
		return reply, nil
	default:
		return cluster.Reply{}, fmt.Errorf("the core has not answered: %w", context.Cause(ctx))
	}
}

// Reply hands a reply to whoever waits for it.
func (r *Requests) Reply(a cluster.Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer := r.waiting[a.ID]; answer != nil {
		answer <- a
		delete(r.waiting, a.ID)
	}
}
