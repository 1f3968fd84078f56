package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// mostHistory is how many events an explanation quotes, and nearby how many
// events before one of them belong to its story.
const (
	mostHistory = 30
	nearby      = 15
)

// Stories is where events are kept; a Store is one.
type Stories interface {
	// Events is as in Store.
	Events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error
}

// ExplainService says why a service is where it is.
func ExplainService(ctx context.Context, f *Facts, from Stories, name string) (*api.Explanation, error) {
	i := slices.IndexFunc(f.View.Services, func(v cluster.ServiceView) bool { return v.Name == name })
	if i < 0 {
		return nil, api.Errorf(api.CodeNotFound, "there is no service %q%s", name, known(serviceNames(f)))
	}
	v := &f.View.Services[i]
	svc := serviceOf(&f.View, v)
	e := &api.Explanation{Version: api.Version, Subject: "service " + name, Service: &svc, Proof: proofOf(&f.View, v.Proof), Text: serviceText(f, v)}
	for _, c := range v.Nodes {
		e.Candidates = append(e.Candidates, api.Candidate{Node: c.Name, Able: c.Able, Reason: c.Reason, Remedy: c.Remedy})
	}
	var err error
	e.Events, err = history(ctx, from, api.EventQuery{Service: name, Limit: mostHistory})
	return e, err
}

// round makes a time one that people read.
func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func serviceText(f *Facts, v *cluster.ServiceView) []string {
	text := []string{fmt.Sprintf("%s is %s.", v.Name, v.State)}
	owner, why := f.View.NodeOf(v.Owner), "It does not run because"
	if v.Owner != 0 {
		text = []string{fmt.Sprintf("%s is %s on %s, in term %d.", v.Name, v.State, nodeName(&f.View, v.Owner), v.Term)}
		why = "It is there because"
		if g := f.View.State.Grant(v.Name); g != nil && allot.Held(f.View.State, g) != "" {
			why = "It stays as it is because"
		}
	}
	if f.View.Silent(owner) {
		text = []string{fmt.Sprintf("%s belongs to %s, in term %d; the last that is known from there is: %s.", v.Name, owner.Name, v.Term, v.State)}
	}
	add := func(say bool, format string, args ...any) {
		if say {
			text = append(text, fmt.Sprintf(format, args...))
		}
	}
	add(v.Why != "", "%s: %s.", why, strings.TrimSuffix(v.Why, ";"))
	add(v.Text != "", "Its node says: %s.", v.Text)
	add(v.Stopped, "It is kept stopped by request; `holdfast service start %s` lets it run again.", v.Name)
	add(v.Frozen, "It is frozen: nobody moves or restarts it until `holdfast service unfreeze %s`.", v.Name)
	live := map[bool]string{true: " as it runs: live, and paused for the hand-over only, or shut down if that does not work"}[allot.Live(f.View.State.Conf, v.Name)]
	add(v.Want != 0, "It is moving to %s%s.", nodeName(&f.View, v.Want), live)
	add(v.Proof.Kind != cluster.NoProof, "Its term before ended on proof %s: %s.", v.Proof.Kind, v.Proof.Text)
	better := returns(f, v)
	add(better != "", "%s", better)
	add(f.View.Waiting != "", "This node waits: %s.", f.View.Waiting)
	if f.View.Silent(owner) || owner != nil && owner.Fencing {
		text = append(text, unknownText(f, owner, "it")...)
	}
	return append(text, disksText(&f.View)...)
}

// returns says why a service that runs does not go to a node that it prefers.
func returns(f *Facts, v *cluster.ServiceView) string {
	svc, ok := f.View.State.Conf.Service(v.Name)
	if !ok || v.State != cluster.Up || v.Want != 0 || v.Frozen || len(v.Nodes) == 0 || !v.Nodes[0].Able || v.Nodes[0].Node == v.Owner {
		return ""
	}
	place := func(id ident.NodeID) int {
		if i := slices.Index(svc.Prefer, nodeName(&f.View, id)); i >= 0 {
			return i
		}
		return len(svc.Prefer)
	}
	to := v.Nodes[0].Name
	switch {
	case place(v.Nodes[0].Node) >= place(v.Owner):
		return ""
	case svc.Failback.Mode == cluster.Automatic:
		return fmt.Sprintf("It prefers %s, and returns by itself once %s has been a healthy member for %v.", to, to, svc.Failback.After)
	}
	return fmt.Sprintf("It prefers %s, and does not return by itself: failback is manual; `holdfast service move %s --to %s` moves it.", to, v.Name, to)
}

// unknownText says that nobody knows whether what runs on a silent node, and what
// would end that.
func unknownText(f *Facts, n *cluster.NodeView, what string) []string {
	text := []string{fmt.Sprintf("Whether %s still runs on %s is unknown, so nobody else may start what it was granted before one of these proves that %s has ended.", what, n.Name, n.Name)}
	switch {
	case n.Wait > year:
		text = append(text, fmt.Sprintf("Time proves nothing here: %s may live on by the consent of the other members (on_disk_loss), for as long as they have said.", n.Name))
	case n.Fencing && n.Left > 0:
		text = append(text, fmt.Sprintf("Its silence proves it in %v at the earliest.", round(n.Left)))
	default:
		text = append(text, fmt.Sprintf("Its silence proves it %v after its last beat at the earliest, once its fencing is decided.", round(n.Wait)))
	}
	text = append(text, waysText(&f.View, n.ID)...)
	return append(text, fmt.Sprintf("It proves it itself when it comes back as a new incarnation. If you have made sure that it is off: `holdfast node confirm-off %s`.", n.Name))
}

