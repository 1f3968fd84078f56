package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
)

// placing is a plan that is being turned into grants.
type placing struct {
	*Draft
	world *placement.World
	plan  *placement.Plan
	makes map[string]bool // services that are asked to make room, in this plan
	open  bool            // something waits for what neither the state nor the nodes tell
}

// place works out where everything is to be, and makes of that what may be done
// now: a service with an owner elsewhere is asked to leave, and one without gets
// its next term once nothing is in the way. No transition is remembered: the next
// draft makes the next step of whatever the plan is by then.
func (d *Draft) place() {
	now := rest{d.State, allot.FitNodes(d.State, d.sight)}
	if d.State == d.Base && now == d.mem.rest {
		return
	}
	book := d.mem.books.Of(d.State.Conf)
	p := placing{Draft: d, world: d.mem.books.World(d.State, d.sight), makes: map[string]bool{}}
	if p.turnBack(); d.State != d.Base {
		p.world = d.mem.books.World(d.State, d.sight)
	}
	p.plan = p.world.Plan()
	for _, c := range p.plan.Choices {
		name := book.Rules(c.Service).Service
		switch g := d.State.Grant(name); {
		case g.Owner == 0:
			p.award(g, c)
		case c.Optional:
			p.failback(g, c)
		case c.Node == 0:
			p.yield(g, c)
		default:
			p.moveAway(g, c)
		}
	}
	for i := range d.State.Services {
		if g := &d.State.Services[i]; g.Yield != "" && g.Owner != 0 && !p.makes[g.Service] {
			d.edit().Services[i].Yield = "" // there is room by now
		}
	}
	if !p.open && d.State == d.Base {
		d.mem.rest = now
	}
}

// turnBack ends the move of a bundle to a node that has looked, and on which something
// is missing for one of it. Nothing of it was stopped for the move: its owner waits for
// that node's word.
func (p *placing) turnBack() {
	for i := range p.world.Services {
		s, name := &p.world.Services[i], p.world.Book.Rules(i).Service
		if s.Owner == 0 || s.Want == 0 || s.Want == s.Owner || p.world.Lacks(i, s.Want) == nil {
			continue
		}
		why := fmt.Sprintf("not moved to %s: %s would not run there: %s", p.State.NameOf(s.Want), name, p.world.Lacks(i, s.Want).Text)
		for _, o := range p.world.Book.Bundle(i) {
			mate := p.world.Book.Rules(o).Service
			if g := p.State.Grant(mate); g != nil && g.Want == s.Want {
				e := p.edit().Grant(mate)
				e.Want, e.Why = 0, cluster.Limit(why, 200)
				p.note(cluster.Note{Kind: cluster.NoteAdmin, Service: mate, Node: s.Want, Text: why})
			}
		}
	}
}

// award commits the next term of a free service, if its node is known and may
// have it now.
func (p *placing) award(g *cluster.Grant, c placement.Choice) {
	svc, _ := p.State.Conf.Service(g.Service)
	if allot.Waits(p.State, p.sight, svc) != "" {
		p.open = true
		return
	}
	if c.Node == 0 && allot.Surplus(p.State, g) {
		return
	}
	if what, by := p.State.InUse(g.Service); what != "" {
		if why := cluster.Limit(fmt.Sprintf("%s may still be in use by %s: it waits until that is stopped", what, by), 200); g.Why != why {
			p.edit().Grant(g.Service).Why = why
		}
		return
	}
	if c.Node == 0 {
		if why := cluster.Limit(placement.Nowhere(p.plan.Judge(c.Service)), 200); g.Why != why {
			p.edit().Grant(g.Service).Why = why
		}
		return
	}
	if p.world.InTheWay(c.Service, c.Node) != "" || p.sight.Settling && p.betterAbsent(c) {
		p.open = true
		return
	}
	n := p.State.Node(c.Node)
	why := g.Why // it was said when it was asked to go there
	if g.Want != c.Node {
		why = p.plan.Praise(c.Service, int(slices.IndexFunc(p.world.Nodes, func(n placement.Node) bool { return n.ID == c.Node })))
	}
	p.world.Services[c.Service].Owner = n.ID
	e := p.edit().Grant(g.Service)
	e.Owner, e.Inc, e.Term, e.Want, e.Yield, e.Uses, e.Why = n.ID, n.Inc, g.Term+1, 0, "", nil, cluster.Limit(why, 200)
	p.note(cluster.Note{Kind: cluster.NoteGrant, Node: n.ID, Inc: n.Inc, Service: g.Service, Term: e.Term, Proof: e.Proof.Kind, Text: why})
}

// betterAbsent says that a node which is preferred may still be on its way.
func (p *placing) betterAbsent(c placement.Choice) bool {
	list := p.plan.Judge(c.Service)
	at := slices.IndexFunc(list, func(x placement.Candidate) bool { return x.Node == c.Node })
	return slices.ContainsFunc(list, func(x placement.Candidate) bool { return !x.Able && x.Rank < list[at].Rank })
}

