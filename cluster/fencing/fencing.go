// Package fencing works on the ways to be certain that a node has ended, beside
// the proof by time that always runs: all ways that are configured for a node
// are tried at once, the first proof wins, and the rest is called off.
//
// Nothing begins before the fencing of the node's incarnation is chosen in the
// register, and then only on a node that has read the register again since and
// has not found itself fenced in it: so two nodes never shoot each other. What
// an attempt has shown is proven, failed or unknown; only proven counts, failed
// and unknown are tried again, ever more slowly. A power reading counts if it
// was taken after the fencing was chosen, and only once the last writes that
// the machine may have sent have had their time to land.
//
// The package is pure: it is told what happened and says what is to be done.
package fencing

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
)

const (
	// bmcWithin and agentWithin bound one attempt; agents start slowly.
	bmcWithin   = 30 * time.Second
	agentWithin = 90 * time.Second
	// firstRetry doubles with each attempt in a row that has proven nothing, up
	// to lastRetry.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// powerOns is how often a node that was switched off is asked to come back.
	powerOns = 3
)

// Env is this node at one instant.
type Env struct {
	Now     ident.Instant
	State   *cluster.State // the newest committed one; its Conf may be nil
	Self    ident.NodeID
	Member  bool            // this node is a member, or acts while it joins because nobody is one; and it is not about to stop
	Acts    bool            // it acts on the evidence, as the coordinator or in its place
	Tz      time.Duration   // how long writes of a machine that is off may still land
	Stalls  *landing.Stalls // of this node's requests; nil: none
	Storage Storage         // nil: this node has no reservations
	Tsus    time.Duration   // silence that leads to a fencing; others give the one who chose a fencing this long to end it
	Dark    bool            // nothing can be decided: this node lives, or is about to live, without the quorum disks
	Signs   Sights          // nil: nothing is read or heard of any peer
}

// Sights is who reads and hears peers.
type Sights interface {
	// Signs is what was read and heard of a peer; the zero value: nothing.
	Signs(id ident.NodeID) Signs
}

// Signs is what was read and heard of a peer.
type Signs struct {
	Beat    *cluster.Beat    // the newest; nil: none
	Changed ident.Instant    // when a new one was read last
	Msg     *cluster.Message // the newest; nil: none
	Heard   ident.Instant    // when that came
}

func (e *Env) signs(id ident.NodeID) Signs {
	if e.Signs == nil {
		return Signs{}
	}
	return e.Signs.Signs(id)
}

// seen is when a node's incarnation was seen to run last; LongAgo if it never was.
func (e *Env) seen(id ident.NodeID) ident.Instant {
	at, g, n := ident.LongAgo, e.signs(id), e.State.Node(id)
	if n == nil {
		return at
	}
	if g.Beat != nil && g.Beat.Inc == n.Inc {
		at = max(at, g.Changed)
	}
	if g.Msg != nil && g.Msg.Inc == n.Inc {
		at = max(at, g.Heard)
	}
	return at
}

// Storage is the way by reservations.
type Storage interface {
	// View is how it is doing here.
	View(now ident.Instant) cluster.WayView
}

// Set is the fencing that this node does. It is used by one goroutine.
type Set struct {
	env     Env       `memory:"-"` // of the call under way
	victims []*victim // by node
	checks  []*check  // by node and way
	ops     uint64
	out     []cluster.Action
	chosen  []choice // fencings that this node itself has chosen
}

// choice is a fencing that this node has committed, and the way to begin with.
type choice struct {
	node ident.NodeID
	inc  ident.Incarnation
	way  string
}

// victim is a node whose fencing is chosen, or that was switched off here.
type victim struct {
	node  ident.NodeID
	inc   ident.Incarnation
	since ident.Instant // when this node learned of the fencing
	read  ident.Instant // begin of a read of the register that showed it; 0: none yet
	only  string        // the way to begin with; empty: all
	ways  int           // how many are configured
	tries []*try        // those of them that cut its power
	off   reading       // the power proof
	ons   int           // how often it was asked to come back
	dead  bool          // known to have ended
}

