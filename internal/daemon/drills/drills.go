// Package drills rehearses a fencing: it uses one way to cut a node's power, as a
// fencing would, but decides nothing and proves nothing to the cluster. What was
// shown, and how long it took, is an event.
//
// The power is cut only where nothing can be lost: of a member on standby that owns
// no service. The cluster notices, as it notices any node that falls silent, and
// has nothing to take over.
package drills

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// within bounds one step: an agent that waits for a cloud takes this long.
const within = 3 * time.Minute

// firstOp is above every number that the core gives to its own attempts.
const firstOp = 1 << 63

// Ways carries out attempts; ways.Ways does.
type Ways interface {
	// Begin takes note of an attempt and returns what carries it out.
	Begin(ctx context.Context, f cluster.Fence) func() cluster.FenceDone
}

// Drills takes the steps of drills. It may be used by several goroutines.
type Drills struct {
	ways Ways
	tell func(api.Event)
	now  func() ident.Instant
	ops  atomic.Uint64
}

// New returns what takes steps. What they show goes to tell; now is the interval
// clock, which the ways use too.
func New(w Ways, tell func(api.Event), now func() ident.Instant) *Drills {
	return &Drills{ways: w, tell: tell, now: now}
}

// Step takes one step on a node of the view.
func (d *Drills) Step(ctx context.Context, v *cluster.View, node string, q api.DrillRequest) (*api.DrillStep, error) {
	n, way, err := find(v, node, q.Way)
	if err != nil {
		return nil, err
	}
	kind := map[string]cluster.FenceKind{api.DrillCheck: cluster.FenceCheck, api.DrillOff: cluster.FenceOff, api.DrillOn: cluster.FenceOn}[q.Step]
	switch {
	case q.Step == api.DrillVerdict:
		return d.verdict(node, q), nil
	case kind == 0:
		return nil, api.Errorf(api.CodeInvalid, "drill: there is no step %q", q.Step)
	case kind == cluster.FenceOff:
		if why := busy(v, n); why != "" {
			return nil, api.Errorf(api.CodeRefused, "%s", why)
		}
	}
	began := d.now()
	done := d.ways.Begin(ctx, cluster.Fence{
		Op: firstOp + d.ops.Add(1), Kind: kind, Node: n.ID, Name: n.Name, Inc: n.Inc, Host: n.Host, Switch: n.Switch, Way: *way, Within: within,
	})()
	now := d.now()
	s := &api.DrillStep{
		Version: api.Version, Node: node, Way: q.Way, Step: q.Step, Outcome: done.Outcome.String(), Text: done.Text, Took: api.Of(now.Sub(began)),
	}
	if done.First != 0 && done.Outcome == cluster.FenceProven { // read as off
		s.Off = api.Maybe(now.Sub(done.First))
	}
	level := "info"
	if done.Outcome != cluster.FenceProven {
		level = "warn"
	}
	d.add(level, s)
	return s, nil
}

// verdict notes what came of a drill.
func (d *Drills) verdict(node string, q api.DrillRequest) *api.DrillStep {
	s := &api.DrillStep{Version: api.Version, Node: node, Way: q.Way, Step: q.Step, Outcome: cluster.FenceProven.String(), Text: cluster.Limit(q.Text, 400)}
	level := "info"
	if !q.OK {
		s.Outcome, level = cluster.FenceFailed.String(), "error"
	}
	d.add(level, s)
	return s
}

func (d *Drills) add(level string, s *api.DrillStep) {
	e := api.Event{At: int64(d.now()), Kind: "drill", Level: level, Node: s.Node, Text: fmt.Sprintf("drill: %s: %s: %s: %s", s.Way, s.Step, s.Outcome, s.Text)}
	e.Way, e.Outcome = s.Way, s.Outcome
	if s.Took > 0 {
		e.Took = &s.Took
	}
	d.tell(e)
}

// find gives the node, and its way that cuts power.
func find(v *cluster.View, node, name string) (*cluster.NodeState, *cluster.Way, error) {
	if v.State == nil {
		return nil, nil, api.Errorf(api.CodeNotReady, "the quorum disk was not read yet")
	}
	n := v.State.NodeNamed(node)
	switch {
	case n == nil:
		return nil, nil, api.Errorf(api.CodeNotFound, "there is no node %q", node)
	case n.ID == v.Self:
		return nil, nil, api.Errorf(api.CodeRefused, "%s is this node: who is to fence it is another one, so drill it there", node)
	}
	ways := v.State.Conf.WaysFor(n)
	for i := range ways {
		if ways[i].Name() == name && ways[i].CutsPower() {
			return n, &ways[i], nil
		}
	}
	return nil, nil, api.Errorf(api.CodeNotFound, "%s has no way %q that cuts its power under fencing.ways", node, name)
}

// busy says why a node's power must not be cut for a drill; empty if it may be.
func busy(v *cluster.View, n *cluster.NodeState) string {
	for i := range v.State.Services {
		if g := &v.State.Services[i]; g.Owner == n.ID {
			return fmt.Sprintf("%s owns the service %s: empty it first, with holdfast node standby %s", n.Name, g.Service, n.Name)
		}
	}
	switch {
	case !n.Fencing.IsZero() || n.Phase != cluster.MemberPhase:
		return fmt.Sprintf("%s is no member, or is being fenced: a drill shows nothing of a node that is not well", n.Name)
	case !n.Standby:
		return fmt.Sprintf("%s may be given a service at any moment: keep it empty first, with holdfast node standby %s", n.Name, n.Name)
	}
	return ""
}
