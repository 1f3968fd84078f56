package fencing

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	// checkEvery is the time between two checks of a way that works; one that
	// does not is checked every checkAgain.
	checkEvery = 5 * time.Minute
	checkAgain = time.Minute
	// checkApart is the time between the first checks of two ways, so that a
	// daemon that starts does not ask everybody at once.
	checkApart = 2 * time.Second
	// checkStale is the age at which a check says nothing any more: two were missed.
	checkStale = 3*checkEvery + agentWithin
)

// liar is what is said of a way that reads off of a node that runs.
const liar = "it says off while the node runs: is it wired to another machine? Until it says on, its off counts for nothing"

// check is what is known of one way of one node while nobody is fenced.
type check struct {
	node ident.NodeID
	name string // of the node
	way  cluster.Way
	op   uint64
	next ident.Instant
	at   ident.Instant // when the latest ended; 0: there was none
	done cluster.FenceDone
	// off is when it was read as off last, 0 if the latest reading said on; lies
	// says that the node was seen after that.
	off   ident.Instant
	lies  bool
	began ident.Instant // of the check under way
	took  time.Duration // of the latest check or attempt to fence
	tried cluster.Tally
	gone  gone
}

// check asks whether the ways work, one after the other. A way that is used on
// its node now is left alone.
func (s *Set) check() {
	if !s.env.Member {
		return
	}
	s.list()
	for _, c := range s.checks {
		s.compare(c)
		n := s.env.State.Node(c.node)
		if c.op != 0 || !s.due(c) || n == nil || n.Inc.IsZero() || s.busy(c.node) {
			continue
		}
		s.ops++
		c.op, c.began = s.ops, s.env.Now
		s.emit(cluster.Fence{Op: c.op, Kind: cluster.FenceCheck, Node: c.node, Name: c.name, Host: n.Host, Switch: n.Switch, Way: c.way, Within: within(&c.way)})
	}
}

// compare says that a way lies if its node was seen after it had said off: only
// what says on of a node that runs can be believed when it says off.
func (s *Set) compare(c *check) {
	if c.off == 0 || c.lies || s.env.seen(c.node) <= c.off {
		return
	}
	c.lies = true
	c.done.Outcome, c.done.Text = cluster.FenceFailed, liar
	s.emit(cluster.Note{Kind: cluster.NoteAlarm, Node: c.node, Text: cluster.Limit("fencing by "+c.way.Name()+" would not work: "+c.done.Text, 400)})
}

// disproved says that a way of a node has said off while that ran.
func (s *Set) disproved(id ident.NodeID, w *cluster.Way) bool {
	for _, c := range s.checks {
		if c.node == id && sameWay(&c.way, w) {
			return c.lies
		}
	}
	return false
}

// count keeps what an attempt to fence has shown, and how long it took.
func (s *Set) count(id ident.NodeID, w *cluster.Way, o cluster.FenceOutcome, took time.Duration) {
	for _, c := range s.checks {
		if c.node == id && sameWay(&c.way, w) {
			c.took = took
			c.tried.Add(o)
		}
	}
}

func (s *Set) busy(id ident.NodeID) bool {
	for _, v := range s.victims {
		if v.node == id {
			return true
		}
	}
	return false
}

// list follows the configuration: it keeps what is known of a way as long as
// that is configured as it was.
func (s *Set) list() {
	if s.env.State.Conf == nil {
		return
	}
	var list []*check
	for i := range s.env.State.Nodes {
		n := &s.env.State.Nodes[i]
		if n.ID == s.env.Self {
			continue
		}
		for _, w := range s.env.State.Conf.WaysFor(n) {
			if w.CutsPower() {
				list = append(list, s.known(n, w, len(list)))
			}
		}
	}
	s.checks = list
}

func (s *Set) known(n *cluster.NodeState, w cluster.Way, place int) *check {
	for _, c := range s.checks {
		if c.node == n.ID && sameWay(&c.way, &w) {
			return c
		}
	}
	return &check{node: n.ID, name: n.Name, way: w, next: s.env.Now.Add(time.Duration(1+place) * checkApart)}
}

func sameWay(a, b *cluster.Way) bool {
	return a.Kind == b.Kind && a.Agent == b.Agent && maps.Equal(a.With, b.With) &&
		slices.EqualFunc(a.All, b.All, func(x, y cluster.Way) bool { return sameWay(&x, &y) })
}

