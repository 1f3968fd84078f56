package reserve

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// grantKey names a term of a service and the incarnation that owns it.
type grantKey struct {
	owner ident.NodeID
	inc   ident.Incarnation
	term  uint64
}

func key(g *cluster.Grant) grantKey { return grantKey{g.Owner, g.Inc, g.Term} }

// taking is the latest attempt to take the keys of others from a service's
// storage: before a start (from is 0), or to prove that a fenced owner is cut off.
type taking struct {
	grant  grantKey
	from   ident.NodeID
	rev    uint64 // configuration that named the LUNs
	failed int    // attempts in a row, for this grant
	next   ident.Instant
	proven bool
	after  ident.Instant // the proof counts from then on
	done   cluster.ReserveDone
	told   bool     // that the node may have a key on its way
	taken  grantKey // the own term for which it was done before the start
}

// asked is since when the storage was wanted for a term.
type asked struct {
	grant grantKey
	since ident.Instant
}

func (t *taking) failedFor(k grantKey) int {
	if t.grant == k {
		return t.failed
	}
	return 0
}

// startDue says that this node owns the service and has to take its storage
// before it may start it.
func (s *Set) startDue(l *storage, g *cluster.Grant) bool {
	if g.Owner != s.env.Self || g.Inc != s.env.Inc || l.take.taken == key(g) {
		return false
	}
	return l.take.grant != key(g) || s.env.Now >= l.take.next && !l.take.proven
}

// proofDue says that the owner of the service is being fenced, that this node
// may take its storage away, and that no key of the owner can be on its way.
func (s *Set) proofDue(l *storage, g *cluster.Grant) bool {
	n := s.env.State.Node(g.Owner)
	if g.Owner == 0 || g.Owner == s.env.Self || n == nil || n.Fencing.IsZero() || n.Fencing != g.Inc || n.Dead >= g.Inc.N {
		return false
	}
	same := l.take.grant == key(g) && l.take.rev == s.env.State.ConfigRev
	if same && (l.take.proven || s.env.Now < l.take.next) {
		return false
	}
	since, ok := s.env.Fencing.Reserves(n.ID, n.Fencing)
	if !ok {
		return false
	}
	closed, known := s.closed(n.ID, n.Fencing, since)
	if known && !closed && (l.take.grant != key(g) || !l.take.told) {
		l.take = taking{grant: key(g), rev: s.env.State.ConfigRev, told: true, taken: l.take.taken}
		s.note(cluster.Note{Node: n.ID, Inc: n.Fencing, Service: l.name, Text: "unknown: a key of it may still be on its way, by its own latest beat"})
	}
	return closed
}

// took takes the end of an attempt.
func (s *Set) took(l *storage, e cluster.ReserveDone) {
	t := &l.take
	t.done = e
	n := cluster.Note{Node: s.env.Self, Inc: s.env.Inc, Service: l.name}
	if t.from != 0 {
		n.Node, n.Inc = t.from, t.grant.inc
	}
	took := s.env.Now.Sub(l.began).Round(time.Millisecond)
	outcome := e.Outcome
	if outcome == cluster.FenceProven && (e.Gone <= l.began || len(e.LUNs) == 0) {
		outcome, e.Text = cluster.FenceUnknown, "the keys were not read back after they were taken: "+e.Text
	}
	if outcome == cluster.FenceProven && t.from != 0 && e.Forgets && !s.env.Sights.Watchdogs(t.from).CarriesTime() {
		outcome, e.Text = cluster.FenceUnknown, "its keys are gone, but the target forgets who may write when it loses power, and no watchdog that counts ends the node: "+e.Text
		t.done = e
	}
	if outcome != cluster.FenceProven {
		t.failed++
		t.next = s.env.Now.Add(min(firstRetry<<min(t.failed-1, 8), lastRetry))
		n.Text = fmt.Sprintf("%s after %s: %s", outcome, took, e.Text)
		s.note(n)
		return
	}
	t.proven, t.failed, t.after = true, 0, e.Gone
	n.Text = fmt.Sprintf("%s after %s: %s", outcome, took, e.Text)
	if e.Drain {
		t.after = e.Gone.Add(s.env.Tz)
		n.Text += fmt.Sprintf("; commands that were not aborted have landed %s after that", s.env.Tz)
	}
	if t.from != 0 {
		n.Proof = cluster.ProofReservation
	}
	s.note(n)
}

