package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
)

// noisyTries is how often a noisy clock is asked again before its tightest
// reading is taken.
const noisyTries = 5

// watch reads the interval clock for everybody in the daemon.
type watch struct {
	clock Clock
	noisy atomic.Uint64 // readings that stayed noisy
}

// now reads the clock. A reading that stays noisy is used: it is never later
// than the truth and never falls, for it can only have missed a suspend that is
// just over. Stamps that a lease rests on are the guard's, which refuses them.
func (w *watch) now() (ident.Instant, error) {
	for range noisyTries {
		t, err := w.clock.Now()
		if !errors.Is(err, clock.ErrNoisy) {
			return t, err
		}
	}
	t, err := w.clock.Now()
	if errors.Is(err, clock.ErrNoisy) {
		w.noisy.Add(1)
		return t, nil
	}
	return t, err
}

// instant is now for those who can do nothing about a failing clock; the loop
// meets the same failure and ends the daemon.
func (w *watch) instant() ident.Instant {
	t, _ := w.now()
	return t
}

// step is one reading that must not be before the last.
func (w *watch) step(last ident.Instant) (ident.Instant, error) {
	t, err := w.now()
	switch {
	case err != nil:
		return t, fmt.Errorf("read the interval clock: %w", err)
	case t.Before(last):
		return t, fmt.Errorf("the interval clock went back by %v: every instant that was noted is worthless; the daemon must begin anew", last.Sub(t))
	}
	return t, nil
}

// post hands an event to the loop; false when the daemon ends.
func post[T any](ctx context.Context, to chan<- T, v T) bool {
	select {
	case to <- v:
		return true
	case <-ctx.Done():
		return false
	}
}
