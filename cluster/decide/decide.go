// Package decide makes the next state of the cluster: a pure function from the
// state that was agreed last and from what this node sees to the state that it
// proposes, and to why. It is level-triggered: nothing is remembered from one
// decision to the next but since when something was seen, so a change of
// coordinator needs no handover. Every draft is made anew from the base that it
// will be committed on, so evidence is checked again when it counts.
//
// This is where the rules stand that keep a service from running twice: a node
// is fenced before it is proven dead, a proof is for one incarnation, and a
// service becomes free by its owner's release or by its owner's proven end, and
// by nothing else.
package decide

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/sight"
)

// Sight is what a decision rests on beside the state: all that one node sees.
type Sight = sight.View

// Node is what is seen of one node.
type Node = sight.Node

// Said is what a node's latest beats say.
type Said = sight.Said

// Run is what the owner of a service says of its term.
type Run = sight.Run

// Question is an administrator's request that has not been answered.
type Question struct {
	ID      uint64
	Request cluster.Request
}

// Answer is what to tell who asked; Err is empty if it was done.
type Answer struct {
	ID   uint64
	Err  string
	Text string
}

// Draft is the next state while it is being made, and what goes with it.
type Draft struct {
	Base    *cluster.State
	State   *cluster.State  // Base itself until the first change
	Notes   []cluster.Note  // to be told once State is committed
	Answers []Answer        // to be given once State is committed, or if nothing changes
	Words   []cluster.Proof // the operator's word, which this node keeps until it can be committed
	sight   *Sight
	mem     *Memory
}

// Changed says that there is something to commit.
func (d *Draft) Changed() bool { return d.State != d.Base }

// edit returns the state to change.
func (d *Draft) edit() *cluster.State {
	if d.State == d.Base {
		d.State = d.Base.Clone()
	}
	return d.State
}

func (d *Draft) note(n cluster.Note) { d.Notes = append(d.Notes, n) }

// Revise makes the next state from base: what administrators asked of this node
// and, if it coordinates, everything that the evidence allows.
func (m *Memory) Revise(base *cluster.State, sight *Sight, asked []Question) *Draft {
	d := &Draft{Base: base, State: base, sight: sight, mem: m}
	d.revise(base, sight, asked)
	d.sight, d.mem = nil, nil // the draft may be kept for long, and the sight is of this instant
	return d
}

func (d *Draft) revise(base *cluster.State, sight *Sight, asked []Question) {
	for _, q := range asked {
		text, err := d.grantWish(q.Request)
		d.Answers = append(d.Answers, Answer{q.ID, err, text})
	}
	if id := WordGiven(base, sight); id != 0 && d.State.Node(id) != nil && d.State.Node(id).Fencing == d.State.Node(id).Inc {
		d.end(id, sight.Of(id).Word)
	}
	d.endStorages()
	if !sight.Coordinates || !sight.Timed || base.Conf == nil {
		return
	}
	d.mem.look(base, sight)
	d.reviseClock()
	for i := range base.Nodes {
		d.reviseNode(base.Nodes[i].ID)
	}
	d.reviseProtocol()
	d.revisePartition()
	d.reviseServices()
	d.reviseDisks()
}

// WordGiven finds a node whose end the operator has confirmed here, or whose
// power this node has read as off, and whose fencing is committed: this node
// commits the proof, whoever coordinates.
func WordGiven(s *cluster.State, sight *Sight) ident.NodeID {
	for i := range sight.Nodes {
		w := &sight.Nodes[i].Word
		n := s.Node(sight.Nodes[i].ID)
		if (w.Kind == cluster.ProofOperator || w.Kind == cluster.ProofPower) && n != nil && n.Inc == w.Inc && n.Fencing == w.Inc && n.Dead < n.Inc.N {
			return n.ID
		}
	}
	return 0
}

// reviseNode applies to one node what its evidence allows.
func (d *Draft) reviseNode(id ident.NodeID) {
	n, v := d.State.Node(id), d.sight.Of(id)
	if n == nil {
		return // removed by this very draft
	}
	here := !v.Claims.IsZero()
	switch {
	case here && v.Claims.N > n.Inc.N && v.Claims.N > n.Dead && d.State.Uses(max(v.Protocol, cluster.Protocol1)+1):
		return // it speaks less than the cluster uses: it says so itself, and waits for its upgrade
	case here && v.Claims.N > n.Inc.N && v.Claims.N > n.Dead && v.Gen == d.State.DiskGen:
		d.admit(id, v.Claims)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return // out, and nothing new
	case here && v.Claims == n.Inc && n.Phase == cluster.Joining && d.allAcked() && d.reachesMembers(id):
		e := d.edit()
		e.Node(id).Phase = cluster.MemberPhase
		e.View++
		d.note(cluster.Note{Kind: cluster.NoteJoined, Node: id, Inc: v.Claims, Text: "is a member"})
	case here && v.Claims == n.Inc && n.Phase == cluster.MemberPhase && v.Phase == cluster.Leaving:
		e := d.edit()
		e.Node(id).Phase = cluster.Leaving
		e.View++
	}
	d.reviseEnd(id)
}

