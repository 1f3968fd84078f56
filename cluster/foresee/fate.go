package foresee

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/placement"
	"github.com/holdfast-ha/holdfast/cluster/services"
)

// fate tells what becomes of a service that the new configuration has.
func (f *forecast) fate(g *cluster.Grant) Fate {
	out := Fate{Service: g.Service, Formerly: f.renamed[g.Service]}
	i, _ := f.book.Index(g.Service)
	for _, c := range f.stand.Judge(i) {
		out.Nodes = append(out.Nodes, cluster.Candidate{Node: c.Node, Name: c.Name, Able: c.Able, Reason: c.Reason, Remedy: c.Remedy})
	}
	before := f.view.State.Grant(g.Service)
	if before != nil && before.Owner != 0 {
		out.From = f.state.NameOf(before.Owner)
	}
	if g.Owner != 0 {
		out.To = f.state.NameOf(g.Owner)
	}
	switch {
	case out.From == "":
		f.starts(g, before, &out)
	case out.To == "":
		out.Kind, out.Why = Stops, f.why[g.Service]
		if len(out.Nodes) > 0 && !slices.ContainsFunc(out.Nodes, func(c cluster.Candidate) bool { return c.Able }) {
			out.Why += "; " + nowhere(out.Nodes)
			out.Problem = f.impossible(g, out.Nodes)
		}
	case out.From != out.To:
		out.Kind, out.Why = Moves, f.why[g.Service]
	case f.why[g.Service] != "":
		out.Kind, out.Why = Restarts, f.why[g.Service]
	default:
		f.stays(g, before, &out)
	}
	return out
}

// starts is the fate of a service that runs nowhere now.
func (f *forecast) starts(g, before *cluster.Grant, out *Fate) {
	svc, _ := f.next.Service(g.Service)
	switch {
	case f.state.Life.Stop.On:
		out.Kind, out.To, out.Why = Waits, "", "the cluster is stopped: holdfast cluster start"
	case g.Stopped:
		out.Kind, out.Why = Waits, "it is stopped until holdfast service start "+g.Service
	case g.Owner == 0 && heldBy(f.state, g) != "":
		out.Kind, out.Why = Waits, heldBy(f.state, g)
	case g.Owner == 0:
		out.Kind, out.Why = Waits, nowhere(out.Nodes)
		if before == nil {
			out.Problem = f.impossible(g, out.Nodes)
		}
	default:
		out.Kind, out.Why = Starts, reasonFor(out.Nodes, out.To)
		if out.Formerly != "" {
			out.Why = "so far it is " + out.Formerly + ", which is stopped first"
		} else if what, by := f.inUse(g.Service); what != "" {
			out.Why = what + " comes from " + by + ", which gives it up first"
		} else if len(svc.After) > 0 {
			out.Why += fmt.Sprintf("; after %v", svc.After)
		}
	}
}

// inUse is what a new service takes over from another one, as it is now.
func (f *forecast) inUse(service string) (what, by string) {
	svc, _ := f.next.Service(service)
	for _, x := range svc.Soles() {
		for i := range f.now.Services {
			o := &f.now.Services[i]
			if g := f.view.State.Grant(o.Name); o.Name != service && g != nil && g.Owner != 0 && slices.Contains(o.Soles(), x) {
				return x, o.Name
			}
		}
	}
	return "", ""
}

// stays is the fate of a service that keeps its node: whether something of it is
// started again there, and whether it goes elsewhere by itself later.
func (f *forecast) stays(g, before *cluster.Grant, out *Fate) {
	out.Kind = Stays
	old, was := f.now.Service(g.Service)
	next, _ := f.next.Service(g.Service)
	if was {
		same := services.SameStack(next, old)
		if same < max(len(next.Stack), len(old.Stack)) {
			f.renewed(old, next, same, out)
		} else if !reflect.DeepEqual(old, next) {
			out.Why = "only rules and limits of it change"
		}
	}
	if held := heldBy(f.view.State, before); held != "" && out.Kind != Stays {
		out.Kind, out.Why = Stays, out.Why+"; it is started again later: "+held
	}
	f.misplaced(g, out)
	if to := f.later[g.Service]; to != 0 && out.Kind == Stays {
		out.Kind, out.To = Moves, f.state.NameOf(to)
		if out.Why = "failback: automatic"; next.Failback.After > 0 {
			out.Why += ", once " + out.To + " has been a member for " + allot.Words(next.Failback.After)
		}
	}
}

