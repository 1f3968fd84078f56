// Package allot joins the agreed state and the configuration with what is seen:
// it says what there is to place (package placement), what a service waits for,
// and what holds it as it is. It changes nothing: what is to be done about it is
// decided elsewhere.
package allot

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/placement"
	"github.com/holdfast-ha/holdfast/cluster/sight"
)

// Books keeps the rules of the latest configuration, worked out, and room for the
// world that is placed by them. The zero value has neither yet.
type Books struct {
	conf *cluster.Config
	book *placement.Book
	room placement.World
}

// Of returns the rules of a configuration.
func (b *Books) Of(conf *cluster.Config) *placement.Book {
	if b.book == nil || b.conf != conf {
		b.conf, b.book = conf, Book(conf)
	}
	return b.book
}

// Book works out the rules of a configuration.
func Book(conf *cluster.Config) *placement.Book {
	rules := make([]placement.Rules, 0, len(conf.Services))
	for i := range conf.Services {
		s := &conf.Services[i]
		rules = append(rules, placement.Rules{
			Service: s.Name, Prefer: s.Prefer, Only: s.Only, Never: s.Never, Priority: s.Priority, With: s.With, Apart: s.ApartFrom,
			After: s.After, Needs: amounts(s.Needs), Returns: s.Failback.Mode == cluster.Automatic,
		})
	}
	return placement.Compile(rules)
}

func amounts(list []cluster.Amount) []placement.Amount {
	var out []placement.Amount
	for _, a := range list {
		out = append(out, placement.Amount{Name: a.Name, Value: a.Value})
	}
	return out
}

// World is World by the rules of the configuration of s. The next one is made in the
// same room: a cluster of a thousand services is looked at with every beat while one of
// them waits for something.
func (b *Books) World(s *cluster.State, v *sight.View) *placement.World {
	b.room.Book = b.Of(s.Conf)
	fill(&b.room, s, v)
	return &b.room
}

// World is what there is to place: book is that of the configuration of s.
func World(book *placement.Book, s *cluster.State, v *sight.View) *placement.World {
	w := &placement.World{Book: book}
	fill(w, s, v)
	return w
}

func fill(w *placement.World, s *cluster.State, v *sight.View) {
	book := w.Book
	w.Nodes = slices.Grow(w.Nodes[:0], len(s.Nodes))
	w.Services = slices.Grow(w.Services[:0], book.Len())[:book.Len()]
	for i := range w.Services {
		w.Services[i] = placement.Service{Failed: w.Services[i].Failed[:0], Unfit: w.Services[i].Unfit[:0]}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		p := placement.Node{ID: n.ID, Name: n.Name, Offers: amounts(s.Conf.OffersOf(n.Name))}
		p.Unfit, p.Remedy = unfit(v, n)
		w.Nodes = append(w.Nodes, p)
		lacking(w, s, n, v.Of(n.ID).Lacks)
	}
	for i := range s.Services {
		g, k := &s.Services[i], i
		if k >= book.Len() || book.Rules(k).Service != g.Service { // most often it has the same place
			var ok bool
			if k, ok = book.Index(g.Service); !ok {
				continue
			}
		}
		x := &w.Services[k]
		x.Owner, x.Want, x.Runs = g.Owner, g.Want, !g.Stopped
		x.Fixed = g.Frozen || Maintained(s, g)
		for j := range g.Fails {
			if f := (placement.Failure{Node: g.Fails[j].Node, Text: g.Fails[j].Text}); g.Fails[j].Count > 0 {
				x.Failed = append(x.Failed, f)
			} else {
				f.Wrong = true
				x.Unfit = append(x.Unfit, f)
			}
		}
	}
}

// lacking notes what a node says that it could not run. What it says nothing of it
// may have, and is tried there: that is all that can be known of a node which has just
// come in, or whose agents give no answer.
func lacking(w *placement.World, s *cluster.State, n *cluster.NodeState, list []cluster.RunState) {
	for _, r := range list {
		f := placement.Failure{Node: n.ID, Text: r.Text}
		for _, name := range s.Conf.Copies(r.Service) {
			if k, ok := w.Book.Index(name); ok {
				w.Services[k].Unfit = append(w.Services[k].Unfit, f)
			}
		}
	}
}