// try is what is done with one way on one victim.
type try struct {
	way     cluster.Way
	op      uint64 // the attempt under way; 0: none
	kind    cluster.FenceKind
	stopped bool
	began   ident.Instant
	lies    bool // it said off of a node that ran on: its word is worth nothing
	failed  int  // attempts in a row that have proven nothing
	next    ident.Instant
	text    string // of the latest
}

// reading is when a machine was read as off first, and what says so.
type reading struct {
	at   ident.Instant // of the first of two readings; 0: it was not. Who is seen after it refutes it
	last ident.Instant // of the second, from which the drain time counts: the first may have been a word too early
	text string
}

// New returns a node's fencing at the start of its daemon.
func New() *Set { return &Set{} }

// Take returns what is to be done since the last call: Fence, FenceStop, and
// Notes whose instant is the caller's to fill in.
func (s *Set) Take() []cluster.Action {
	out := s.out
	s.out = nil
	return out
}

func (s *Set) emit(a cluster.Action) { s.out = append(s.out, a) }

// Chose says that this node's own proposal has chosen a fencing: this node is
// the first to act on it. way is the one to begin with; empty means all.
func (s *Set) Chose(node ident.NodeID, inc ident.Incarnation, way string) {
	s.chosen = append(s.chosen, choice{node, inc, way})
}

// Read says that the register was read, by a phase 1 that began at began and
// whose outcome is State of env.
func (s *Set) Read(env Env, began ident.Instant) {
	s.env = env
	for _, v := range s.victims {
		n := env.State.Node(v.node)
		if v.read != 0 || began < v.since || n == nil || n.Fencing != v.inc {
			continue
		}
		v.read = began
	}
}

// Reserves says whether this node may take the storage of a node's incarnation
// from it now, and since when it knows that it is being fenced.
func (s *Set) Reserves(id ident.NodeID, inc ident.Incarnation) (since ident.Instant, ok bool) {
	v := s.victim(id, inc)
	if v == nil || v.dead || v.read == 0 || !s.fit() || !s.turn(v) {
		return 0, false
	}
	for _, w := range s.env.State.Conf.WaysOf(s.env.State.NameOf(id)) {
		if w.Kind == cluster.WayReservation {
			return v.since, v.only == "" || v.only == w.Kind || s.env.Now.Sub(v.since) >= s.env.Tsus
		}
	}
	return 0, false
}

// WantsRead says that the register has to be read before this node may act.
func (s *Set) WantsRead(env Env) bool {
	s.env = env
	if !s.fit() {
		return false
	}
	for _, v := range s.victims {
		if !v.dead && v.read == 0 && s.turn(v) && v.ways > 0 {
			return true
		}
	}
	return false
}

// fit says that this node may fence others: it is a member, or acts where nobody
// is, and is not being fenced itself, as far as it knows.
func (s *Set) fit() bool {
	n := s.env.State.Node(s.env.Self)
	return s.env.Member && n != nil && n.Fencing.IsZero() && n.Dead < n.Inc.N
}

// turn says that it is this node's turn: it has chosen the fencing, or it acts
// on the evidence and whoever has chosen it has had time to end it.
func (s *Set) turn(v *victim) bool {
	for _, c := range s.chosen {
		if c.node == v.node && c.inc == v.inc {
			return true
		}
	}
	return s.env.Acts && s.env.Now.Sub(v.since) >= s.env.Tsus
}

// Manage takes every fencing one step, if one is due.
func (s *Set) Manage(env Env) {
	s.env = env
	s.meet()
	for _, v := range s.victims {
		s.refute(v)
		switch {
		case v.dead:
			s.after(v)
		case v.off.at != 0:
			s.callOff(v)
		case v.read != 0 && s.fit():
			s.attempt(v)
		}
	}
	s.victims = slices.DeleteFunc(s.victims, func(v *victim) bool { return v.over() })
	s.check()
}

// meet takes note of what the state says of every node.
func (s *Set) meet() {
	for i := range s.env.State.Nodes {
		n := &s.env.State.Nodes[i]
		if !n.Fencing.IsZero() && n.ID != s.env.Self && s.victim(n.ID, n.Fencing) == nil {
			s.victims = append(s.victims, s.newVictim(n))
			slices.SortStableFunc(s.victims, func(a, b *victim) int { return int(a.node) - int(b.node) })
		}
	}
	for _, v := range s.victims {
		n := s.env.State.Node(v.node)
		v.dead = v.dead || n == nil || n.Dead >= v.inc.N || n.Fencing != v.inc
	}
	s.chosen = slices.DeleteFunc(s.chosen, func(c choice) bool {
		n := s.env.State.Node(c.node)
		return n == nil || n.Fencing != c.inc && n.Dead >= c.inc.N
	})
}

