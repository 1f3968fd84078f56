package core

import (
	"bytes"
	"fmt"
	"sort"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// local is one service on this node: its state machine, independent of all
// others. A released term is never started again.
type local struct {
	name     string
	term     uint64
	spec     *cluster.Service // as started; a stop uses what was started
	state    cluster.ServiceState
	op       uint64 // the Run under way; 0: none
	kind     cluster.RunKind
	released uint64 // highest term released in this incarnation
	giveUp   string // the term is to be released because of this
	text     string // what status shows
	again    bool   // stop, then start in the same term
	restarts []ident.Instant
	checkAt  ident.Instant
	retryAt  ident.Instant
	stops    int
}

func (l *local) runState() cluster.RunState {
	return cluster.RunState{Service: l.name, Term: l.term, State: l.state, Text: cluster.Limit(l.text, 120)}
}

// ownReleased says that this node has released the term, and that the guard has
// taken note of it, so that a restarted daemon knows.
func (c *Core) ownReleased(l *local, term uint64) (why string, ok bool) {
	if l == nil || l.released < term || !c.releaseEchoed() {
		return "", false
	}
	return l.giveUp, true
}

// manage moves every service of this node one step, if one is due. Before a
// restarted daemon has agreed on the register itself it does nothing: it cannot
// tell a grant that it is the first to see from one that its former life knew.
func (c *Core) manage() {
	s := c.reg.state
	if s == nil || c.self.stage < joining || c.self.inc.IsZero() || c.guard.bound != c.self.inc {
		return
	}
	for i := range s.Services {
		c.meet(&s.Services[i])
	}
	for _, name := range c.localNames() {
		c.manageOne(c.local[name])
	}
}

func (c *Core) localNames() []string {
	names := make([]string, 0, len(c.local))
	for name := range c.local {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// mine is the grant of a service if this incarnation owns it.
func (c *Core) mine(name string) *cluster.Grant {
	if g := c.reg.state.Grant(name); g != nil && g.Owner == c.set.Self && g.Inc == c.self.inc {
		return g
	}
	return nil
}

// meet takes note of a grant of this node. A term that this life of the daemon
// has learned as new may be started; one that was there before is either
// running, and adopted, or released without ever being started.
func (c *Core) meet(g *cluster.Grant) {
	if g.Owner != c.set.Self || g.Inc != c.self.inc {
		return
	}
	l := c.local[g.Service]
	if l == nil {
		l = &local{name: g.Service}
		c.local[g.Service] = l
	}
	if g.Term <= l.term || g.Term <= l.released {
		return
	}
	if l.state != cluster.Down || l.op != 0 {
		return // the term before is not over here yet
	}
	l.term, l.giveUp, l.text, l.again, l.stops = g.Term, "", "", false, 0
	l.spec, _ = c.reg.state.Conf.Service(g.Service)
	if t, ok := c.self.inherited[g.Service]; ok && t == g.Term {
		c.adopt(l, g)
	}
}

// adopt continues, or gives back, a term of a former life of this daemon.
func (c *Core) adopt(l *local, g *cluster.Grant) {
	a, held := c.self.adopted[g.Service]
	delete(c.self.adopted, g.Service)
	switch {
	case held && a.Stuck != "":
		l.state, l.text = cluster.Broken, a.Stuck
	case held && l.spec == nil:
		c.specify(l)
	case held && a.Running && a.Term == g.Term:
		l.state, l.checkAt = cluster.Up, c.now
		c.note(cluster.Note{Kind: cluster.NoteStarted, Service: l.name, Term: l.term, Text: "found running by the restarted daemon"})
	case held:
		l.state, l.text = cluster.Up, ""
		l.giveUp = ""
		c.run(l, cluster.RunStop, "found half started by the restarted daemon")
	default:
		c.release(l)
	}
}

// specify finds out how to stop what a former life of this daemon started. If
// that is not configured any more nobody knows, and it counts as a failed stop.
func (c *Core) specify(l *local) {
	spec, ok := c.reg.state.Conf.Service(l.name)
	if !ok {
		l.state, l.text = cluster.Broken, "it was found running, and how to stop it is not configured any more"
	}
	l.spec = spec
}

// manageOne decides the next step of one service. A stop does not wait for a
// start that is under way: it interrupts it.
func (c *Core) manageOne(l *local) {
	starting := l.op != 0 && l.kind == cluster.RunStart
	if l.op != 0 && !starting || l.state == cluster.Broken && (c.now < l.retryAt || l.spec == nil) {
		return
	}
	g := c.mine(l.name)
	why := c.mustStop(l, g)
	switch {
	case starting && c.self.stage == ending:
		c.run(l, cluster.RunKill, c.self.waiting)
	case starting && why != "":
		c.run(l, cluster.RunStop, why)
	case starting:
	case l.state == cluster.Broken:
		if c.self.stage == ending {
			c.run(l, cluster.RunKill, "again: the stop before failed")
		}
	case c.self.stage == ending && l.state != cluster.Down:
		c.run(l, cluster.RunKill, c.self.waiting)
	case l.state != cluster.Down && why != "":
		c.run(l, cluster.RunStop, why)
	case l.state == cluster.Up && l.again:
		c.run(l, cluster.RunStop, "restart: "+l.text)
	case l.state == cluster.Down && l.term > l.released && (why != "" || c.self.stage == ending):
		c.release(l)
	case l.state == cluster.Down && l.term > l.released && c.mayStart(l, g) && c.now >= l.retryAt:
		c.run(l, cluster.RunStart, "")
	case l.state == cluster.Up && c.now >= l.checkAt:
		c.run(l, cluster.RunCheck, "")
	}
}

// mustStop says why a service has to be stopped here; empty if it has not.
func (c *Core) mustStop(l *local, g *cluster.Grant) string {
	switch {
	case g == nil || g.Term != l.term:
		return "this node does not own it"
	case l.giveUp != "":
		return l.giveUp
	case g.Stopped:
		return "stopped by request"
	case g.Want != 0 && g.Want != c.set.Self:
		return "moving to " + c.name(g.Want)
	case c.self.stage == leaving:
		return "this node is leaving the cluster"
	}
	if n := c.reg.state.Node(c.set.Self); n != nil && n.Standby && !g.Frozen {
		return "this node is on standby"
	}
	if _, ok := c.reg.state.Conf.Service(l.name); !ok && c.reg.state.Conf != nil {
		return "it was removed from the configuration"
	}
	return ""
}

// mayStart is the start rule: a committed grant of exactly this incarnation,
// learned in this life, which is bound, a member, and not being fenced.
func (c *Core) mayStart(l *local, g *cluster.Grant) bool {
	n := c.reg.state.Node(c.set.Self)
	_, known := c.reg.state.Conf.Service(l.name)
	return known && g != nil && c.self.stage == member && n != nil && n.Inc == c.self.inc &&
		n.Fencing.IsZero() && n.Dead < n.Inc.N && !c.guard.killed && c.leaseHeld()
}

// leaseHeld says that the own lease has not run out.
func (c *Core) leaseHeld() bool { return c.now.Sub(c.leaseStart()) <= c.t.F }

func (c *Core) run(l *local, kind cluster.RunKind, why string) {
	c.self.ops++
	l.op, l.kind = c.self.ops, kind
	switch kind {
	case cluster.RunStart:
		l.state = cluster.Starting
		l.spec, _ = c.reg.state.Conf.Service(l.name)
		c.note(cluster.Note{Kind: cluster.NoteStarting, Service: l.name, Term: l.term, Text: why})
	case cluster.RunStop, cluster.RunKill:
		l.state = cluster.Stopping
		l.text = why
		c.note(cluster.Note{Kind: cluster.NoteStopping, Service: l.name, Term: l.term, Text: kind.String() + ": " + why})
	}
	c.emit(cluster.Run{Op: l.op, Kind: kind, Service: l.spec, Term: l.term})
}

// runDone takes the result of the Run under way.
func (c *Core) runDone(e cluster.RunDone) {
	for _, l := range c.local {
		if l.op == e.Op {
			l.op = 0
			c.finished(l, e)
			return
		}
	}
}

func (c *Core) finished(l *local, e cluster.RunDone) {
	switch l.kind {
	case cluster.RunStart:
		c.startDone(l, e)
	case cluster.RunStop, cluster.RunKill:
		c.stopDone(l, e)
	case cluster.RunCheck:
		c.checkDone(l, e)
	}
}

func (c *Core) startDone(l *local, e cluster.RunDone) {
	if e.Outcome == cluster.OK {
		l.state, l.text, l.checkAt = cluster.Up, "", c.now.Add(l.spec.CheckEvery())
		c.note(cluster.Note{Kind: cluster.NoteStarted, Service: l.name, Term: l.term, Text: e.Text})
		return
	}
	l.state = cluster.Up // something of it may run: it has to be stopped
	c.failed(l, "start: "+e.Text)
}

func (c *Core) checkDone(l *local, e cluster.RunDone) {
	l.checkAt = c.now.Add(l.spec.CheckEvery())
	conf, ok := c.reg.state.Conf.Service(l.name)
	switch {
	case e.Outcome == cluster.Failed:
		c.failed(l, "check: "+e.Text)
	case ok && !sameStack(conf, l.spec):
		l.again, l.text = true, "its configuration has changed"
	case ok:
		l.spec = conf
	}
}

// failed spends the failure budget: restart here, or give the service up.
func (c *Core) failed(l *local, text string) {
	l.text = text
	c.note(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: text})
	b := l.spec.Restarts
	l.restarts = append(l.restarts, c.now)
	for len(l.restarts) > 0 && b.Within > 0 && c.now.Sub(l.restarts[0]) > b.Within {
		l.restarts = l.restarts[1:]
	}
	if len(l.restarts) <= b.Count {
		l.again = true
		return
	}
	l.giveUp = text
	if b.Count > 0 {
		l.giveUp = fmt.Sprintf("failed %d times in %s: %s", len(l.restarts), b.Within, text)
	}
	l.restarts = nil
}

func (c *Core) stopDone(l *local, e cluster.RunDone) {
	if e.Outcome != cluster.OK {
		l.state, l.text = cluster.Broken, e.Text
		l.retryAt = c.now.Add(time.Second)
		l.stops++
		c.note(cluster.Note{Kind: cluster.NoteFailed, Service: l.name, Term: l.term, Text: "stop: " + e.Text})
		return
	}
	l.state = cluster.Down
	c.note(cluster.Note{Kind: cluster.NoteStopped, Service: l.name, Term: l.term, Text: "verified stopped"})
	if l.again && c.mustStop(l, c.mine(l.name)) == "" && c.self.stage == member {
		l.again = false
		l.retryAt = c.now.Add(time.Second)
		return
	}
	l.again = false
	c.release(l)
}

// release burns the term: it is never started again in this incarnation. It is
// published once the guard has echoed it.
func (c *Core) release(l *local) {
	if l.term > l.released {
		l.released = l.term
		l.text = l.giveUp
		c.blob.dirty = true
	}
}

// allDown says that nothing of any service runs, or is being started, here.
func (c *Core) allDown() bool {
	for _, l := range c.local {
		if l.op != 0 || l.state != cluster.Down {
			return false
		}
	}
	return true
}

// allReleased says that every term is released, and that the guard knows it.
func (c *Core) allReleased() bool {
	for _, l := range c.local {
		if l.released < l.term {
			return false
		}
	}
	return len(c.local) == 0 || c.releaseEchoed()
}

func sameStack(a, b *cluster.Service) bool {
	if len(a.Stack) != len(b.Stack) {
		return false
	}
	for i := range a.Stack {
		if a.Stack[i].Kind != b.Stack[i].Kind || a.Stack[i].ID != b.Stack[i].ID || !bytes.Equal(a.Stack[i].Spec, b.Stack[i].Spec) {
			return false
		}
	}
	return true
}
