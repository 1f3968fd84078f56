// Package drill is the command holdfast drill: it rehearses what happens when
// something fails, says beforehand what it will do, and ends with a verdict.
package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

const (
	// settle is how long after the first reading of off a node may still be seen:
	// what it sent before may arrive, and everybody's view is a little old.
	settle = 3 * time.Second
	// poll is the time between two looks at the cluster.
	poll = time.Second
)

// Daemon is what a drill needs of the daemon of this node; api.Client is one.
type Daemon interface {
	// Status is the world as this node sees it.
	Status(ctx context.Context) (*api.Status, error)
	// Drill takes one step.
	Drill(ctx context.Context, node string, r api.DrillRequest) (*api.DrillStep, error)
	// Close ends the connection.
	Close()
}

// Report is what a drill has shown.
type Report struct {
	Version int       `json:"version"`
	Node    string    `json:"node"`
	Ways    []WayDone `json:"ways"`
	OK      bool      `json:"ok"` // every way that was tried has done what a fencing needs of it
}

// WayDone is what one way has shown.
type WayDone struct {
	Way   string          `json:"way"`
	State string          `json:"state,omitempty"` // of a way that has no switch: as status shows it
	Steps []api.DrillStep `json:"steps"`
	OK    bool            `json:"ok"`
	Text  string          `json:"text"` // the verdict
}

// fence is one run of drill fence.
type fence struct {
	*shell.Shell
	dial  func() (Daemon, error)
	by    string
	cycle bool
	yes   bool
	wait  time.Duration
	poll  time.Duration // between two looks
	late  time.Duration // see settle

	daemon Daemon
}

