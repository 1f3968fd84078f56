package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// LongestMaintenance bounds what an administrator may ask for: one that never
// ends is what a maintenance is there to avoid.
const LongestMaintenance = 30 * 24 * time.Hour

// counting is what the cluster's clock is advanced by: what this node itself has
// seen pass since it saw the present value first, without a gap.
type counting struct {
	value time.Duration
	since ident.Instant
	last  ident.Instant // when it looked last
}

// gap is the longest time between two looks that still counts as continuous.
const gap = 5 * time.Second

// reviseClock advances the cluster's clock while something is to end by itself,
// and ends what is due. Every part is counted by one node on its own interval
// clock and committed with the value that it adds to, so two coordinators never
// count the same minute twice, and no two clocks are ever compared. What ends by
// it is only ever too late: by what a change of coordinator had not committed,
// and by the time in which nobody counted.
func (d *Draft) reviseClock() {
	l, k, now := &d.State.Life, &d.mem.clock, d.sight.Now
	due, pending := nextDue(d.State)
	if !pending || k.value != l.Clock || now.Sub(k.last) > gap {
		*k = counting{l.Clock, now, now}
		return
	}
	k.last = now
	passed := now.Sub(k.since)
	if passed < cluster.ClockStep && l.Clock+passed < due {
		return
	}
	d.edit().Life.Clock += passed
	d.endDue()
}

// nextDue is the earliest instant at which the cluster's clock ends something.
func nextDue(s *cluster.State) (due time.Duration, pending bool) {
	consider := func(at time.Duration) {
		if at != 0 && (!pending || at < due) {
			due, pending = at, true
		}
	}
	maintenance := func(m *cluster.Maintenance) {
		consider(m.Until)
		consider(m.Remind)
	}
	maintenance(&s.Life.Maintenance)
	for i := range s.Nodes {
		l := &s.Nodes[i].Life
		maintenance(&l.Maintenance)
		consider(l.Quarantine.Until)
		if len(l.Crashes) > 0 {
			consider(l.Crashes[0] + max(flapRule(s).Within, time.Second))
		}
	}
	for i := range s.Services {
		maintenance(&s.Services[i].Maintenance)
	}
	return due, pending
}

// endDue ends, and reminds of, what the cluster's clock has reached.
func (d *Draft) endDue() {
	s := d.State // a copy already: the clock was advanced
	d.endMaintenance(&s.Life.Maintenance, cluster.Note{Text: "of the cluster"})
	for i := range s.Nodes {
		n := &s.Nodes[i]
		l := &n.Life
		d.endMaintenance(&l.Maintenance, cluster.Note{Node: n.ID, Text: "of node " + n.Name})
		if l.Quarantine.On() && s.Life.Clock >= l.Quarantine.Until {
			l.Quarantine = cluster.Quarantine{}
			d.note(cluster.Note{Kind: cluster.NoteAdmin, Node: n.ID, Inc: n.Inc, Text: "its quarantine is over: it may run services again"})
		}
		if within := max(flapRule(s).Within, time.Second); len(l.Crashes) > 0 && s.Life.Clock >= l.Crashes[0]+within {
			l.Crashes = slices.DeleteFunc(l.Crashes, func(at time.Duration) bool { return s.Life.Clock >= at+within })
		}
	}
	for i := range s.Services {
		g := &s.Services[i]
		d.endMaintenance(&g.Maintenance, cluster.Note{Service: g.Service, Text: "of service " + g.Service})
	}
}

func (d *Draft) endMaintenance(m *cluster.Maintenance, n cluster.Note) {
	clock := d.State.Life.Clock
	n.Kind = cluster.NoteMaintenance
	switch {
	case m.On() && clock >= m.Until:
		n.Text = "the maintenance " + n.Text + " is over: its time has run out"
		*m = cluster.Maintenance{}
		d.note(n)
	case m.On() && m.Remind != 0 && clock >= m.Remind:
		n.Text = fmt.Sprintf("the maintenance %s ends by itself in %s: then services are started, stopped and moved again", n.Text, allot.Words(m.Until-clock))
		m.Remind = 0
		d.note(n)
	}
}

// flapRule is the configured rule.
func flapRule(s *cluster.State) cluster.FlapRule {
	if s.Conf == nil {
		return cluster.FlapRule{}
	}
	return s.Conf.Quarantine
}

// mostCrashes is how many are remembered of one node.
const mostCrashes = 16

// crashed counts an end that nobody asked for, and quarantines a node that had
// too many of them.
func (d *Draft) crashed(id ident.NodeID) {
	s := d.edit()
	n, rule := s.Node(id), flapRule(s)
	l := &n.Life
	if rule.Count == 0 || l.Fenced.Asked && l.Fenced.Inc == n.Inc {
		return
	}
	l.Crashes = append(l.Crashes, s.Life.Clock)
	if len(l.Crashes) > mostCrashes {
		l.Crashes = slices.Delete(l.Crashes, 0, len(l.Crashes)-mostCrashes)
	}
	recent := 0
	for _, at := range l.Crashes {
		if s.Life.Clock-at <= rule.Within {
			recent++
		}
	}
	if recent < rule.Count {
		return
	}
	why := fmt.Sprintf("it crashed or was fenced %d times within %s", recent, allot.Words(rule.Within))
	if l.Fenced.Inc == n.Inc && l.Fenced.Why != "" {
		why += ", the last time: " + l.Fenced.Why
	}
	l.Quarantine = cluster.Quarantine{Until: s.Life.Clock + rule.For, Why: cluster.Limit(why, 200)}
	d.note(cluster.Note{Kind: cluster.NoteAlarm, Node: id, Inc: n.Inc, Text: fmt.Sprintf(
		"%s is quarantined: %s; it may join but runs no services for %s, or until: holdfast node online %s", n.Name, l.Quarantine.Why, allot.Words(rule.For), n.Name)})
}