// renewed tells how a stack that has changed from a member on comes into effect.
func (f *forecast) renewed(old, next *cluster.Service, same int, out *Fate) {
	out.Kind, out.Why = Restarts, "its stack has changed"
	if same > 0 {
		out.Member, out.Why = firstChanged(old, next, same)
	}
	if !services.SameMembers(next, old) {
		return
	}
	for i := range next.Stack {
		if !bytes.Equal(old.Stack[i].Spec, next.Stack[i].Spec) && !next.Stack[i].Reloads {
			return // it is asked, says no, and everything from the first one on is restarted
		}
	}
	out.Kind, out.Member, out.Why = Reloads, next.Stack[same].ID, "it takes over its new settings while it runs; if that is none of those, it is restarted from there on"
}

// misplaced says of a service that stays where the new rules do not want it that
// nobody else can have it; if the present rules do want it there, that is refused.
func (f *forecast) misplaced(g *cluster.Grant, out *Fate) {
	here := func(c cluster.Candidate) bool { return c.Node == g.Owner }
	i := slices.IndexFunc(out.Nodes, here)
	if i < 0 || out.Nodes[i].Able {
		return
	}
	why := fmt.Sprintf("%s should not have it (%s), but %s", out.From, out.Nodes[i].Reason, nowhere(out.Nodes))
	if out.Why != "" {
		why = out.Why + "; " + why
	}
	out.Why = why
	for k := range f.view.Services {
		if v := &f.view.Services[k]; v.Name == g.Service && slices.ContainsFunc(v.Nodes, func(c cluster.Candidate) bool { return here(c) && !c.Able }) {
			return
		}
	}
	out.Problem = f.impossible(g, out.Nodes)
}

// firstChanged names the first member that is started again, and says why.
func firstChanged(old, next *cluster.Service, same int) (member, why string) {
	if same >= len(next.Stack) {
		return old.Stack[same].ID, old.Stack[same].ID + " is removed from its end"
	}
	m := &next.Stack[same]
	switch {
	case same >= len(old.Stack):
		return m.ID, m.ID + " is added at its end"
	case old.Stack[same].ID == m.ID && old.Stack[same].Kind == m.Kind:
		return m.ID, m.ID + " has changed"
	}
	return m.ID, "the order of its members changes from " + m.ID + " on"
}

// impossible says that a service which was to run could not, whatever happens next:
// a service that waits for a node which is away is not refused for that where
// another configuration would not help.
func (f *forecast) impossible(g *cluster.Grant, list []cluster.Candidate) string {
	if g.Stopped || f.state.Life.Stop.On || heldBy(f.state, g) != "" {
		return ""
	}
	return "service " + g.Service + ": " + nowhere(list)
}

// nowhere says why no node can have a service.
func nowhere(list []cluster.Candidate) string {
	var all []placement.Candidate
	for _, c := range list {
		all = append(all, placement.Candidate{Name: c.Name, Able: c.Able, Reason: c.Reason})
	}
	return placement.Nowhere(all)
}

func reasonFor(list []cluster.Candidate, node string) string {
	for _, c := range list {
		if c.Name == node {
			return c.Reason
		}
	}
	return ""
}

// Renamed finds services that go on under another name: by the new name, the one
// that it has now. They are told by what they are made of: at least half of the
// longer stack is the same, or is what only one node may use at a time.
func Renamed(now, next *cluster.Config) map[string]string {
	out, taken := map[string]string{}, map[string]bool{}
	for i := range next.Services {
		n := &next.Services[i]
		if _, known := now.Service(n.Name); known {
			continue
		}
		best, most := "", 0
		for k := range now.Services {
			o := &now.Services[k]
			if _, stays := next.Service(o.Name); stays || taken[o.Name] {
				continue
			}
			if c := common(o, n); 2*c >= max(len(o.Stack), len(n.Stack)) && c > most {
				best, most = o.Name, c
			}
		}
		if most > 0 {
			out[n.Name], taken[best] = best, true
		}
	}
	return out
}

// common counts the members that two services have in common, wherever they stand.
func common(a, b *cluster.Service) int {
	count, used := 0, map[int]bool{}
	for i := range a.Stack {
		for k := range b.Stack {
			if x, y := &a.Stack[i], &b.Stack[k]; !used[k] && SameMember(x, y) {
				used[k] = true
				count++
				break
			}
		}
	}
	return count
}

// SameMember says that two members are the same thing, perhaps under another name
// or with other settings: of one kind, and equal or what only one node may use.
func SameMember(a, b *cluster.Member) bool {
	return a.Kind == b.Kind && (a.Sole != "" && a.Sole == b.Sole || bytes.Equal(a.Spec, b.Spec))
}