// Fit is what is seen of whether nodes can run services: with a state it says of
// each whether it can, and why not.
type Fit struct {
	present [4]uint64 // nodes that show signs of life, one bit each
	lost    [4]uint64 // nodes whose beats do not reach the quorum disks
	self    bool      // this node is not about to stop
	lacks   uint64    // what nodes say that they could not run, and why, summed up
}

// FitNodes says what is seen of the nodes. A world depends on what is seen by
// nothing else.
func FitNodes(s *cluster.State, v *sight.View) Fit {
	f := Fit{self: v.Fit}
	for i := range s.Nodes {
		id := s.Nodes[i].ID
		if v.Of(id).Present {
			f.present[id/64] |= 1 << (id % 64)
		}
		if v.Of(id).Lost {
			f.lost[id/64] |= 1 << (id % 64)
		}
		for _, r := range v.Of(id).Lacks {
			h := fnv.New64a()
			fmt.Fprint(h, id, r.Service, "\x00", r.Text)
			f.lacks = f.lacks*31 + h.Sum64()
		}
	}
	return f
}

// Maintained says that a maintenance holds a service as it is.
func Maintained(s *cluster.State, g *cluster.Grant) bool {
	m, _ := s.Maintained(g)
	return m != nil
}

// Waits says which service of after: is not up yet; empty if all are. Of one that
// has copies, one is enough.
func Waits(s *cluster.State, v *sight.View, svc *cluster.Service) string {
	for _, name := range svc.After {
		up := func(one string) bool {
			g := s.Grant(one)
			if g == nil {
				return false
			}
			r := v.Run(g)
			return r.Known && r.State == cluster.Up
		}
		if !slices.ContainsFunc(s.Conf.Copies(name), up) {
			return name
		}
	}
	return ""
}

// Unfit says why a node can run nothing now; empty if it can.
func Unfit(v *sight.View, n *cluster.NodeState) string {
	reason, _ := unfit(v, n)
	return reason
}

// unfit says why a node can run nothing now, and what helps.
func unfit(v *sight.View, n *cluster.NodeState) (reason, remedy string) {
	switch {
	case !n.Fencing.IsZero():
		return "it is being fenced: " + n.Why, ""
	case n.Phase == cluster.Leaving:
		return "it is leaving the cluster", ""
	case n.Phase == cluster.Joining:
		return "it is still joining", ""
	case n.Phase != cluster.MemberPhase || n.Dead >= n.Inc.N:
		return "it is not a member", fmt.Sprintf("start holdfastd on %s", n.Name)
	case n.Standby:
		return "it is on standby", fmt.Sprintf("holdfast node online %s", n.Name)
	case n.Life.Maintenance.On():
		return "it is in maintenance", fmt.Sprintf("holdfast node online %s", n.Name)
	case n.Life.Quarantine.On():
		return "it is quarantined: " + n.Life.Quarantine.Why, fmt.Sprintf("holdfast node online %s", n.Name)
	case n.ID == v.Self && !v.Fit:
		return "it is stopping", ""
	case !v.Of(n.ID).Present:
		return "it shows no signs of life", ""
	case v.Of(n.ID).Lost:
		return "its beats do not reach the quorum disks, or it has retired", ""
	}
	return "", ""
}

// Live says that something of a service is handed over as it runs when it moves, if
// that can be.
func Live(conf *cluster.Config, name string) bool {
	svc, ok := conf.Service(name)
	return ok && slices.ContainsFunc(svc.Stack, func(m cluster.Member) bool { return m.Live })
}

// Held says why a service is left as it is now, for how long still, and what ends
// that; empty if it is not held.
func Held(s *cluster.State, g *cluster.Grant) string {
	m, of := s.Maintained(g)
	if m == nil {
		return ""
	}
	end := map[bool]string{true: "holdfast cluster maintenance --off", false: "holdfast service maintenance " + g.Service + " --off"}[m == &s.Life.Maintenance]
	if name, ok := strings.CutPrefix(of, "node "); ok {
		end = "holdfast node online " + name
	}
	return fmt.Sprintf("%s is in maintenance for another %s, in which nothing of it is started, stopped or moved; to end that: %s", of, Words(s.Left(m.Until)), end)
}

// Words is a duration for people, in at most two units.
func Words(d time.Duration) string {
	switch d = max(0, d.Round(time.Second)); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}