// checked takes the end of a check, and tells of a change for the worse or back.
func (s *Set) checked(e cluster.FenceDone) {
	for _, c := range s.checks {
		if c.op != e.Op || e.Op == 0 {
			continue
		}
		before, first := c.done.Outcome, c.at == 0
		c.op, c.at, c.done, c.took = 0, s.env.Now, e, s.env.Now.Sub(c.began)
		c.next = s.env.Now.Add(checkEvery)
		works := e.Outcome == cluster.FenceProven
		if n := s.env.State.Node(c.node); n != nil && c.gone.look(n.Inc, &e) && c.gone.on && !c.lies && s.env.Dark {
			s.emit(cluster.Note{Kind: cluster.NoteWay, Node: c.node, Inc: n.Inc, Way: c.way.Name(), Text: c.way.Name() + ": off, read twice, and nothing was switched; its consent is not needed while the quorum disks are gone"})
		}
		if works {
			c.off = e.First
			c.lies = c.lies && c.off != 0
		}
		if works && c.lies {
			c.done.Outcome, c.done.Text = cluster.FenceFailed, liar // as was told when it was found
			return
		}
		if !works {
			c.next = s.env.Now.Add(checkAgain)
		}
		switch {
		case !works && (first || before == cluster.FenceProven):
			s.emit(cluster.Note{Kind: cluster.NoteAlarm, Node: c.node, Text: cluster.Limit("fencing by "+c.way.Name()+" would not work: "+e.Text, 400)})
		case works && !first && before != cluster.FenceProven:
			s.emit(cluster.Note{Kind: cluster.NoteWay, Node: c.node, Text: "fencing by " + c.way.Name() + " works again: " + e.Text})
		}
		return
	}
}

// Ways says how every way to fence a node is doing: what an attempt under way
// says, else the latest check.
func (s *Set) Ways(now ident.Instant, n *cluster.NodeState, conf *cluster.Config) []cluster.WayView {
	var list []cluster.WayView
	for _, w := range conf.WaysFor(n) {
		v := cluster.WayView{Way: w.Name(), State: "not checked yet", Age: -1}
		switch {
		case w.Kind == cluster.WayDisk:
			v = s.byTime(now, n)
		case w.Kind == cluster.WayReservation && s.env.Storage != nil:
			v = s.env.Storage.View(now)
		}
		for _, c := range s.checks {
			if c.node != n.ID || !sameWay(&c.way, &w) {
				continue
			}
			v.Took, v.Tried = c.took, c.tried
			if c.at != 0 {
				v.State, v.Text, v.Age = word(c.done.Outcome), c.done.Text, now.Sub(c.at)
				v.Stale = v.Age > checkStale
			}
		}
		s.underWay(&v, n, &w)
		list = append(list, v)
	}
	return list
}

// byTime says how the proof by time of a node is doing: it rests on the watchdogs
// that its own beat tells of.
func (s *Set) byTime(now ident.Instant, n *cluster.NodeState) cluster.WayView {
	v := cluster.WayView{Way: cluster.WayDisk, State: "always there", Age: -1}
	g := s.env.signs(n.ID)
	if g.Beat == nil || g.Beat.Inc != n.Inc {
		return v
	}
	class := g.Beat.Lease.Class
	v.State, v.Text, v.Age = "works", "watchdogs: "+class.String(), max(0, now.Sub(g.Changed))
	if !class.CarriesTime() {
		v.State, v.Text = cluster.FenceFailed.String(), "its watchdogs carry no proof by time: "+class.String()
	}
	return v
}

func (s *Set) underWay(view *cluster.WayView, n *cluster.NodeState, w *cluster.Way) {
	v := s.victim(n.ID, n.Fencing)
	if v == nil || n.Fencing.IsZero() {
		return
	}
	for _, t := range v.tries {
		switch {
		case !sameWay(&t.way, w):
		case t.op != 0:
			view.Text = "being tried now"
		case t.text != "":
			view.Text = t.text
		}
	}
}

func word(o cluster.FenceOutcome) string {
	if o == cluster.FenceProven {
		return "works"
	}
	return o.String()
}

// Plan says in words what fencing a node would do, and what is known of each way.
func (s *Set) Plan(now ident.Instant, n *cluster.NodeState, conf *cluster.Config, by string) string {
	lines := []string{"would commit the fencing of " + n.Name + " and then, at once:"}
	for _, v := range s.Ways(now, n, conf) {
		if v.Way == cluster.WayDisk {
			continue
		}
		line := v.Way + ": " + v.State
		if by != "" && v.Way != by {
			line = "later, if " + by + " has not proven it: " + line
		}
		if v.Text != "" {
			line += " (" + v.Text + ")"
		}
		lines = append(lines, "  "+line)
	}
	lines = append(lines, "  disk: kill record, and the proof by its lease and watchdogs, which always runs")
	return strings.Join(lines, "\n")
}
