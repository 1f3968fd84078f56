package clustertest

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// mostDisks is how many disks a world may have in all.
const mostDisks = 16

// AddDisk brings another disk, empty but formatted, that every node can see.
func (w *World) AddDisk() *Disk {
	k := &Disk{UUID: ident.UUID{byte(len(w.Disks) + 1)}, Index: len(w.Disks)}
	var err error
	if k.On, err = w.bytes.format.NewDisk(k.UUID); err != nil {
		w.Fail("formatting disk %v: %v", k.UUID, err)
	}
	w.Disks = append(w.Disks, k)
	return k
}

// Hold has the array of a disk hold every request back, or carry out what it held back.
func (w *World) Hold(d int, on bool) {
	if k := w.Disks[d]; on {
		k.Array.Hold(w.Now)
	} else {
		w.judge.Stalled(k.Array.Free(), w.Now)
	}
}

// clones says that the path of a node to a disk leads to a clone of it, which the
// node does not open.
func (n *Node) clones(d int) bool {
	if !n.Clones[d] {
		return false
	}
	err := n.w.Disks[d].On.Opens(ident.UUID{0xff, byte(d)})
	if err == nil {
		n.w.Fail("%s opens a clone of disk %d", n.Name, d)
	}
	n.w.Tally.Effect(tally.CloneRefused)
	return true
}

// Disk returns the disk with an identity, or nil.
func (w *World) Disk(id ident.UUID) *Disk {
	for _, k := range w.Disks {
		if k.UUID == id {
			return k
		}
	}
	return nil
}

// nodeDisks is which disks the processes of a node have open.
type nodeDisks struct {
	places []int  // index in World.Disks of what its daemon numbers
	file   []int  // what its node.yaml lists
	open   []bool // what its guard has open
	floor  uint64 // the highest version that its own disk says was committed
}

// tell passes a table on to the daemon, under the number that it gives the disk.
func (n *Node) tell(t cluster.Table) {
	if t.Disk = slices.Index(n.machine.disks.places, t.Disk); t.Disk >= 0 {
		n.Give(t)
	}
}

// boots are the disks that this node's own file lists; a daemon begins with
// them, and numbers them anew.
func (n *Node) boots() []ident.UUID {
	var ids []ident.UUID
	n.machine.disks.places = slices.Clone(n.machine.disks.file)
	for _, d := range n.machine.disks.file {
		ids = append(ids, n.w.Disks[d].UUID)
	}
	return ids
}

// powerDisks begins a guard: it opens the disks that its file lists.
func (n *Node) powerDisks() {
	k := &n.machine.disks
	if k.file == nil {
		for d := range n.w.opt.Disks {
			k.file = append(k.file, d)
		}
	}
	k.open = make([]bool, mostDisks)
	var set quorum.Set
	for _, d := range k.file {
		set |= 1 << d
	}
	n.guard = guard{lease: lease.New(mostDisks, set), h: time.Second, gen: 1, span: span{life: n.guard.life + 1}}
	for _, d := range k.file {
		n.begin(d)
	}
	n.w.judge.Counts(n.body, k.file)
}

// begin opens a disk and cycles it.
func (n *Node) begin(d int) {
	if !n.machine.disks.open[d] {
		n.machine.disks.open[d] = true
		n.guardAfter(n.w.Jitter(0, 100*time.Millisecond), func() { n.cycle(d) })
	}
}

// useDisks opens and closes disks, and has the lease count by other sets of
// them. The node's file names those that count from then on.
func (n *Node) useDisks(o cluster.Order) error {
	var sets []quorum.Set
	var listed [][]int
	for _, u := range o.Disks {
		d := n.w.Disk(u.UUID).Index
		n.begin(d)
		for i := 0; u.Sets>>i != 0; i++ {
			for len(sets) <= i {
				sets, listed = append(sets, 0), append(listed, nil)
			}
			if u.Sets>>i&1 == 1 {
				sets[i] |= 1 << d
				listed[i] = append(listed[i], d)
			}
		}
	}
	if err := n.guard.lease.ChangeSets(n.clock(), sets...); err != nil {
		return err
	}
	n.w.judge.Counts(n.body, listed...)
	n.guard.gen, n.machine.disks.file = o.DiskGen, nil
	clear(n.machine.disks.open)
	for _, u := range o.Disks {
		d := n.w.Disk(u.UUID).Index
		if n.machine.disks.open[d] = true; u.Sets != 0 {
			n.machine.disks.file = append(n.machine.disks.file, d)
		}
	}
	return nil
}

// number is the daemon's part of the same order: it opens the disks at once.
func (n *Node) number(o cluster.Order) {
	for _, u := range o.Disks {
		for len(n.machine.disks.places) <= u.Place {
			n.machine.disks.places = append(n.machine.disks.places, mostDisks) // never asked for
		}
		n.machine.disks.places[u.Place] = n.w.Disk(u.UUID).Index
	}
}
