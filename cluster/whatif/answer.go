package whatif

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Answer is what would happen.
type Answer struct {
	Faults   []Fault
	Services []Service
	Nodes    []Node   // that would not be members any more
	Story    []Line   // what the members would note, in order
	After    []string // what the cluster could not survive afterwards
	Assumed  []string // what this rests on and nobody has tried
	Steps    int      // of all cores
	Took     time.Duration
}

// Service is what would become of one service.
type Service struct {
	Name   string
	Before string // its node now; empty: none
	After  string // its node then; empty: none
	// Runs says that it would run then; Granted is the time from the fault to the
	// permission to start there, 0 where it stays. Its own start comes on top.
	Runs       bool
	Granted    time.Duration
	Proof      cluster.Proof // what ended its term before
	Why        string        // why it is there, or nowhere
	Candidates []cluster.Candidate
}

// Node is a node that would be lost.
type Node struct {
	Name  string
	Proof cluster.Proof // of its end; of no kind: nobody could be sure of it
	Why   string
}

// Line is one line of the story; At counts from the fault.
type Line struct {
	At   time.Duration
	Kind cluster.NoteKind
	Text string
}

// most bounds an answer: virtual time after the fault, and steps of all cores.
const (
	mostTime  = 5 * time.Minute
	mostSteps = 2_000_000
)

// Ask lets the faults happen at once, and waits until nothing changes any more.
func Ask(v *cluster.View, faults []Fault) (*Answer, error) {
	w, err := begin(v)
	if err != nil {
		return nil, err
	}
	if err := w.settle(v.Timing.Tsus); err != nil {
		return nil, err
	}
	for _, f := range faults {
		if f.Node != "" && w.named(f.Node) == nil {
			return nil, fmt.Errorf("%w: %s is not among the members that this node sees", ErrCannot, f.Node)
		}
	}
	before := w.view()
	start := w.now
	w.told = nil
	for _, f := range faults {
		w.happen(f)
	}
	// Nothing happens for as long as a silence has to last before it proves
	// something, and for the time that a suspicion and a commit take.
	quiet := v.Timing.W + 2*v.Timing.Tsus + 2*time.Second
	for last, since := w.mark(), w.now; w.now-since < quiet; {
		w.run(100 * time.Millisecond)
		if m := w.mark(); m != last {
			last, since = m, w.now
		}
		if w.steps > mostSteps {
			return nil, fmt.Errorf("%w: the cluster is too large to be simulated within seconds", ErrCannot)
		}
		if w.now-start > mostTime {
			break
		}
	}
	a := &Answer{Faults: faults, Assumed: w.assumed, Steps: w.steps, Took: w.now - start}
	w.tell(a, before, start)
	return a, nil
}

// mark changes when something has happened.
func (w *world) mark() [2]uint64 {
	var ver uint64
	for _, k := range w.disks {
		for i := range k.blocks {
			ver = max(ver, k.blocks[i].header.Ver)
		}
	}
	return [2]uint64{ver, uint64(len(w.told))}
}

// view is what a member that is left knows: the coordinator, where there is one.
func (w *world) view() *cluster.View {
	var best *cluster.View
	for _, n := range w.nodes {
		if n.gone {
			continue
		}
		v := n.core.View(n.clock())
		switch {
		case best == nil, v.State != nil && best.State != nil && v.State.Ver > best.State.Ver, v.Coordinator == n.id && best.Coordinator != best.Self:
			best = &v
		}
	}
	return best
}

func (w *world) tell(a *Answer, before *cluster.View, start time.Duration) {
	for _, t := range w.told {
		a.Story = append(a.Story, Line{t.at - start, t.Kind, w.words(&t.Note)})
	}
	slices.SortStableFunc(a.Story, func(x, y Line) int { return int(x.At - y.At) })
	v := w.view()
	if v == nil {
		for i := range before.Services {
			b := &before.Services[i]
			a.Services = append(a.Services, Service{Name: b.Name, Before: before.State.NameOf(b.Owner), Why: "no member is left"})
		}
		a.After = append(a.After, "no member is left: nothing runs until a node comes back")
		return
	}
	for i := range before.Services {
		a.Services = append(a.Services, w.became(&before.Services[i], before, v, start))
	}
	w.lost(a, before, v)
	w.weak(a, v)
}

func (w *world) words(n *cluster.Note) string {
	text := n.Text
	if n.Service != "" {
		text = strings.TrimSuffix(n.Service+": "+text, ": ")
	}
	if n.Node != 0 {
		text = w.state.NameOf(n.Node) + ": " + text
	}
	if n.Proof != cluster.NoProof {
		text += " (proof " + n.Proof.String() + ")"
	}
	return text
}

