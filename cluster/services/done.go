package services

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// retryPart is how often the part of a service that has failed too often is tried
// again where no other node can have the service.
const retryPart = time.Minute

// trouble is what has gone wrong with a service in its term.
type trouble struct {
	answers
	restarts []ident.Instant
	from     int           // the member from which on it is restarted, or is not up
	partial  bool          // the latest start or stop was of the members from there on
	keep     string        // what has failed too often, while the rest is kept up
	wrong    bool          // it, or what the term is given up for, would fail on every node
	broken   ident.Instant // since when stops fail; 0: the latest has not
	borne    bool          // and they are tried again: the grace is not over
}

// begins is the member with which a start begins: what is before it is up.
func (l *local) begins() int {
	if l.state == cluster.Starting && l.partial {
		return l.from
	}
	return 0
}

// part says which part of a service is meant; empty for all of it.
func part(spec *cluster.Service, from int) string {
	if from == 0 || spec == nil {
		return ""
	}
	if from >= len(spec.Stack) {
		return " (nothing of it)"
	}
	return " (from " + spec.Stack[from].ID + " on)"
}

func (s *Set) startDone(l *local, e cluster.RunDone) {
	if e.Outcome == cluster.OK && l.half {
		l.text = "its storage is there; the rest waits for the proven end of a former owner"
		return
	}
	if e.Outcome == cluster.OK {
		l.state, l.text, l.keep, l.partial, l.wrong = cluster.Up, "", "", false, false
		l.checkAt = s.env.Now.Add(l.spec.CheckEvery())
		s.news++
		s.emit(cluster.Note{Kind: cluster.NoteStarted, Service: l.name, Term: l.term, Text: e.Text})
		return
	}
	if l.partial && l.keep != "" && e.Outcome == cluster.Failed {
		s.keepRest(l) // what was begun of it was taken back
		return
	}
	l.state = cluster.Up // something of it may run: it has to be stopped
	if !l.partial {
		e.Member = 0
	}
	s.failed(l, "start: "+e.Text, e)
}

// Stirred has a service that runs checked at once: again, if it is being checked, for
// nobody knows which came first.
func (s *Set) Stirred(env Env, e cluster.Stirred) {
	s.env = env
	l := s.local[e.Service]
	if l == nil || l.state != cluster.Up && l.state != cluster.Partly {
		return
	}
	l.checkAt, l.stirred = min(l.checkAt, env.Now), l.op != 0
}

func (s *Set) checkDone(l *local, e cluster.RunDone) {
	l.checkAt = s.env.Now.Add(l.spec.CheckEvery())
	if l.stirred {
		l.checkAt, l.stirred = s.env.Now, false
	}
	// What has once started with its settings does not fail because they are wrong:
	// something is missing here now.
	e.Severity = min(e.Severity, cluster.Hard)
	if bad, text := s.verdict(l, e); bad {
		s.failed(l, text, e)
		return
	}
	conf, ok := s.env.State.Conf.Service(l.name)
	if !ok || e.Outcome == cluster.Failed {
		return
	}
	if what, by := s.env.State.InUse(l.name); what != "" {
		l.text = "its new configuration waits: " + what + " may still be in use by " + by
		return
	}
	switch same := sameStack(conf, l.spec); {
	case same == max(len(conf.Stack), len(l.spec.Stack)):
		l.spec = conf
	case l.state == cluster.Up && sameMembers(conf, l.spec) && !s.held(s.mine(l.name)):
		s.reload(l, conf)
	default:
		s.renew(l, same)
	}
}

// renew restarts a service with its new configuration, from a member on: what has
// failed too often before may work now.
func (s *Set) renew(l *local, from int) {
	l.keep, l.wrong, l.restarts = "", false, nil
	l.again, l.from, l.text = true, from, "its configuration has changed"
}

// reload has the members that changed take over their new settings while they run.
func (s *Set) reload(l *local, conf *cluster.Service) {
	l.next = conf
	s.ops++
	l.op, l.kind = s.ops, cluster.RunReload
	s.emit(cluster.Run{Op: l.op, Kind: l.kind, Service: conf, Term: l.term, Was: l.spec})
}

// reloadDone restarts what could not take over its settings, from the first such
// member on. An answer that did not come says nothing of which settings are in use.
func (s *Set) reloadDone(l *local, e cluster.RunDone) {
	next := l.next
	l.next = nil
	if e.Outcome != cluster.OK {
		s.renew(l, sameStack(next, l.spec))
		return
	}
	l.spec, l.text = next, ""
	s.emit(cluster.Note{Kind: cluster.NoteReloaded, Service: l.name, Term: l.term, Text: "took over its new settings without a restart" + dot(e.Text)})
}

