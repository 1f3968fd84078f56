// Package promise follows what the beats of one node promise while the
// configuration changes it. The guard keeps the promise (package lease); this is
// the daemon's side: which promise to order, when, and what the node may live by
// meanwhile. It is pure.
//
// Within an incarnation the timeouts of the watchdogs stand, because setting one
// is a feed. So only the lease F, the grace G and the periods of the beats can
// change; a wish that is not safe with these timeouts waits for the next
// incarnation, and says so.
package promise

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// again is the pause before an order that was refused, or lost, is repeated.
const again = time.Second

// Node is the promise of one node's bound incarnation. The zero value has none;
// it is used by one goroutine.
type Node struct {
	carry   lease.Carry  // as far as this daemon knows
	want    timing.Table // as configured
	ordered timing.Table
	fits    bool
	problem string
	from    wish // what want was derived from
	asked   bool // an order is not echoed, or is to be repeated
	seq     uint64
	repeat  ident.Instant // 0: it was not refused
	told    string        // why the latest one was, as told
}

type wish struct{ within, grace time.Duration }

// Claimed begins with a new incarnation, whose first beat promises p.
func (n *Node) Claimed(p lease.Params) {
	*n = Node{carry: lease.Carry{New: p, Used: p, Since: ident.LongAgo}}
}

// Adopt begins with what the guard holds when a daemon's life begins.
func (n *Node) Adopt(e cluster.Started) {
	used := lease.Params{F: e.F, G: e.G}
	n.Claimed(used)
	if e.Says.F != 0 {
		n.carry.New, n.carry.Since = lease.Params{F: e.Says.F, G: e.Says.G}, e.Since
	}
}

// Used is what the node may live by: never more than the guard holds it to.
func (n *Node) Used() lease.Params { return n.carry.Used }

// Settle lets it live by more once its lease starts late enough. The start must
// be counted by the disks by which the guard counts.
func (n *Node) Settle(start ident.Instant) { n.carry.Settle(start) }

// Next is the table that the guard has to be told of at now, if there is one: t
// is in force, within and g are configured. From this very moment on the node
// lives by whatever is lower; by what is higher once the guard has answered.
func (n *Node) Next(now ident.Instant, t timing.Table, within, g time.Duration) (timing.Table, bool) {
	if w := (wish{within, g}); n.from != w {
		n.from, n.problem = w, ""
		want, err := t.Again(within, g)
		n.want, n.fits = want, err == nil
		if err != nil {
			n.problem = err.Error()
		}
	}
	if !n.fits || n.asked && (n.repeat == 0 || now < n.repeat) {
		return timing.Table{}, false
	}
	p := lease.Params{F: n.want.F, G: n.want.G}
	if !n.asked && p == n.carry.New {
		return timing.Table{}, false
	}
	n.asked, n.repeat, n.ordered = true, 0, n.want
	n.carry.Change(ident.Never, p)
	return n.want, true
}

// Sent notes the number of the order.
func (n *Node) Sent(seq uint64) { n.seq = seq }

// Echoed takes the answer. It returns the table that is in force now, t or the
// one that was ordered, and what there is to tell; nothing where Text is empty.
func (n *Node) Echoed(now ident.Instant, e cluster.Echoed, t timing.Table) (timing.Table, cluster.Note) {
	var note cluster.Note
	switch {
	case e.Seq != n.seq || !n.asked:
		return t, note
	case e.Err == "":
		n.asked, n.told, n.carry.Since = false, "", now
		note.Kind, note.Text = cluster.NoteAdmin, fmt.Sprintf("the beats of this node promise a lease of %s from now on (failover_within %s)", n.ordered.F, n.ordered.B)
		return n.ordered, note
	}
	n.repeat = now.Add(again)
	if n.told != e.Err {
		n.told = e.Err
		note.Kind, note.Text = cluster.NoteAlarm, "the guard does not take the changed failover_within yet: "+e.Err
	}
	return t, note
}

// Problem says why the configured values are not in force in this incarnation;
// empty if they are, or will be in a moment.
func (n *Node) Problem() string {
	if n.problem == "" {
		return ""
	}
	return "this node keeps its timeouts until its next incarnation, for with its watchdogs as they are set: " + n.problem
}
