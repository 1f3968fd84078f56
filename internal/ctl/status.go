package ctl

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

func (a *app) statusCommand() *cobra.Command {
	var watch time.Duration
	c := a.PrintsJSON(shell.Command("status", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		if watch < 0 || watch > 0 && watch < 100*time.Millisecond {
			return shell.Usage(fmt.Errorf("--watch=%s: want 100ms or more", watch))
		}
		for {
			s, err := a.statusOnce(c.Context(), watch > 0)
			switch {
			case err != nil:
				return unknownError{err}
			case watch == 0:
				return healthOf(s)
			}
			if s.Version == 0 { // nobody answered: it may come back
				fmt.Fprintln(a.Err, "holdfast: the daemon does not answer; trying again")
			}
			select {
			case <-c.Context().Done():
				return c.Context().Err()
			case <-time.After(watch):
			}
		}
	}))
	c.Flags().DurationVarP(&watch, "watch", "w", 0, "repeat after this `time`")
	c.Flags().Lookup("watch").NoOptDefVal = "1s"
	return c
}

// unknownError says that there is no status: what a monitor calls unknown.
type unknownError struct{ error }

// statusOnce shows one status. While it is watched, a daemon that does not
// answer gives an empty one.
func (a *app) statusOnce(ctx context.Context, watched bool) (*api.Status, error) {
	client, err := a.dial()
	var s *api.Status
	var since map[string]time.Time
	if err == nil {
		defer client.Close()
		s, err = client.Status(ctx)
	}
	if err == nil {
		since = startedSince(ctx, client)
	}
	switch {
	case err != nil && watched:
		return &api.Status{}, nil
	case err != nil:
		return nil, err
	case a.JSON:
		return s, a.PrintJSON(s)
	}
	var b bytes.Buffer
	if watched && shell.IsTerminal(a.Out) {
		b.WriteString("\033[H\033[2J") // home, and clear the screen
	}
	screen.Status(&b, s, since)
	_, err = b.WriteTo(a.Out)
	return s, err
}

// healthOf turns a status into an exit code.
func healthOf(s *api.Status) error {
	switch s.Health {
	case api.Healthy:
		return nil
	case api.Warning:
		return shell.Code(exitWarning)
	case api.Critical:
		return shell.Code(exitCritical)
	}
	return shell.Code(exitUnknown)
}

// startedSince finds, in this node's event store, when each service was started
// last; of one that another node started, when that was granted. What the store
// does not know is left out.
func startedSince(ctx context.Context, client *api.Client) map[string]time.Time {
	since := map[string]time.Time{}
	for _, kind := range []string{"grant", "started"} {
		_ = client.Events(ctx, api.EventQuery{Kind: kind, Limit: 200}, func(e api.Event) error { // without it, the rest is shown all the same
			if e.Time.After(since[e.Service]) {
				since[e.Service] = e.Time
			}
			return nil
		})
	}
	return since
}
