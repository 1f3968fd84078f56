// Package sim runs whole clusters through random faults in virtual time and then
// demands that they recover. A seed decides everything: how many nodes, disks
// and services there are, how long a failover may take, which faults are in the
// air, and when each of them strikes. During the faults safety is checked at
// every step (see package clustertest); after them everything is healed, and
// every node must be a member and every service up within a bound.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/members"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/wire"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/held"
	"github.com/holdfast-ha/holdfast/test/sim/post"
)

// recovery bounds the time from the end of the last fault to a whole cluster:
// a reboot, the wait for a node that might still run, joining, starting.
const recovery = 4 * time.Minute

// run is one story as it is told.
type run struct {
	w      *clustertest.World
	plan   Plan
	faults map[string]fault // by name
	rng    *rand.Rand       // of the fault that strikes
	conf   cluster.Config
	least  time.Duration // failover_within
	twins  []*clustertest.Node
	// A disk that may have forgotten something, and those that were replaced.
	spoilt *clustertest.Disk
	given  []*clustertest.Disk
	// healing: every fault has ended, and those that go on by themselves end.
	healing bool
	stalled bool // the array holds every request back
}

// Run tells a plan's story and returns the world at its end. It fails t if a rule
// was broken or the cluster does not recover.
func Run(t clustertest.T, p Plan) *clustertest.World {
	t.Helper()
	return tell(t, p, nil)
}

// begin makes the world of a plan, switched off; change may change its options.
func begin(t clustertest.T, p Plan, change func(*clustertest.Options)) *run {
	r := &run{plan: p, rng: rand.New(rand.NewPCG(p.Seed, 7)), least: leastWithin(p)}
	r.conf = cluster.Config{Name: "sim", FailoverWithin: p.Within, Services: p.Services, Fencing: p.ways(), PowerOn: p.PowerOn}
	p.apply(&r.conf)
	o := clustertest.Options{
		Seed: p.Seed, Nodes: p.Nodes, Disks: p.Disks, Within: p.Within, Services: p.Services, Timing: p.hardware, Pause: p.Pause,
		Configure: p.apply, Fencing: p.ways(), PowerOn: p.PowerOn,
	}
	if change != nil {
		change(&o)
	}
	r.w = clustertest.New(t, o)
	if r.w.Held = stand; p.Sealed {
		r.w.Links = open
	}
	r.faults = map[string]fault{}
	for _, f := range all() {
		r.faults[f.name] = f
	}
	return r
}

// strike lets a fault strike now.
func (r *run) strike(s Strike) {
	r.rng = rand.New(rand.NewPCG(s.Seed, 1))
	r.w.Happened(s.Kind)
	r.faults[s.Kind].strike(r)
}

// tell is Run that shows the world as soon as there is one.
func tell(t clustertest.T, p Plan, show func(*clustertest.World)) *clustertest.World {
	r := begin(t, p, nil)
	if show != nil {
		show(r.w)
	}
	r.w.Boot()
	for _, s := range p.Strikes {
		r.w.Run(s.At - r.w.Now)
		r.strike(s)
	}
	r.w.Run(p.Length - r.w.Now)
	r.look()
	if !p.Unhealed {
		r.heal()
	}
	return r.w
}

func (r *run) between(a, b time.Duration) time.Duration { return between(r.rng, a, b) }

func (r *run) node() *clustertest.Node { return r.w.Nodes[r.rng.IntN(len(r.w.Nodes))] }

// bites notes that a kind of fault had an effect.
func (r *run) bites(kind string) { r.w.Tally.Effect(kind) }

func (r *run) someService() string {
	return r.conf.Services[r.rng.IntN(len(r.conf.Services))].Name
}

// open opens links with the real codec.
func open(self ident.NodeID, boot ident.BootID, nodes int, now func() ident.Instant) (wire.Links, error) {
	return post.New(self, boot, nodes, now)
}

// stand is what stands in for a core that panicked too often.
func stand(self ident.NodeID, ver uint64, count int) clustertest.Decider {
	return held.New(held.Record{Ver: ver, Count: count, Build: "simulated", Text: "told to"}, self)
}

// look notes which rules had an effect.
func (r *run) look() {
	for i := range r.w.Notes {
		if n := &r.w.Notes[i]; n.Kind == cluster.NoteFencing && strings.Contains(n.Text, evicts) {
			r.bites(evicts)
			break
		}
	}
	if r.w.Tally.Effects[tally.Replayed] > 0 {
		r.bites(sealed)
	}
	if r.w.Tally.Effects[tally.Graced] > 0 {
		if r.plan.Keeps {
			r.bites(keeps)
		} else {
			r.bites(graced)
		}
	}
	if r.w.Tally.Takeovers[cluster.ProofReservation] > 0 {
		r.bites(guarded)
	}
	for effect, n := range map[string]int{refused: r.w.LUNs().Counts.Refused, aborted: r.w.LUNs().Counts.Aborted, late: r.w.LUNs().Counts.Late} {
		if n > 0 {
			r.bites(effect)
		}
	}
}

