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
	sure, over := true, false
	back := func() {
		done := luns.ReadBack(a, list, n.body, &n.LUNs)
		if done.Gone, done.Drain = n.clock(), !sure; !over {
			over = true
			n.Give(done)
		}
	}
	if a.Kind == cluster.ReserveRegister {
		n.register(a, list, back)
		return
	}
	arrives, epoch, hang := func() bool { return true }, n.machine.epoch, time.Duration(0)
	if a.Kind == cluster.ReserveTake {
		arrives, hang = n.w.LUNs().Take(a, n.body, &n.LUNs), n.LUNs.Hang
	}
	answered := n.inLife(func() { n.later(n.w.Jitter(time.Millisecond, 20*time.Millisecond), back) })
	n.w.After(n.w.Jitter(2*time.Millisecond, 40*time.Millisecond)+hang, func() {
		if epoch == n.machine.epoch || n.straggles() {
			sure = arrives()
		}
		if epoch == n.machine.epoch {
			n.after(0, answered)
		}
	})
	if hang > a.Within {
		n.later(a.Within, func() {
			over = true
			n.w.LUNs().Counts.Hung++
			n.Give(cluster.ReserveDone{Op: a.Op, Text: "no answer in time"})
		})
	}
}

// straggles says that a command of a host that was reset arrives all the same.
func (n *Node) straggles() bool { return n.w.Now-n.cutAt < drain && n.w.rng.IntN(2) == 0 }

// uses has the processes of a service write to its LUNs for as long as they run.
// What was sent arrives whatever becomes of them, and lands within the drain time.
func (n *Node) uses(p *process, service string) {
	if n.running[service] != p {
		return
	}
	for i, l := range n.w.LUNs().Of(service) {
		if n.LUNs.Off(i) {
			continue
		}
		*p.writes++
		epoch := n.machine.epoch
		n.w.After(n.w.Jitter(time.Millisecond, 20*time.Millisecond), func() {
			if epoch != n.machine.epoch && !n.straggles() {
				return
			}
			w, wait := l.Accept(n.body, p.term), n.w.Jitter(0, 2*time.Millisecond)
			if w == nil {
				*p.writes--
				return
			}
			if n.LUNs.Queued || n.w.rng.IntN(16) == 0 {
				wait = n.w.Jitter(0, drain-100*time.Millisecond)
			}
			n.w.After(wait, func() {
				l.Land(w)
				*p.writes--
			})
		})
	}
	n.after(n.w.Jitter(100*time.Millisecond, 900*time.Millisecond), func() { n.uses(p, service) })
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
				n.Give(cluster.ReserveDone{Op: a.Op, InFlight: true, Text: "no answer in time"})
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
		if here || n.straggles() {
			l.Register(n.body, key)
		}
		if here {
			n.machine.flying--
			n.after(0, done)
		}
	})
}
