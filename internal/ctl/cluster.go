package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// usualMaintenance is how long a maintenance lasts unless --for says otherwise.
const usualMaintenance = 2 * time.Hour

func (a *app) clusterCommand() *cobra.Command {
	return shell.Group("cluster", a.clusterStop(), a.clusterStart(), a.clusterMaintenance())
}

func (a *app) clusterStop() *cobra.Command {
	var yes bool
	var wait time.Duration
	c := a.PrintsJSON(shell.Command("stop", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		if !yes {
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			if err := a.Confirm(fmt.Sprintf("all %d services stop, and nothing starts again before holdfast cluster start. Stop the cluster", len(s.Services)), s.Cluster.Name); err != nil {
				return err
			}
		}
		done, err := client.Cluster(c.Context(), api.ClusterStop, api.ClusterRequest{})
		if err != nil {
			return err
		}
		if wait > 0 {
			if err := waitStopped(c.Context(), client, wait); err != nil {
				return err
			}
			done.Text = "every service is stopped and every node has left; after the work: holdfast cluster start"
		}
		return a.showResult(done, "the cluster stops")
	}))
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().DurationVar(&wait, "wait", 0, "wait up to this `time` until every node has left; exit status 4 if one has not, with its name")
	return c
}

// waitStopped looks until every node is out.
func waitStopped(ctx context.Context, client *api.Client, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		var in []string
		for i := range s.Nodes {
			if s.Nodes[i].Phase != "out" {
				in = append(in, s.Nodes[i].Name)
			}
		}
		if len(in) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s: %w: not out yet: %v; the stop goes on, holdfast status says what it waits for", wait, errWaited, in)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitStep):
		}
	}
}

func (a *app) clusterStart() *cobra.Command {
	return a.PrintsJSON(shell.Command("start", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		return a.askCluster(c, api.ClusterStart, "the cluster starts", api.ClusterRequest{})
	}))
}

func (a *app) askCluster(c *cobra.Command, verb, word string, r api.ClusterRequest) error {
	client, err := a.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := client.Cluster(c.Context(), verb, r)
	if err != nil {
		return err
	}
	return a.showResult(done, word)
}

func (a *app) clusterMaintenance() *cobra.Command {
	var m maintenance
	c := a.PrintsJSON(shell.Command("maintenance", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		length, err := m.length()
		if err != nil {
			return err
		}
		return a.askCluster(c, api.ClusterMaintenance, "maintenance", api.ClusterRequest{For: length})
	}))
	m.bind(c)
	return c
}

// maintenance is the flags of every command that begins or ends one.
type maintenance struct {
	last time.Duration
	off  bool
}

func (m *maintenance) bind(c *cobra.Command) {
	c.Flags().DurationVar(&m.last, "for", usualMaintenance, "how much `time` it lasts; asked for again, it begins anew")
	c.Flags().BoolVar(&m.off, "off", false, "end it now")
}

// length is what to ask for: zero ends a maintenance.
func (m *maintenance) length() (api.Seconds, error) {
	switch {
	case m.off && m.last != usualMaintenance:
		return 0, shell.UsageError{Err: errors.New("--for and --off: choose one")}
	case m.off:
		return 0, nil
	case m.last <= 0:
		return 0, shell.UsageError{Err: errors.New("--for: want a time above 0, such as 2h; --off ends a maintenance")}
	}
	return api.Of(m.last), nil
}

func (a *app) nodeMaintenance() *cobra.Command {
	var m maintenance
	c := a.PrintsJSON(shell.Command("maintenance NODE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		length, err := m.length()
		if err != nil {
			return err
		}
		return a.askNode(c, args[0], api.NodeMaintenance, "maintenance", api.NodeRequest{For: length})
	}))
	m.bind(c)
	return c
}

func (a *app) serviceMaintenance() *cobra.Command {
	var m maintenance
	c := a.PrintsJSON(shell.Command("maintenance SERVICE", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		length, err := m.length()
		if err != nil {
			return err
		}
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		done, err := client.Service(c.Context(), args[0], api.ServiceMaintenance, api.ServiceRequest{For: length})
		if err != nil {
			return err
		}
		return a.showResult(done, "maintenance")
	}))
	m.bind(c)
	return c
}
