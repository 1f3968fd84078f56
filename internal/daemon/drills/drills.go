// Package drills breaks things on purpose, for a while, and keeps what came of it.
// Whether the cluster can survive a drill, and whether it went as foretold, is judged
// by whoever asks for it (package rehearsal); nothing here decides anything.
//
// Of a fencing it rehearses the ways (Step): it uses one way to cut a node's power, as
// a fencing would, but proves nothing to the cluster. The power is cut only where
// nothing can be lost: of a member on standby that owns no service.
//
// What else a drill breaks (Begin) ends by itself, whatever becomes of this process:
// rules of the firewall have an end that the kernel keeps, the guard ends a cut of its
// disks, and a frozen node is reset by its watchdogs, or goes on when the helper that
// stopped it wakes it. A drill on another node is ordered by a message in that node's
// mailbox on the quorum disks: "reset", which its guard obeys as it does for anybody, or
// "test" from a sender such as "drill cut-disk 20s", which its guard passes on to its
// daemon.
package drills

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// within bounds one step: an agent that waits for a cloud takes this long.
const within = 3 * time.Minute

// mostMail is how much mail may wait to be looked at; more is none of ours.
const mostMail = 16

// firstOp is above every number that the core gives to its own attempts.
const firstOp = 1 << 63

// Ways carries out attempts; ways.Ways does.
type Ways interface {
	// Begin takes note of an attempt and returns what carries it out.
	Begin(ctx context.Context, f cluster.Fence) func() cluster.FenceDone
}

// Machine is what drills break on this node, beside its network.
type Machine struct {
	// Register is until when the daemon's own way to the quorum disks is cut.
	Register *atomic.Pointer[time.Time]
	// Guard is the connection to the guard; nil: there is none.
	Guard func() any
	// Stir has a service looked at now.
	Stir func(ctx context.Context, service, why string)
}

// Settings is what drills need of their daemon.
type Settings struct {
	Ways       Ways
	Machine    Machine
	Tell       func(api.Event)      // keeps an event
	Now        func() ident.Instant // the interval clock, which the ways use too
	Wall       func() time.Time
	Self       string           // this node
	Run, State string           // directories
	Links      []netip.AddrPort // of this node
	Disks      func() []string  // paths of the quorum disks
	Open       func(path string, sector int) (storage.Disk, error)
	Call       program.Runner // calls nft
	Program    func() (string, error)
}

// Drills takes the steps of drills. It may be used by several goroutines.
type Drills struct {
	Settings
	ops  atomic.Uint64
	wake chan struct{} // there is another end to wait for
	mail chan string   // what the guard said of its mail, for Follow
	book *book

	mu      sync.Mutex
	running *api.DrillRun  // under mu
	failing map[string]int // under mu: by service, how many of its checks are to fail
	wanted  wanted         // under mu
}

// wanted is how often drills are wanted, by a version of the configuration.
type wanted struct {
	rev   uint64
	every time.Duration
}

// New returns what takes steps. It reads what is known of earlier drills; a file that
// cannot be read is begun anew, and that is the error, with which it works as well.
func New(s Settings) (*Drills, error) {
	b, err := openBook(s.State)
	return &Drills{Settings: s, wake: make(chan struct{}, 1), mail: make(chan string, mostMail), book: b, failing: map[string]int{}}, err
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
	began := d.Now()
	done := d.Ways.Begin(ctx, cluster.Fence{
		Op: firstOp + d.ops.Add(1), Kind: kind, Node: n.ID, Name: n.Name, Inc: n.Inc, Host: n.Host, Switch: n.Switch, Way: *way, Within: within,
	})()
	now := d.Now()
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
	_, _ = d.book.add(api.DrillRecord{Kind: api.DrillFence, Node: node, Time: d.Wall().UTC(), By: d.Self, OK: q.OK, Way: q.Way, Text: s.Text})
	return s
}

func (d *Drills) add(level string, s *api.DrillStep) {
	e := api.Event{At: int64(d.Now()), Kind: "drill", Level: level, Node: s.Node, Text: fmt.Sprintf("drill: %s: %s: %s: %s", s.Way, s.Step, s.Outcome, s.Text)}
	e.Way, e.Outcome = s.Way, s.Outcome
	if s.Took > 0 {
		e.Took = &s.Took
	}
	d.Tell(e)
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
