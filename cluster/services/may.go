package services

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// mustStop says why a service has to be stopped here; empty if it has not, or not
// yet: what starts after it and is to be stopped as well goes first.
func (s *Set) mustStop(l *local, g *cluster.Grant) string {
	why, orderly := s.unwanted(l, g)
	if !orderly {
		return why
	}
	if first := s.env.State.Dependent(l.name, s.leaves); first != "" {
		l.text = "waits for " + first + " to stop, then it is stopped: " + why
		return ""
	}
	return why
}

// atOnce says that a service is ended at once, and why: with all others, or before
// them because it is marked so and the lease is overdue. What was ended early stays
// so for its term: the lease may be held again while it is being ended.
func (s *Set) atOnce(l *local, g *cluster.Grant) (ends bool, why string) {
	if s.env.Standing == Ending {
		return true, s.env.Why
	}
	if s.env.Overdue && l.spec != nil && l.spec.QuickStop && l.state != cluster.Down && !s.held(g) {
		l.early = true
	}
	return l.early, "the lease is overdue (quick-stop: early)"
}

// leaves says that a service is to be stopped because its node, which is this one,
// is about to leave. One that is down already holds nobody up: whoever does not know
// of the leave yet may grant it to this node again and again.
func (s *Set) leaves(g *cluster.Grant) bool {
	if s.env.Standing != Leaving || g.Owner != s.env.Self {
		return false
	}
	l := s.local[g.Service]
	return l == nil || l.state != cluster.Down || l.op != 0
}

// unwanted says why a service has to be stopped here, and whether there is time to
// do it in order.
func (s *Set) unwanted(l *local, g *cluster.Grant) (why string, orderly bool) {
	if g == nil || g.Want == 0 {
		l.goal = 0
	}
	switch {
	case g == nil || g.Term != l.term:
		return "this node does not own it", false
	case s.env.State.Life.Stop.On:
		return "the cluster is being stopped", true
	case s.held(g) && s.env.Standing != Leaving:
		return "", false
	case l.giveUp != "":
		return l.giveUp, false
	case g.Stopped:
		return "stopped by request", true
	case g.Want != 0 && g.Want != s.env.Self && s.ready(l, g):
		return "moving to " + s.env.State.NameOf(g.Want), true
	case len(g.Uses) > 0:
		return "the configuration has taken " + g.Uses[0] + " from it", true
	case g.Yield != "":
		return "gives way to " + g.Yield, true
	case s.env.Standing == Leaving:
		return "this node is leaving the cluster", true
	}
	if n := s.env.State.Node(s.env.Self); n != nil && n.Standby {
		return "this node is on standby", true
	}
	if _, ok := s.env.State.Conf.Service(l.name); !ok && s.env.State.Conf != nil {
		return "it was removed from the configuration", true
	}
	return "", false
}

// mostAsked is for how long the owner of a service waits for the word of the node to
// which it is to go. Without an answer nothing is known, and the move goes on: what is
// missing there would be found by the start, as without the question.
const mostAsked = 10 * time.Second

// ready says that nothing is known to be missing where a service is to go: that node
// has said so since it was asked, or says nothing.
func (s *Set) ready(l *local, g *cluster.Grant) bool {
	if s.env.Takes == nil || l.state != cluster.Up && l.state != cluster.Partly {
		return true // it is on its way already
	}
	if l.goal != g.Want {
		l.goal, l.asked = g.Want, s.env.Now
	}
	if s.env.Takes(g) || s.env.Now.Sub(l.asked) >= mostAsked {
		return true
	}
	l.text = fmt.Sprintf("before it is stopped here, %s looks whether it could run there", s.env.State.NameOf(g.Want))
	return false
}

// held says that the service is left as it is: a maintenance says so, or
// somebody has frozen it.
func (s *Set) held(g *cluster.Grant) bool {
	if g == nil {
		return false
	}
	m, _ := s.env.State.Maintained(g)
	return m != nil || g.Frozen
}

// startable says that there is something to start: all of the service, or what
// is left of it when its storage was started on a proof for that alone, or when a
// part of it was stopped to be started again.
func (s *Set) startable(l *local, g *cluster.Grant) bool {
	rest := l.half && g != nil && len(g.Pending) == 0
	return l.state == cluster.Down || l.state == cluster.Starting && l.op == 0 && (rest || l.partial)
}

// reserved says that the storage of a guarded service is this node's alone. Once
// that cannot be had here, the service is given up, so that another node tries.
func (s *Set) reserved(l *local, g *cluster.Grant, svc *cluster.Service) bool {
	if s.env.Storage == nil || !svc.Guarded() {
		return true
	}
	why, stuck := s.env.Storage(g)
	if why != "" {
		l.text = why
	}
	if stuck && l.giveUp == "" {
		l.giveUp = why
		s.emit(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: why})
	}
	return why == ""
}

// mayStart is the start rule: a committed grant of exactly this incarnation,
// learned in this life, which is bound, a member, holds its lease and is not
// being fenced.
func (s *Set) mayStart(l *local, g *cluster.Grant) bool {
	svc, known := s.env.State.Conf.Service(l.name)
	n := s.env.State.Node(s.env.Self)
	if known && g != nil && len(g.Pending) > 0 && !svc.Guarded() {
		l.text = "waits for the proven end of a former owner"
		return false
	}
	if what, by := s.env.State.InUse(l.name); what != "" {
		l.text = what + " may still be in use by " + by
		return false
	}
	if known && g != nil && !s.reserved(l, g, svc) {
		return false
	}
	return known && g != nil && s.env.MayStart && !s.held(g) && !s.env.State.Life.Stop.On && n != nil && n.Inc == s.env.Inc && n.Fencing.IsZero() && n.Dead < n.Inc.N
}