// fence chooses the fencing of a node's registered incarnation. It is
// irrevocable, and remembered when the node comes back.
func (d *Draft) fence(id ident.NodeID, why string, asked bool) {
	n := d.edit().Node(id)
	n.Fencing, n.Why = n.Inc, cluster.Limit(why, 200)
	n.Life.Fenced = cluster.Fenced{Inc: n.Inc, By: d.sight.Self, Ver: d.Base.Ver + 1, Asked: asked, Why: n.Why}
	d.note(cluster.Note{Kind: cluster.NoteFencing, Node: id, Inc: n.Inc, Text: why})
}

// reviseProtocol begins to use what every member speaks. It never goes back: a
// node that speaks less is not admitted any more.
func (d *Draft) reviseProtocol() {
	lowest, members := cluster.Spoken, 0
	for i := range d.State.Nodes {
		if n := &d.State.Nodes[i]; in(n) || n.Phase == cluster.Joining && n.Dead < n.Inc.N {
			lowest = min(lowest, max(n.Life.Protocol, cluster.Protocol1))
			members++
		}
	}
	if members > 0 && !d.State.Uses(lowest) {
		d.edit().Life.Protocol = lowest
		d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: fmt.Sprintf("every member speaks protocol %d: it is used from now on", lowest)})
	}
}

// StopWaits says what the planned stop of the cluster still waits for.
func StopWaits(s *cluster.State, sight *Sight) []string {
	var list []string
	if !s.Life.Stop.On {
		return nil
	}
	for i := range s.Services {
		g := &s.Services[i]
		if g.Owner == 0 {
			continue
		}
		text := fmt.Sprintf("%s on %s", g.Service, s.NameOf(g.Owner))
		r := sight.Run(g)
		switch dep := s.Dependent(g.Service, nil); {
		case r.Known && r.State == cluster.Broken:
			text += fmt.Sprintf(", which cannot be stopped: %s; it is tried again, or: holdfast node fence %s", r.Text, s.NameOf(g.Owner))
		case dep != "":
			text += ", which " + dep + " runs on top of"
		}
		list = append(list, text)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Inc.IsZero() || n.Dead >= n.Inc.N {
			continue
		}
		switch {
		case n.ID != sight.Self && !sight.Of(n.ID).Present:
			list = append(list, fmt.Sprintf("node %s, which is silent; nobody fences it now: if it is off, holdfast node confirm-off %s", n.Name, n.Name))
		case ownsNothing(s, n.ID):
			list = append(list, fmt.Sprintf("node %s to leave", n.Name))
		}
	}
	return list
}

// Warnings are what lasts until somebody or something ends it: a planned stop,
// maintenances and quarantines.
func Warnings(s *cluster.State, sight *Sight) []string {
	var w []string
	if s.Life.Stop.On {
		text := "the cluster is stopped: holdfast cluster start"
		if list := StopWaits(s, sight); len(list) > 0 {
			text = "the cluster is being stopped; that waits for " + strings.Join(list, "; ")
		}
		w = append(w, text)
	}
	maintenance := func(m *cluster.Maintenance, of string) {
		if m.On() {
			w = append(w, fmt.Sprintf("%s is in maintenance for another %s: its services stay as they are, and would not be taken over", of, allot.Words(s.Left(m.Until))))
		}
	}
	maintenance(&s.Life.Maintenance, "the cluster")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if text := mixed(s, n, sight.Of(n.ID)); text != "" {
			w = append(w, text)
		}
		maintenance(&n.Life.Maintenance, n.Name)
		if q := &n.Life.Quarantine; q.On() {
			w = append(w, fmt.Sprintf("%s is quarantined for another %s: %s; to end that: holdfast node online %s", n.Name, allot.Words(s.Left(q.Until)), q.Why, n.Name))
		}
	}
	for i := range s.Services {
		maintenance(&s.Services[i].Maintenance, s.Services[i].Service)
	}
	return w
}

// mixed says what it means that a node speaks another protocol; empty if it does not, or
// means nothing.
func mixed(s *cluster.State, n *cluster.NodeState, v *Node) string {
	speaks := max(v.Protocol, cluster.Protocol1)
	switch {
	case !v.Claims.IsZero() && v.Claims.N > n.Inc.N && s.Uses(speaks+1):
		return fmt.Sprintf("%s wants to join and speaks protocol %d, but the cluster uses %d: upgrade holdfast there", n.Name, speaks, s.Life.Protocol)
	case in(n) && !s.Uses(cluster.Spoken) && max(n.Life.Protocol, cluster.Protocol1) < cluster.Spoken:
		return fmt.Sprintf("%s speaks protocol %d: what protocol %d brings is not used before holdfast is upgraded there, and all others", n.Name, max(n.Life.Protocol, cluster.Protocol1), cluster.Spoken)
	}
	return ""
}

// Kills are the kill records of every member's beat: each incarnation that is
// being fenced, as far as they fit.
func Kills(s *cluster.State) []cluster.Kill {
	var list []cluster.Kill
	if s == nil {
		return nil
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Fencing.IsZero() || len(list) == cluster.MaxKills {
			continue
		}
		k := cluster.Kill{Node: n.ID, Inc: n.Fencing.N, Ver: s.Ver}
		copy(k.Boot[:], n.Fencing.Boot[:8])
		list = append(list, k)
	}
	return list
}
