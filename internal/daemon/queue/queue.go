// Package queue is a list of work between two tasks of the daemon, of which the
// first never waits.
package queue

import (
	"context"
	"sync"
)

// Queue is a list of work with one reader. Putting never waits: the loop must not
// stand still because a disk, the guard or a file system does. What is put is
// bounded by its nature: the core has at most a few requests under way for each.
type Queue[T any] struct {
	wake chan struct{}

	mu   sync.Mutex
	list []T // under mu
}

// New makes an empty queue.
func New[T any]() *Queue[T] { return &Queue[T]{wake: make(chan struct{}, 1)} }

// Put appends and says how many now wait.
func (q *Queue[T]) Put(v T) int {
	q.mu.Lock()
	q.list = append(q.list, v)
	n := len(q.list)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return n
}

// Take waits for the first; false when ctx has ended.
func (q *Queue[T]) Take(ctx context.Context) (T, bool) {
	for {
		q.mu.Lock()
		if len(q.list) > 0 {
			v := q.list[0]
			var zero T
			q.list[0] = zero
			q.list = q.list[1:]
			q.mu.Unlock()
			return v, true
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-ctx.Done():
			var zero T
			return zero, false
		}
	}
}

// Drain takes everything that waits.
func (q *Queue[T]) Drain() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.list
	q.list = nil
	return all
}