// yield asks the owner of a service to give it up for one of higher priority.
func (p *placing) yield(g *cluster.Grant, c placement.Choice) {
	other := p.world.Book.Rules(c.For).Service
	p.makes[g.Service] = true
	if g.Yield != "" || g.Want != 0 {
		return
	}
	p.edit().Grant(g.Service).Yield = other
	p.note(cluster.Note{Kind: cluster.NoteAdmin, Service: g.Service, Node: g.Owner, Text: "gives way to " + other + ", which has the higher priority: there is room for both nowhere"})
}

// moveAway asks the owner of a service to give it up to another node: where it is
// it may not be, or what it has to be with goes elsewhere.
func (p *placing) moveAway(g *cluster.Grant, c placement.Choice) {
	if g.Want == c.Node {
		return
	}
	why := "moved: " + p.objection(g, c)
	e := p.edit().Grant(g.Service)
	e.Want, e.Why = c.Node, cluster.Limit(why, 200)
	p.note(cluster.Note{Kind: cluster.NoteAdmin, Service: g.Service, Node: c.Node, Text: why})
}

// objection is what speaks against a service where it is.
func (p *placing) objection(g *cluster.Grant, c placement.Choice) string {
	for _, x := range p.plan.Judge(c.Service) {
		if x.Node == g.Owner && !x.Able {
			return x.Reason + " (" + x.Name + ")"
		}
	}
	return "what it must be with goes there"
}

// failback lets a bundle that runs wholly return to a node that it prefers, once
// that has been healthy for long enough.
func (p *placing) failback(g *cluster.Grant, c placement.Choice) {
	p.open = true
	book := p.world.Book
	for _, o := range book.Bundle(c.Service) {
		mate := p.State.Grant(book.Rules(o).Service)
		if mate.Owner == 0 {
			continue
		}
		r := p.sight.Run(mate)
		if !r.Known || r.State != cluster.Up || mate.Want != 0 && mate.Want != c.Node {
			return
		}
		svc, _ := p.State.Conf.Service(mate.Service)
		if svc.Failback.Mode == cluster.Automatic && p.mem.healthySince(p.sight.Now, p.State.Node(c.Node)) < svc.Failback.After {
			return
		}
	}
	if g.Want != 0 {
		return
	}
	e := p.edit().Grant(g.Service)
	e.Want, e.Why = c.Node, "failback: automatic"
	p.note(cluster.Note{Kind: cluster.NoteAdmin, Service: g.Service, Node: c.Node, Text: e.Why})
}

// wishMove tests the target before anything is stopped. What must be with the
// service goes with it: all of it stops, in reverse order, and then starts there.
func (d *Draft) wishMove(r cluster.MoveService) (string, string) {
	g := d.State.Grant(r.Service)
	book := d.mem.books.Of(d.State.Conf)
	i, ok := book.Index(r.Service)
	switch {
	case (g == nil || !ok) && len(d.State.Conf.Copies(r.Service)) > 0:
		return "", fmt.Sprintf("%s runs on several nodes: name the copy to move, as %s", r.Service, strings.Join(d.State.Conf.Copies(r.Service), " or "))
	case g == nil || !ok:
		return "", noService(r.Service)
	case g.Owner == 0:
		return "", fmt.Sprintf("%s runs nowhere now (%s): holdfast service start %s", r.Service, g.Why, r.Service)
	}
	var bundle []string
	for _, o := range book.Bundle(i) {
		mate := d.State.Grant(book.Rules(o).Service)
		if mate == nil || mate.Owner == 0 {
			continue
		}
		if mate.Frozen {
			return "", fmt.Sprintf("%s is frozen: holdfast service unfreeze %s", mate.Service, mate.Service)
		}
		if held := d.held(mate); held != "" {
			return "", held
		}
		bundle = append(bundle, mate.Service)
	}
	list := allot.World(book, d.State, d.sight).Standing().Judge(i)
	for k := range list {
		cand := &list[k]
		if r.To == "" && (!cand.Able || cand.Node == g.Owner) || r.To != "" && cand.Name != r.To {
			continue
		}
		switch {
		case cand.Node == g.Owner:
			return fmt.Sprintf("it is on %s already", cand.Name), ""
		case !cand.Able:
			return "", fmt.Sprintf("%s cannot run %s: %s; nothing was changed", cand.Name, r.Service, cand.Reason)
		}
		return d.moveAll(bundle, r.Service, cand.Node), ""
	}
	if r.To != "" {
		return "", noNode(r.To)
	}
	return "", fmt.Sprintf("no other node can run %s: holdfast explain %s", r.Service, r.Service)
}

// moveAll sends a bundle to a node, and says so.
func (d *Draft) moveAll(bundle []string, asked string, to ident.NodeID) string {
	var others []string
	for _, name := range bundle {
		e := d.edit().Grant(name)
		e.Want, e.Why = to, "moved there by request"
		text := "move requested"
		if name != asked {
			others = append(others, name)
			e.Why, text = "moved there by request, with "+asked, "move requested, with "+asked
		}
		d.note(cluster.Note{Kind: cluster.NoteAdmin, Service: name, Node: to, Text: text})
	}
	text := "moving to " + d.State.NameOf(to)
	if len(others) > 0 {
		text += ", and with it " + strings.Join(others, ", ")
	}
	return text
}
