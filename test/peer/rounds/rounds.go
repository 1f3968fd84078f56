// Package rounds takes the time of one fault, or of one planned move, on a cluster
// that was put up for it, and what a node costs that has nothing to do.
package rounds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
)

// The events of which the time is taken.
const (
	Kill   = "kill"   // the service's machine loses its power
	Freeze = "freeze" // nothing on it runs any more; its links answer
	Cut    = "cut"    // its heartbeat links are cut; clients still reach it
	Move   = "move"   // an administrator moves the service, and back
	Idle   = "idle"   // nothing happens for a minute
)

// Bounds of one round.
const (
	raiseLimit = 4 * time.Minute
	faultLimit = 4 * time.Minute // sanlock's own default comes near three
	settle     = 5 * time.Second
	cutWatched = 60 * time.Second // longer than any of them takes to act on it
	lookEvery  = 2 * time.Millisecond
)

// Result is one line of the record.
type Result struct {
	Manager string  `json:"manager"`
	Setting string  `json:"setting"`
	Event   string  `json:"event"`
	Seconds float64 `json:"seconds"` // from the event until the service answers again, or without it
	Moved   bool    `json:"moved"`   // to the other machine
	Up      float64 `json:"up_s"`    // what it took to put the cluster up
	Load    float64 `json:"load"`    // of this machine, before
	Cost    *Cost   `json:"cost,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// Round says what to play.
type Round struct {
	Tree  string    // the Debian tree that the machines boot from
	Event string    // one of those above
	Told  io.Writer // where the nodes' own story of the event goes, if they have one; nil: nowhere
}

// Run plays one event on a fresh cluster.
func Run(ctx context.Context, c contender.Contender, what Round) []Result {
	who := c.About()
	r := Result{Manager: who.Manager, Setting: who.Setting, Event: what.Event, Load: load()}
	began := time.Now()
	raising, cancel := context.WithTimeout(ctx, raiseLimit)
	defer cancel()
	s, err := c.Raise(raising, what.Tree)
	if err != nil {
		r.Error = err.Error()
		return []Result{r}
	}
	defer func() { _, _ = s.Close(), c.Close() }()
	r.Up = time.Since(began).Seconds()
	ctx, cancel = context.WithTimeout(ctx, faultLimit)
	defer cancel()
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	switch what.Event {
	case Idle:
		r.Cost, err = cost(ctx, s, who.Daemons)
	case Move:
		return moves(ctx, c, s, r, what.Told)
	default:
		mono := ledger.Now()
		if err = fault(ctx, s, &r); what.Told != nil {
			tell(ctx, s, mono, fmt.Sprintf("%s: %.3f s", what.Event, r.Seconds), what.Told)
		}
	}
	if err != nil {
		r.Error = err.Error()
	}
	return []Result{r}
}

// runs says that the service runs on the node: by the dummy's file and by the
// kernel's list of addresses, not by anybody's word.
func runs(n *stage.Node) bool {
	_, err := os.Stat(filepath.Join(n.Root(), contender.StateFile))
	return err == nil && n.Carries(contender.Address)
}

// fault strikes the first machine and waits for the service on the second.
func fault(ctx context.Context, s *stage.Stage, r *Result) error {
	victim, heir := s.Nodes[0], s.Nodes[1]
	if !runs(victim) {
		return errors.New("the service does not run on alpha before the fault")
	}
	if r.Event == Cut {
		return cut(ctx, s, r)
	}
	struck := make(chan error, 1)
	began := time.Now()
	go func() {
		if r.Event == Kill {
			struck <- s.Power.PowerOff(victim.Name, "the comparison pulls the plug")
			return
		}
		struck <- victim.Freeze()
	}()
	took, err := await(ctx, func() bool { return runs(heir) }, began)
	r.Seconds, r.Moved = took.Seconds(), err == nil
	return errors.Join(err, <-struck)
}

// cut takes the heartbeat links away, and sums up the time in which the service
// ran nowhere.
func cut(ctx context.Context, s *stage.Stage, r *Result) error {
	if err := s.CutHeartbeats(s.Nodes[0]); err != nil {
		return err
	}
	began, last := time.Now(), time.Now()
	without := time.Duration(0)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for time.Since(began) < cutWatched {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now := time.Now()
		if !runs(s.Nodes[0]) && !runs(s.Nodes[1]) {
			without += now.Sub(last)
		}
		last = now
	}
	r.Seconds, r.Moved = without.Seconds(), runs(s.Nodes[1])
	if !r.Moved && !runs(s.Nodes[0]) {
		return fmt.Errorf("the service runs nowhere %v after the links were cut", cutWatched)
	}
	return nil
}

// moves moves the service there and back.
func moves(ctx context.Context, c contender.Contender, s *stage.Stage, r Result, told io.Writer) []Result {
	var all []Result
	for _, way := range [][2]*stage.Node{{s.Nodes[0], s.Nodes[1]}, {s.Nodes[1], s.Nodes[0]}} {
		from, to := way[0], way[1]
		began, mono := time.Now(), ledger.Now()
		ordered := make(chan error, 1)
		go func() { ordered <- c.Move(ctx, s, to) }()
		took, err := await(ctx, func() bool { return runs(to) && !runs(from) }, began)
		err = errors.Join(err, <-ordered)
		one := r
		one.Seconds, one.Moved = took.Seconds(), err == nil
		if err != nil {
			one.Error = err.Error()
		}
		all = append(all, one)
		select {
		case <-time.After(settle):
		case <-ctx.Done():
		}
		if told != nil {
			tell(ctx, s, mono, fmt.Sprintf("%s: %v", Move, took), told)
		}
	}
	return all
}

// tell prints what the nodes have noted since an instant.
func tell(ctx context.Context, s *stage.Stage, from int64, what string, to io.Writer) {
	fmt.Fprintf(to, "%s; in milliseconds since then:\n", what)
	for _, e := range s.Story(ctx, from) {
		fmt.Fprintf(to, "%8.1f  %-6s %-12s %s\n", float64(e.Mono-from)/1e6, e.Observer, e.Kind, e.Text)
	}
}

func await(ctx context.Context, met func() bool, began time.Time) (time.Duration, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("the service did not run on the other machine in time: %w", ctx.Err())
		}
	}
	return time.Since(began), nil
}

// load is this machine's, of the last minute.
func load() float64 {
	var l float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &l) // zero: unknown
	}
	return l
}
