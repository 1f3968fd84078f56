package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// form makes a cluster of the nodes with the commands that an administrator
// types.
func (s *Stage) form(ctx context.Context) error {
	for i, n := range s.Nodes {
		if err := n.PowerUp(); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		args, err := s.enrolment(ctx, i)
		if err != nil {
			return err
		}
		s.Say(n.Name + "# holdfast " + args[0])
		if _, err := n.Holdfast(ctx, append(args, n.Flags()...)...); err != nil {
			return err
		}
		if err := n.addControllers(); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		if err := n.Start(ctx); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		if err := s.AwaitMembers(ctx, s.Nodes[:i+1]...); err != nil {
			return err
		}
	}
	return s.apply(ctx)
}

// addControllers tells the node of the power switches of the nodes.
func (n *Node) addControllers() error {
	if n.stage.Controllers == nil {
		return nil
	}
	text, failed := n.stage.Controllers(n.stage)
	file, err := os.ReadFile(n.Config())
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	return os.WriteFile(n.Config(), append(file, "\ncontrollers:\n"+text...), 0o644)
}

// enrolment is the command that makes the node a part of the cluster.
func (s *Stage) enrolment(ctx context.Context, i int) ([]string, error) {
	if i == 0 {
		return append([]string{"init", "--cluster", s.ClusterName, "--failover-within", s.Within.String()}, s.diskFlags()...), nil
	}
	text, err := s.Nodes[0].Holdfast(ctx, "token", "--json")
	if err != nil {
		return nil, err
	}
	var token api.TokenReply
	if err := json.Unmarshal([]byte(text), &token); err != nil {
		return nil, fmt.Errorf("holdfast token --json: %w: %s", err, text)
	}
	return append([]string{"join", token.Token}, s.diskFlags()...), nil
}

// diskFlags name the quorum disks.
func (s *Stage) diskFlags() []string {
	var f []string
	for i := range s.quorums {
		f = append(f, "--disk", s.QuorumPath(i+1))
	}
	return f
}

// Flags are what a node says of itself to holdfast init and join.
func (n *Node) Flags() []string {
	s := n.stage
	f := []string{
		"--name", n.Name, "--etc", n.dir("etc"), "--run", n.dir("run"), "--state", n.dir("state"),
		"--emulated", "--emulator", s.powerSocket(), "--pause-bound", "0s",
		"--watchdog", SoftChip + ":" + s.Options.Timeout.String(), "--watchdog", HardChip + ":" + s.Options.Timeout.String(),
	}
	if !s.OneHolder {
		f = append(f, "--holder", n.holderSocket())
	}
	if s.Root {
		f = append(f, "--cgroup", n.servicesCgroup())
	}
	for i := range 2 {
		f = append(f, "--link", n.link(i))
	}
	return f
}

// link is the node's address on a heartbeat network.
func (n *Node) link(i int) string {
	if n.stage.Root {
		return address(i, n.ID)
	}
	return n.stage.loopback(1 + 2*n.ID + i)
}

// apply gives the cluster its services, and waits until they run.
func (s *Stage) apply(ctx context.Context) error {
	switch {
	case s.foreign() && s.Scenery.Configuration == "" || !s.foreign() && len(s.Services) == 0:
		return nil
	case s.foreign():
		return s.Apply(ctx, s.Scenery.Configuration)
	}
	return s.Apply(ctx, s.configuration())
}

// AwaitMembers waits until each of the nodes knows all of them as members.
func (s *Stage) AwaitMembers(ctx context.Context, nodes ...*Node) error {
	for _, n := range nodes {
		err := Await(ctx, n.Name+" sees every node as a member", func() error {
			st, err := n.Status(ctx)
			if err != nil {
				return err
			}
			members := map[string]string{}
			for _, v := range st.Nodes {
				members[v.Name] = v.Phase
			}
			for _, m := range nodes {
				if members[m.Name] != "member" {
					return fmt.Errorf("%s is %q to %s, which is at stage %q and waits for %q", m.Name, members[m.Name], n.Name, st.Self.Stage, st.Self.Waiting)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AwaitRunning waits until every service runs.
func (s *Stage) AwaitRunning(ctx context.Context) error {
	return Await(ctx, "every service runs", func() error {
		st, err := s.newest(ctx)
		if err != nil {
			return err
		}
		for _, v := range s.Services {
			if runsOn(st, v) == "" {
				return fmt.Errorf("%s runs nowhere", v.Name)
			}
		}
		return nil
	})
}

// askWithin is the time for one node's answer, beside that of the whole question.
const askWithin = 2 * time.Second

// Owner is the node on which the service runs. Nil: it does not run.
func (s *Stage) Owner(ctx context.Context, v *Service) (*Node, error) {
	st, err := s.newest(ctx)
	if err != nil {
		return nil, err
	}
	return s.Node(runsOn(st, v)), nil
}

// runsOn is the name of the node on which the service runs; empty: on none.
func runsOn(st *api.Status, v *Service) string {
	for _, have := range st.Services {
		if have.Name == v.Name && have.State == "running" {
			return have.Node
		}
	}
	return ""
}

// newest is the status of the node that answers with the newest state: one without
// disks has an old one.
func (s *Stage) newest(ctx context.Context) (*api.Status, error) {
	var newest *api.Status
	var errs []error
	for _, n := range s.Nodes {
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		st, err := n.Status(ctx)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
		} else if newest == nil || st.Cluster.State > newest.Cluster.State {
			newest = st
		}
	}
	if newest == nil {
		return nil, errors.Join(errs...)
	}
	return newest, nil
}
