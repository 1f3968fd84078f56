package services

import "github.com/holdfast-ha/holdfast/cluster"

// mustStop says why a service has to be stopped here; empty if it has not.
func (s *Set) mustStop(l *local, g *cluster.Grant) string {
	switch {
	case g == nil || g.Term != l.term:
		return "this node does not own it"
	case s.env.State.Life.Stop.On:
		if s.env.State.Dependent(l.name) != "" {
			return "" // what runs on top of it goes first
		}
		return "the cluster is being stopped"
	case s.held(g) && s.env.Standing != Leaving:
		return ""
	case l.giveUp != "":
		return l.giveUp
	case g.Stopped:
		return "stopped by request"
	case g.Want != 0 && g.Want != s.env.Self:
		return "moving to " + s.env.State.NameOf(g.Want)
	case s.env.Standing == Leaving:
		return "this node is leaving the cluster"
	}
	if n := s.env.State.Node(s.env.Self); n != nil && n.Standby {
		return "this node is on standby"
	}
	if _, ok := s.env.State.Conf.Service(l.name); !ok && s.env.State.Conf != nil {
		return "it was removed from the configuration"
	}
	return ""
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
// is left of it when its storage was started on a proof for that alone.
func (s *Set) startable(l *local, g *cluster.Grant) bool {
	return l.state == cluster.Down || l.state == cluster.Starting && l.op == 0 && l.half && g != nil && len(g.Pending) == 0
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
	if known && g != nil && !s.reserved(l, g, svc) {
		return false
	}
	return known && g != nil && s.env.MayStart && !s.held(g) && !s.env.State.Life.Stop.On && n != nil && n.Inc == s.env.Inc && n.Fencing.IsZero() && n.Dead < n.Inc.N
}
