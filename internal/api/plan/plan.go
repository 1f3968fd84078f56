// Package plan makes of two configurations what `holdfast plan` shows: what differs
// (difference.go), and what that does to every service, as the engine that will
// decide it foresees it (package foresee), with the time that it takes.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/foresee"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/guarded"
)

// assumed is what starting or stopping a service is taken to last where nothing was
// measured; a prediction says so in its text.
const assumed = 2 * time.Second

// Question is what is asked, and all that the answer is made of.
type Question struct {
	View   *cluster.View
	Next   *cluster.Config
	Text   string                // that Next is written in
	Lasted map[string]api.Lasted // what operations of services took lately, by name
	// Fits is what nodes were asked about the services that are new or changed, by the
	// node's name.
	Fits map[string][]api.Fitness
}

// Of compares a configuration with the present one and says what will happen.
func Of(q *Question) *api.Plan {
	p := planner{
		Question: q, now: &cluster.Config{},
		Plan: &api.Plan{Version: api.Version, Changes: []api.Change{}, Actions: []api.PlanAction{}, Others: []api.PlanAction{}},
	}
	s := q.View.State
	if s == nil {
		p.Problems = append(p.Problems, "the quorum disk was not read yet")
		return p.Plan
	}
	p.Config = s.ConfigRev
	if s.Conf != nil {
		p.now = s.Conf
	}
	p.compareCluster()
	p.compareServices()
	if len(p.Changes) == 0 && q.Text != string(s.Config) {
		p.change("text", "change", "its comments, its layout or its alerts; nothing of what runs is touched")
	}
	for _, f := range foresee.Of(q.View, q.Next, q.words()) {
		a := p.action(&f)
		if f.Problem != "" {
			p.Problems = append(p.Problems, f.Problem)
		}
		if f.Kind == foresee.Stays || f.Kind == foresee.Waits {
			p.Others = append(p.Others, a)
			continue
		}
		p.Actions = append(p.Actions, a)
	}
	var names []string
	for i := range s.Nodes {
		names = append(names, s.Nodes[i].Name)
	}
	p.Advice = append(guarded.Advice(q.Next, names), guarded.Left(s.Conf, q.Next)...)
	return p.Plan
}

// planner fills in a plan.
type planner struct {
	*Question
	*api.Plan
	now *cluster.Config
}

func (p *planner) change(what, kind, text string) {
	p.Changes = append(p.Changes, api.Change{What: what, Kind: kind, Text: text})
}

// action is a fate as it is shown, with what it takes.
func (p *planner) action(f *foresee.Fate) api.PlanAction {
	a := api.PlanAction{Service: f.Service, Action: string(f.Kind), From: f.From, To: f.To, Text: f.Why, Member: f.Member, Formerly: f.Formerly}
	switch f.Kind {
	case foresee.Starts:
		a.From = ""
		if f.Formerly != "" {
			p.interrupt(&a, f.Formerly)
		}
	case foresee.Moves, foresee.Restarts:
		p.interrupt(&a, f.Service)
	}
	if now, ok := p.now.Service(f.Service); ok && f.Kind == foresee.Moves && slices.ContainsFunc(now.Stack, func(m cluster.Member) bool { return m.Live }) {
		a.Text = strings.TrimPrefix(a.Text+"; ", "; ") + "live, paused for the hand-over, or shut down and booted if that does not work"
	}
	for _, c := range f.Nodes {
		a.Nodes = append(a.Nodes, p.candidate(f.Service, &c))
	}
	return a
}

// words are what nodes say that they lack.
func (q *Question) words() []foresee.Word {
	var list []foresee.Word
	for _, node := range slices.Sorted(maps.Keys(q.Fits)) {
		for _, x := range q.Fits[node] {
			if x.Verdict == api.FitLacks {
				list = append(list, foresee.Word{Node: node, Service: x.Service, Text: x.Text})
			}
		}
	}
	return list
}

// candidate is the verdict on a node, with what is not known of it: unknown is no
// objection, but it had better be seen before it matters.
func (p *planner) candidate(service string, c *cluster.Candidate) api.Candidate {
	out := api.Candidate{Node: c.Name, Able: c.Able, Reason: c.Reason, Remedy: c.Remedy}
	svc, ok := p.Next.Service(service)
	if !ok || !c.Able {
		return out
	}
	for _, x := range p.Fits[c.Name] {
		if x.Service != svc.Family() {
			continue
		}
		switch x.Verdict {
		case api.FitUnknown:
			out.Unknown = "whether it could run there is not known: " + x.Text
		case api.FitLacks: // it runs there now, so it is not moved away for that
			out.Unknown = "it runs there now, but for what is to come something is missing: " + x.Text
		}
	}
	return out
}

// interrupt predicts for how long a service is away: for its stop and its start, as
// they were measured under a name. A part of it takes no longer than the whole.
func (p *planner) interrupt(a *api.PlanAction, name string) {
	l := p.Lasted[name]
	a.Measured = l.Start != nil && l.Stop != nil
	stop, start := assumed, assumed
	if l.Stop != nil {
		stop = l.Stop.Duration()
	}
	if l.Start != nil {
		start = l.Start.Duration()
	}
	a.Interruption = api.Maybe(stop + start)
}

func (p *planner) compareCluster() {
	now, next, v := p.now, p.Next, p.View
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
	p.compareRest()
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
// want. Those that they have now count too: they may be the only ones that were
// measured.
func never(v *cluster.View, next *cluster.Config) error {
	if v.Timing.B == 0 {
		return nil
	}
	if _, err := v.Timing.Again(next.FailoverWithin, next.NetworkGrace()); err == nil {
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