func (s *Set) victim(id ident.NodeID, inc ident.Incarnation) *victim {
	for _, v := range s.victims {
		if v.node == id && v.inc == inc {
			return v
		}
	}
	return nil
}

func (s *Set) newVictim(n *cluster.NodeState) *victim {
	v := &victim{node: n.ID, inc: n.Fencing, since: s.env.Now}
	for _, c := range s.chosen {
		if c.node == n.ID && c.inc == n.Fencing {
			v.only = c.way
		}
	}
	ways := s.env.State.Conf.WaysFor(n)
	v.ways = len(ways)
	for _, w := range ways {
		if w.CutsPower() {
			v.tries = append(v.tries, &try{way: w})
		}
	}
	return v
}

// over says that nothing is left to be done about a victim.
func (v *victim) over() bool {
	if !v.dead {
		return false
	}
	for _, t := range v.tries {
		if t.op != 0 || t.next != 0 {
			return false
		}
	}
	return true
}

// attempt begins every way that is due.
func (s *Set) attempt(v *victim) {
	for _, t := range v.tries {
		first := v.only == "" || t.way.Name() == v.only || s.env.Now.Sub(v.since) >= s.env.Tsus
		if t.op == 0 && first && s.env.Now >= t.next {
			s.begin(v, t, cluster.FenceOff)
		}
	}
}

func (s *Set) begin(v *victim, t *try, kind cluster.FenceKind) {
	n := s.env.State.Node(v.node)
	if n == nil {
		return
	}
	s.ops++
	t.op, t.kind, t.began, t.next, t.stopped = s.ops, kind, s.env.Now, 0, false
	what := "switching it off"
	if kind == cluster.FenceOn {
		what = "switching it on again"
	}
	s.note(v, cluster.NoProof, t.way.Name()+": "+what)
	s.emit(cluster.Fence{Op: t.op, Kind: kind, Node: v.node, Name: n.Name, Inc: v.inc, Host: n.Host, Switch: n.Switch, Way: t.way, Within: within(&t.way)})
}

func within(w *cluster.Way) time.Duration {
	if w.Runs() {
		return agentWithin
	}
	return bmcWithin
}

func (s *Set) note(v *victim, proof cluster.ProofKind, text string) {
	s.emit(cluster.Note{Kind: cluster.NoteWay, Node: v.node, Inc: v.inc, Proof: proof, Text: text})
}

// callOff ends the attempts that are not needed any more.
func (s *Set) callOff(v *victim) {
	for _, t := range v.tries {
		if t.op != 0 && t.kind == cluster.FenceOff && !t.stopped {
			t.stopped = true
			s.emit(cluster.FenceStop{Op: t.op})
		}
		if t.op == 0 || t.kind == cluster.FenceOff {
			t.next = 0
		}
	}
}

// after ends the fencing of a node that is known to have ended, and gives it
// power again where that is wanted and this node has, or may have, taken it.
func (s *Set) after(v *victim) {
	if v.ons == 0 {
		s.callOff(v)
	}
	n := s.env.State.Node(v.node)
	back := v.used()
	if back == nil || s.env.State.Conf == nil || !s.env.State.Conf.PowerOn || n == nil || n.Inc != v.inc || v.ons >= powerOns {
		v.rest()
		return
	}
	for _, t := range v.tries {
		if t.op != 0 {
			return
		}
	}
	if s.env.Now >= back.next {
		v.ons++
		s.begin(v, back, cluster.FenceOn)
	}
}

// used is the way that has switched the node off, or may have; nil if none was
// tried.
func (v *victim) used() *try {
	var may *try
	for _, t := range v.tries {
		if t.began != 0 && (may == nil || t.way.Name() == v.off.text) {
			may = t
		}
	}
	return may
}

// rest says that no attempt will begin any more.
func (v *victim) rest() {
	for _, t := range v.tries {
		t.next = 0
	}
}

