// Package rehearsal judges drills: what would happen, as the cluster's own engine has
// foretold it; why a drill must not be run now, and what to do about that; and whether
// it went as foretold, from what the nodes have noted. It is pure, and breaks nothing.
package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Drill is one that somebody wants to run.
type Drill struct {
	Kind    string `json:"kind"` // one of api.DrillKinds but fence
	Node    string `json:"node"` // where it happens
	Service string `json:"service,omitempty"`
	To      string `json:"to,omitempty"` // of a move
}

// Question is what the engine is asked.
func (d *Drill) Question() string {
	switch d.Kind {
	case api.DrillKillNode:
		return d.Node + " dies"
	case api.DrillFreezeNode:
		return d.Node + " freezes"
	case api.DrillCutDisk:
		return d.Node + " loses its disks"
	case api.DrillFailService:
		return "service " + d.Service + " fails once on " + d.Node
	case api.DrillMove:
		return "service " + d.Service + " moves to " + d.To
	}
	return "the network is cut"
}

// Does says what the drill does, in a sentence.
func (d *Drill) Does() string {
	switch d.Kind {
	case api.DrillKillNode:
		return d.Node + " is reset by its guard, at once and without a sync, as where its power fails: a message in its mailbox on the quorum disks says so"
	case api.DrillFreezeNode:
		return "the guard and the daemon of " + d.Node + " are stopped, as if the machine hung; its watchdogs reset it"
	case api.DrillCutDisk:
		return d.Node + " reaches no quorum disk for a while: its guard and its daemon make no request to them"
	case api.DrillCutNetwork:
		return "what the nodes say to each other is dropped on " + d.Node + " for a while, by rules of nftables that end by themselves"
	case api.DrillFailService:
		return "a check of " + d.Service + " on " + d.Node + " says that it has failed"
	}
	return d.Service + " is moved to " + d.To + ", and back to " + d.Node
}

// Loses says that the node is lost by it.
func (d *Drill) Loses() bool { return d.Kind == api.DrillKillNode || d.Kind == api.DrillFreezeNode }

// disrupts says that it touches how nodes reach each other or the disks, or a node as
// a whole: all of that has to be whole before.
func (d *Drill) disrupts() bool {
	return d.Loses() || d.Kind == api.DrillCutDisk || d.Kind == api.DrillCutNetwork
}

// World is what is known before a drill.
type World struct {
	Status  *api.Status
	Timing  *api.Timing
	Told    *api.Simulation // what the engine foretells; nil: Unknown says why
	Unknown string
	Running map[string]*api.DrillRun // the drills under way, by node
	Nowhere string                   // why the service of a move could run nowhere else
}

