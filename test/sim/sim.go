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
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
)

// Trouble is how long the faults go on in one run.
const Trouble = 4 * time.Minute

// recovery bounds the time from the end of the last fault to a whole cluster:
// a reboot, the wait for a node that might still run, joining, starting.
const recovery = 4 * time.Minute

// run is one seed's story.
type run struct {
	w      *clustertest.World
	rng    *rand.Rand
	conf   cluster.Config
	faults []fault
}

// fault is one kind of trouble; it ends by itself, or at the healing.
type fault struct {
	name   string
	weight int
	strike func(r *run)
}

// Run tells the story of a seed and returns the world at its end. It fails t if
// a rule was broken or the cluster does not recover.
func Run(t clustertest.T, seed uint64) *clustertest.World {
	t.Helper()
	r := &run{rng: rand.New(rand.NewPCG(seed, 99))}
	nodes := 2 + r.rng.IntN(4)
	disks := 1
	if r.rng.IntN(2) == 0 {
		disks = 3
	}
	within := 5*time.Second + time.Duration(r.rng.IntN(31))*500*time.Millisecond
	r.conf = cluster.Config{Name: "sim", FailoverWithin: within}
	for i := range 1 + r.rng.IntN(5) {
		r.conf.Services = append(r.conf.Services, r.service(i, nodes))
	}
	r.w = clustertest.New(t, clustertest.Options{Seed: seed, Nodes: nodes, Disks: disks, Within: within, Services: r.conf.Services})
	r.pickFaults()
	r.w.Boot()
	for end := r.w.Now + Trouble; r.w.Now < end; {
		r.w.Run(r.between(100*time.Millisecond, 12*time.Second))
		r.strike()
	}
	r.heal()
	return r.w
}

func (r *run) between(a, b time.Duration) time.Duration {
	return a + time.Duration(r.rng.Int64N(int64(b-a)+1))
}

func (r *run) node() *clustertest.Node { return r.w.Nodes[r.rng.IntN(len(r.w.Nodes))] }

func (r *run) someService() string {
	return r.conf.Services[r.rng.IntN(len(r.conf.Services))].Name
}

// service makes a service with random rules.
func (r *run) service(i, nodes int) cluster.Service {
	s := cluster.Service{Name: fmt.Sprintf("s%d", i), Priority: r.rng.IntN(3)}
	s.Stack = []cluster.Member{{ID: "exec", Kind: "exec", CheckEvery: time.Duration(1+r.rng.IntN(5)) * time.Second}}
	for _, n := range r.rng.Perm(nodes) {
		if r.rng.IntN(2) == 0 {
			s.Prefer = append(s.Prefer, clustertest.NodeName(n+1))
		}
	}
	if r.rng.IntN(3) == 0 {
		s.Failback = cluster.Failback{Mode: cluster.Automatic, After: r.between(time.Second, 20*time.Second)}
	}
	if r.rng.IntN(2) == 0 {
		s.Restarts = cluster.Budget{Count: 1 + r.rng.IntN(2), Within: 15 * time.Minute}
	}
	if i > 0 && r.rng.IntN(4) == 0 {
		s.After = []string{fmt.Sprintf("s%d", i-1)}
	}
	return s
}

// pickFaults chooses which kinds of trouble this seed knows: fewer kinds at a
// time go deeper than all of them together.
func (r *run) pickFaults() {
	for _, f := range all() {
		if r.rng.IntN(3) > 0 {
			f.weight *= 1 + r.rng.IntN(3)
			r.faults = append(r.faults, f)
		}
	}
	if len(r.faults) == 0 {
		r.faults = all()
	}
}

func (r *run) strike() {
	total := 0
	for _, f := range r.faults {
		total += f.weight
	}
	at := r.rng.IntN(total)
	for _, f := range r.faults {
		if at -= f.weight; at < 0 {
			r.w.Happened(f.name)
			f.strike(r)
			return
		}
	}
}

// heal ends every fault, asks for what an administrator would ask for, and
// waits for the cluster to be whole.
func (r *run) heal() {
	r.w.Happened("healing")
	r.w.CutNetwork(false)
	r.w.Loss, r.w.Dup = 0, 0
	for d, k := range r.w.Disks {
		k.Slow = 1
		for _, n := range r.w.Nodes {
			n.DiskCut[d] = false
			n.Unhang(d)
		}
	}
	for _, n := range r.w.Nodes {
		n.StopFails, n.StartFails, n.CheckFails, n.NoReboot = false, false, false, false
		n.StartTime, n.StopTime = 300*time.Millisecond, 200*time.Millisecond
		n.RegDrops, n.RegLate = 0, 0
		r.w.Blind(n, false)
		if n.Frozen {
			n.Thaw()
		}
		n.Resume()
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
		}
		r.w.Run(100 * time.Millisecond)
	}
}

// tidy is what an administrator does after a bad day.
func (r *run) tidy() {
	for _, n := range r.w.Nodes {
		n.PowerOn()
		n.StartDaemon()
	}
	c := r.w.Nodes[r.rng.IntN(len(r.w.Nodes))]
	if v := c.View(); v.Stage == "member" {
		for _, n := range r.w.Nodes { // in order: the lowest free slot is taken
			if v.State.NodeNamed(n.Name) == nil {
				c.Ask(cluster.AddNode{Name: n.Name})
			}
		}
	}
	c.Ask(r.w.Configure(r.conf))
	for _, n := range r.w.Nodes {
		c.Ask(cluster.StandbyNode{Node: n.Name, On: false})
	}
	for i := range r.conf.Services {
		name := r.conf.Services[i].Name
		c.Ask(cluster.FreezeService{Service: name, On: false})
		c.Ask(cluster.ClearService{Service: name})
		c.Ask(cluster.StartService{Service: name})
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
	for i := range r.conf.Services {
		name := r.conf.Services[i].Name
		if !r.w.Running(name) {
			return name + " does not run"
		}
	}
	return ""
}
