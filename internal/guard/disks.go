package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/storage"
)

// maxSlots is how many disks a guard can have open, those included whose last
// request has not come back since they were given up.
const maxSlots = 8

var (
	errNoPath = errors.New("it is not known where this quorum disk is found")
	errSlots  = errors.New("too many quorum disks that were given up still owe the end of a request")
)

// useDisks opens the disks that are new, and only if the lease can count by the
// sets gives up those that are not named. New disks are beaten on in any case:
// that is what makes a set that was refused acceptable later.
func (g *Guard) useDisks(o *guardwire.Disks) error {
	var sets []quorum.Set
	var used []*worker
	for _, u := range o.Use {
		w, err := g.workerFor(u)
		if err != nil {
			return fmt.Errorf("quorum disk %v: %w", u.UUID, err)
		}
		used = append(used, w)
		for i := 0; u.Sets>>i != 0; i++ {
			for len(sets) <= i {
				sets = append(sets, 0)
			}
			if u.Sets>>i&1 == 1 {
				sets[i] |= 1 << w.index
			}
		}
	}
	now, err := g.now()
	if err != nil {
		return err
	}
	if err := g.state.useSets(now, o.Gen, sets); err != nil {
		return err
	}
	g.list.Lock()
	defer g.list.Unlock()
	for _, w := range g.workers {
		if !slices.Contains(used, w) {
			w.end.stop()
			g.leaving = append(g.leaving, w)
		}
	}
	g.workers = used
	return nil
}

// workerFor is the worker of a disk, which is begun if there is none.
func (g *Guard) workerFor(u guardwire.DiskUse) (*worker, error) {
	g.list.Lock()
	defer g.list.Unlock()
	for _, w := range g.workers {
		if w.port.UUID == u.UUID {
			return w, nil
		}
	}
	if u.Path == "" || g.deps.Set.Port == nil {
		return nil, errNoPath
	}
	g.leaving = slices.DeleteFunc(g.leaving, func(w *worker) bool { return w.end.gone.Load() })
	taken := quorum.Set(0)
	for _, w := range append(slices.Clone(g.workers), g.leaving...) {
		taken |= 1 << w.index
	}
	index := 0
	for taken.Has(index) {
		index++
	}
	if index >= maxSlots {
		return nil, errSlots
	}
	w, err := newWorker(g, index, g.deps.Set.Port(u.Path, u.UUID))
	if err != nil {
		return nil, err
	}
	_ = g.state.with(func(l *lease.Lease) error { l.Forget(index); return nil }) // never fails
	g.workers = append(g.workers, w)
	g.begin(w)
	return w, nil
}

// begin runs a worker until it is stopped or the guard ends.
func (g *Guard) begin(w *worker) {
	ctx, cancel := context.WithCancel(g.ctx)
	w.end.stop = cancel
	g.tasks.Go(func() error {
		w.run(ctx)
		w.leave()
		return nil
	})
}

// leave gives the disk back once its worker has ended; a handle with a request
// in flight stays with the process.
func (w *worker) leave() {
	if w.disk == nil {
		w.end.gone.Store(true)
	} else if err := w.disk.Close(); err == nil || !errors.Is(err, storage.ErrBusy) {
		w.end.gone.Store(true)
	}
}

// each calls f for every disk that is open now.
func (g *Guard) each(f func(*worker)) {
	g.list.RLock()
	defer g.list.RUnlock()
	for _, w := range g.workers {
		f(w)
	}
}
