// Package reservations carries out what the core wants done to the persistent
// reservations below a service: it finds the LUNs of its storage, works on each
// through package scsi, and says of all of them together what was shown.
//
// A request to a LUN may hang for as long as the kernel likes. Its deadline holds
// all the same: then the outcome is unknown, and a REGISTER is reported once more
// when it has returned, for until then it may still take effect. The requests are
// threads of the daemon itself, whose lock file is free only when its last thread
// is gone: so the next daemon knows that nothing of this one is on its way.
package reservations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guarded"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Open opens a device by all its paths; end gives them back.
type Open func(device string) (l scsi.LUN, end func(), err error)

// Settings is what the work needs.
type Settings struct {
	Cluster ident.UUID
	Now     func() ident.Instant // the interval clock
	Open    Open
	// Attach sees to it that the way to a service's LUNs is there, where this node
	// makes it itself.
	Attach func(*cluster.Service) error
}

// Keeper carries out Reserves. It may be used by several goroutines.
type Keeper struct {
	set Settings

	mu   sync.Mutex
	busy map[string]bool // services with a request that has not returned
}

// New returns what carries out Reserves.
func New(set Settings) *Keeper { return &Keeper{set: set, busy: map[string]bool{}} }

// CarryOut works on every LUN below the service and tells what was shown: once,
// or of a REGISTER that has not returned in time a second time when it has. It
// returns when that is told, or ctx ends.
func (k *Keeper) CarryOut(ctx context.Context, a cluster.Reserve, tell func(cluster.ReserveDone)) {
	if !k.enter(a.Service.Name) {
		tell(cluster.ReserveDone{Op: a.Op, Text: "an earlier request to its LUNs has not returned"})
		return
	}
	ended := make(chan cluster.ReserveDone, 1)
	go func() { // ends when the kernel has answered every request
		done := k.work(a)
		k.leave(a.Service.Name)
		ended <- done
	}()
	within, cancel := context.WithTimeout(ctx, a.Within)
	defer cancel()
	select {
	case done := <-ended:
		tell(done)
		return
	case <-within.Done():
	}
	late := cluster.ReserveDone{Op: a.Op, InFlight: a.Kind == cluster.ReserveRegister, Text: "no answer within " + a.Within.String()}
	tell(late)
	if !late.InFlight {
		return
	}
	select {
	case done := <-ended:
		tell(done)
	case <-ctx.Done():
	}
}

func (k *Keeper) enter(service string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[service] {
		return false
	}
	k.busy[service] = true
	return true
}

func (k *Keeper) leave(service string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, service)
}

// work works on one LUN after the other. One that fails does not keep the others
// from being worked on, and is enough for the whole to prove nothing.
func (k *Keeper) work(a cluster.Reserve) cluster.ReserveDone {
	e := cluster.ReserveDone{Op: a.Op}
	devices, err := guarded.Devices(a.Service)
	if err == nil && k.set.Attach != nil {
		err = k.set.Attach(a.Service)
	}
	if err != nil {
		e.Outcome, e.Text = cluster.FenceFailed, err.Error()
		return e
	}
	var good []string
	var bad []error
	for _, device := range devices {
		r, err := k.one(a, device)
		e.LUNs = append(e.LUNs, device)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, r.String())
		e.Forgets = e.Forgets || !r.Capabilities.Persisting
		e.Drain = e.Drain || r.Unsure || a.Victim != 0 && !slices.Contains(r.Aborted, a.Victim)
	}
	e.Gone = k.set.Now()
	if len(bad) > 0 {
		e.Outcome, e.Text = outcome(bad), strings.ReplaceAll(errors.Join(bad...).Error(), "\n", "; ")
		return e
	}
	slices.Sort(good)
	e.Outcome, e.Text = cluster.FenceProven, strings.Join(slices.Compact(good), "; ")
	return e
}

// outcome is failed if every device has refused, and unknown if one may have done
// what it was asked for.
func outcome(bad []error) cluster.FenceOutcome {
	for _, err := range bad {
		var refused *scsi.StatusError
		if !errors.As(err, &refused) && !errors.Is(err, scsi.ErrForeign) {
			return cluster.FenceUnknown
		}
	}
	return cluster.FenceFailed
}

func (k *Keeper) one(a cluster.Reserve, device string) (scsi.Report, error) {
	l, end, err := k.set.Open(device)
	if err != nil {
		return scsi.Report{}, err
	}
	defer end()
	switch a.Kind {
	case cluster.ReserveRegister:
		return l.Register(a.Key)
	case cluster.ReserveTake:
		return l.Take(a.Key, func(key uint64) (gone, foreign bool) {
			foreign = !cluster.OwnKey(k.set.Cluster, key)
			return !foreign && !slices.Contains(a.Keep, key), foreign
		})
	case cluster.ReserveCheck:
		return l.Check(a.Key)
	}
	return scsi.Report{}, fmt.Errorf("work of kind %d on reservations is not known", a.Kind)
}
