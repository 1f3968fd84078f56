package sim

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// restarts are guards and daemons that come again by themselves, each at a bad time.
func restarts() []fault {
	return []fault{
		{name: "guard or daemon restart around a claim", weight: 2, tells: true, strike: func(r *run) {
			n := r.node()
			n.PowerOff()
			n.PowerOn()
			n.OrderLag = r.between(20*time.Millisecond, 500*time.Millisecond)
			r.claiming(n, 600)
		}},
	}
}

// claims is the stage in which a daemon has asked its guard for an incarnation.
const claims = "binding the guard"

// claiming has the guard, the daemon, or both of a node restart when the daemon asks for
// an incarnation: before the guard has obeyed, or after that.
func (r *run) claiming(n *clustertest.Node, tries int) {
	if n.Core() == nil || n.View().Stage != claims {
		if tries > 0 && !r.healing {
			r.w.After(50*time.Millisecond, func() { r.claiming(n, tries-1) })
		}
		return
	}
	who, daemon := r.rng.IntN(3), r.between(10*time.Millisecond, 3*time.Second)
	r.later(0, n.OrderLag+50*time.Millisecond, func() {
		if n.OrderLag = 0; n.Core() != nil && n.View().Stage == claims {
			r.bites("guard or daemon restart around a claim")
		}
		if who != 0 {
			n.RestartGuard()
		}
		if who != 1 {
			n.KillDaemon()
			r.w.After(daemon, n.StartDaemon)
		}
	})
}
