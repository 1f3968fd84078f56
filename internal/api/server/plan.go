package server

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// assumedStart is what starting or stopping a service is taken to last where
// nothing was measured; a prediction says so in its text.
const assumedStart = 2 * time.Second

// PlanOf compares a new configuration with the present one and says what will
// happen, in order: first what stops, then what starts.
func PlanOf(f *Facts, next *cluster.Config) *api.Plan {
	p := planner{&api.Plan{Version: api.Version, Changes: []api.Change{}, Actions: []api.PlanAction{}}}
	v := &f.View
	now := &cluster.Config{}
	if v.State != nil {
		p.Config = v.State.ConfigRev
		if v.State.Conf != nil {
			now = v.State.Conf
		}
	}
	p.compareCluster(v, now, next)
	var stops, starts []api.PlanAction
	for i := range now.Services {
		old := &now.Services[i]
		if _, stays := next.Service(old.Name); stays {
			continue
		}
		p.change("service "+old.Name, "remove", describe(old))
		if node := runsOn(v, old.Name); node != "" {
			stops = append(stops, api.PlanAction{Service: old.Name, Action: "stop", From: node, Text: "stop it on " + node + " for good"})
		}
	}
	for i := range next.Services {
		one := &next.Services[i]
		old, known := now.Service(one.Name)
		switch {
		case !known:
			p.change("service "+one.Name, "add", describe(one))
			starts = append(starts, p.start(v, one))
		case !reflect.DeepEqual(old, one):
			p.change("service "+one.Name, "change", difference(old, one))
			starts = append(starts, p.alter(v, old, one)...)
		}
	}
	p.Actions = append(append(p.Actions, stops...), starts...)
	return p.Plan
}

// planner fills in a plan.
type planner struct{ *api.Plan }

func (p planner) change(what, kind, text string) {
	p.Changes = append(p.Changes, api.Change{What: what, Kind: kind, Text: text})
}

func (p planner) compareCluster(v *cluster.View, now, next *cluster.Config) {
	if now.Name != "" && now.Name != next.Name {
		p.Problems = append(p.Problems, fmt.Sprintf("the cluster is named %s; its name cannot be changed to %s", now.Name, next.Name))
	}
	if now.FailoverWithin != next.FailoverWithin {
		p.change("cluster", "change", fmt.Sprintf("failover_within: %v -> %v; %s", now.FailoverWithin, next.FailoverWithin, retimed(v, next)))
	}
	if now.NetworkGrace() != next.NetworkGrace() {
		p.change("cluster", "change", fmt.Sprintf("on_disk_loss: %s -> %s; %s", keepWord(now), keepWord(next), retimed(v, next)))
	}
	if now.FailoverWithin != next.FailoverWithin || now.NetworkGrace() != next.NetworkGrace() {
		if err := never(v, next); err != nil {
			p.Problems = append(p.Problems, err.Error())
		}
	}
	if !reflect.DeepEqual(now.Fencing, next.Fencing) {
		p.change("fencing", "change", "the ways of fencing")
	}
}

// retimed says when changed timeouts take effect on a running cluster. What this
// node would do it knows; another node, with other watchdogs, says it in its status.
func retimed(v *cluster.View, next *cluster.Config) string {
	if v.Timing.B == 0 {
		return "each node takes it over at once, or when it has joined"
	}
	if _, err := v.Timing.Again(next.FailoverWithin, next.NetworkGrace()); err != nil {
		return "this node keeps its timeouts until its next incarnation, because its watchdogs stay as they are set: " + err.Error()
	}
	return "takes effect at once, while services run; a longer lease counts as soon as the beats of a node carry it"
}

// never says why this node could not live by the configured timeouts in any
// incarnation, whatever its watchdogs are set to: after its next start it would not
// join any more. What waits for other timeouts of its watchdogs is for the admin to
// want.
func never(v *cluster.View, next *cluster.Config) error {
	if v.Timing.B == 0 {
		return nil
	}
	in := v.Timing.Input()
	in.FailoverWithin, in.Grace = next.FailoverWithin, next.NetworkGrace()
	in.Devices = slices.Clone(in.Devices)
	for i := range in.Devices {
		in.Devices[i].Timeout = 0
	}
	_, err := timing.Derive(in)
	return err
}

func keepWord(c *cluster.Config) string {
	if c.KeepOnDiskLoss {
		return "keep"
	}
	return fmt.Sprintf("stop after %v", c.Grace)
}