func dot(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// while says for how long a held service is left alone.
func while(g *cluster.Grant) string {
	if g.Frozen {
		return "while the service is frozen"
	}
	return "during the maintenance"
}

// failed spends the failure budget: restart here, from the member that has failed
// on, or give the service up, which a failure that would be one again here does at
// once. Where no other node can have it, what is below that member stays up.
func (s *Set) failed(l *local, text string, e cluster.RunDone) {
	if g := s.mine(l.name); g != nil && s.held(g) {
		if text += "; nothing is done about it " + while(g); l.text != text {
			l.text = text
			s.emit(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: text})
		}
		return
	}
	l.text, l.answers, l.from = text, answers{}, max(e.Member-1, 0)
	s.emit(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: text + reach(e.Severity)})
	b := l.spec.Restarts
	l.restarts = append(l.restarts, s.env.Now)
	for len(l.restarts) > 0 && b.Within > 0 && s.env.Now.Sub(l.restarts[0]) > b.Within {
		l.restarts = l.restarts[1:]
	}
	if len(l.restarts) <= b.Count && l.keep == "" && e.Severity == cluster.Soft {
		l.again = true
		return
	}
	why := text
	if b.Count > 0 && l.keep == "" && e.Severity == cluster.Soft {
		why = fmt.Sprintf("failed %d times in %s: %s", len(l.restarts), b.Within, text)
	}
	l.restarts = nil
	nowhere := e.Severity == cluster.Fatal || s.env.Elsewhere != nil && !s.env.Elsewhere(l.name)
	if l.from > 0 && nowhere {
		l.again, l.keep, l.wrong = true, why, e.Severity == cluster.Fatal
		return
	}
	l.giveUp, l.wrong = why, e.Severity == cluster.Fatal
}

// reach says how far a failure reaches.
func reach(s cluster.Severity) string {
	switch s {
	case cluster.Hard:
		return "; it would fail on this node again"
	case cluster.Fatal:
		return "; its own settings are wrong: it would fail on every node"
	}
	return ""
}

// keepRest leaves up what is below the member that has failed too often.
func (s *Set) keepRest(l *local) {
	l.state, l.retryAt, l.checkAt = cluster.Partly, s.env.Now.Add(retryPart), s.env.Now
	l.text = "the rest of it is up, and no other node can run it: " + l.keep
	s.emit(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: l.text + part(l.spec, l.from)})
}

// completes gives a service that is partly up to another node, if there is one by
// now, or tries the rest of it again.
func (s *Set) completes(l *local, g *cluster.Grant) {
	if !l.wrong && (s.env.Elsewhere == nil || s.env.Elsewhere(l.name)) {
		l.giveUp = l.keep
		return
	}
	if s.mayStart(l, g) {
		s.runFrom(l, cluster.RunStart, l.from, "again: ")
	}
}

func (s *Set) stopDone(l *local, e cluster.RunDone) {
	if e.Outcome != cluster.OK {
		s.stopFailed(l, e)
		return
	}
	l.broken, l.borne = 0, false
	if l.started != 0 {
		return // it is not known whether that start came before this stop: stop again when it has ended
	}
	stays := l.again && s.mustStop(l, s.mine(l.name)) == "" && s.env.Standing == Member
	l.again = false
	switch {
	case l.partial && stays && l.keep != "":
		s.keepRest(l)
		return
	case l.partial && stays:
		l.state, l.retryAt = cluster.Starting, s.env.Now.Add(time.Second)
		return
	case l.partial:
		l.state = cluster.Up // the rest of it has to be stopped, too
		return
	}
	l.state = cluster.Down
	s.emit(cluster.Note{Kind: cluster.NoteStopped, Service: l.name, Term: l.term, Text: "verified stopped" + dot(e.Text)})
	if stays {
		l.retryAt = s.env.Now.Add(time.Second)
		return
	}
	s.release(l)
}

// stopFailed says that it is not known what runs. For as long as the administrator
// bears that, the stop is tried again; then the node is fenced.
func (s *Set) stopFailed(l *local, e cluster.RunDone) {
	if l.broken == 0 {
		l.broken = s.env.Now
	}
	grace := l.spec.Patience.Stop
	l.state, l.text, l.borne = cluster.Broken, e.Text, s.env.Now.Sub(l.broken) < grace
	l.retryAt = s.env.Now.Add(time.Second)
	s.news++
	text := "stop: " + e.Text
	if l.borne {
		text += fmt.Sprintf("; it is tried again for %s, then this node is fenced", (grace - s.env.Now.Sub(l.broken)).Round(time.Second))
	}
	s.emit(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: text})
}

// sameStacks says that all members of two services are the same.
func sameStacks(a, b *cluster.Service) bool {
	return sameMembers(a, b) && sameStack(a, b) == len(a.Stack)
}

// sameMembers says that two services differ in settings of their members alone.
func sameMembers(a, b *cluster.Service) bool {
	return slices.EqualFunc(a.Stack, b.Stack, func(x, y cluster.Member) bool { return x.Kind == y.Kind && x.ID == y.ID })
}

// sameStack is how many members, from the bottom on, two services have in common.
func sameStack(a, b *cluster.Service) int {
	for i := range min(len(a.Stack), len(b.Stack)) {
		if a.Stack[i].Kind != b.Stack[i].Kind || a.Stack[i].ID != b.Stack[i].ID || !bytes.Equal(a.Stack[i].Spec, b.Stack[i].Spec) {
			return i
		}
	}
	return min(len(a.Stack), len(b.Stack))
}
