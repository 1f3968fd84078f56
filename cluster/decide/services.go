package decide

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/placement"
)

// reviseServices makes the grants follow the configuration and the evidence.
func (d *Draft) reviseServices() {
	d.syncGrants()
	for i := range d.State.Services {
		name := d.State.Services[i].Service
		if len(d.State.Services[i].Fails) > 0 {
			d.forget(name)
		}
		d.endTerm(name, i)
		if len(d.State.Services[i].Pending) > 0 {
			d.endPending(name)
		}
	}
	for _, name := range byPriority(d.State) {
		d.reviseGrant(name)
	}
	d.dropGrants()
}

// syncGrants gives every configured service a grant, free at first.
func (d *Draft) syncGrants() {
	for i := range d.Base.Conf.Services {
		name := d.Base.Conf.Services[i].Name
		if i < len(d.State.Services) && d.State.Services[i].Service == name {
			continue
		}
		if d.State.Grant(name) == nil {
			e := d.edit()
			// A service of this name may have been here before, and its owner may
			// remember its terms: they are all lower than the version.
			e.Services = append(e.Services, cluster.Grant{Service: name, Term: d.Base.Ver, Why: "new"})
			sort.Slice(e.Services, func(i, j int) bool { return e.Services[i].Service < e.Services[j].Service })
		}
	}
}

// dropGrants forgets services that are configured no more and that nobody owns.
func (d *Draft) dropGrants() {
	for i := 0; i < len(d.State.Services); i++ {
		g := &d.State.Services[i]
		if _, ok := configured(d.State.Conf, i, g.Service); !ok && g.Owner == 0 && len(g.Pending) == 0 {
			e := d.edit()
			e.Services = append(e.Services[:i], e.Services[i+1:]...)
			i--
		}
	}
}

// byPriority is the order in which services choose their nodes: those that have
// none, or that may return to a better one by themselves.
func byPriority(s *cluster.State) []string {
	var names []string
	prio := map[string]int{}
	for i := range s.Services {
		g := &s.Services[i]
		if svc, ok := configured(s.Conf, i, g.Service); ok && (g.Owner == 0 || svc.Failback.Mode == cluster.Automatic) {
			prio[g.Service] = svc.Priority
			names = append(names, g.Service)
		}
	}
	sort.SliceStable(names, func(i, j int) bool { return prio[names[i]] > prio[names[j]] })
	return names
}

// configured finds a service, most often at the place that its grant has.
func configured(c *cluster.Config, i int, name string) (*cluster.Service, bool) {
	if i < len(c.Services) && c.Services[i].Name == name {
		return &c.Services[i], true
	}
	return c.Service(name)
}

// forget drops failure records that are old enough.
func (d *Draft) forget(name string) {
	svc, ok := d.Base.Conf.Service(name)
	g := d.State.Grant(name)
	if !ok || g == nil {
		return
	}
	for i := range g.Fails {
		if d.mem.expired(d.sight.Now, failKey{name, g.Fails[i].Node, g.Fails[i].Count}, svc.Restarts.Within) {
			e := d.edit().Grant(name)
			e.Fails = slices.Delete(e.Fails, i, i+1)
			return
		}
	}
}

// expired says that a failure is forgotten: after the budget's window, counted
// from when this node has first seen it.
func (m *Memory) expired(now ident.Instant, key failKey, within time.Duration) bool {
	if within <= 0 {
		return false
	}
	at, ok := m.fails[key]
	if !ok {
		m.fails[key] = now
		return false
	}
	return now.Sub(at) >= within
}

// healthySince is for how long an incarnation has been here without a gap.
func (m *Memory) healthySince(now ident.Instant, n *cluster.NodeState) time.Duration {
	at, ok := m.healthy[n.ID]
	if !ok || at.inc != n.Inc {
		m.healthy[n.ID] = healthy{n.Inc, now}
		return 0
	}
	return now.Sub(at.since)
}

// endStorage frees a service whose owner is being fenced and can reach none of
// its LUNs any more. The owner itself may still run: it stays pending, and until
// its end is proven only the storage starts elsewhere. That the fencing was
// chosen before the keys were looked at is the proof's own condition; here it has
// to stand in the base.
func (d *Draft) endStorage(name string, run Run) {
	g := d.State.Grant(name)
	b := d.Base.Node(g.Owner)
	svc, ok := d.State.Conf.Service(name)
	if pr := run.Cleared; !ok || !svc.Guarded() || b == nil || b.Fencing != g.Inc || b.Dead >= g.Inc.N ||
		pr.Kind != cluster.ProofReservation || pr.Inc != g.Inc || pr.Node != g.Owner {
		return
	}
	e := d.edit().Grant(name)
	e.Proof = run.Cleared
	e.Pending = append(e.Pending, cluster.Pending{Node: g.Owner, Inc: g.Inc})
	d.note(cluster.Note{Kind: cluster.NoteProof, Node: g.Owner, Inc: g.Inc, Service: name, Term: g.Term, Proof: cluster.ProofReservation, Text: run.Cleared.Text})
	e.Owner, e.Inc = 0, ident.Incarnation{}
}

