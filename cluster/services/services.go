// Package services runs this node's services: one state machine each, none of
// which waits for another. It starts what the node was granted and may start,
// checks it, spends its budget of restarts, stops what the node has to give up,
// and releases a term once everything of it is verified stopped. A released term
// is never started again.
package services

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Standing is what the node may do with its services.
type Standing uint8

// A Member runs what it is granted; a Leaving node stops everything in order; an
// Ending one stops everything at once; any other starts nothing.
const (
	Other Standing = iota
	Member
	Leaving
	Ending
)

// Env is the node at one instant. State is not nil, and Inc is the bound
// incarnation, whenever services are managed.
type Env struct {
	Now      ident.Instant
	State    *cluster.State
	Self     ident.NodeID
	Inc      ident.Incarnation
	Standing Standing
	MayStart bool // it is a member, its lease is held, and its guard was not killed
	// Storage says what is missing before the storage of a guarded service may be
	// started in the term of its grant, empty if nothing is, and that waiting for it
	// has become pointless. Nil: nothing is ever missing.
	Storage func(*cluster.Grant) (why string, stuck bool)
	Why     string // why everything is being stopped at once, for people
	// Elsewhere says that another node could run a service now. Nil: one always could.
	Elsewhere func(service string) bool
	// Goes is where a service will go, by what is known now, if this node lets go of
	// it; 0: nowhere. Nil: nobody knows.
	Goes func(service string) ident.NodeID
	// Takes says that the node to which a service is to go has said, since it was asked
	// to, that nothing is missing for it there. Nil: nobody waits for that.
	Takes   func(*cluster.Grant) bool
	Slow    bool // this node's own beats take long: its disks, or the node itself, stall
	Overdue bool // half of the lease has passed without a beat: services with quick-stop: early end
}

// Set is all services of this node. It is used by one goroutine.
type Set struct {
	env       Env `memory:"-"` // of the call under way
	local     map[string]*local
	order     []string                   // of local, sorted; see names
	adopted   map[string]cluster.Adopted // found by this life of the daemon, not yet continued
	inherited map[string]uint64          // terms of this incarnation that a former life knew
	ops       uint64                     // number of the latest Run
	releases  uint64
	news      uint64 // see News
	over      over
	fits      fits
	handed    handed
	out       []cluster.Action
}

// New returns the services of a daemon that has just started and found these.
func New(found []cluster.Adopted) *Set {
	s := &Set{local: map[string]*local{}, adopted: map[string]cluster.Adopted{}}
	for _, a := range found {
		s.adopted[a.Service] = a
	}
	return s
}

// Take returns what is to be done since the last call: Runs, and Notes whose
// instant, node and version are the caller's to fill in.
func (s *Set) Take() []cluster.Action {
	out := s.out
	s.out = nil
	return out
}

func (s *Set) emit(a cluster.Action) { s.out = append(s.out, a) }

// Releases counts the terms that were released: it grows with each.
func (s *Set) Releases() uint64 { return s.releases }

// Renew forgets everything: a new incarnation begins with nothing.
func (s *Set) Renew() {
	s.local, s.order, s.inherited, s.over, s.fits = map[string]*local{}, nil, nil, over{}, fits{told: s.fits.told}
}

// Resume continues the incarnation of a former life: what it was granted by now
// is not new to this one.
func (s *Set) Resume(env Env) {
	s.env, s.inherited = env, map[string]uint64{}
	for i := range env.State.Services {
		if g := &env.State.Services[i]; g.Owner == env.Self && g.Inc == env.Inc {
			s.inherited[g.Service] = g.Term
		}
	}
	s.dropUnowned()
}

// dropUnowned takes note of what was found running without a grant that covers
// it: it has to be stopped.
func (s *Set) dropUnowned() {
	for name, a := range s.adopted {
		if t, ok := s.inherited[name]; ok && t == a.Term {
			continue
		}
		delete(s.adopted, name)
		l := &local{name: name, term: a.Term, state: cluster.Up, text: "found running without a grant"}
		s.specify(l)
		s.local[name] = l
	}
}