// Done takes the end of an attempt.
func (s *Set) Done(env Env, e cluster.FenceDone) {
	s.env = env
	for _, v := range s.victims {
		for _, t := range v.tries {
			if t.op == e.Op && e.Op != 0 {
				s.ended(v, t, e)
				return
			}
		}
	}
	s.checked(e)
}

func (s *Set) ended(v *victim, t *try, e cluster.FenceDone) {
	t.op, t.text = 0, e.Text
	took := s.env.Now.Sub(t.began).Round(time.Millisecond)
	outcome := e.Outcome
	if t.kind == cluster.FenceOff && outcome == cluster.FenceProven && (e.First <= t.began || e.Second <= e.First) {
		outcome, e.Text = cluster.FenceUnknown, "not two readings from after the fencing was decided: "+e.Text
	}
	if t.kind == cluster.FenceOff && outcome == cluster.FenceProven && (t.lies || s.disproved(v.node, &t.way)) {
		outcome, e.Text = cluster.FenceUnknown, "it has said off of this node while that ran, so that its word counts for nothing: "+e.Text
	}
	if t.kind == cluster.FenceOff {
		s.count(v.node, &t.way, outcome, took)
	}
	proof := cluster.NoProof
	if t.kind == cluster.FenceOff && outcome == cluster.FenceProven {
		proof = cluster.ProofPower
	}
	s.emit(cluster.Note{
		Kind: cluster.NoteWay, Node: v.node, Inc: v.inc, Proof: proof, Way: t.way.Name(), Outcome: outcome, Took: max(took, time.Millisecond),
		Text: cluster.Limit(fmt.Sprintf("%s: %s after %s: %s", t.way.Name(), outcome, took, e.Text), 400),
	})
	switch {
	case t.kind == cluster.FenceOn && outcome == cluster.FenceProven:
		v.ons = powerOns
	case outcome != cluster.FenceProven:
		t.failed++
		t.next = s.env.Now.Add(min(firstRetry<<min(t.failed-1, 8), lastRetry))
	case v.off.at == 0:
		v.off = reading{at: e.First, last: e.Second, text: t.way.Name()}
	}
}

// refute takes back what was read of a victim's power if the victim was seen
// after that: who beats has power. What was under way at the reading may arrive
// a little later, so such a reading is repeated; what comes later than writes can
// land shows that the way lies, and it is not believed about this incarnation any
// more.
func (s *Set) refute(v *victim) {
	seen := s.env.seen(v.node)
	if v.dead || v.off.at == 0 || seen <= v.off.at {
		return
	}
	late := seen.Sub(v.off.at)
	for _, t := range v.tries {
		if t.way.Name() == v.off.text {
			t.lies = t.lies || late > s.env.Tz
			t.failed++
			t.next = s.env.Now.Add(firstRetry)
		}
	}
	s.emit(cluster.Note{Kind: cluster.NoteAlarm, Node: v.node, Inc: v.inc, Text: fmt.Sprintf("%s: it said off, and the node was seen %s after that: the reading does not count", v.off.text, late.Round(time.Millisecond))})
	v.off = reading{}
}

// Proof returns the proof that the node's incarnation is off, if its power was
// read as off here and the last writes that it may have sent have landed.
func (s *Set) Proof(env Env, n *cluster.NodeState) (cluster.Proof, bool) {
	v := s.victim(n.ID, n.Fencing)
	if n.Fencing.IsZero() || v == nil || v.off.at == 0 || !env.Stalls.Landed(v.off.last, env.Now, env.Tz) || env.seen(n.ID) > v.off.at {
		return cluster.Proof{}, false
	}
	return cluster.Proof{
		Kind: cluster.ProofPower, Node: n.ID, Inc: v.inc, By: env.Self, DiskGen: env.State.DiskGen, Wait: env.Tz,
		Text: v.off.text + ": off, read twice; writes that were on their way have had " + env.Tz.String() + " to land",
	}, true
}

// Holds says that this node holds a proof that is not committed yet.
func (s *Set) Holds(env Env) bool {
	for _, v := range s.victims {
		if n := env.State.Node(v.node); n != nil && !v.dead {
			if _, ok := s.Proof(env, n); ok {
				return true
			}
		}
	}
	return false
}
