package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/steps"
)

// StatusOf makes a status from facts; now is the wall clock, for people.
func StatusOf(f *Facts, now time.Time) *api.Status {
	v := &f.View
	s := &api.Status{
		Version: api.Version, Time: now.UTC(), Cluster: clusterOf(f), Self: selfOf(f),
		Nodes: []api.Node{}, Services: []api.Service{}, Disks: []api.Disk{}, DiskSet: diskSetOf(f), Links: f.Links, Watchdogs: f.Watchdogs,
		Failover: failoverOf(f), Fencing: fencingOf(v), Notes: api.Notes{Warnings: append(append([]string{}, v.Warnings...), f.Warnings...), Drills: f.Drills},
	}
	for i := range v.Nodes {
		s.Nodes = append(s.Nodes, nodeOf(f, &v.Nodes[i]))
	}
	for i := range v.Services {
		s.Services = append(s.Services, serviceOf(v, &v.Services[i]))
	}
	for i := range v.Disks {
		s.Disks = append(s.Disks, diskOf(f, &v.Disks[i]))
	}
	s.Warnings = append(s.Warnings, ownWarnings(f)...)
	s.Health = healthOf(f, s)
	s.Next = steps.Of(s)
	return s
}

func fencingOf(v *cluster.View) []api.Readiness {
	list := []api.Readiness{}
	for _, r := range v.Fencing {
		n := api.Readiness{Node: r.Name, Ways: []api.Way{}}
		for _, w := range r.Ways {
			n.Ways = append(n.Ways, wayOf(&w))
		}
		list = append(list, n)
	}
	return list
}

func wayOf(w *cluster.WayView) api.Way {
	v := api.Way{Way: w.Way, State: w.State, Text: w.Text, Age: api.Maybe(w.Age), Stale: w.Stale}
	if w.Took > 0 {
		v.Took = api.Maybe(w.Took)
	}
	if w.Tried != (cluster.Tally{}) {
		v.Tried = (*api.Tally)(&w.Tried)
	}
	return v
}

func clusterOf(f *Facts) api.ClusterInfo {
	v := &f.View
	c := api.ClusterInfo{ID: f.Cluster, ConfigProblem: f.ConfigProblem, Coordinator: nodeName(v, v.Coordinator)}
	if v.State != nil {
		c.State, c.Config, c.Membership = v.State.Ver, v.State.ConfigRev, v.State.View
		l := &v.State.Life
		c.Protocol, c.Stopped, c.Maintenance = int(max(l.Protocol, cluster.Protocol1)), l.Stop.On, maintenanceOf(v.State, &l.Maintenance)
		if v.State.Conf != nil {
			c.Name = v.State.Conf.Name
		}
	}
	return c
}

func selfOf(f *Facts) api.Self {
	v := &f.View
	s := api.Self{
		Name: f.Name, ID: int(v.Self), Stage: v.Stage, Waiting: v.Waiting, Emulated: f.Emulated,
		Build: f.Build, Life: f.Life, Holder: f.Holder, RealTime: f.RealTime, Guard: f.Guard, Incarnation: incarnation(v.Inc),
	}
	if v.Lease.Held {
		s.Lease, s.LeaseLength = api.Maybe(max(0, v.Lease.Until.Sub(v.Now))), api.Maybe(v.Lease.F)
	}
	return s
}

// ownWarnings are those that follow from facts which the core does not know.
func ownWarnings(f *Facts) []string {
	var list []string
	if f.Emulated {
		list = append(list, "EMULATED: this node lives in a power emulator; its watchdogs protect nothing real")
	}
	if f.ConfigProblem != "" {
		list = append(list, "the committed configuration cannot be read here: "+f.ConfigProblem)
	}
	if f.RealTime != "" {
		list = append(list, "the guard was refused: "+f.RealTime)
	}
	if f.Guard != guardConnected {
		list = append(list, "the guard: "+f.Guard)
	}
	for _, l := range f.Links {
		if !l.Up {
			list = append(list, fmt.Sprintf("link %d to %s is silent (%s to %s): %s", l.Index, l.Peer, l.Local, l.Remote, orElse(l.Error, "nothing arrives")))
		}
	}
	if d := f.Drills; d != nil && d.Running != nil {
		list = append(list, fmt.Sprintf("the drill %s is under way on this node; everything is as before in %s", d.Running.Kind, time.Until(d.Running.Ends).Round(time.Second)))
	}
	if d := f.Drills; d != nil && len(d.Overdue) > 0 {
		list = append(list, fmt.Sprintf("%s: %s (wanted every %d days; holdfast drill list)", overdueWord(len(d.Overdue)), strings.Join(d.Overdue, ", "), int(d.Every.Duration().Hours())/24))
	}
	for _, w := range f.Watchdogs {
		if w.Why != "" {
			list = append(list, fmt.Sprintf("watchdog %s is not qualified: %s", w.Path, w.Why))
		}
	}
	return list
}

func overdueWord(n int) string {
	if n == 1 {
		return "a drill is overdue"
	}
	return "drills are overdue"
}

// guardConnected is Facts.Guard when nothing is wrong.
const guardConnected = "connected"

