package decide

import (
	"slices"
	"sort"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
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
	if !d.State.Life.Stop.On {
		d.place()
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
		if d.mem.expired(d.sight.Now, keyOf(name, &g.Fails[i]), svc.Restarts.Within) {
			e := d.edit().Grant(name)
			e.Fails = slices.Delete(e.Fails, i, i+1)
			return
		}
	}
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
	run := d.sight.Run(g)
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
		if run.Why != "" && run.State == cluster.Wrong {
			failEverywhere(e, d.State.Nodes, run.Why)
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

// failEverywhere records that the service would fail on every node, for its own
// settings are wrong.
func failEverywhere(g *cluster.Grant, nodes []cluster.NodeState, text string) {
	for i := range nodes {
		if id := nodes[i].ID; !slices.ContainsFunc(g.Fails, func(f cluster.Fail) bool { return f.Node == id }) {
			g.Fails = append(g.Fails, cluster.Fail{Node: id, Text: cluster.Limit(text, 120)})
		}
	}
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
