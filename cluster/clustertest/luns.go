package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
)

// LUNs are the data LUNs below guarded services.
func (w *World) LUNs() *luns.Store { return w.bytes.luns }

// Stores names the node whose processes use the storage of a service and can
// write to all of its LUNs; empty if there is none.
func (w *World) Stores(service string) string {
	for _, n := range w.Nodes {
		if n.running[service] != nil && w.LUNs().Registered(service, n.body) == luns.PerService {
			return n.Name
		}
	}
	return ""
}

// Registering says that the node's guard publishes that a key may be on its way.
func (n *Node) Registering() bool { return n.machine.up && n.guard.payload.Registering }

// reserve is the daemon's side of the reservations. A LUN that does not answer
// makes the outcome unknown, whatever the others have done.
func (n *Node) reserve(a cluster.Reserve) {
	list := n.w.LUNs().Of(a.Service.Name)
	back := func() {
		done := luns.ReadBack(a, list, n.body, &n.LUNs)
		done.Gone, done.Drain = n.clock(), n.LUNs.Aborts
		n.deliver(done)
	}
	if a.Kind == cluster.ReserveRegister {
		n.register(a, list, back)
		return
	}
	n.later(n.w.Jitter(2*time.Millisecond, 40*time.Millisecond), func() {
		for i, l := range list {
			if a.Kind == cluster.ReserveTake && !n.LUNs.Off(i) && l.Has(n.body, a.Key) {
				l.Preempt(n.body, a.Keep)
			}
		}
		n.later(n.w.Jitter(time.Millisecond, 20*time.Millisecond), back)
	})
}

// register sends one REGISTER to every LUN. Each lands when it lands.
func (n *Node) register(a cluster.Reserve, list []*luns.LUN, back func()) {
	left := len(list)
	done := n.inLife(func() {
		if left--; left == 0 {
			back()
		}
	})
	if n.LUNs.Late > a.Within {
		n.later(a.Within, func() {
			if left > 0 {
				n.deliver(cluster.ReserveDone{Op: a.Op, InFlight: true, Text: "no answer in time"})
			}
		})
	}
	for i, l := range list {
		if latency := n.w.Jitter(time.Millisecond, 60*time.Millisecond); n.LUNs.Off(i) || n.LUNs.Dropped {
			n.after(latency, done)
		} else {
			n.send1(l, a.Key, n.LUNs.Late+latency, done)
		}
	}
}

// send1 sends one REGISTER, which a reset of its host loses, or delays by the
// drain time at most.
func (n *Node) send1(l *luns.LUN, key uint64, latency time.Duration, done func()) {
	epoch := n.machine.epoch
	n.machine.flying++
	n.w.judge.Flies(n.body, l.Name, 1)
	n.w.After(latency, func() {
		here := epoch == n.machine.epoch
		n.w.judge.Flies(n.body, l.Name, -1)
		if here || n.w.Now-n.cutAt < drain && n.w.rng.IntN(2) == 0 {
			l.Register(n.body, key)
		}
		if here {
			n.machine.flying--
			n.after(0, done)
		}
	})
}
