package core

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
)

// stopped says that the cluster is, or is being, stopped as a whole.
func (c *Core) stopped() bool { return c.reg.state != nil && c.reg.state.Life.Stop.On }

// mayGo says that the planned stop is done with services: nodes may leave.
func (c *Core) mayGo() bool { return c.stopped() && c.reg.state.AllFree() }

// otherMachine says why the slot may not be claimed by this machine, whose beats
// there are another's: a spare that was given the node's disk or identity, or a
// virtual machine that was started a second time. That this one has booted says
// nothing about the other one, so a newer incarnation proves nothing here; only
// what proves its death without it counts: time, as an outsider waits for it, or
// the operator's word.
func (c *Core) otherMachine() string {
	own, n := c.peers[c.set.Self], c.reg.state.Node(c.set.Self)
	if own == nil || own.beat == nil || own.beat.Host == c.set.Host || own.beat.State == cluster.GuardRetired || n.Dead >= own.beat.Inc.N {
		return ""
	}
	former := *n
	former.Inc = own.beat.Inc
	w := c.wait(own)
	waited := own.disk.Waiting()
	own.disk.Judge(c.now, w)
	if own.disk.Waiting() && !waited {
		c.kick()
	}
	if pr, ok := c.proofTime(cluster.Proof{Node: n.ID, Inc: former.Inc, By: c.set.Self, DiskGen: c.reg.state.DiskGen}, own, &former); ok {
		c.note(cluster.Note{Kind: cluster.NoteProof, Node: n.ID, Inc: former.Inc, Proof: pr.Kind, Text: "the machine that had this slot before has ended: " + pr.Text})
		return ""
	}
	text := fmt.Sprintf("node %d ran on another machine (%s) last, which has to be proven dead first; if it is off: holdfast node confirm-off %s", c.set.Self, own.beat.Host, c.set.Name)
	if age, ok := own.disk.Age(c.now); ok && own.beat.Lease.Class.CarriesTime() {
		return text + fmt.Sprintf("; its silence proves it after %s, in %s", round(w), round(max(0, w-age)))
	}
	return text + "; its watchdogs do not let silence prove it"
}