// endStorages takes the proofs that this node has found, whoever coordinates.
func (d *Draft) endStorages() {
	for i := range d.sight.Runs {
		if r := d.sight.Runs[i]; r.Cleared.Kind != cluster.NoProof && d.State.Grant(r.Service) != nil && d.State.Grant(r.Service).Term == r.Term {
			d.endStorage(r.Service, r)
		}
	}
}

// endPending forgets the former owners of a service whose end is proven by now.
// Nothing else takes one from the list, and a new term inherits it: a release by
// the present owner says nothing of those before.
func (d *Draft) endPending(name string) {
	over := func(p cluster.Pending) bool {
		n := d.State.Node(p.Node)
		return n == nil || n.Dead >= p.Inc.N
	}
	if slices.ContainsFunc(d.State.Grant(name).Pending, over) {
		e := d.edit().Grant(name)
		e.Pending = slices.DeleteFunc(e.Pending, over)
	}
}

// endTerm ends the term of a service whose owner has released it or is dead.
// This is the gate: nothing else makes a service free. i is its place in the state.
func (d *Draft) endTerm(name string, i int) {
	g := &d.State.Services[i]
	if g.Owner == 0 {
		return
	}
	n := d.State.Node(g.Owner)
	run := d.sight.run(g)
	if run.Cleared.Kind != cluster.NoProof {
		d.endStorage(name, run)
		if g = &d.State.Services[i]; g.Owner == 0 {
			return
		}
	}
	switch {
	case run.Released:
		e := d.edit().Grant(name)
		e.Proof = cluster.Proof{Kind: cluster.ProofReleased, Node: g.Owner, Inc: g.Inc, By: d.sight.Self, Text: "verified stopped and released by its owner"}
		if run.Why != "" {
			fail(e, g.Owner, run.Why)
		}
		d.note(cluster.Note{Kind: cluster.NoteReleased, Node: g.Owner, Inc: g.Inc, Service: name, Term: g.Term, Proof: cluster.ProofReleased, Text: run.Why})
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
func fail(g *cluster.Grant, id ident.NodeID, text string) {
	text = cluster.Limit(text, 120)
	for i := range g.Fails {
		if g.Fails[i].Node == id {
			g.Fails[i].Count++
			g.Fails[i].Text = text
			return
		}
	}
	g.Fails = append(g.Fails, cluster.Fail{Node: id, Count: 1, Text: text})
}

// reviseGrant gives a free service to a node, or asks an owner to give it up.
func (d *Draft) reviseGrant(name string) {
	g := d.State.Grant(name)
	svc, _ := d.State.Conf.Service(name)
	switch {
	case g.Owner != 0:
		d.reviseWant(g, svc)
	case d.State.Life.Stop.On || Held(d.State, g) != "":
	case !g.Stopped && !g.Frozen && Waits(d.State, d.sight, svc) == "":
		d.award(g, svc)
	}
}

// award commits the next term of a free service to the best node, if any.
func (d *Draft) award(g *cluster.Grant, svc *cluster.Service) {
	list := Candidates(d.State, d.sight, svc, d.crowded())
	best := pick(list, g.Want)
	if best == nil {
		if why := nowhere(list); g.Why != why {
			d.edit().Grant(g.Service).Why = why
		}
		return
	}
	if d.sight.Settling && betterAbsent(list, best) {
		return
	}
	n := d.State.Node(best.Node)
	why := best.Reason
	if g.Want == best.Node {
		why = "moved there by request"
	}
	d.crowded().Owns(g.Service, n.ID)
	e := d.edit().Grant(g.Service)
	e.Owner, e.Inc, e.Term, e.Want, e.Why = n.ID, n.Inc, g.Term+1, 0, cluster.Limit(why, 200)
	d.note(cluster.Note{Kind: cluster.NoteGrant, Node: n.ID, Inc: n.Inc, Service: g.Service, Term: e.Term, Proof: e.Proof.Kind, Text: why})
}

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
	return cluster.Limit(text, 200)
}

// reviseWant says where a running service shall go, if not where it is.
func (d *Draft) reviseWant(g *cluster.Grant, svc *cluster.Service) {
	if g.Want != 0 || g.Frozen || d.State.Life.Stop.On || Held(d.State, g) != "" || svc.Failback.Mode != cluster.Automatic {
		return
	}
	if r := d.sight.run(g); !r.Known || r.State != cluster.Up {
		return
	}
	list := Candidates(d.State, d.sight, svc, d.crowded())
	if len(list) == 0 || !list[0].Able || list[0].Node == g.Owner || list[0].Rank >= rankOf(list, g.Owner) {
		return
	}
	if d.mem.healthySince(d.sight.Now, d.State.Node(list[0].Node)) < svc.Failback.After {
		return
	}
	d.edit().Grant(g.Service).Want = list[0].Node
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Service: g.Service, Node: list[0].Node, Text: "failback: automatic"})
}

