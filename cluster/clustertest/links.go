package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// openLinks opens the links of a new life of the daemon, which is later than any
// before. Without any a message is carried as it is.
func (n *Node) openLinks() {
	if n.w.Links == nil {
		return
	}
	life := time.Duration(n.daemon.life)
	var err error
	n.daemon.links, err = n.w.Links(n.ID, n.machine.boot, len(n.w.Nodes), func() ident.Instant { return n.clock().Add(life) })
	if err != nil {
		n.w.Fail("%v", err)
	}
}

func (n *Node) send(a cluster.Send) {
	if int(a.To) > len(n.w.Nodes) {
		return // a slot that was given to a name no machine has
	}
	to := n.w.Nodes[a.To-1]
	carry := func(arrives func()) {
		for range n.w.Copies(n.ID, a.To, n.w.rng.Float64) {
			n.w.After(n.w.Jitter(100*time.Microsecond, 2*time.Millisecond+n.w.Lag), func() { to.after(0, arrives) })
		}
	}
	if n.daemon.links == nil {
		carry(func() { to.Give(cluster.Received{Msg: a.Msg}) })
		return
	}
	packets, err := n.daemon.links.Seal(a.To, a.Msg)
	if err != nil {
		n.w.Fail("a beat of %s: %v", n.Name, err)
	}
	for _, packet := range packets {
		carry(func() { to.received(packet) })
	}
}

// received opens a packet.
func (n *Node) received(packet []byte) {
	if n.mind() == nil {
		return
	}
	m, replayed := n.daemon.links.Open(packet)
	if m != nil {
		n.Give(cluster.Received{Msg: m})
	}
	if replayed {
		n.w.Tally.Effect(tally.Replayed)
	}
}