// Refusal is why a drill must not be run now, and what to do about it.
type Refusal struct {
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

// Refusals says why the drill must not be run now; none: the cluster survives it.
func Refusals(d *Drill, w *World) []Refusal {
	var list []Refusal
	add := func(remedy, why string, args ...any) { list = append(list, Refusal{fmt.Sprintf(why, args...), remedy}) }
	s := w.Status
	n := Node(s, d.Node)
	switch {
	case n == nil:
		add("holdfast status lists the nodes", "there is no node %q", d.Node)
		return list
	case n.Phase != "member" || n.Fencing:
		add("holdfast explain node "+n.Name, "%s is no member now: a drill shows nothing of a node that is not well", n.Name)
		return list
	case s.Self.Stage != "member":
		add("holdfast status", "this node is no member now (%s), and would not see how it goes on", s.Self.Stage)
	case d.Loses() && n.Name == s.Self.Name:
		add(fmt.Sprintf("on another node: holdfast drill %s --node %s", d.Kind, n.Name), "%s is this node, which would not see how it goes on", n.Name)
	}
	for node, r := range w.Running {
		add("holdfast drill list", "the drill %s is under way on %s; it is over at %s", r.Kind, node, r.Ends.Local().Format("15:04:05"))
	}
	refuseService(d, w, add)
	refuseDegraded(d, s, add)
	refuseHeld(s, add)
	if d.disrupts() && d.Kind != api.DrillCutNetwork {
		refuseFencing(d, s, add)
	}
	if len(list) == 0 { // else the engine would tell of a world that is not whole
		refuseForetold(d, w, add)
	}
	return list
}

type adder func(remedy, why string, args ...any)

// Node finds a node; nil: there is none.
func Node(s *api.Status, name string) *api.Node {
	i := slices.IndexFunc(s.Nodes, func(n api.Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Nodes[i]
}

// Service finds a service; nil: there is none.
func Service(s *api.Status, name string) *api.Service {
	i := slices.IndexFunc(s.Services, func(v api.Service) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Services[i]
}

// refuseService: the service that a drill is about runs on its node.
func refuseService(d *Drill, w *World, add adder) {
	if d.Service == "" {
		return
	}
	switch v := Service(w.Status, d.Service); {
	case v == nil:
		add("holdfast status lists the services", "there is no service %q", d.Service)
	case v.Node != d.Node || v.State != "running":
		add("holdfast explain "+d.Service, "%s does not run on %s", d.Service, d.Node)
	case d.Kind == api.DrillMove && d.To == "":
		add("holdfast explain "+d.Service, "%s could run nowhere else now: %s", d.Service, w.Nowhere)
	}
}

// refuseDegraded: a drill is one fault, and the cluster is made to survive one.
func refuseDegraded(d *Drill, s *api.Status, add adder) {
	if s.DiskSet.Stage != "" && s.DiskSet.Stage != api.DisksSettled {
		add("holdfast status", "the set of quorum disks is being changed")
	}
	for i := range s.Services {
		if v := &s.Services[i]; !v.Stopped && v.State != "running" {
			add("holdfast explain "+v.Name, "%s does not run (%s): a drill begins with everything well", v.Name, v.State)
		}
	}
	if !d.disrupts() {
		return
	}
	for _, k := range s.Disks {
		if k.Error != "" || k.Age == nil {
			add(`holdfast doctor --section "quorum disks"`, "quorum disk %d does not answer: the next fault may be one too many", k.Index+1)
		}
	}
	for _, l := range s.Links {
		if !l.Up {
			add("holdfast doctor --section links", "link %d to %s is silent: the next fault may be one too many", l.Index, l.Peer)
		}
	}
	if d.Kind != api.DrillCutNetwork && s.Failover.Problem != "" {
		add("holdfast timing", "no takeover by time is possible: %s", s.Failover.Problem)
	}
}

// refuseHeld: what somebody holds still would not be taken over.
func refuseHeld(s *api.Status, add adder) {
	switch {
	case s.Cluster.Stopped:
		add("holdfast cluster start", "the cluster is stopped, as planned")
	case s.Cluster.Maintenance != nil:
		add("holdfast cluster maintenance --off", "the cluster is in maintenance")
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Maintenance != nil {
			add("holdfast node maintenance "+n.Name+" --off", "%s is in maintenance", n.Name)
		}
	}
	for i := range s.Services {
		switch v := &s.Services[i]; {
		case v.Maintenance != nil:
			add("holdfast service maintenance "+v.Name+" --off", "%s is in maintenance", v.Name)
		case v.Frozen:
			add("holdfast service unfreeze "+v.Name, "%s is frozen", v.Name)
		}
	}
}

// refuseFencing: each way to fence the node works.
func refuseFencing(d *Drill, s *api.Status, add adder) {
	for _, r := range s.Fencing {
		for _, w := range r.Ways {
			if r.Node == d.Node && (w.State != "works" && w.State != "always there" || w.Stale) {
				add("holdfast drill fence "+d.Node, "the way %s to fence %s is not known to work (%s)", w.Way, d.Node, strings.TrimSpace(w.State+" "+w.Text))
			}
		}
	}
}

// refuseForetold: every service that runs would run again, and nothing would be left
// that nobody could be sure of.
func refuseForetold(d *Drill, w *World, add adder) {
	if w.Told == nil {
		add("holdfast status", "what would happen is not known: %s", w.Unknown)
		return
	}
	for i := range w.Told.Services {
		f := &w.Told.Services[i]
		if f.From != "" && !f.Runs {
			add(remedyFor(f), "%s would end: %s", f.Name, f.Why)
		}
		if f.Name == d.Service && d.Kind == api.DrillMove && f.To == f.From {
			add("holdfast explain "+f.Name, "%s would not move: %s", f.Name, f.Why)
		}
	}
	for _, n := range w.Told.Nodes {
		if n.Proof == nil {
			add("holdfast timing", "nobody could be sure of the end of %s: %s", n.Name, n.Why)
		}
	}
}

func remedyFor(f *api.Foretold) string {
	for _, c := range f.Candidates {
		if c.Node != f.From && c.Remedy != "" {
			return c.Remedy
		}
	}
	return "holdfast explain " + f.Name
}
