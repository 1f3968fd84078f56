package cluster

import (
	"fmt"
	"slices"
	"sort"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
)

// reviseServices makes the grants follow the configuration and the evidence.
func (c *Core) reviseServices(d *draft) {
	c.syncGrants(d)
	for i := range d.s.Services {
		name := d.s.Services[i].Service
		c.forget(d, name)
		c.endTerm(d, name)
	}
	for _, name := range byPriority(d.s) {
		c.reviseGrant(d, name)
	}
	c.dropGrants(d)
}

// syncGrants gives every configured service a grant, free at first.
func (c *Core) syncGrants(d *draft) {
	for i := range d.base.Conf.Services {
		name := d.base.Conf.Services[i].Name
		if d.s.Grant(name) == nil {
			e := d.edit()
			e.Services = append(e.Services, Grant{Service: name, Why: "new"})
			sort.Slice(e.Services, func(i, j int) bool { return e.Services[i].Service < e.Services[j].Service })
		}
	}
}

// dropGrants forgets services that are configured no more and that nobody owns.
func (c *Core) dropGrants(d *draft) {
	for i := 0; i < len(d.s.Services); i++ {
		g := &d.s.Services[i]
		if _, ok := d.s.Conf.Service(g.Service); !ok && g.Owner == 0 && len(g.Pending) == 0 {
			e := d.edit()
			e.Services = append(e.Services[:i], e.Services[i+1:]...)
			i--
		}
	}
}

// byPriority is the order in which services choose their nodes.
func byPriority(s *State) []string {
	names := make([]string, 0, len(s.Services))
	prio := map[string]int{}
	for i := range s.Services {
		name := s.Services[i].Service
		if svc, ok := s.Conf.Service(name); ok {
			prio[name] = svc.Priority
			names = append(names, name)
		}
	}
	sort.SliceStable(names, func(i, j int) bool { return prio[names[i]] > prio[names[j]] })
	return names
}

// forget drops failure records that are old enough.
func (c *Core) forget(d *draft, name string) {
	svc, ok := d.base.Conf.Service(name)
	g := d.s.Grant(name)
	if !ok || g == nil {
		return
	}
	for i := range g.Fails {
		if c.failExpiry(name, &g.Fails[i], svc.Restarts.Within) {
			e := d.edit().Grant(name)
			e.Fails = slices.Delete(e.Fails, i, i+1)
			return
		}
	}
}

// endTerm ends the term of a service whose owner has released it or is dead.
// This is the gate: nothing else makes a service free.
func (c *Core) endTerm(d *draft, name string) {
	g := d.s.Grant(name)
	if g.Owner == 0 {
		return
	}
	n := d.s.Node(g.Owner)
	why, released := c.releasedBy(g)
	switch {
	case released:
		e := d.edit().Grant(name)
		e.Proof = Proof{Kind: ProofReleased, Node: g.Owner, Inc: g.Inc, By: c.set.Self, Text: "verified stopped and released by its owner"}
		if why != "" {
			e.fail(g.Owner, why)
		}
		d.note(Note{Kind: NoteReleased, Node: g.Owner, Inc: g.Inc, Service: name, Term: g.Term, Proof: ProofReleased, Text: why})
		e.Owner, e.Inc = 0, ident.Incarnation{}
	case n == nil || n.Dead >= g.Inc.N:
		e := d.edit().Grant(name)
		if n != nil {
			e.Proof = n.Proof
		}
		e.Owner, e.Inc = 0, ident.Incarnation{}
	}
}

// fail records a failure of the service on a node.
func (g *Grant) fail(id ident.NodeID, text string) {
	text = limit(text, 120)
	for i := range g.Fails {
		if g.Fails[i].Node == id {
			g.Fails[i].Count++
			g.Fails[i].Text = text
			return
		}
	}
	g.Fails = append(g.Fails, Fail{Node: id, Count: 1, Text: text})
}

// reviseGrant gives a free service to a node, or asks an owner to give it up.
func (c *Core) reviseGrant(d *draft, name string) {
	g := d.s.Grant(name)
	svc, _ := d.s.Conf.Service(name)
	switch {
	case g.Owner != 0:
		c.reviseWant(d, g, svc)
	case !g.Stopped && !g.Frozen && c.predecessors(d.s, svc) == "":
		c.award(d, g, svc)
	}
}

// award commits the next term of a free service to the best node, if any.
func (c *Core) award(d *draft, g *Grant, svc *Service) {
	list := c.judgeNodes(d.s, svc)
	best := pick(list, g.Want)
	if best == nil {
		if why := nowhere(list); g.Why != why {
			d.edit().Grant(g.Service).Why = why
		}
		return
	}
	if c.settling() && betterAbsent(list, best) {
		return
	}
	n := d.s.Node(best.Node)
	why := best.Reason
	if g.Want == best.Node {
		why = "moved there by request"
	}
	e := d.edit().Grant(g.Service)
	e.Owner, e.Inc, e.Term, e.Want, e.Why = n.ID, n.Inc, g.Term+1, 0, limit(why, 200)
	d.note(Note{Kind: NoteGrant, Node: n.ID, Inc: n.Inc, Service: g.Service, Term: e.Term, Proof: e.Proof.Kind, Text: why})
}