// became is what became of a service.
func (w *world) became(b *cluster.ServiceView, before, v *cluster.View, start time.Duration) Service {
	out := Service{Name: b.Name}
	if b.Owner != 0 {
		out.Before = before.State.NameOf(b.Owner)
	}
	i := slices.IndexFunc(v.Services, func(s cluster.ServiceView) bool { return s.Name == b.Name })
	if i < 0 {
		return out
	}
	s := &v.Services[i]
	out.Why, out.Candidates = s.Why, s.Nodes
	if s.Owner == 0 {
		if out.Why == "" {
			out.Why = reasons(s.Nodes)
		}
		return out
	}
	out.After = v.State.NameOf(s.Owner)
	owner := w.node(s.Owner)
	out.Runs = owner != nil && !owner.gone && w.runs(owner, s)
	if s.Term != b.Term {
		out.Proof = s.Proof
		for _, t := range w.told {
			if t.Kind == cluster.NoteGrant && t.Service == b.Name && t.Term == s.Term {
				out.Granted = t.at - start
			}
		}
	}
	if !out.Runs && owner != nil && owner.gone {
		out.Why = fmt.Sprintf("nobody can be sure that %s has ended: %s", owner.name, w.doubt(v, owner.id))
	}
	return out
}

// runs asks the owner itself whether it runs the service.
func (w *world) runs(owner *node, s *cluster.ServiceView) bool {
	own := owner.core.View(owner.clock())
	i := slices.IndexFunc(own.Services, func(o cluster.ServiceView) bool { return o.Name == s.Name })
	return i >= 0 && own.Services[i].Term == s.Term && own.Services[i].State == cluster.Up
}

// doubt says why a node's end is not proven.
func (w *world) doubt(v *cluster.View, id ident.NodeID) string {
	for i := range v.Nodes {
		if n := &v.Nodes[i]; n.ID == id {
			if !n.Lease.Class.CarriesTime() {
				return fmt.Sprintf("its watchdogs (%s) carry no proof by time; once it is off: holdfast node confirm-off %s", n.Lease.Class, n.Name)
			}
			return "no proof has been possible; once it is off: holdfast node confirm-off " + n.Name
		}
	}
	return "it is not known any more"
}

func reasons(nodes []cluster.Candidate) string {
	list := make([]string, 0, len(nodes))
	for _, c := range nodes {
		list = append(list, c.Name+": "+c.Reason)
	}
	return strings.Join(list, "; ")
}

// lost lists the nodes that are members no more.
func (w *world) lost(a *Answer, before, v *cluster.View) {
	for i := range before.Nodes {
		b := &before.Nodes[i]
		n := v.State.Node(b.ID)
		if b.Phase != cluster.MemberPhase || n != nil && n.Phase == cluster.MemberPhase && n.Inc == b.Inc {
			if mine := w.node(b.ID); mine == nil || !mine.gone {
				continue
			}
		}
		lost := Node{Name: b.Name}
		if n != nil {
			lost.Why = n.Why
			if n.Dead >= b.Inc.N {
				lost.Proof = n.Proof
			}
		}
		a.Nodes = append(a.Nodes, lost)
	}
}

// weak says what the cluster could not survive afterwards.
func (w *world) weak(a *Answer, v *cluster.View) {
	var left []string
	for _, n := range w.nodes {
		if s := v.State.Node(n.id); !n.gone && s != nil && s.Phase == cluster.MemberPhase {
			left = append(left, n.name)
		}
	}
	if len(left) == 1 {
		a.After = append(a.After, fmt.Sprintf("the loss of %s: it is the only member left", left[0]))
	}
	disks := 0
	for _, k := range w.disks {
		if !k.lost {
			disks++
		}
	}
	switch majority := len(w.disks)/2 + 1; {
	case disks < majority:
		a.After = append(a.After, "any further failure: a majority of the quorum disks is gone, and nothing can be decided")
	case disks == majority:
		a.After = append(a.After, "the loss of another quorum disk: services would stay where they are only as long as every member agrees over the network")
	}
	if len(left) < 2 {
		return
	}
	for _, name := range left {
		var stuck []string
		for i := range v.Services {
			s := &v.Services[i]
			if s.Owner != 0 && v.State.NameOf(s.Owner) == name && !slices.ContainsFunc(s.Nodes, func(c cluster.Candidate) bool { return c.Able && c.Name != name }) {
				stuck = append(stuck, s.Name)
			}
		}
		if len(stuck) > 0 {
			a.After = append(a.After, fmt.Sprintf("the loss of %s: %s could run nowhere else", name, strings.Join(stuck, ", ")))
		}
	}
}
