// Package faults is what can go wrong with a full cluster of the rig, one fault after the other: how it is made, what has to
// come of it, and how it is mended. The matrix of faults makes each once, torture draws from the same list.
package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
)

// Outcome is what has to come of a fault.
type Outcome string

// The outcomes.
const (
	Stays  Outcome = "the owner goes on"
	Moves  Outcome = "another node takes over"
	Again  Outcome = "the owner starts it again"
	Either Outcome = "either" // any of these
)

// Part says what a fault breaks: two faults that are made at once break different parts.
type Part uint

// The parts.
const (
	Node Part = 1 << iota // the owner's machine
	Net
	Quorum
	Board // management controllers
	Data
	Clock
	Whole // everything
)

// Fault is one kind of fault.
type Fault struct {
	Name  string
	Does  string // in words, for the table
	Want  Outcome
	Parts Part
	// Proof lists what another node may have begun by; empty: any.
	Proof []string
	// Events are what QEMU tells of the owner's machine before another node begins.
	Events []string
	// Hold is how long a fault lasts whose owner is to stay; zero: Brief.
	Hold time.Duration
	// Patience is how long a takeover is waited for before the fault is mended without one; zero: there has to be one.
	Patience time.Duration

	Strike func(ctx context.Context, s *Scene) error
	Mend   func(ctx context.Context, s *Scene) error
	// NeedsController says that nothing but the controller keeps this one within what is guaranteed.
	NeedsController bool
	// Seldom says that torture makes it no more often than twice: it takes too long, or what it needs is used up.
	Seldom bool
}

// Brief is how long a fault lasts that has no time of its own: longer than a suspicion takes, and than most leases.
const Brief = 8 * time.Second

// Scene is where a fault is made.
type Scene struct {
	*cluster.Full
	Owner  *cluster.Node
	Others []*cluster.Node
	// Incarnation is the owner's.
	Incarnation string
	At          time.Time // when it was made
	Random      *rand.Rand
	Notes       []string // what the fault has to tell

	boot machine.Boot // the owner's
}

// On finds the scene as it is once nothing goes on.
func On(ctx context.Context, f *cluster.Full, random *rand.Rand) (*Scene, error) {
	owner, inc, err := f.Still(ctx)
	if err != nil {
		return nil, err
	}
	s := scene(f, owner, random)
	s.Incarnation = inc
	return s, nil
}

func scene(f *cluster.Full, owner *cluster.Node, random *rand.Rand) *Scene {
	s := &Scene{Full: f, Owner: owner, Random: random, boot: owner.LastBoot()}
	for _, n := range f.Nodes {
		if n != owner {
			s.Others = append(s.Others, n)
		}
	}
	return s
}

// All is every kind, in the order of the table.
func All() []Fault {
	return slices.Concat(ofNodes(), ofPrograms(), ofClocks(), ofLinks(), ofDisks(), ofArrays(), ofControllers(), ofClusters())
}

// OnArray are the faults of an iSCSI array, which are made on a cluster of their own: TestServiceOnISCSI, which has the means.
// They have no Strike.
func OnArray() []Fault {
	return []Fault{
		{Name: "iSCSI target restarted", Does: "for 5 s it ends all sessions and takes none", Want: Stays, Hold: 5 * time.Second},
		{Name: "iSCSI path lost", Does: "the owner's network to the array; all else is whole", Want: Moves},
		{Name: "iSCSI ISID changed", Does: "under reservations: the owner's session is logged out and in by hand, as another one, which has no key", Want: Either},
	}
}

// Find is the fault of a name.
func Find(name string) (Fault, error) {
	for _, f := range listed() {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, errors.New("no fault is called " + name)
}

// patience is that of torture: two faults at once may leave nobody who can take over before one of them is mended.
const patience = time.Minute

// Together makes one fault of several that are made at once. What comes of them is not told before, nor that of one alone that
// is made on a cluster which many others have struck: it is mended after a while.
func Together(list []Fault) Fault {
	if len(list) == 1 {
		alone := list[0]
		alone.Patience = patience
		return alone
	}
	both := Fault{Want: Stays, Patience: patience}
	for _, f := range list {
		if both.Name != "" {
			both.Name += " + "
		}
		both.Name += f.Name
		both.Parts |= f.Parts
		both.Hold = max(both.Hold, f.Hold)
		if f.Want == Moves || both.Want == Stays {
			both.Want = f.Want
		}
	}
	both.Strike = func(ctx context.Context, s *Scene) (err error) {
		for _, f := range slices.Backward(list) { // the first one may end the machine that the others are made on
			err = errors.Join(err, f.Strike(ctx, s))
		}
		return err
	}
	both.Mend = func(ctx context.Context, s *Scene) (err error) {
		for _, f := range list {
			err = errors.Join(err, f.mend(ctx, s))
		}
		return err
	}
	return both
}

// wait is for what takes its time because a fault has to last.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
