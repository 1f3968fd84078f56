package clustertest

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
)

// agentAfter runs f as a part of an operation, which has a process of its own: it
// goes on whatever becomes of the daemon that began it.
func (n *Node) agentAfter(d time.Duration, f func()) { n.after(d, n.orphans.Add(f)) }

// run is the runner: services take their time, and go on without the daemon. A
// stop interrupts a start.
func (n *Node) run(a cluster.Run) {
	name := a.Service.Name
	life := n.daemon.life
	done := func(o cluster.Outcome, text string) {
		ev := cluster.RunDone{Op: a.Op, Outcome: o, Text: text}
		if o != cluster.OK && a.Kind != cluster.RunStop && a.Kind != cluster.RunKill {
			ev.Member, ev.Stall, ev.Severity = len(a.Service.Stack), n.CheckHang.Stall, n.Reach
		}
		if life == n.daemon.life {
			n.Give(ev)
		}
	}
	switch a.Kind {
	case cluster.RunStart:
		if n.w.rng.IntN(10) == 0 { // its thread gets no processor for a while
			n.agentAfter(n.w.Jitter(0, time.Second), func() { n.start(a, done) })
			return
		}
		n.start(a, done)
	case cluster.RunStop, cluster.RunKill:
		if p := n.running[name]; p != nil {
			p.whole = false
			if p.interrupt != nil {
				n.later(time.Millisecond, p.interrupt)
				p.interrupt = nil
			}
		}
		var stop func()
		stop = func() {
			if n.StopFails {
				done(cluster.Failed, "still mounted")
				return
			}
			if p := n.running[name]; p != nil && *p.writes > 0 {
				n.later(20*time.Millisecond, stop)
				return
			}
			if a.From == 0 {
				delete(n.running, name)
				n.w.judge.Stops(n.body, name)
			}
			done(cluster.OK, "")
		}
		n.later(n.StopTime, stop)
	default:
		as := n.Faults.Faults // what hangs does so to its end
		n.later(as.Takes(a), func() { done(as.Outcome(a, n.running[name] != nil && n.running[name].whole)) })
	}
}

// start begins a start; a stop interrupts it.
func (n *Node) start(a cluster.Run, done func(cluster.Outcome, string)) {
	p := &process{term: a.Term, writes: new(int)}
	if old := n.running[a.Service.Name]; old != nil {
		p.writes = old.writes
	}
	p.interrupt = func() { done(cluster.Unknown, "interrupted") }
	n.running[a.Service.Name] = p // from the first moment on it may write
	if a.Service.Guarded() {
		n.w.judge.Stores(n.body, oracle.Grant{Service: a.Service.Name, Inc: n.guard.inc, Term: a.Term}, n.w.LUNs().Names(a.Service.Name), n.w.Now)
		n.uses(p, a.Service.Name)
	}
	if p.half = a.Storage; !a.Storage {
		n.w.judge.Runs(n.body, n.guard.inc, a.Service.Name, a.Term, n.w.Now)
	}
	n.agentAfter(n.StartTime, func() {
		if p.interrupt == nil {
			return // told already
		}
		p.interrupt = nil
		switch {
		case n.running[a.Service.Name] != p:
			done(cluster.Unknown, "stopped meanwhile")
		case n.StartFails:
			done(cluster.Failed, "exit status 1")
		default:
			p.whole = !p.half
			done(cluster.OK, "")
		}
	})
}