// heal ends every fault, asks for what an administrator would ask for, and
// waits for the cluster to be whole.
func (r *run) heal() {
	r.w.Happened("healing")
	r.healing = true
	r.w.Mend()
	for d, k := range r.w.Disks {
		k.Slow, k.Errors, k.Gone = 1, 0, slices.Contains(r.given, k)
		for _, n := range r.w.Nodes {
			n.DiskCut[d], n.ReadOnly[d], n.Clones[d] = false, false, false
			n.Unhang(d)
		}
	}
	for _, n := range r.twins {
		n.PowerOff()
	}
	for _, n := range r.w.Nodes {
		n.BMC = clustertest.Honest
		n.LUNs = luns.Faults{}
		n.StopFails, n.StartFails, n.CheckFails, n.NoReboot, n.CheckHang = false, false, false, false, members.Hang{}
		n.StartTime, n.StopTime = 300*time.Millisecond, 200*time.Millisecond
		n.RegDrops, n.RegLate, n.OrderLag = 0, 0, 0
		r.w.Blind(n, false)
		n.Wake()
		if n.Frozen {
			n.Thaw()
		}
		n.ResumeGuard()
		n.Resume()
		n.Repair()
		n.OwnBlade()
	}
	r.w.Run(time.Second) // the last wishes of the troubled time are fulfilled first
	r.tidy()
	r.w.Run(2 * time.Second)
	r.recover(recovery, true)
	r.w.Run(30 * time.Second) // services may go back to nodes that they prefer
	r.recover(30*time.Second, false)
}

func (r *run) recover(within time.Duration, tidy bool) {
	end := r.w.Now + within
	for step := 0; !r.whole(); step++ {
		if r.w.Now > end {
			r.w.Fail("the cluster has not recovered within %s: %s", within, r.missing())
		}
		if tidy && step%50 == 0 {
			r.tidy()
			r.confirm()
		}
		r.w.Run(100 * time.Millisecond)
	}
}

// tidy is what an administrator does after a bad day.
func (r *run) tidy() {
	for _, n := range r.w.Nodes {
		n.PowerOn()
		if n.Core() != nil && strings.Contains(n.View().Waiting, "rolled back") {
			n.KillDaemon() // it says so: what it has read once it holds for all that there is
		}
		n.StartDaemon()
	}
	for _, n := range r.w.Nodes {
		// The machine that had this node's disk before is off, and nothing but an
		// operator may say so where silence proves nothing.
		if n.Core() != nil && strings.Contains(n.View().Waiting, "has to be proven dead first") {
			n.Ask(cluster.ConfirmOff{Node: n.Name, Operator: "ann", How: "looked"})
			r.ask(cluster.ConfirmOff{Node: n.Name, Operator: "ann", How: "looked"})
		}
	}
	c := r.w.Nodes[r.rng.IntN(len(r.w.Nodes))]
	if v := c.View(); v.Stage == "member" {
		for _, n := range r.w.Nodes {
			// One after the other: the lowest free slot is taken, and it has to be
			// the machine's own. A slot in which somebody beat lately is not free, so
			// it may take more than one try.
			if in := v.State.NodeNamed(n.Name); in == nil {
				c.Ask(cluster.AddNode{Name: n.Name})
				break
			} else if in.ID != n.ID {
				c.Ask(cluster.RemoveNode{Node: n.Name})
				break
			}
		}
	}
	c.Ask(r.w.Configure(r.conf))
	c.Ask(cluster.StartCluster{})
	c.Ask(cluster.Maintain{})
	for _, n := range r.w.Nodes {
		c.Ask(cluster.Maintain{Node: n.Name})
		c.Ask(cluster.StandbyNode{Node: n.Name, On: false})
	}
	for i := range r.conf.Services {
		name := r.conf.Services[i].Name
		c.Ask(cluster.Maintain{Service: name})
		c.Ask(cluster.FreezeService{Service: name, On: false})
		c.Ask(cluster.ClearService{Service: name})
		c.Ask(cluster.StartService{Service: name})
	}
}

// confirm says, where a node waits for the end of another machine that had its
// slot, that this is off: it has been since the healing began.
func (r *run) confirm() {
	for _, n := range r.w.Nodes {
		if strings.Contains(n.View().Waiting, "confirm-off "+n.Name) {
			n.Ask(cluster.ConfirmOff{Node: n.Name, Operator: "ann", How: "looked"})
		}
	}
}

func (r *run) whole() bool { return r.missing() == "" }

// missing says what is not as it should be; empty if everything is.
func (r *run) missing() string {
	for _, n := range r.w.Nodes {
		if n.Core() == nil {
			return n.Name + " has no daemon"
		}
		v := n.View()
		if v.Stage != "member" {
			return fmt.Sprintf("%s is %s (%s)", n.Name, v.Stage, v.Waiting)
		}
	}
	if r.spoilt != nil {
		return "the replacement of quorum disk " + r.spoilt.UUID.String()
	}
	for i := range r.conf.Services {
		name := r.conf.Services[i].Name
		if !r.w.Running(name) {
			return name + " does not run"
		}
	}
	return ""
}
