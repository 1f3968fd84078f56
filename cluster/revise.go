package cluster

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// draft is the next version of the state while it is being made. It is made
// anew from every base, so evidence is checked again when it is committed.
type draft struct {
	base    *State
	s       *State // base until the first change
	notes   []Note
	answers []answer
}

type answer struct {
	id   uint64
	err  string
	text string
}

// edit returns the state to change.
func (d *draft) edit() *State {
	if d.s == d.base {
		d.s = d.base.Clone()
	}
	return d.s
}

func (d *draft) changed() bool { return d.s != d.base }

func (d *draft) note(n Note) { d.notes = append(d.notes, n) }

// decide proposes what the evidence asks for. It is level-triggered: nothing is
// remembered between two decisions, so a change of coordinator needs nothing.
func (c *Core) decide() {
	if !c.reg.m.Ready() || c.reg.halted || c.now < c.reg.notUntil || c.self.stage == starting {
		return
	}
	if !c.reg.learned {
		c.reg.m.Propose(c.now, func(*State, uint64) (*State, bool) { return nil, false })
		return
	}
	if !c.decides() {
		return
	}
	if d := c.revise(c.reg.state); !d.changed() {
		c.answer(d)
		return
	}
	c.reg.m.Propose(c.now, func(base *State, ver uint64) (*State, bool) {
		if base == nil {
			return nil, false
		}
		d := c.revise(base)
		c.reg.draft = d
		if !d.changed() {
			return nil, false
		}
		d.s.Ver = ver + 1
		return d.s, true
	})
}

// decides says that this node has something to say: it coordinates, or an
// administrator asked it.
func (c *Core) decides() bool {
	return c.reg.state != nil && c.timed &&
		(len(c.asked) > 0 || c.coordinator() == c.set.Self || c.wordGiven(c.reg.state) != 0)
}

// answered is called when a proposal ended: its notes become part of the story,
// and who asked is told.
func (c *Core) answered(o register.Outcome[*State]) {
	d := c.reg.draft
	c.reg.draft = nil
	if d == nil {
		return
	}
	if o.Kind == register.Committed {
		for _, n := range d.notes {
			n.Ver = o.Ver
			c.note(n)
		}
	}
	c.answer(d)
}

func (c *Core) answer(d *draft) {
	for _, a := range d.answers {
		c.emit(Reply{ID: a.id, Err: a.err, Text: a.text, Ver: c.reg.ver})
		for i, q := range c.asked {
			if q.id == a.id {
				c.asked = append(c.asked[:i], c.asked[i+1:]...)
				break
			}
		}
	}
}

// revise makes the next state from base: what administrators asked of this
// node and, if it coordinates, everything that the evidence allows.
func (c *Core) revise(base *State) *draft {
	d := &draft{base: base, s: base}
	for _, q := range c.asked {
		text, err := c.grantWish(d, q.request)
		d.answers = append(d.answers, answer{q.id, err, text})
	}
	if id := c.wordGiven(d.base); id != 0 && d.s.Node(id).Fencing == d.s.Node(id).Inc {
		c.end(d, id, c.peers[id].word)
	}
	if c.coordinator() != c.set.Self || base.Conf == nil {
		return d
	}
	for i := range base.Nodes {
		c.reviseNode(d, base.Nodes[i].ID)
	}
	c.reviseServices(d)
	return d
}

// coordinator is who acts on the evidence: the first of the members that show
// signs of life, or, if none does, of the nodes that want to come in. It is a
// role for progress only: two of them at a time do no harm.
func (c *Core) coordinator() ident.NodeID {
	s := c.reg.state
	if s == nil {
		return 0
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		in := n.Phase == MemberPhase || n.Phase == Leaving
		if in && n.Fencing.IsZero() && n.Dead < n.Inc.N && c.present(n.ID, n.Inc) {
			return n.ID
		}
	}
	for i := range s.Nodes {
		if _, _, ok := c.claimed(s.Nodes[i].ID); ok {
			return s.Nodes[i].ID
		}
	}
	return 0
}

// reviseNode applies to one node what its evidence allows.
func (c *Core) reviseNode(d *draft, id ident.NodeID) {
	n := d.s.Node(id)
	inc, phase, here := c.claimed(id)
	switch {
	case here && inc.N > n.Inc.N && inc.N > n.Dead:
		c.admit(d, id, inc)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return // out, and nothing new
	case here && inc == n.Inc && n.Phase == Joining && c.allAcked(d.s):
		e := d.edit()
		e.Node(id).Phase = MemberPhase
		e.View++
		d.note(Note{Kind: NoteJoined, Node: id, Inc: inc, Text: "is a member"})
	case here && inc == n.Inc && n.Phase == MemberPhase && phase == Leaving:
		e := d.edit()
		e.Node(id).Phase = Leaving
		e.View++
	}
	c.reviseEnd(d, id)
}