// start says where a new service will go: the first member that its rules allow.
func (p planner) start(v *cluster.View, s *cluster.Service) api.PlanAction {
	node := firstAllowed(v, s)
	if node == "" {
		p.Problems = append(p.Problems, fmt.Sprintf("service %s: no member may run it (only: %s; never: %s)", s.Name, orElse(join(s.Only), "any"), orElse(join(s.Never), "none")))
		return api.PlanAction{Service: s.Name, Action: "start", Text: "it would wait for a node that may run it"}
	}
	return api.PlanAction{Service: s.Name, Action: "start", To: node, Text: "start it on " + node}
}

// alter says what a changed service goes through.
func (p planner) alter(v *cluster.View, old, next *cluster.Service) []api.PlanAction {
	node := runsOn(v, next.Name)
	if node == "" {
		return nil
	}
	if slices.Contains(next.Never, node) || len(next.Only) > 0 && !slices.Contains(next.Only, node) {
		a := api.PlanAction{Service: next.Name, Action: "move", From: node, To: firstAllowed(v, next), Interruption: api.Maybe(2 * assumedStart)}
		if a.To == "" {
			p.Problems = append(p.Problems, fmt.Sprintf("service %s: it may no longer run on %s, and no other member may run it", next.Name, node))
		}
		a.Text = fmt.Sprintf("%s may no longer run it: stop it there, start it on %s", node, orElse(a.To, "no node"))
		return []api.PlanAction{a}
	}
	if reflect.DeepEqual(old.Stack, next.Stack) {
		return nil
	}
	return []api.PlanAction{{
		Service: next.Name, Action: "restart", From: node, To: node, Interruption: api.Maybe(2 * assumedStart),
		Text: "its stack has changed: restart it on " + node + " (some seconds; as long as its stop and start take)",
	}}
}

// runsOn is the node that runs, or is about to run, a service.
func runsOn(v *cluster.View, service string) string {
	for i := range v.Services {
		if s := &v.Services[i]; s.Name == service && s.State != cluster.Down {
			return nodeName(v, s.Owner)
		}
	}
	return ""
}

// firstAllowed is the first member by preference that the rules allow.
func firstAllowed(v *cluster.View, s *cluster.Service) string {
	var members []string
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Phase == cluster.MemberPhase && !n.Standby && !n.Fencing {
			members = append(members, n.Name)
		}
	}
	for _, name := range append(slices.Clone(s.Prefer), members...) {
		allowed := !slices.Contains(s.Never, name) && (len(s.Only) == 0 || slices.Contains(s.Only, name))
		if allowed && slices.Contains(members, name) {
			return name
		}
	}
	return ""
}

func describe(s *cluster.Service) string {
	var kinds []string
	for i := range s.Stack {
		kinds = append(kinds, s.Stack[i].ID)
	}
	return "stack: " + orElse(strings.Join(kinds, ", "), "empty")
}

// difference names the parts in which two services differ.
func difference(old, next *cluster.Service) string {
	var parts []string
	say := func(name string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			parts = append(parts, fmt.Sprintf("%s: %v -> %v", name, a, b))
		}
	}
	say("prefer", old.Prefer, next.Prefer)
	say("only", old.Only, next.Only)
	say("never", old.Never, next.Never)
	say("priority", old.Priority, next.Priority)
	say("after", old.After, next.After)
	say("with", old.With, next.With)
	say("apart_from", old.ApartFrom, next.ApartFrom)
	if old.Failback != next.Failback {
		parts = append(parts, "failback")
	}
	if old.Restarts != next.Restarts {
		parts = append(parts, fmt.Sprintf("restarts: %d in %v -> %d in %v", old.Restarts.Count, old.Restarts.Within, next.Restarts.Count, next.Restarts.Within))
	}
	if old.QuickStop != next.QuickStop {
		parts = append(parts, "quick-stop")
	}
	return strings.Join(append(parts, stackDifference(old, next)...), "; ")
}

func stackDifference(old, next *cluster.Service) []string {
	var parts []string
	find := func(s *cluster.Service, id string) *cluster.Member {
		for i := range s.Stack {
			if s.Stack[i].ID == id {
				return &s.Stack[i]
			}
		}
		return nil
	}
	for i := range old.Stack {
		o := &old.Stack[i]
		switch n := find(next, o.ID); {
		case n == nil:
			parts = append(parts, "stack: without "+o.ID)
		case !bytes.Equal(n.Spec, o.Spec):
			parts = append(parts, fmt.Sprintf("stack: %s: %s -> %s", o.ID, o.Spec, n.Spec))
		case !reflect.DeepEqual(*n, *o):
			parts = append(parts, fmt.Sprintf("stack: timeouts of %s", o.ID))
		}
	}
	for i := range next.Stack {
		if find(old, next.Stack[i].ID) == nil {
			parts = append(parts, "stack: with "+next.Stack[i].ID)
		}
	}
	return parts
}
