package core

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
)

// follow makes the sets of disks those of the committed state; see diskset.Watch.
func (c *Core) follow(found *cluster.State) {
	c.guard.disks.Ask(c.reg.state, found)
	ch := c.disks.Follow(c.reg.state, found)
	if ch.TooMany {
		c.refuse("this life of holdfastd has seen too many quorum disks: restart it (systemctl restart holdfastd); services keep running")
		return
	}
	if ch.Lease {
		for _, p := range c.others {
			p.Disk.Use(len(c.disks.Disks), c.disks.Sets())
		}
		c.peerOf(c.set.Self).Disk.Use(len(c.disks.Disks), c.disks.Sets())
		c.blob.Grow(len(c.disks.Disks))
	}
	if ch.Register {
		c.reg.m.Change(uint64(c.now), len(c.disks.Disks), c.disks.Register())
		c.reg.learned = false
	}
	c.orderDisks()
}

// orderDisks tells guard and daemon which disks to open and by which of them the
// lease counts, where they do not know it yet.
func (c *Core) orderDisks() {
	if uses, gen, ok := c.guard.disks.Next(c.now, c.disks, c.reg.state); ok {
		c.guard.disks.Sent(c.order(cluster.Order{Kind: cluster.OrderDisks, Disks: uses, DiskGen: gen}))
	}
}

// checkDisks has every disk show that it still holds what it has acknowledged.
func (c *Core) checkDisks() {
	c.next.check = c.now.Add(diskset.CheckEvery)
	for d := range c.disks.Disks {
		c.reg.m.Check(d)
	}
}

// eject counts a disk as failed because it has forgotten what it acknowledged.
func (c *Core) eject(d int) {
	c.disks.Eject(d, diskset.Forgot)
	for _, p := range c.others {
		p.Disk.Forget(d)
	}
	c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: fmt.Sprintf("quorum disk %v is %s", c.disks.Disks[d].UUID, diskset.Forgot)})
}
