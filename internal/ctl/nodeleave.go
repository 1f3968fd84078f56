package ctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// nodeLeave takes this node out. The unit whose stop comes before a shutdown's
// others waits for the end of it.
func (a *app) nodeLeave() *cobra.Command {
	var wait time.Duration
	c := a.PrintsJSON(shell.Command("leave [NODE]", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		s, err := client.Status(c.Context())
		if err != nil {
			return err
		}
		if len(args) == 1 && args[0] != s.Self.Name {
			return fmt.Errorf("this is %s: a node leaves by its own daemon, so run it on %s; to empty it from here: holdfast node standby %s", s.Self.Name, args[0], args[0])
		}
		done, err := client.Leave(c.Context())
		if err != nil {
			return err
		}
		word := s.Self.Name + " leaves: its services are moved away, then its daemon ends"
		if wait > 0 {
			if err := a.waitLeft(c.Context(), s.Self.Name, wait); err != nil {
				return err
			}
			done.Text = s.Self.Name + " has left: its services were moved, its watchdogs are safe, its daemon ends"
		}
		return a.showResult(done, word)
	}))
	c.Flags().DurationVar(&wait, "wait", 0, "wait up to this `time` until the node has left; exit status 4 if it has not")
	return c
}

// boundMark is the file in the run directory that says, for as long as it is there,
// that a guard is bound: package mark of the guard makes it.
const boundMark = "bound"

// waitLeft looks until the node is out, or its daemon has ended and no guard is
// bound any more.
func (a *app) waitLeft(ctx context.Context, name string, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		in, err := a.stillIn(ctx, name)
		if !in {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s: %w: %s is not out; it goes on leaving, holdfast status says what it waits for: %w", wait, errWaited, name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitStep):
		}
	}
}

// stillIn says whether the node is a member still, as far as its daemon, or the
// mark of its guard, tells.
func (a *app) stillIn(ctx context.Context, name string) (bool, error) {
	client, err := a.dial()
	if err == nil {
		defer client.Close()
		var s *api.Status
		if s, err = client.Status(ctx); err == nil {
			for i := range s.Nodes {
				if s.Nodes[i].Name == name {
					return s.Nodes[i].Phase != "out", fmt.Errorf("its phase is %s", s.Nodes[i].Phase)
				}
			}
			return true, errors.New("status does not name it")
		}
	}
	n, bad := a.Node()
	if bad != nil {
		return true, errors.Join(err, bad)
	}
	_, bad = os.Stat(filepath.Join(n.Dirs.Run, boundMark))
	return !errors.Is(bad, os.ErrNotExist), err
}
