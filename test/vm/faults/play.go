package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/account"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
)

// Result is what came of a fault.
type Result struct {
	Fault
	Owner, Next int           // numbers of nodes; Next 0: the owner went on, or began again
	Again       bool          // the owner began again
	Gap         time.Duration // from the fault to the first block of who began; 0: nobody did
	Proof       string        // why the new owner was allowed to begin
	Told        []string      // what QEMU told of the owner's machine, and when
	Story       string        // who wrote when
	Notes       []string
	Settled     time.Duration // from the fault, or its mending, to the state in which nothing goes on
}

// Outcome is what happened, in the words of Want.
func (r Result) Outcome() Outcome {
	switch {
	case r.Next != 0:
		return Moves
	case r.Again:
		return Again
	}
	return Stays
}

// Wrong says what of it was not to come.
func (r Result) Wrong() error {
	switch {
	case r.Want != Either && r.Outcome() != r.Want:
		return fmt.Errorf("%s: %s; wanted: %s", r.Name, r.Outcome(), r.Want)
	case r.Next != 0 && len(r.Fault.Proof) > 0 && r.Proof != "" && !slices.Contains(r.Fault.Proof, r.Proof):
		return fmt.Errorf("%s: the proof was %s, not %s", r.Name, r.Proof, strings.Join(r.Fault.Proof, " or "))
	}
	return nil
}

// String is a line for people.
func (r Result) String() string {
	words := fmt.Sprintf("%s on n%d: %s", r.Name, r.Owner, r.Outcome())
	switch {
	case r.Next != 0:
		words += fmt.Sprintf(" (n%d) after %.1f s by %s", r.Next, r.Gap.Seconds(), r.Proof)
	case r.Again:
		words += fmt.Sprintf(" after %.1f s", r.Gap.Seconds())
	}
	if len(r.Told) > 0 {
		words += "; " + strings.Join(r.Told, ", ")
	}
	return words + "; " + r.Story + fmt.Sprintf("; calm %.0f s later", r.Settled.Seconds())
}

// Limits of a fault: until another owner has begun, and until nothing goes on after it was mended.
const (
	takeover = 2 * time.Minute
	calming  = 8 * time.Minute
	mending  = time.Minute
)

// ErrNotMade says that a fault could not be made: what it was to strike was not there, or too slow.
var ErrNotMade = errors.New("the fault could not be made")

// Play makes a fault, waits for what has to come of it, mends it, and waits until nothing goes on. The error says that it could
// not be played to its end; what came of it is the result's to say. Between, if there is one, is called once it is mended,
// while the nodes still come back.
func Play(ctx context.Context, f *cluster.Full, fault Fault, random *rand.Rand, between func(context.Context) error) (Result, error) {
	s, err := On(ctx, f, random)
	if err != nil {
		return Result{Fault: fault}, err
	}
	r := Result{Fault: fault, Owner: s.Owner.Number}
	before, told := len(f.Judge.Runs()), s.Owner.Telling()
	s.At = time.Now()
	if err := fault.Strike(ctx, s); err != nil {
		return r, errors.Join(fmt.Errorf("%s: %w: %w", fault.Name, ErrNotMade, err), fault.mend(ctx, s))
	}
	if err := r.await(ctx, s, before); err != nil {
		return r, errors.Join(err, fault.mend(ctx, s))
	}
	r.Tell(s.At, told())
	if err := fault.mend(ctx, s); err != nil {
		return r, err
	}
	mended := time.Now()
	if between != nil {
		if err := between(ctx); err != nil {
			return r, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, calming)
	defer cancel()
	owner, _, err := f.Settled(ctx)
	if err != nil {
		return r, fmt.Errorf("%s: %w", r, err)
	}
	if err := f.Forget(ctx, owner); err != nil {
		return r, err
	}
	r.Settled, r.Notes = time.Since(mended), s.Notes
	if err := r.ask(ctx, s, before); err != nil {
		return r, err
	}
	r.look(f.Judge.Runs()[before-1:], s.At)
	return r, r.order(s.At, told(), f.Judge.Runs()[before-1:])
}

// Meanwhile makes a fault that the owner outlives, on whoever writes now and whatever else goes on, and mends it. It is false
// where the fault could not be made, as on a machine that is gone by then.
func Meanwhile(ctx context.Context, f *cluster.Full, fault Fault, random *rand.Rand) (made bool, err error) {
	runs := f.Judge.Runs()
	s := scene(f, f.Nodes[runs[len(runs)-1].Owner-1], random)
	s.At = time.Now()
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	made = fault.Strike(short, s) == nil
	if made {
		if err := wait(ctx, max(fault.Hold, Brief)/2); err != nil {
			return made, err
		}
	}
	return made, fault.mend(ctx, s)
}

// mend mends a fault. What was to be mended inside a machine went with it, if that has lost its power or was reset.
func (f Fault) mend(ctx context.Context, s *Scene) error {
	if f.Mend == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mending)
	defer cancel()
	on := s.Owner.On()
	if err := f.Mend(ctx, s); err != nil && on && s.Owner.On() && s.Owner.LastBoot() == s.boot {
		return fmt.Errorf("%s: mend: %w", f.Name, err)
	}
	return nil
}