// Command makes holdfast drill. dial and reach reach the daemon of this node.
func Command(sh *shell.Shell, dial func() (Daemon, error), reach func() (*api.Client, error)) *cobra.Command {
	f := &fence{Shell: sh, dial: dial, poll: poll, late: settle}
	c := sh.PrintsJSON(shell.Command("fence NODE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error { return f.run(c.Context(), args[0]) }))
	fs := c.Flags()
	fs.StringVar(&f.by, "by", "", "only this `way`: bmc, or an agent's name")
	fs.BoolVar(&f.cycle, "cycle", false, "take the node's power and give it back; the node must be on standby")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask before --cycle")
	fs.DurationVar(&f.wait, "wait", 15*time.Minute, "with --cycle: how much `time` the node has to go, and to come back")
	return shell.Group("drill", append(rehearsals(sh, reach), c)...)
}

func (f *fence) run(ctx context.Context, node string) error {
	var err error
	if f.daemon, err = f.dial(); err != nil {
		return err
	}
	defer f.daemon.Close()
	ways, err := f.ways(ctx, node)
	if err != nil {
		return err
	}
	f.announce(node, ways)
	if f.cycle && !f.yes {
		if err := f.Confirm("this takes the power of "+node+" "+screen.Plural(switches(ways), "time")+". Go on", node); err != nil {
			return err
		}
	}
	r := Report{Version: api.Version, Node: node, Ways: []WayDone{}, OK: true}
	for _, w := range ways {
		done := f.try(ctx, node, w)
		f.tell(&done)
		r.Ways = append(r.Ways, done)
		r.OK = r.OK && done.OK
	}
	return f.end(&r)
}

// ways are those that are tried: with a switch, or only shown.
func (f *fence) ways(ctx context.Context, node string) ([]api.Way, error) {
	s, err := f.daemon.Status(ctx)
	if err != nil {
		return nil, err
	}
	if s.Self.Name == node {
		return nil, fmt.Errorf("%s is this node: who is to fence it is another one, so drill it there", node)
	}
	var ways []api.Way
	for _, n := range s.Fencing {
		for _, w := range n.Ways {
			if n.Node == node && (f.by == "" || f.by == w.Way) {
				ways = append(ways, w)
			}
		}
	}
	switch {
	case nodeOf(s, node) == nil:
		return nil, fmt.Errorf("there is no node %q", node)
	case len(ways) == 0 && f.by != "":
		return nil, fmt.Errorf("%s has no way %q under fencing.ways; holdfast node fence %s --dry-run lists them", node, f.by, node)
	case len(ways) == 0:
		return nil, fmt.Errorf("%s has no ways under fencing.ways: only the proof by time ends it, and holdfast status shows its watchdogs", node)
	case f.cycle && switches(ways) == 0:
		return nil, fmt.Errorf("none of the ways of %s cuts its power: there is nothing to cycle", node)
	}
	return ways, nil
}

func nodeOf(s *api.Status, name string) *api.Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// hasSwitch says that a way cuts power; the others are the reservations' and time's.
func hasSwitch(w *api.Way) bool { return w.Way != "disk" && w.Way != "reservation" }

func switches(ways []api.Way) int {
	n := 0
	for i := range ways {
		if hasSwitch(&ways[i]) {
			n++
		}
	}
	return n
}

// announce says what will be done.
func (f *fence) announce(node string, ways []api.Way) {
	if f.JSON {
		return
	}
	f.Say("drill: fencing of %s. Nothing is fenced, nothing taken over.", node)
	for i := range ways {
		switch w := &ways[i]; {
		case !hasSwitch(w):
			f.Say("  %s: is shown as it was checked last", w.Way)
		case f.cycle:
			f.Say("  %s: is asked who it switches; cuts the power; is read twice; then %s must not be seen any more; gives the power back", w.Way, node)
		default:
			f.Say("  %s: is asked for the state of its machine, and who that is; nothing is switched", w.Way)
		}
	}
}

// try works on one way and notes the verdict.
func (f *fence) try(ctx context.Context, node string, w api.Way) WayDone {
	done := WayDone{Way: w.Way, Steps: []api.DrillStep{}}
	if !hasSwitch(&w) {
		done.State, done.Text, done.OK = w.State, w.Text, w.State == "works"
		if w.State == "always there" {
			done.OK, done.Text = false, "no beat of the node was read: nothing is known of its watchdogs"
		}
		return done
	}
	err := f.ask(ctx, node, &done)
	if err == nil && f.cycle {
		err = f.turn(ctx, node, &done)
	}
	switch {
	case err != nil:
		done.Text = err.Error()
	case f.cycle:
		done.OK, done.Text = true, "the power was cut, the node was not seen after that, and it came back"
	default:
		done.OK, done.Text = true, "it answers for the node, and says on"
	}
	if _, err := f.daemon.Drill(ctx, node, api.DrillRequest{Step: api.DrillVerdict, Way: w.Way, OK: done.OK, Text: done.Text}); err != nil {
		done.Text += " (the verdict could not be noted: " + err.Error() + ")"
	}
	return done
}

// step takes one step; one that shows something else than it should is an error.
func (f *fence) step(ctx context.Context, node, step string, done *WayDone) (*api.DrillStep, error) {
	s, err := f.daemon.Drill(ctx, node, api.DrillRequest{Step: step, Way: done.Way})
	if err != nil {
		return nil, err
	}
	done.Steps = append(done.Steps, *s)
	if !f.JSON {
		f.Say("  %s", screen.Wrap(fmt.Sprintf("%s: %s: %s after %s: %s", done.Way, step, s.Outcome, screen.Seconds(s.Took.Duration()), s.Text), screen.Width-2, "    "))
	}
	if s.Outcome != "proven" {
		return s, fmt.Errorf("%s: %s: %s", step, s.Outcome, s.Text)
	}
	return s, nil
}

// ask asks for the state: of a node that is well, it must be on.
func (f *fence) ask(ctx context.Context, node string, done *WayDone) error {
	s, err := f.step(ctx, node, api.DrillCheck, done)
	if err != nil {
		return err
	}
	status, err := f.daemon.Status(ctx)
	if err != nil {
		return err
	}
	if n := nodeOf(status, node); n != nil && n.Phase == "member" && s.Off != nil {
		return errors.New("it says off of a member of the cluster: is it wired to another machine")
	}
	return nil
}

// turn takes the power and gives it back.
func (f *fence) turn(ctx context.Context, node string, done *WayDone) error {
	s, err := f.step(ctx, node, api.DrillOff, done)
	if err != nil {
		return err
	}
	if s.Off == nil {
		return errors.New("off: proven without a reading")
	}
	lied := f.seenAfter(ctx, node, time.Now().Add(-s.Off.Duration()))
	if lied == nil {
		lied = f.await(ctx, "the cluster knows that "+node+" has ended", node, func(n *api.Node) bool { return n.Phase == "out" })
	}
	if _, err := f.step(ctx, node, api.DrillOn, done); err != nil || lied != nil {
		return errors.Join(lied, err)
	}
	return f.await(ctx, node+" is a member again", node, func(n *api.Node) bool { return n.Phase == "member" && !n.Fencing })
}

// seenAfter watches whether a node that was said to be off since an instant is seen
// later than that: then the switch lies.
func (f *fence) seenAfter(ctx context.Context, node string, off time.Time) error {
	for time.Since(off) < 2*f.late {
		s, err := f.daemon.Status(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if n := nodeOf(s, node); n != nil {
			for _, age := range []*api.Seconds{n.DiskAge, n.NetAge} {
				if age == nil {
					continue
				}
				if late := now.Add(-age.Duration()).Sub(off); late > f.late {
					return fmt.Errorf("it said off, twice, and %s was seen %s after that: it lies, or switches another machine. Do not use it", node, screen.Seconds(late))
				}
			}
		}
		if err := pause(ctx, f.poll); err != nil {
			return err
		}
	}
	return nil
}

// await waits until a node is as it should be.
func (f *fence) await(ctx context.Context, what, node string, is func(*api.Node) bool) error {
	if !f.JSON {
		f.Say("  waiting until %s", what)
	}
	for end := time.Now().Add(f.wait); ; {
		s, err := f.daemon.Status(ctx)
		if err != nil {
			return err
		}
		if n := nodeOf(s, node); n != nil && is(n) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %s", screen.Seconds(f.wait), what)
		}
		if err := pause(ctx, f.poll); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// tell says the verdict on one way.
func (f *fence) tell(w *WayDone) {
	if f.JSON {
		return
	}
	word := "works"
	if !w.OK {
		word = "DOES NOT WORK"
	}
	f.Say("%s", screen.Wrap(fmt.Sprintf("%s: %s: %s", w.Way, word, w.Text), screen.Width, "  "))
}

// end prints the report and makes it an exit code.
func (f *fence) end(r *Report) error {
	if f.JSON {
		if err := f.PrintJSON(r); err != nil {
			return err
		}
	} else {
		f.Say("timeline: holdfast events --kind drill")
	}
	if !r.OK {
		return shell.Code(1)
	}
	return nil
}
