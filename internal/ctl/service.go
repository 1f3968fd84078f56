package ctl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// waitStep is how often --wait looks.
const waitStep = 200 * time.Millisecond

func (a *app) serviceCommand() *cobra.Command {
	return shell.Group("service",
		a.serviceVerb(api.ServiceMove, "moves", movedTo),
		a.serviceVerb(api.ServiceStart, "starts", func(s *api.Service, _ string) bool { return s.State == "running" }),
		a.serviceVerb(api.ServiceStop, "stops", func(s *api.Service, _ string) bool { return s.State == "stopped" }),
		a.serviceVerb(api.ServiceRestart, "restarts", nil),
		a.serviceVerb(api.ServiceFailback, "moves to its best node", nil),
		a.serviceVerb(api.ServiceFreeze, "is frozen: nothing but a takeover touches it", nil),
		a.serviceVerb(api.ServiceUnfreeze, "is no longer frozen", nil),
		a.serviceVerb(api.ServiceClear, "may run everywhere again: its failures are forgotten", nil),
		a.serviceMaintenance(),
	)
}

// movedTo says that a move is over. Where the daemon chose the node, to is
// "not " and the node that it left.
func movedTo(s *api.Service, to string) bool {
	if left, ok := strings.CutPrefix(to, "not "); ok {
		return s.State == "running" && s.Node != left
	}
	return s.State == "running" && s.Node == to
}

// ownerOf says where a service is now, empty if nowhere.
func ownerOf(ctx context.Context, client *api.Client, name string) (string, error) {
	s, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	for i := range s.Services {
		if s.Services[i].Name == name {
			return s.Services[i].Node, nil
		}
	}
	return "", nil
}

// serviceVerb makes one command; reached says when --wait is over, nil that
// there is nothing to wait for.
func (a *app) serviceVerb(verb, word string, reached func(s *api.Service, to string) bool) *cobra.Command {
	var to string
	var wait time.Duration
	c := a.PrintsJSON(shell.Command(verb+" SERVICE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		goal := to
		if wait > 0 && to == "" {
			left, err := ownerOf(c.Context(), client, args[0])
			if err != nil {
				return err
			}
			goal = "not " + left
		}
		done, err := client.Service(c.Context(), args[0], verb, api.ServiceRequest{To: to})
		if err != nil {
			return err
		}
		if wait > 0 {
			if err := waitService(c.Context(), client, args[0], wait, func(s *api.Service) bool { return reached(s, goal) }); err != nil {
				return err
			}
		}
		return a.showResult(done, args[0]+" "+word)
	}))
	if verb == api.ServiceMove {
		c.Flags().StringVar(&to, "to", "", "the `node` (default: the best other one)")
	}
	if reached != nil {
		c.Flags().DurationVar(&wait, "wait", 0, "wait up to this `time` until it is done; exit status 4 if it is not")
	}
	return c
}

// waitService looks at a service until it is as wanted.
func waitService(ctx context.Context, client *api.Client, name string, wait time.Duration, reached func(*api.Service) bool) error {
	deadline := time.Now().Add(wait)
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		now := "it is not known any more"
		for i := range s.Services {
			if v := &s.Services[i]; v.Name == name {
				if reached(v) {
					return nil
				}
				now = fmt.Sprintf("it is %s on %s; %s", v.State, screen.OrDash(v.Node), v.Why)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s after %s: %w: %s; what was asked for goes on, see holdfast explain %s", name, wait, errWaited, now, name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitStep):
		}
	}
}

// showResult says that something was committed.
func (a *app) showResult(r *api.Result, word string) error {
	if a.JSON {
		return a.PrintJSON(r)
	}
	a.Say("%s", screen.Result(r, word))
	return nil
}