// settling: a coordinator that has only just come in gives the nodes that boot
// with it the time to come in too, before a service goes to a lesser choice.
func (c *Core) settling() bool { return c.now.Sub(c.self.since) < c.t.Tsus }

func betterAbsent(list []placement.Candidate, best *placement.Candidate) bool {
	for i := range list {
		if !list[i].Able && list[i].Rank < best.Rank {
			return true
		}
	}
	return false
}

// pick takes the wanted node if it is able, else the first that is.
func pick(list []placement.Candidate, want ident.NodeID) *placement.Candidate {
	for i := range list {
		if list[i].Able && list[i].Node == want {
			return &list[i]
		}
	}
	if len(list) > 0 && list[0].Able {
		return &list[0]
	}
	return nil
}

func nowhere(list []placement.Candidate) string {
	text := "no node can run it:"
	for i := range list {
		text += fmt.Sprintf(" %s: %s;", list[i].Name, list[i].Reason)
	}
	return limit(text, 200)
}

// reviseWant says where a running service shall go, if not where it is.
func (c *Core) reviseWant(d *draft, g *Grant, svc *Service) {
	if g.Want != 0 || g.Frozen || svc.Failback.Mode != Automatic {
		return
	}
	if r, ok := c.runState(g); !ok || r.State != Up {
		return
	}
	list := c.judgeNodes(d.s, svc)
	if len(list) == 0 || !list[0].Able || list[0].Node == g.Owner || list[0].Rank >= rankOf(list, g.Owner) {
		return
	}
	if c.healthySince(list[0].Node) < svc.Failback.After {
		return
	}
	d.edit().Grant(g.Service).Want = list[0].Node
	d.note(Note{Kind: NoteAdmin, Service: g.Service, Node: list[0].Node, Text: "failback: automatic"})
}

func rankOf(list []placement.Candidate, id ident.NodeID) int {
	for i := range list {
		if list[i].Node == id {
			return list[i].Rank
		}
	}
	return 1 << 30
}

// predecessors says which service of after: is not up yet; empty if all are.
func (c *Core) predecessors(s *State, svc *Service) string {
	for _, name := range svc.After {
		g := s.Grant(name)
		if g == nil {
			return name
		}
		if r, ok := c.runState(g); !ok || r.State != Up {
			return name
		}
	}
	return ""
}

// judgeNodes is the verdict on every node for one service.
func (c *Core) judgeNodes(s *State, svc *Service) []placement.Candidate {
	g := s.Grant(svc.Name)
	nodes := make([]placement.Node, 0, len(s.Nodes))
	for i := range s.Nodes {
		n := &s.Nodes[i]
		p := placement.Node{ID: n.ID, Name: n.Name}
		p.Unfit, p.Remedy = c.unfit(n)
		for j := range g.Fails {
			if g.Fails[j].Node == n.ID {
				p.Failed = g.Fails[j].Text
			}
		}
		for j := range s.Services {
			o := &s.Services[j]
			if o.Service == svc.Name || o.Owner == 0 {
				continue
			}
			if o.Owner == n.ID {
				p.Load++
			}
			if o.Owner == n.ID && apart(s, svc, o.Service) {
				p.Against = append(p.Against, o.Service)
			}
			if o.Owner != n.ID && together(s, svc, o.Service) {
				p.Lacks = append(p.Lacks, o.Service)
			}
		}
		nodes = append(nodes, p)
	}
	return placement.Judge(placement.Rules{Service: svc.Name, Prefer: svc.Prefer, Only: svc.Only, Never: svc.Never}, nodes)
}

// unfit says why a node can run nothing now.
func (c *Core) unfit(n *NodeState) (reason, remedy string) {
	switch {
	case !n.Fencing.IsZero():
		return "it is being fenced: " + n.Why, ""
	case n.Phase == Leaving:
		return "it is leaving the cluster", ""
	case n.Phase == Joining:
		return "it is still joining", ""
	case n.Phase != MemberPhase || n.Dead >= n.Inc.N:
		return "it is not a member", fmt.Sprintf("start holdfastd on %s", n.Name)
	case n.Standby:
		return "it is on standby", fmt.Sprintf("holdfast node online %s", n.Name)
	case n.ID == c.set.Self && c.self.stage != member:
		return "it is stopping", ""
	case !c.present(n.ID, n.Inc):
		return "it shows no signs of life", ""
	}
	return "", ""
}

func apart(s *State, svc *Service, other string) bool {
	o, ok := s.Conf.Service(other)
	return slices.Contains(svc.ApartFrom, other) || ok && slices.Contains(o.ApartFrom, svc.Name)
}

func together(s *State, svc *Service, other string) bool {
	o, ok := s.Conf.Service(other)
	return slices.Contains(svc.With, other) || ok && slices.Contains(o.With, svc.Name)
}