func healthOf(f *Facts, s *api.Status) api.Health {
	health := api.Healthy
	worse := func(h api.Health) {
		if h == api.Critical || health == api.Healthy {
			health = h
		}
	}
	real := s.Warnings
	if f.Emulated {
		real = real[:0:0]
		for _, w := range s.Warnings {
			if len(w) < 8 || w[:8] != "EMULATED" {
				real = append(real, w)
			}
		}
	}
	if len(real) > 0 || s.Failover.Problem != "" {
		worse(api.Warning)
	}
	for i := range s.Services {
		svc := &s.Services[i]
		switch {
		case (svc.Stopped || s.Cluster.Stopped) && svc.State == cluster.Down.String(), svc.State == cluster.Up.String():
		case svc.State == cluster.Broken.String(), svc.State == cluster.Down.String(), svc.State == unknown:
			worse(api.Critical)
		default:
			worse(api.Warning)
		}
	}
	bad := 0
	for i := range s.Disks {
		if s.Disks[i].Error != "" {
			bad++
			worse(api.Warning)
		}
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Fencing || n.Phase != cluster.MemberPhase.String() {
			worse(api.Warning)
		}
	}
	if 2*bad > len(s.Disks) || s.Self.Stage != "member" || f.Guard != guardConnected {
		worse(api.Critical)
	}
	return health
}

func nodeOf(f *Facts, n *cluster.NodeView) api.Node {
	v := &f.View
	out := api.Node{
		ID: int(n.ID), Name: n.Name, Phase: n.Phase.String(), Guard: n.Guard.String(), Incarnation: incarnation(n.Inc),
		DiskAge: api.Maybe(n.DiskAge), NetAge: api.Maybe(n.NetAge), Standby: n.Standby, Fencing: n.Fencing,
		NodeWait: api.NodeWait{Wait: api.Of(n.Wait)}, NodeCourse: courseOf(v, n.ID), Watchdog: n.Watchdog, Proof: proofOf(v, n.Proof), Why: n.Why, Services: []string{},
	}
	if n.Fencing {
		out.Remaining = api.Maybe(max(0, n.Left))
	}
	for i := range v.Services {
		if s := &v.Services[i]; s.Owner == n.ID && s.State != cluster.Down {
			out.Services = append(out.Services, s.Name)
		}
	}
	return out
}

func serviceOf(v *cluster.View, s *cluster.ServiceView) api.Service {
	out := api.Service{
		Name: s.Name, State: s.State.String(), Node: nodeName(v, s.Owner), Term: s.Term, Text: s.Text, Why: s.Why,
		Stopped: s.Stopped, Frozen: s.Frozen, Wanted: nodeName(v, s.Want),
	}
	if v.Timing.Tsus > 0 && v.Silent(v.NodeOf(s.Owner)) { // what it said last is not what is
		out.State = unknown
	}
	if v.State != nil {
		if g := v.State.Grant(s.Name); g != nil {
			out.Maintenance = maintenanceOf(v.State, &g.Maintenance)
		}
	}
	return out
}

// unknown is the state of a service whose node shows no sign of life.
const unknown = "unknown"

func diskOf(f *Facts, d *cluster.DiskView) api.Disk {
	out := api.Disk{Index: d.Index, ID: d.UUID.String(), Age: api.Maybe(d.Age), Latency: api.Of(max(0, d.Latency)), Error: d.Err}
	if d.Index < len(f.DiskPaths) {
		out.Path = f.DiskPaths[d.Index]
	}
	return out
}

func proofOf(v *cluster.View, p cluster.Proof) *api.Proof {
	if p.Kind == cluster.NoProof {
		return nil
	}
	return &api.Proof{Kind: p.Kind.String(), Node: nodeName(v, p.Node), Incarnation: incarnation(p.Inc), By: nodeName(v, p.By), Text: p.Text}
}

func failoverOf(f *Facts) api.Failover {
	t, out := f.View.Timing, api.Failover{Last: f.Last, Expected: []api.Expected{}}
	if t.B == 0 {
		out.Problem = "the timeouts are not derived yet"
		if f.View.State != nil {
			out.Problem = orElse(f.View.Waiting, "failover_within does not fit this node's watchdogs; `holdfast timing` explains")
		}
		return out
	}
	out.Within, out.Expected = api.Of(t.B), expectedOf(t, f.View.State)
	return out
}

func costsOf(s *cluster.State) timing.Costs {
	if s == nil {
		return timing.Costs{}
	}
	return fencing.CostsOf(s.Conf)
}

func expectedOf(t timing.Table, s *cluster.State) []api.Expected {
	list := []api.Expected{}
	for _, e := range t.Expect(costsOf(s)) {
		list = append(list, api.Expected{Proof: e.Proof, Known: e.Known, Typical: api.Of(e.Typ), Worst: api.Of(e.Worst), Why: e.Why})
	}
	return list
}

// TimingOf makes the table of timeouts.
func TimingOf(f *Facts) *api.Timing {
	fo := failoverOf(f)
	out := &api.Timing{Version: api.Version, Within: fo.Within, Expected: fo.Expected, Problem: fo.Problem, Rows: []api.Row{}}
	if fo.Problem == "" {
		out.Failures = api.Failures(f.View.Timing.Failures(costsOf(f.View.State)))
		for _, r := range f.View.Timing.Explain() {
			out.Rows = append(out.Rows, api.Row{Name: r.Name, Value: api.Of(r.Value), Why: r.Why})
		}
		if l := f.View.Lease; l.F != 0 && l.F != f.View.Timing.F {
			out.Rows = append(out.Rows, api.Row{Name: "F in use", Value: api.Of(l.F), Why: "failover_within was changed: the lease lives by F once every beat behind it carries that"})
		}
	}
	return out
}

// nodeName is empty for no node.
func nodeName(v *cluster.View, id ident.NodeID) string {
	if id == 0 {
		return ""
	}
	return v.State.NameOf(id)
}

func incarnation(i ident.Incarnation) string {
	if i.IsZero() {
		return ""
	}
	return i.String()
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