// await waits for the new owner, or for as long as the fault lasts.
func (r *Result) await(ctx context.Context, s *Scene, before int) error {
	if r.Want != Moves {
		if err := wait(ctx, max(r.Hold, Brief)-time.Since(s.At)); err != nil {
			return err
		}
	} else {
		limit := takeover
		if r.Patience > 0 {
			limit = r.Patience
		}
		short, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := cluster.Await(short, fmt.Sprintf("%s: another node than n%d writes", r.Name, r.Owner), func() error {
			if next(s.Judge.Runs()[before:], r.Owner) == nil {
				return errors.New("nobody does")
			}
			return nil
		}); err != nil && r.Patience == 0 {
			return err
		}
	}
	return r.ask(ctx, s, before)
}

// ask finds out by what the new owner was allowed to begin, if there is one.
func (r *Result) ask(ctx context.Context, s *Scene, before int) error {
	run := next(s.Judge.Runs()[before:], r.Owner)
	if run == nil || r.Proof != "" {
		return nil
	}
	proof, err := s.Nodes[run.Owner-1].Ended(ctx, s.Owner, s.Incarnation)
	switch {
	case err != nil: // it is asked again at the end
		return nil
	case proof == "":
		proof = "E1 released" // nobody was fenced, and nobody left
	}
	r.Proof = proof
	return nil
}

// next is the first run of another owner.
func next(runs []account.RunSeen, owner int) *account.RunSeen {
	for _, r := range runs {
		if r.Owner != uint32(owner) {
			return &r
		}
	}
	return nil
}

// look says who wrote when, from the run on that the fault met. Where the owner may have the service again, the first run after
// that counts.
func (r *Result) look(runs []account.RunSeen, at time.Time) {
	run := next(runs, r.Owner)
	if len(runs) > 1 && (run == nil || r.Want == Either) {
		run = &runs[1]
	}
	if run != nil {
		r.Gap = run.First.Sub(at)
		if r.Again = run.Owner == uint32(r.Owner); !r.Again {
			r.Next = int(run.Owner)
		}
	}
	var words []string
	for i, run := range runs {
		from := fmt.Sprintf("%.1f", run.First.Sub(at).Seconds())
		if i == 0 {
			from = ""
		}
		words = append(words, fmt.Sprintf("n%d %s to %.1f s", run.Owner, from, run.Last.Sub(at).Seconds()))
	}
	r.Story = strings.Join(words, ", ")
}

// Tell notes what QEMU has told of the owner's machine since the fault.
func (r *Result) Tell(at time.Time, events []machine.Event) {
	for _, e := range events {
		if !e.At.Before(at) && (e.Name == "WATCHDOG" || e.Name == "RESET" || e.Name == "SHUTDOWN") {
			r.Told = append(r.Told, fmt.Sprintf("%s %.1f s", e.Name, e.At.Sub(at).Seconds()))
		}
	}
}

// order wants the events that the fault names before the new owner's first block.
func (r *Result) order(at time.Time, events []machine.Event, runs []account.RunSeen) error {
	run := next(runs, r.Owner)
	if run == nil {
		return nil
	}
	for _, name := range r.Events {
		if !slices.ContainsFunc(events, func(e machine.Event) bool {
			return e.Name == name && !e.At.Before(at) && e.At.Before(run.First)
		}) {
			return fmt.Errorf("%s: no %s of n%d before n%d writes; %v", r.Name, name, r.Owner, run.Owner, r.Told)
		}
	}
	return nil
}
