package services

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	// fitEvery is how old an answer may become that a service could run here, and
	// lackEvery one that it could not, or that there was none: what is missing may
	// have been mended. urgentEvery is for a service that has no owner, or may soon
	// have another: while its owner is being fenced there is time to ask.
	fitEvery    = 10 * time.Minute
	lackEvery   = 30 * time.Second
	urgentEvery = 5 * time.Second
	// mostFits is how many are asked at a time: a question must not slow down what runs.
	mostFits = 2
)

// fits is what is known of whether services that run elsewhere, or nowhere, could
// run here. Copies of a service are one: they have the same stack.
type fits struct {
	of   map[string]*fitting // by family
	busy int
	ver  uint64             // of the state that was looked at,
	next ident.Instant      // and when the next question is due
	said []cluster.RunState // see Lacks; never changed in place
	told uint64             // how often that was made anew
}

// fitting is what is known of one.
type fitting struct {
	spec  *cluster.Service // as asked
	op    uint64           // the question under way; 0: none
	at    ident.Instant    // of the latest question; 0: there was none
	lacks string           // why it would not run here; empty: it would, or nobody knows
	good  bool             // it would
	move  move             // it is to come here
	said  bool             // something was missing in this incarnation: the others are to learn that it is not any more
}

// move is a service that another node owns and that is to come here. Its owner waits
// for the word that it could run here before it stops anything.
type move struct {
	service string // of the family; empty: none is to come
	term    uint64 // of its owner
	asked   bool
	ready   bool // the question was answered since, and nothing is missing
}

// period is for how long an answer counts.
func (f *fitting) period(urgent bool) time.Duration {
	switch {
	case urgent:
		return urgentEvery
	case f.good:
		return fitEvery
	}
	return lackEvery
}

// askFits asks whether services could run here that do not, but may. What the answer
// is nobody waits for: one that is not known is none.
func (s *Set) askFits() {
	f := &s.fits
	if s.env.Standing != Member || s.env.State.Conf == nil || s.env.Now < f.next && s.env.State.Ver == f.ver {
		return
	}
	if f.of == nil {
		f.of = map[string]*fitting{}
	}
	f.ver, f.next = s.env.State.Ver, s.env.Now.Add(time.Minute)
	here, soon, moves := s.families()
	for i := range s.env.State.Conf.Services {
		svc := &s.env.State.Conf.Services[i]
		name := svc.Family()
		if here[name] || !svc.Allows(s.env.State.NameOf(s.env.Self)) {
			continue
		}
		x := f.of[name]
		if x == nil {
			x = &fitting{}
			f.of[name] = x
		}
		if x.spec != svc && (x.spec == nil || !sameStacks(x.spec, svc)) {
			x.at, x.lacks, x.good = 0, "", false // of another stack nothing is known
			f.tell()
		}
		x.spec = svc
		if m := moves[name]; m.service != x.move.service || m.term != x.move.term {
			x.move = m
			f.tell()
		}
		due, wanted := x.at.Add(x.period(soon[name])), x.move.service != "" && !x.move.asked
		switch {
		case x.op != 0 || f.busy >= mostFits && !wanted:
		case x.at != 0 && s.env.Now < due && !wanted:
			f.next = min(f.next, due)
		default:
			s.ops++
			f.busy++
			x.op, x.at, x.move.asked = s.ops, s.env.Now, x.move.service != ""
			s.emit(cluster.Run{Op: x.op, Kind: cluster.RunFit, Service: svc, Beside: Beside(s.env.State.Conf, svc)})
		}
	}
	n := len(f.of)
	maps.DeleteFunc(f.of, func(name string, x *fitting) bool { return x.op == 0 && len(s.env.State.Conf.Copies(name)) == 0 })
	if len(f.of) != n {
		f.tell()
	}
}

// Beside lists the kinds of the members of services that go with a service, or before
// it: what they bring need not be there yet.
func Beside(conf *cluster.Config, svc *cluster.Service) []string {
	var kinds []string
	seen := map[string]bool{svc.Name: true}
	for work := []*cluster.Service{svc}; len(work) > 0; work = work[1:] {
		for i := range conf.Services {
			o := &conf.Services[i]
			near := func(a, b *cluster.Service) bool {
				return slices.Contains(a.With, b.Family()) || slices.Contains(a.With, b.Name)
			}
			first := slices.Contains(work[0].After, o.Family()) || slices.Contains(work[0].After, o.Name)
			if seen[o.Name] || !first && !near(work[0], o) && !near(o, work[0]) {
				continue
			}
			seen[o.Name], work = true, append(work, o)
			for k := range o.Stack {
				if kind := o.Stack[k].Kind; !slices.Contains(kinds, kind) {
					kinds = append(kinds, kind)
				}
			}
		}
	}
	return kinds
}

// families says of which services a copy is here, or is being stopped here, which need
// a node soon, and which are to come here.
func (s *Set) families() (here, soon map[string]bool, moves map[string]move) {
	here, soon, moves = map[string]bool{}, map[string]bool{}, map[string]move{}
	for i := range s.env.State.Services {
		g := &s.env.State.Services[i]
		svc, ok := s.env.State.Conf.Service(g.Service)
		if !ok {
			continue
		}
		if l := s.local[g.Service]; g.Owner == s.env.Self || l != nil && (l.op != 0 || l.state != cluster.Down) {
			here[svc.Family()] = true
		}
		n := s.env.State.Node(g.Owner)
		if !g.Stopped && (n == nil || g.Want != 0 || n.Standby || n.Phase == cluster.Leaving || !n.Fencing.IsZero()) {
			soon[svc.Family()] = true
		}
		if g.Want == s.env.Self && n != nil {
			moves[svc.Family()] = move{service: g.Service, term: g.Term}
		}
	}
	return here, soon, moves
}

// fitDone takes an answer; false if the operation was no such question.
func (s *Set) fitDone(e cluster.RunDone) bool {
	for _, x := range s.fits.of {
		if x.op != e.Op {
			continue
		}
		x.op, x.lacks, x.good = 0, "", e.Outcome == cluster.OK
		s.fits.busy--
		s.fits.next = 0
		if e.Outcome == cluster.Failed {
			x.lacks, x.said = cluster.Limit(e.Text, 120), true
		}
		x.move.ready = x.move.asked && e.Outcome != cluster.Failed
		s.fits.tell()
		return true
	}
	return false
}

// tell makes the list of Lacks anew.
func (f *fits) tell() {
	f.said = nil
	f.told++
	for name, x := range f.of {
		if x.said && !(x.move.ready && x.move.service == name) {
			f.said = append(f.said, cluster.RunState{Service: name, Text: x.lacks})
		}
		if x.move.ready {
			f.said = append(f.said, cluster.RunState{Service: x.move.service, Term: x.move.term, State: cluster.Starting})
		}
	}
	slices.SortFunc(f.said, byName)
}

// Lacks lists the services that could not run here, those of which that was said and
// is not so any more: their text is empty, and those that are to come here and could:
// with the term of their owner.
func (s *Set) Lacks() []cluster.RunState { return s.fits.said }