// admit registers a new incarnation. If an older one was not known to be dead,
// it is now: a host publishes a new incarnation only after its last writes have
// landed, or after its guard has retired the old one.
func (d *Draft) admit(id ident.NodeID, inc ident.Incarnation) {
	n := d.edit().Node(id)
	if old := n.Inc; !old.IsZero() && n.Dead < old.N {
		n.Dead = old.N
		n.Proof = cluster.Proof{
			Kind: cluster.ProofReborn, Node: id, Inc: old, By: d.sight.Self, DiskGen: d.State.DiskGen,
			Text: "a newer incarnation of the node publishes beats",
		}
		d.note(cluster.Note{Kind: cluster.NoteProof, Node: id, Inc: old, Proof: cluster.ProofReborn, Text: n.Proof.Text})
		d.crashed(id)
	}
	n.Inc, n.Phase, n.Fencing, n.Why = inc, cluster.Joining, ident.Incarnation{}, ""
	n.Life.Protocol = d.sight.Of(id).Protocol
	if v := d.sight.Of(id); !v.Last.IsZero() {
		n.Host = v.Host
	} else if id == d.sight.Self {
		n.Host = d.sight.Host
	}
	d.State.View++
}

// in says that a node counts in the membership: it has come in and is neither
// being fenced nor dead.
func in(n *cluster.NodeState) bool {
	return (n.Phase == cluster.MemberPhase || n.Phase == cluster.Leaving) && n.Fencing.IsZero() && n.Dead < n.Inc.N
}

// allAcked says that every member has learned the present view: from then on it
// asks the node that is about to become a member, too, for its consent to go on
// without the disks. One that is being fenced counts until it is proven dead: it
// may live on by the consent of others who have not heard of it. So a member
// that hangs holds up every join until its death is proven.
func (d *Draft) allAcked() bool {
	s := d.State
	if s.View != d.Base.View {
		return false
	}
	for i := range s.Nodes {
		n, v := &s.Nodes[i], d.sight.Of(s.Nodes[i].ID)
		was := (n.Phase == cluster.MemberPhase || n.Phase == cluster.Leaving) && n.Dead < n.Inc.N
		if was && !v.Retired && v.Acked < s.View {
			return false
		}
	}
	return true
}

// reviseEnd begins a fencing, ends a fenced or leaving incarnation, or neither.
func (d *Draft) reviseEnd(id ident.NodeID) {
	n := d.State.Node(id)
	if n.Dead >= n.Inc.N {
		return
	}
	if n.Fencing.IsZero() {
		if why := d.mustFence(n); why != "" {
			d.fence(id, why, d.sight.Of(id).Word.Kind == cluster.ProofOperator)
		} else if n.Phase == cluster.Leaving && ownsNothing(d.State, id) && d.saysGone(n) {
			d.end(id, cluster.Proof{Kind: cluster.ProofReleased, Node: id, Inc: n.Inc, By: d.sight.Self, Text: "left the cluster after releasing everything"})
		}
		return
	}
	if b := d.Base.Node(id); b == nil || b.Fencing != n.Inc {
		return // chosen first, proven later
	}
	if pr := d.sight.Of(id).Proof; pr.Kind != cluster.NoProof && pr.Inc == n.Inc {
		d.end(id, pr)
	}
}

// mustFence says why a node has to be fenced; empty if it has not.
func (d *Draft) mustFence(n *cluster.NodeState) string {
	v := d.sight.Of(n.ID)
	switch {
	case v.Word.Inc == n.Inc && v.Word.Kind == cluster.ProofOperator:
		return v.Word.Text
	case d.State.Life.Stop.On:
		return "" // nodes go away as they should; one that does not is named, not shot
	case v.Suspect != "":
		return v.Suspect
	}
	for i := range d.State.Services {
		g := &d.State.Services[i]
		if g.Owner != n.ID || g.Inc != n.Inc || allot.Held(d.State, g) != "" {
			continue
		}
		switch r := d.sight.Run(g); {
		case r.Known && r.State == cluster.Broken:
			return fmt.Sprintf("%s could not be stopped: %s", g.Service, r.Text)
		case v.Retired && !r.Released:
			return fmt.Sprintf("it has retired, and %s was granted to it after that", g.Service)
		}
	}
	return ""
}

// saysGone says that a leaving node has published that it starts nothing more.
func (d *Draft) saysGone(n *cluster.NodeState) bool {
	v := d.sight.Of(n.ID)
	return v.Claims == n.Inc && v.Phase == cluster.Leaving
}

func (d *Draft) end(id ident.NodeID, pr cluster.Proof) {
	pr.Text = cluster.Limit(pr.Text, 200)
	e := d.edit()
	n := e.Node(id)
	n.Dead, n.Phase, n.Fencing, n.Proof = n.Inc.N, cluster.Out, ident.Incarnation{}, pr
	e.View++
	kind := cluster.NoteProof
	if pr.Kind == cluster.ProofReleased {
		kind = cluster.NoteLeft
	}
	d.note(cluster.Note{Kind: kind, Node: id, Inc: n.Inc, Proof: pr.Kind, Text: pr.Text})
	if pr.Kind != cluster.ProofReleased {
		d.crashed(id)
	}
}

func ownsNothing(s *cluster.State, id ident.NodeID) bool {
	for i := range s.Services {
		if s.Services[i].Owner == id {
			return false
		}
	}
	return true
}