// Clear stops what was found running while no incarnation is bound, and says
// whether nothing is left.
func (s *Set) Clear(env Env) bool {
	s.env = env
	s.dropUnowned()
	for _, name := range s.names() {
		if l := s.local[name]; l.op == 0 && l.state != cluster.Down && l.spec != nil && env.Now >= l.retryAt {
			s.run(l, cluster.RunStop, l.text)
		}
	}
	return s.AllDown()
}

// Manage moves every service one step, if one is due.
func (s *Set) Manage(env Env) {
	s.env = env
	s.handover()
	for i := range env.State.Services {
		s.meet(&env.State.Services[i])
	}
	for _, name := range s.names() {
		s.manageOne(s.local[name])
	}
	s.askFits()
}

// names lists the services in order. There are never fewer, but for Renew.
func (s *Set) names() []string {
	if len(s.order) != len(s.local) {
		s.order = slices.Sorted(maps.Keys(s.local))
	}
	return s.order
}

// Over says that a term was released here, and what made this node give it up;
// empty if it was asked to.
func (s *Set) Over(service string, term uint64) (why string, ok bool) {
	l := s.local[service]
	if l == nil || l.released < term {
		return "", false
	}
	return l.giveUp, true
}

// State is where the service stands in a term.
func (s *Set) State(service string, term uint64) (cluster.RunState, bool) {
	l := s.local[service]
	if l == nil || l.term != term {
		return cluster.RunState{}, false
	}
	return l.runState(), true
}

// States lists where every service stands, by name, and what Lacks lists of those
// that were not here, or are no more.
func (s *Set) States() []cluster.RunState {
	var list []cluster.RunState
	lacks := s.Lacks()
	for _, name := range s.names() {
		l := s.local[name]
		gone := l.released >= l.term && !s.owned(name)
		if l.term > 0 && !(gone && slices.ContainsFunc(lacks, func(r cluster.RunState) bool { return r.Service == name })) {
			list = append(list, l.runState())
		}
	}
	for _, r := range lacks {
		if l := s.local[r.Service]; l == nil || l.term == 0 || l.released >= l.term && !s.owned(r.Service) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, byName)
	return list
}

func byName(a, b cluster.RunState) int { return strings.Compare(a.Service, b.Service) }

// owned says that the latest grant of a service names this node: what its owner says
// of the term counts still.
func (s *Set) owned(name string) bool {
	if s.env.State == nil {
		return true
	}
	g := s.env.State.Grant(name)
	return g != nil && g.Owner == s.env.Self
}

// AllReleased says that every term is released.
func (s *Set) AllReleased() bool {
	for _, l := range s.local {
		if l.released < l.term {
			return false
		}
	}
	return true
}

// Empty says that there has been no service in this incarnation.
func (s *Set) Empty() bool { return len(s.local) == 0 }

// begun is what is known of starts and reloads beside the operation under way.
type begun struct {
	goal    ident.NodeID // where it is to go: what was asked there, and since when
	asked   ident.Instant
	stirred bool             // it was told to look while it was looking
	next    *cluster.Service // what it is being reloaded with; nil if it is not
	started uint64           // a start that was interrupted, and has not ended yet
	half    bool             // the start under way, or the one that has ended, is of the storage only
}

// local is one service on this node: its state machine, independent of all
// others. A released term is never started again.
type local struct {
	name  string
	term  uint64
	spec  *cluster.Service // as started; a stop uses what was started
	state cluster.ServiceState
	op    uint64 // the Run under way; 0: none
	begun
	kind     cluster.RunKind
	released uint64 // highest term released in this incarnation
	giveUp   string // the term is to be released because of this
	text     string // what status shows
	again    bool   // stop, then start in the same term
	early    bool   // it was ended because the lease was overdue: the term is over
	trouble
	checkAt ident.Instant
	retryAt ident.Instant
}

func (l *local) runState() cluster.RunState {
	state := l.state
	switch {
	case state == cluster.Broken && l.borne:
		state = cluster.Stopping
	case l.wrong && l.giveUp != "" && l.released >= l.term:
		state = cluster.Wrong
	}
	return cluster.RunState{Service: l.name, Term: l.term, State: state, Text: cluster.Limit(l.text, 120)}
}

