package core

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/advice"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// View returns what this node knows at now. It changes nothing.
func (c *Core) View(now ident.Instant) cluster.View {
	c.now = max(c.now, now)
	v := cluster.View{
		Now: c.now, Self: c.set.Self, Stage: c.self.stage.String(), Waiting: c.self.waiting, Inc: c.self.inc,
		State: c.reg.state, Timing: c.t,
	}
	if c.self.stage == starting {
		return v
	}
	v.Coordinator = c.coordinator()
	v.Lease = cluster.LeaseView{F: c.guard.promise.Used().F, G: c.guard.promise.Used().G, Held: c.timed && c.now <= c.leaseEnd(), Start: c.leaseStart(), Until: c.leaseEnd(), Grace: c.guard.grace.Since()}
	v.Disks = c.disks.Views(c.now)
	var course []string
	if s := c.reg.state; s != nil && c.timed {
		for i := range s.Nodes {
			n := &s.Nodes[i]
			v.Nodes = append(v.Nodes, c.nodeView(n))
			if ways := c.dec.ways.Ways(c.now, n, s.Conf); len(ways) > 0 {
				v.Fencing = append(v.Fencing, cluster.Readiness{Node: n.ID, Name: n.Name, Ways: ways})
			}
		}
		sight := c.sight(s)
		course, v.DiskWaits = decide.Warnings(s, sight), decide.DiskWaits(s, sight)
		allot.Show(&v, sight, c.runState)
	}
	v.Warnings = append(c.warnings(&v), course...)
	return v
}

// elsewhere says that another node could run a service now.
func (c *Core) elsewhere(service string) bool {
	return allot.Elsewhere(c.reg.state, c.sight(c.reg.state), service)
}

func (c *Core) nodeView(n *cluster.NodeState) cluster.NodeView {
	v := n.View()
	if n.ID == c.set.Self {
		v.Lease, v.Guard = c.lease(), cluster.GuardBound
		v.Watchdog = v.Lease.Class.String()
		v.DiskAge, v.NetAge = c.now.Sub(c.leaseStart()), 0
		if c.guard.bound.IsZero() {
			v.Guard, v.DiskAge = cluster.GuardNone, -1
		}
		v.Wait = c.t.W
		return v
	}
	p := c.peers[n.ID]
	if p == nil {
		return v
	}
	if p.Beat != nil {
		v.Guard, v.Lease = p.Beat.State, p.Beat.Lease
		v.Watchdog = v.Lease.Class.String()
	}
	if age, ok := p.Disk.Age(c.now); ok {
		v.DiskAge = age
		v.Wait = c.wait(p)
		if v.Fencing && age < v.Wait {
			v.Left = v.Wait - age
		}
	}
	if p.Heard != ident.LongAgo {
		v.NetAge = c.now.Sub(p.Heard)
	}
	return v
}

// warnings are what an administrator should know though nothing has failed yet.
func (c *Core) warnings(v *cluster.View) []string {
	var w []string
	if c.reg.halted {
		w = append(w, "the quorum disks show an older version than was committed: nothing is decided until they are mended and holdfastd is restarted here (systemctl restart holdfastd)")
	}
	if c.self.refuse != "" {
		w = append(w, c.self.refuse)
	}
	if p := c.guard.promise.Problem(); p != "" {
		w = append(w, p)
	}
	for _, p := range c.others {
		if text := p.Problem(c.now, time.Minute); text != "" && c.reg.state != nil {
			w = append(w, c.reg.state.NameOf(p.ID)+": "+text)
		}
	}
	if c.timed && c.reg.state != nil {
		w = append(w, c.guard.grace.Warnings(c.graceEnv())...)
	}
	return append(w, advice.Of(v)...)
}