// lands says that what the keys' owners had sent before they were taken has landed, or
// was aborted.
func (t *taking) lands(env *Env) bool {
	return env.Now >= t.after && (!t.done.Drain || env.Stalls.Landed(t.done.Gone, env.Now, env.Tz))
}

// Storage says whether the storage of a service may be started by this node in
// the term of its grant; why says what is missing, and stuck that it has been
// tried often enough.
func (s *Set) Storage(env Env, g *cluster.Grant) (why string, stuck bool) {
	s.env = env
	l := s.storage(g.Service)
	if l != nil && l.asked.grant != key(g) {
		l.asked = asked{key(g), env.Now}
	}
	switch {
	case l == nil:
		return "its storage is guarded by reservations, and this node has not looked at it yet", false
	case l.take.taken == key(g):
		return "", false
	case l.take.grant == key(g) && l.take.from == 0 && l.take.proven && l.take.after != 0 && l.take.lands(&env):
		l.take.taken = key(g)
		return "", false
	case l.take.grant == key(g) && l.take.from == 0 && l.take.failed > 0:
		return "reservation: " + l.take.done.Text, env.Now.Sub(l.asked.since) >= giveUpAfter
	case l.have != env.Inc && l.failed > 0:
		return "reservation: not registered: " + l.last.Text, env.Now.Sub(l.asked.since) >= giveUpAfter
	}
	return "waits for its reservation", false
}

// Cleared is the proof that the owner of a service is cut off from its storage,
// if this node has found that and the last writes had their time to land.
func (s *Set) Cleared(env Env, g *cluster.Grant) cluster.Proof {
	l := s.storage(g.Service)
	n := env.State.Node(g.Owner)
	if l == nil || n == nil || g.Owner == 0 || g.Owner == env.Self || n.Fencing != g.Inc || n.Dead >= g.Inc.N {
		return cluster.Proof{}
	}
	t := &l.take
	if !t.proven || t.from != g.Owner || t.grant != key(g) || t.rev != env.State.ConfigRev || !t.lands(&env) {
		return cluster.Proof{}
	}
	return cluster.Proof{
		Kind: cluster.ProofReservation, Node: g.Owner, Inc: g.Inc, By: env.Self, DiskGen: env.State.DiskGen,
		Text: fmt.Sprintf("its keys are gone from %d LUNs (%s): %s", len(t.done.LUNs), strings.Join(t.done.LUNs, ", "), t.done.Text),
	}
}

// Holds says that this node holds a proof that is not committed yet.
func (s *Set) Holds(env Env) bool {
	for i := range env.State.Services {
		if s.Cleared(env, &env.State.Services[i]).Kind != cluster.NoProof {
			return true
		}
	}
	return false
}

// View is how this way to cut a node off is doing here: it works if this node is
// registered on every LUN of every guarded service that it may run.
func (s *Set) View(now ident.Instant) cluster.WayView {
	v := cluster.WayView{Way: cluster.WayReservation, State: "not checked yet", Age: -1}
	if len(s.luns) == 0 {
		v.State, v.Text = cluster.FenceFailed.String(), "no service that this node may run has guard: reservation at its storage; the other ways and the proof by time are used"
		return v
	}
	var texts []string
	works := true
	for _, l := range s.luns {
		if l.at == 0 {
			return v
		}
		v.Age = max(v.Age, now.Sub(l.at))
		if l.last.Outcome != cluster.FenceProven || l.have != s.env.Inc {
			works = false
			v.State = l.last.Outcome.String()
			if l.last.Outcome == cluster.FenceProven {
				v.State = "not checked yet"
			}
			texts = append(texts, l.name+": "+l.last.Text)
		}
	}
	if v.Text = strings.Join(texts, "; "); works {
		v.State = "works"
		v.Text = fmt.Sprintf("registered below %d services: %s", len(s.luns), s.luns[0].last.Text)
	}
	return v
}