// mine is the grant of a service if this incarnation owns it.
func (s *Set) mine(name string) *cluster.Grant {
	if g := s.env.State.Grant(name); g != nil && g.Owner == s.env.Self && g.Inc == s.env.Inc {
		return g
	}
	return nil
}

// meet takes note of a grant of this node. A term that this life of the daemon
// has learned as new may be started; one that was there before is either
// running, and adopted, or released without ever being started.
func (s *Set) meet(g *cluster.Grant) {
	if g.Owner != s.env.Self || g.Inc != s.env.Inc {
		return
	}
	l := s.local[g.Service]
	if l == nil {
		l = &local{name: g.Service}
		s.local[g.Service] = l
	}
	if g.Term <= l.term || g.Term <= l.released {
		return
	}
	if l.state != cluster.Down || l.op != 0 {
		return // the term before is not over here yet
	}
	l.term, l.giveUp, l.text, l.again, l.early, l.trouble = g.Term, "", "", false, false, trouble{}
	s.over = over{}
	l.spec, _ = s.env.State.Conf.Service(g.Service)
	if t, ok := s.inherited[g.Service]; ok && t == g.Term {
		s.adopt(l, g)
	}
}

// adopt continues, or gives back, a term of a former life of this daemon.
func (s *Set) adopt(l *local, g *cluster.Grant) {
	a, held := s.adopted[g.Service]
	delete(s.adopted, g.Service)
	switch {
	case held && a.Stuck != "":
		l.state, l.text = cluster.Broken, a.Stuck
	case held && l.spec == nil:
		s.specify(l)
	case held && a.Running && a.Term == g.Term:
		l.state, l.checkAt = cluster.Up, s.env.Now
		s.emit(cluster.Note{Kind: cluster.NoteStarted, Service: l.name, Term: l.term, Text: "found running by the restarted daemon"})
	case held:
		l.state, l.text = cluster.Up, ""
		l.giveUp = ""
		s.run(l, cluster.RunStop, "found half started by the restarted daemon")
	default:
		s.release(l)
	}
}

// specify finds out how to stop what a former life of this daemon started. If
// that is not configured any more nobody knows, and it counts as a failed stop.
func (s *Set) specify(l *local) {
	spec, ok := s.env.State.Conf.Service(l.name)
	if !ok {
		l.state, l.text = cluster.Broken, "it was found running, and how to stop it is not configured any more"
	}
	l.spec = spec
}

// manageOne decides the next step of one service. A stop waits for nothing else
// that is under way: it interrupts it.
func (s *Set) manageOne(l *local) {
	starting := l.op != 0 && l.kind == cluster.RunStart
	looking := l.op != 0 && (l.kind == cluster.RunCheck || l.kind == cluster.RunReload)
	if l.op == 0 && l.started != 0 {
		return // stopped, but what it interrupted may begin only now: see Done
	}
	if l.op != 0 && !starting && !looking || l.state == cluster.Broken && (s.env.Now < l.retryAt || l.spec == nil) {
		return
	}
	g := s.mine(l.name)
	why := s.mustStop(l, g)
	ending, because := s.atOnce(l, g)
	switch {
	case (starting || looking) && ending:
		s.run(l, cluster.RunKill, because)
	case (starting || looking) && why != "":
		s.run(l, cluster.RunStop, why)
	case starting || looking:
	case l.state == cluster.Broken:
		if ending {
			s.run(l, cluster.RunKill, "again: the stop before failed")
		} else if s.env.State.Life.Stop.On || l.borne {
			s.run(l, cluster.RunStop, "again: the stop before failed")
		}
	case ending && l.state != cluster.Down:
		s.run(l, cluster.RunKill, because)
	case l.state != cluster.Down && why != "":
		s.run(l, cluster.RunStop, why)
	case (l.state == cluster.Up || l.state == cluster.Partly) && l.again && !s.held(g) && !s.env.State.Life.Stop.On:
		s.runFrom(l, cluster.RunStop, l.from, "restart: "+l.text)
	case l.state == cluster.Down && l.term > l.released && (why != "" || ending):
		s.release(l)
	case s.startable(l, g) && l.term > l.released && s.mayStart(l, g) && s.env.Now >= l.retryAt:
		s.runFrom(l, cluster.RunStart, l.begins(), "")
	case l.state == cluster.Partly && s.env.Now >= l.retryAt && !s.held(g):
		s.completes(l, g)
	case (l.state == cluster.Up || l.state == cluster.Partly) && s.env.Now >= l.checkAt:
		s.run(l, cluster.RunCheck, "")
	}
}