// year is longer than any wait that ends.
const year = 365 * 24 * time.Hour

// disksText says that nothing can be decided, where that is so.
func disksText(v *cluster.View) []string {
	var bad []string
	for i := range v.Disks {
		if d := &v.Disks[i]; d.Err != "" {
			bad = append(bad, fmt.Sprintf("quorum disk %d: %s", d.Index+1, d.Err))
		}
	}
	if len(bad) == 0 || 2*len(bad) < len(v.Disks) {
		return nil
	}
	return []string{fmt.Sprintf("Nothing can be decided: %d of %d quorum disks do not answer this node (%s); `holdfast disk verify` looks at them.", len(bad), len(v.Disks), strings.Join(bad, "; "))}
}

// ExplainNode says why a node is what it is, who fenced it and on what proof.
func ExplainNode(ctx context.Context, f *Facts, from Stories, name string) (*api.Explanation, error) {
	i := slices.IndexFunc(f.View.Nodes, func(v cluster.NodeView) bool { return v.Name == name })
	if i < 0 {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q%s", name, known(nodeNames(&f.View)))
	}
	v := &f.View.Nodes[i]
	node := nodeOf(f, v)
	e := &api.Explanation{Version: api.Version, Subject: "node " + name, Node: &node, Proof: node.Proof}
	seen := fmt.Sprintf("%s is %s; its guard is %s.", name, phaseText(v.Phase), v.Guard)
	if f.View.Silent(v) {
		seen = fmt.Sprintf("%s is %s, and silent; its guard was %s when it was seen last.", name, phaseText(v.Phase), v.Guard)
	}
	e.Text = append(e.Text, seen)
	if v.Fencing {
		e.Text = append(e.Text, fmt.Sprintf("It is being fenced because: %s.", v.Why))
		e.Text = append(e.Text, unknownText(f, v, "anything")...)
	}
	if p := node.Proof; p != nil {
		e.Text = append(e.Text, fmt.Sprintf("Incarnation %s ended on proof %s, found by %s: %s.", p.Incarnation, p.Kind, p.By, p.Text))
	}
	if v.Standby {
		e.Text = append(e.Text, "It is on standby and runs nothing until `holdfast node online "+name+"`.")
	}
	e.Text = append(e.Text, courseText(&node)...)
	if v.Phase != cluster.Out && !v.Fencing {
		e.Text = append(e.Text, fmt.Sprintf("If it fell silent now, it would count as dead after %v; that rests on: %s.", round(v.Wait), orElse(v.Watchdog, "nothing")))
		e.Text = append(e.Text, waysText(&f.View, v.ID)...)
	}
	e.Text = append(e.Text, disksText(&f.View)...)
	var err error
	e.Events, err = history(ctx, from, api.EventQuery{Node: name, Limit: mostHistory})
	return e, err
}

func phaseText(p cluster.Phase) string {
	if p == cluster.MemberPhase {
		return "a member"
	}
	return p.String()
}

// waysText says how the ways to fence a node are doing.
func waysText(v *cluster.View, id ident.NodeID) []string {
	var list []string
	for _, r := range v.Fencing {
		for _, w := range r.Ways {
			switch {
			case r.Node != id:
			case w.Age < 0:
				list = append(list, fmt.Sprintf("Fencing it by %s: %s.", w.Way, w.State))
			default:
				list = append(list, fmt.Sprintf("Fencing it by %s: %s, as checked %v ago: %s.", w.Way, w.State, w.Age.Round(time.Second), w.Text))
			}
		}
	}
	return list
}

// ExplainEvent shows an event and what went before it on the same subject.
func ExplainEvent(ctx context.Context, from Stories, id uint64) (*api.Explanation, error) {
	var before []api.Event
	err := from.Events(ctx, api.EventQuery{}, func(e api.Event) error {
		if e.ID <= id {
			before = append(before, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(before) == 0 || before[len(before)-1].ID != id {
		return nil, api.Errorf(api.CodeNotFound, "there is no event %d in this node's store; `holdfast events` lists them", id)
	}
	it := before[len(before)-1]
	e := &api.Explanation{Version: api.Version, Subject: fmt.Sprintf("event %d", id), Text: []string{it.Text}, Events: []api.Event{}}
	for _, b := range slices.Backward(before) {
		same := it.Service != "" && b.Service == it.Service || it.Node != "" && b.Node == it.Node && b.Incarnation == it.Incarnation
		if same || b.ID == id {
			e.Events = append(e.Events, b)
		}
		if len(e.Events) > nearby {
			break
		}
	}
	slices.Reverse(e.Events)
	if it.Proof != "" {
		e.Proof = &api.Proof{Kind: it.Proof, Node: it.Node, Incarnation: it.Incarnation, Text: it.Text}
	}
	return e, nil
}

func history(ctx context.Context, from Stories, q api.EventQuery) ([]api.Event, error) {
	list := []api.Event{}
	err := from.Events(ctx, q, func(e api.Event) error { list = append(list, e); return nil })
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	return list, err
}

func serviceNames(f *Facts) []string {
	var list []string
	for i := range f.View.Services {
		list = append(list, f.View.Services[i].Name)
	}
	return list
}

func nodeNames(v *cluster.View) []string {
	var list []string
	for i := range v.Nodes {
		list = append(list, v.Nodes[i].Name)
	}
	return list
}

// known lists names for a message, if there are any.
func known(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; there is %s", join(names))
}

func join(names []string) string {
	text := ""
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text += " and "
		default:
			text += ", "
		}
		text += n
	}
	return text
}
