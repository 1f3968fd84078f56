package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// diskTable is the daemon's own ways to the quorum disks, by the number that the
// core gives each.
type diskTable struct {
	mu   sync.RWMutex
	list []*disk // under mu; nil: closed
}

// at is the disk of that number, or nil.
func (t *diskTable) at(n int) *disk {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n < 0 || n >= len(t.list) {
		return nil
	}
	return t.list[n]
}

// all are the disks that are open.
func (t *diskTable) all() []*disk {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*disk
	for _, k := range t.list {
		if k != nil {
			out = append(out, k)
		}
	}
	return out
}

// number is the core's number of a disk.
func (t *diskTable) number(id ident.UUID) (int, bool) {
	for _, k := range t.all() {
		if k.want.Disk == id {
			return k.index, true
		}
	}
	return 0, false
}

// put enters a disk, in the place of nothing.
func (t *diskTable) put(k *disk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.list) <= k.index {
		t.list = append(t.list, nil)
	}
	t.list[k.index] = k
}

// newDisk is a way to a disk; it is opened when there is work for it.
func (d *Daemon) newDisk(index int, id ident.UUID, hint string) *disk {
	k := &disk{
		index: index, keys: d.others.ring.Keys, shared: d.shared, jobs: queue.New[diskJob](),
		open: func(sector int) (storage.Disk, error) {
			path, err := d.roster.Find(id, hint)
			if err != nil {
				return nil, err
			}
			return d.deps.Disks.Open(path, sector)
		},
		want: volume.Expect{Cluster: d.deps.Node.Cluster.ID, Epoch: d.deps.Node.Cluster.Epoch, Disk: id, Serve: true},
		log:  d.deps.Log.With().Int("disk", index+1).Stringer("uuid", id).Logger(),
	}
	if d.others.ring.Exchanging() { // what the former life has issued is not known
		k.land.Failed(time.Now())
	}
	return k
}

// useDisks opens what the core's order names, and tells the guard: once each has
// been found, for which the loop does not wait. The files are written first, so
// that a boot in between begins with what the guard may count by.
func (d *Daemon) useDisks(ctx context.Context, o cluster.Order) {
	for _, u := range o.Disks {
		if d.disks.at(u.Place) == nil {
			k := d.newDisk(u.Place, u.UUID, u.Path)
			d.disks.put(k)
			d.tasks.Go(func() error { return k.run(ctx) }) // task "register on disk N"
		}
	}
	o.Disks = slices.Clone(o.Disks) // the core keeps its own
	d.tasks.Go(func() error {       // task "disks N": ends when each was looked for
		for i, u := range o.Disks {
			path, err := d.roster.Find(u.UUID, u.Path)
			if err != nil {
				d.shared.loud(err.Error())
			}
			o.Disks[i].Path = path
		}
		if err := d.roster.Keep(o.Disks); err != nil {
			d.shared.loud(fmt.Sprintf("node.yaml and guard.conf could not be written with the disks that count now: %v", err))
		}
		d.guard.orders.Put(o)
		return nil
	})
}