func (s *Set) run(l *local, kind cluster.RunKind, why string) { s.runFrom(l, kind, 0, why) }

// runFrom is run of the members from a place in the stack on, where it is a start or
// a polite stop.
func (s *Set) runFrom(l *local, kind cluster.RunKind, from int, why string) {
	s.ops++
	if l.op != 0 && l.kind == cluster.RunStart {
		l.started = l.op
	}
	l.op, l.kind = s.ops, kind
	r := cluster.Run{Op: l.op, Kind: kind, Term: l.term, From: from}
	switch kind {
	case cluster.RunStart:
		r.Handed, r.Resume = s.wasHanded(l.name, freshly), from == 0 && s.wasHanded(l.name, handOver)
		l.state, l.partial = cluster.Starting, from > 0
		l.spec, _ = s.env.State.Conf.Service(l.name)
		g := s.mine(l.name)
		if l.half = g != nil && len(g.Pending) > 0; l.half {
			r.Storage = true
			why = "its storage only: a former owner can reach it no more, but is not proven to have ended"
		}
		s.emit(cluster.Note{Kind: cluster.NoteStarting, Service: l.name, Term: l.term, Text: why + part(l.spec, from)})
	case cluster.RunStop, cluster.RunKill:
		if kind == cluster.RunStop && from == 0 {
			r.Goal = s.goalOf(l)
		}
		l.state, l.partial = cluster.Stopping, from > 0
		l.text = why
		s.emit(cluster.Note{Kind: cluster.NoteStopping, Service: l.name, Term: l.term, Text: kind.String() + part(l.spec, from) + ": " + why})
	case cluster.RunCheck:
		if l.state == cluster.Partly {
			r.To = l.from
		}
	}
	r.Service = l.spec
	s.emit(r)
}

// Done takes the result of a Run. It says that nothing comes of it: a check has found
// the service as well as it was before.
func (s *Set) Done(env Env, e cluster.RunDone) (nothing bool) {
	s.env = env
	if s.fitDone(e) {
		return
	}
	for _, l := range s.local {
		switch e.Op {
		case l.op:
			l.op = 0
			before := *l
			s.finished(l, e)
			// The settings are compared by what they say: a replay parses them anew.
			return before.kind == cluster.RunCheck && e.Outcome == cluster.OK && l.op == 0 &&
				l.text == before.text && l.again == before.again && l.state == before.state && reflect.DeepEqual(l.spec, before.spec)
		case l.started:
			l.started = 0
			if l.op == 0 && l.state == cluster.Stopping {
				s.run(l, l.kind, "again: the start that was interrupted has ended after it")
			}
			return false
		}
	}
	return false
}

func (s *Set) finished(l *local, e cluster.RunDone) {
	switch l.kind {
	case cluster.RunStart:
		s.startDone(l, e)
	case cluster.RunStop, cluster.RunKill:
		s.stopDone(l, e)
	case cluster.RunCheck:
		s.checkDone(l, e)
	case cluster.RunReload:
		s.reloadDone(l, e)
	}
}

// release burns the term: it is never started again in this incarnation. It is
// published once the guard has echoed it.
func (s *Set) release(l *local) {
	if l.term > l.released {
		l.released = l.term
		s.over = over{}
		l.text = l.giveUp
		s.releases++
	}
}

// AllDown says that nothing of any service runs, or is being started, here.
func (s *Set) AllDown() bool {
	for _, l := range s.local {
		if l.op != 0 || l.started != 0 || l.state != cluster.Down {
			return false
		}
	}
	return true
}