// admit registers a new incarnation. If an older one was not known to be dead,
// it is now: a host publishes a new incarnation only after its last writes have
// landed, or after its guard has retired the old one.
func (c *Core) admit(d *draft, id ident.NodeID, inc ident.Incarnation) {
	n := d.edit().Node(id)
	if old := n.Inc; !old.IsZero() && n.Dead < old.N {
		n.Dead = old.N
		n.Proof = Proof{Kind: ProofReborn, Node: id, Inc: old, By: c.set.Self, DiskGen: d.s.DiskGen,
			Text: "a newer incarnation of the node publishes beats"}
		d.note(Note{Kind: NoteProof, Node: id, Inc: old, Proof: ProofReborn, Text: n.Proof.Text})
	}
	n.Inc, n.Phase, n.Fencing, n.Why = inc, Joining, ident.Incarnation{}, ""
	if p := c.peers[id]; p != nil && p.beat != nil {
		n.Host = p.beat.Host
	} else if id == c.set.Self {
		n.Host = c.set.Host
	}
	d.s.View++
}

// allAcked says that every member has learned the present view.
func (c *Core) allAcked(s *State) bool {
	if s.View != c.reg.state.View {
		return false
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		in := n.Phase == MemberPhase || n.Phase == Leaving
		if in && n.Fencing.IsZero() && n.Dead < n.Inc.N && c.ackedView(n) < s.View {
			return false
		}
	}
	return true
}

// reviseEnd begins a fencing, ends a fenced or leaving incarnation, or neither.
func (c *Core) reviseEnd(d *draft, id ident.NodeID) {
	n := d.s.Node(id)
	if n.Dead >= n.Inc.N {
		return
	}
	if n.Fencing.IsZero() {
		if why := c.mustFence(d.s, n); why != "" {
			e := d.edit().Node(id)
			e.Fencing, e.Why = e.Inc, limit(why, 200)
			d.note(Note{Kind: NoteFencing, Node: id, Inc: e.Inc, Text: why})
		} else if n.Phase == Leaving && ownsNothing(d.s, id) && c.saysGone(n) {
			c.end(d, id, Proof{Kind: ProofReleased, Node: id, Inc: n.Inc, By: c.set.Self, Text: "left the cluster after releasing everything"})
		}
		return
	}
	if d.base.Node(id).Fencing != n.Inc {
		return // chosen first, proven later
	}
	if pr, ok := c.proof(n); ok {
		c.end(d, id, pr)
	}
}

// mustFence says why a node has to be fenced; empty if it has not.
func (c *Core) mustFence(s *State, n *NodeState) string {
	if why := c.suspect(n); why != "" {
		return why
	}
	if p := c.peers[n.ID]; p != nil && p.word.Inc == n.Inc && p.word.Kind == ProofOperator {
		return p.word.Text
	}
	for i := range s.Services {
		g := &s.Services[i]
		if g.Owner != n.ID || g.Inc != n.Inc {
			continue
		}
		if r, ok := c.runState(g); ok && r.State == Broken {
			return fmt.Sprintf("%s could not be stopped: %s", g.Service, r.Text)
		}
	}
	return ""
}

// saysGone says that a leaving node has published that it holds nothing more.
func (c *Core) saysGone(n *NodeState) bool {
	_, phase, ok := c.claimed(n.ID)
	return ok && phase == Leaving
}

func (c *Core) end(d *draft, id ident.NodeID, pr Proof) {
	pr.Text = limit(pr.Text, 200)
	e := d.edit()
	n := e.Node(id)
	n.Dead, n.Phase, n.Fencing, n.Proof = n.Inc.N, Out, ident.Incarnation{}, pr
	e.View++
	kind := NoteProof
	if pr.Kind == ProofReleased {
		kind = NoteLeft
	}
	d.note(Note{Kind: kind, Node: id, Inc: n.Inc, Proof: pr.Kind, Text: pr.Text})
}

func ownsNothing(s *State, id ident.NodeID) bool {
	for i := range s.Services {
		g := &s.Services[i]
		if g.Owner == id {
			return false
		}
	}
	return true
}

// limit cuts text at n bytes, at the boundary of a character.
func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// failExpiry is when the failures of a service on a node are forgotten: after
// the budget's window, counted from when this node has first seen them.
func (c *Core) failExpiry(service string, f *Fail, within time.Duration) bool {
	if within <= 0 {
		return false
	}
	key := failKey{service, f.Node, f.Count}
	at, ok := c.mem.fails[key]
	if !ok {
		c.mem.fails[key] = c.now
		return false
	}
	return c.now.Sub(at) >= within
}

type failKey struct {
	service string
	node    ident.NodeID
	count   uint32
}