func rankOf(list []placement.Candidate, id ident.NodeID) int {
	for i := range list {
		if list[i].Node == id {
			return list[i].Rank
		}
	}
	return 1 << 30
}

// Waits says which service of after: is not up yet; empty if all are.
func Waits(s *cluster.State, sight *Sight, svc *cluster.Service) string {
	for _, name := range svc.After {
		g := s.Grant(name)
		if g == nil {
			return name
		}
		if r := sight.run(g); !r.Known || r.State != cluster.Up {
			return name
		}
	}
	return ""
}

// Candidates is the verdict on every node for one service, in the order in which
// they would be chosen. crowd is that of s.
func Candidates(s *cluster.State, sight *Sight, svc *cluster.Service, crowd *placement.Crowd) []placement.Candidate {
	g := s.Grant(svc.Name)
	nodes := make([]placement.Node, 0, len(s.Nodes))
	for i := range s.Nodes {
		n := &s.Nodes[i]
		p := placement.Node{ID: n.ID, Name: n.Name}
		p.Unfit, p.Remedy = sight.unfit(n)
		for j := range g.Fails {
			if g.Fails[j].Node == n.ID {
				p.Failed = g.Fails[j].Text
			}
		}
		crowd.Others(svc.Name, &p)
		nodes = append(nodes, p)
	}
	return placement.Judge(placement.Rules{Service: svc.Name, Prefer: svc.Prefer, Only: svc.Only, Never: svc.Never}, nodes)
}

// unfit says why a node can run nothing now.
func (v *Sight) unfit(n *cluster.NodeState) (reason, remedy string) {
	switch {
	case !n.Fencing.IsZero():
		return "it is being fenced: " + n.Why, ""
	case n.Phase == cluster.Leaving:
		return "it is leaving the cluster", ""
	case n.Phase == cluster.Joining:
		return "it is still joining", ""
	case n.Phase != cluster.MemberPhase || n.Dead >= n.Inc.N:
		return "it is not a member", fmt.Sprintf("start holdfastd on %s", n.Name)
	case n.Standby:
		return "it is on standby", fmt.Sprintf("holdfast node online %s", n.Name)
	case n.Life.Maintenance.On():
		return "it is in maintenance", fmt.Sprintf("holdfast node online %s", n.Name)
	case n.Life.Quarantine.On():
		return "it is quarantined: " + n.Life.Quarantine.Why, fmt.Sprintf("holdfast node online %s", n.Name)
	case n.ID == v.Self && !v.Fit:
		return "it is stopping", ""
	case !v.node(n.ID).Present:
		return "it shows no signs of life", ""
	}
	return "", ""
}

// Crowd is who owns what in a state, and who must be with or apart from whom.
func Crowd(s *cluster.State) *placement.Crowd {
	c := placement.NewCrowd(len(s.Services))
	for i := range s.Services {
		c.Owns(s.Services[i].Service, s.Services[i].Owner)
	}
	for i := 0; s.Conf != nil && i < len(s.Conf.Services); i++ {
		c.Rule(s.Conf.Services[i].Name, s.Conf.Services[i].ApartFrom, s.Conf.Services[i].With)
	}
	return c
}

// crowded is the crowd of the draft. Services are awarded when no term ends any
// more, so award alone has to keep it.
func (d *Draft) crowded() *placement.Crowd {
	if d.crowd == nil {
		d.crowd = Crowd(d.State)
	}
	return d.crowd
}

// Held says why a service is left as it is now, for how long still, and what ends
// that; empty if it is not held.
func Held(s *cluster.State, g *cluster.Grant) string {
	m, of := s.Maintained(g)
	if m == nil {
		return ""
	}
	end := map[bool]string{true: "holdfast cluster maintenance --off", false: "holdfast service maintenance " + g.Service + " --off"}[m == &s.Life.Maintenance]
	if name, ok := strings.CutPrefix(of, "node "); ok {
		end = "holdfast node online " + name
	}
	return fmt.Sprintf("%s is in maintenance for another %s, in which nothing of it is started, stopped or moved; to end that: %s", of, Words(s.Left(m.Until)), end)
}

// pending says that a service still waits for the proven end of this node.
func pending(s *cluster.State, id ident.NodeID) bool {
	for i := range s.Services {
		for _, p := range s.Services[i].Pending {
			if p.Node == id {
				return true
			}
		}
	}
	return false
}
