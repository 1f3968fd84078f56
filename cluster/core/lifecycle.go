package core

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/slot"
)

// slot is what this machine knows of its node's slot on the quorum disks.
func (c *Core) slot() slot.Use {
	u := slot.Use{Node: c.set.Self, Name: c.set.Name, Boot: c.set.Boot, Host: c.set.Host, Dead: slot.Dead(c.reg.state, c.set.Self), Joined: slot.Joined(c.reg.state, c.set.Self)}
	u.Said, u.Own, u.Read = decide.SaidOff(c.dec.asked, c.set.Name), c.reg.learned || !c.guard.bound.IsZero(), c.disks.ReadTwice()
	if own := c.peers[c.set.Self]; own != nil && own.Beat != nil {
		u.Beat = own.Beat
		u.Quiet, _ = own.Disk.Quiet(c.now)
	}
	return u
}

// mayWrite says why this node may not write its block of the register yet.
func (c *Core) mayWrite() string {
	u := c.slot()
	return u.Block()
}

// otherMachine says why the slot may not be claimed by this machine, whose beats
// there are another's: a spare that was given the node's disk or identity, or a
// virtual machine that was started a second time. That this one has booted says
// nothing about the other one, so a newer incarnation proves nothing here; only
// what proves its death without it counts: time, as an outsider waits for it, or
// the operator's word.
func (c *Core) otherMachine(u *slot.Use) string {
	if why := u.Rival(); why != "" || !u.Foreign() {
		return why
	}
	own, former := c.peers[c.set.Self], *c.reg.state.Node(c.set.Self)
	former.Inc = own.Beat.Inc
	w := c.wait(own)
	waited := own.Disk.Waiting()
	own.Disk.Judge(c.now, w)
	if own.Disk.Waiting() && !waited {
		c.kick()
	}
	if pr, ok := c.proofTime(cluster.Proof{Node: c.set.Self, Inc: former.Inc, By: c.set.Self, DiskGen: c.reg.state.DiskGen}, own, &former); ok {
		c.note(cluster.Note{Kind: cluster.NoteProof, Node: c.set.Self, Inc: former.Inc, Proof: pr.Kind, Text: "the machine that had this slot before has ended: " + pr.Text})
		return ""
	}
	age, ok := own.Disk.Age(c.now)
	return u.Wait(age, w, ok)
}
