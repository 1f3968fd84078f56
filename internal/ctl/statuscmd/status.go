// Package statuscmd is the command holdfast status: the cluster on one screen, once
// or again and again, with an exit status for scripts.
package statuscmd

import (
	"bytes"
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/live"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// The exit statuses, those of a monitoring plugin.
const (
	exitWarning  = 1
	exitCritical = 2
	exitUnknown  = 3
)

// Daemon is what the command asks; api.Client is one.
type Daemon interface {
	// Status is the world as this node sees it.
	Status(ctx context.Context) (*api.Status, error)
	// Events calls each for the events that fit.
	Events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error
	// Close ends the connection.
	Close()
}

// command is one run of holdfast status.
type command struct {
	*shell.Shell
	dial  func() (Daemon, error)
	watch time.Duration
	mute  time.Time // since when nobody answers
	live  *live.Screen
}

// Command makes the command.
func Command(sh *shell.Shell, dial func() (Daemon, error)) *cobra.Command {
	a := &command{Shell: sh, dial: dial}
	c := a.PrintsJSON(shell.Command("status", cobra.NoArgs, func(c *cobra.Command, _ []string) error { return a.run(c.Context()) }))
	c.Flags().DurationVarP(&a.watch, "watch", "w", 0, "repeat after this `time`, until interrupted")
	c.Flags().Lookup("watch").NoOptDefVal = "1s"
	return c
}

func (a *command) run(ctx context.Context) error {
	if a.watch < 0 || a.watch > 0 && a.watch < 100*time.Millisecond {
		return shell.Usage(fmt.Errorf("--watch=%s: want 100ms or more", a.watch))
	}
	if a.watch == 0 {
		s, c, err := a.ask(ctx)
		if err != nil {
			return UnknownError{err}
		}
		if err := a.show(s, c); err != nil {
			return err
		}
		return Health(s.Health)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return a.again(ctx)
}

// again shows the status until it is interrupted, and ends with what was seen last.
func (a *command) again(ctx context.Context) error {
	if shell.IsTerminal(a.Out) && !a.JSON {
		a.live = live.New(a.Out)
		defer func() { _ = a.live.End() }() // whoever interrupts has seen it
	}
	var last api.Health
	next := time.NewTicker(a.watch)
	defer next.Stop()
	for {
		s, c, err := a.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return Health(last)
		case err != nil:
			last, err = "", a.nobody(err)
		default:
			last, a.mute = s.Health, time.Time{}
			err = a.show(s, c)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return Health(last)
		case <-next.C:
		}
	}
}

// nobody says that no daemon answers; while somebody looks on, in place of what was
// shown before, which may not be true any more.
func (a *command) nobody(why error) error {
	if a.mute.IsZero() {
		a.mute = time.Now()
	}
	if a.live == nil {
		_, err := fmt.Fprintf(a.Err, "holdfast: %v; trying again\n", why)
		return err
	}
	text := fmt.Sprintf("NO STATUS for %s: %v", screen.Seconds(time.Since(a.mute).Truncate(time.Second)), why)
	return a.live.Show(screen.Wrap(text, screen.Width, "  ") + "\n\nWHAT TO DO\n  see why it does not answer, or ask another node; trying again\n    -> systemctl status holdfastd holdfast-guard\n")
}

func (a *command) ask(ctx context.Context) (*api.Status, course, error) {
	client, err := a.dial()
	if err != nil {
		return nil, course{}, err
	}
	defer client.Close()
	s, err := client.Status(ctx)
	if err != nil {
		return nil, course{}, err
	}
	return s, courseOf(ctx, client), nil
}

func (a *command) show(s *api.Status, c course) error {
	if a.JSON {
		return a.PrintJSON(s)
	}
	look := screen.Look{Since: c.since, Took: c.took, Colour: live.Colour(a.Out), Width: live.SizeOf(a.Out).Columns}
	var b bytes.Buffer
	if err := screen.Status(&b, s, look); err != nil {
		return err
	}
	if a.live != nil {
		return a.live.Show(b.String())
	}
	_, err := b.WriteTo(a.Out)
	return err
}

// UnknownError says that there is no status: what a monitor calls unknown.
type UnknownError struct{ Err error }

// Error is the cause's.
func (u UnknownError) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u UnknownError) Unwrap() error { return u.Err }

// Health turns a health into an exit status.
func Health(h api.Health) error {
	switch h {
	case api.Healthy:
		return nil
	case api.Warning:
		return shell.Code(exitWarning)
	case api.Critical:
		return shell.Code(exitCritical)
	}
	return shell.Code(exitUnknown)
}

// longStart is longer than any start takes: what seems to is a restart whose start is
// not known any more.
const longStart = time.Hour

// course is what this node's event store knows of the services' starts.
type course struct {
	since map[string]time.Time
	took  map[string]time.Duration
}

// courseOf finds when each service was started last, or, of one that another node
// starts, when that was granted; and how long its last start took that this node has
// seen, from the grant on. What the store does not know is left out.
func courseOf(ctx context.Context, client Daemon) course {
	c := course{since: map[string]time.Time{}, took: map[string]time.Duration{}}
	granted := map[string]api.Event{}
	look := func(kind string, take func(e api.Event)) {
		_ = client.Events(ctx, api.EventQuery{Kind: kind, Limit: 200}, func(e api.Event) error { // without it, the rest is shown all the same
			if e.Time.After(c.since[e.Service]) {
				c.since[e.Service] = e.Time
			}
			take(e)
			return nil
		})
	}
	term := func(e *api.Event) string { return fmt.Sprint(e.Service, " ", e.Term) }
	look("grant", func(e api.Event) { granted[term(&e)] = e })
	look("started", func(e api.Event) {
		if g, has := granted[term(&e)]; has && e.Time.After(g.Time) && e.Time.Sub(g.Time) < longStart {
			c.took[e.Service] = e.Time.Sub(g.Time)
		}
		delete(granted, term(&e)) // a later one is a restart
	})
	return c
}
