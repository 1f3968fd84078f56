package faults

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/network"
)

// ofClusters are what happens to several nodes, and several faults at once.
func ofClusters() []Fault {
	return []Fault{
		{
			Name: "two faults: owner killed, a survivor's link cut", Does: "", Want: Moves, Parts: Node | Net,
			Strike: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Power(false)
				return s.Others[0].Link(ctx, 0, false)
			}, Mend: func(ctx context.Context, s *Scene) error {
				return errors.Join(s.Others[0].Link(ctx, 0, true), powerBack(ctx, s))
			},
		},
		{
			Name: "two faults: quorum disks and both links cut", Does: "nobody can consent to the owner's going on", Want: Moves, Parts: Quorum | Net | Node,
			Strike: isolate, Mend: join,
		},
		{
			Name: "the owner cut off from everything, its daemon stopped", Does: "quorum disks, links and its controller: the guard and the watchdogs have to end it in time", Want: Moves,
			Parts: Quorum | Net | Node | Board, Proof: []string{"E3 time"}, Events: []string{"RESET"},
			Strike: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Hanging)
				return errors.Join(signal(ctx, s.Owner, "daemon", unix.SIGSTOP), isolate(ctx, s))
			}, Mend: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Honest)
				return join(ctx, s)
			},
		},
		{
			Name: "two nodes killed", Does: "the owner and another one", Want: Moves, Parts: Whole,
			Strike: func(_ context.Context, s *Scene) error {
				s.Controller(s.Owner).Power(false)
				s.Controller(s.Others[0]).Power(false)
				return nil
			}, Mend: allPowerBack,
		},
		{
			Name: "blackout, one missing", Does: "all nodes lose their power; the owner's does not come back", Want: Moves, Parts: Whole, Seldom: true,
			Strike: func(_ context.Context, s *Scene) error {
				for _, c := range s.Controllers {
					c.Power(false)
				}
				for _, n := range s.Others {
					s.Controller(n).Power(true)
				}
				return nil
			}, Mend: allPowerBack,
		},
		{
			Name: "blackout, all back", Does: "all nodes lose their power, and all have it again and boot together", Want: Either, Parts: Whole, Seldom: true,
			Strike: func(ctx context.Context, s *Scene) error {
				for _, c := range s.Controllers {
					c.Power(false)
				}
				return allPowerBack(ctx, s)
			},
		},
		{
			Name: "rolling restart with services", Does: "each node in turn is emptied, leaves, reboots and comes back", Want: Either, Parts: Whole, Proof: []string{"E1 released"}, Seldom: true,
			Strike: roll,
		},
	}
}

func allPowerBack(_ context.Context, s *Scene) error {
	for _, c := range s.Controllers {
		c.Power(true)
	}
	return nil
}

func isolate(ctx context.Context, s *Scene) error {
	s.SetLinks(s.Owner, network.Fault{Loss: 1})
	return quorum(disk.Fault{Error: syscall.EIO})(ctx, s)
}

func join(ctx context.Context, s *Scene) error {
	s.SetLinks(s.Owner, network.Fault{})
	return errors.Join(quorum(disk.Fault{Drop: true})(ctx, s), powerBack(ctx, s))
}

// roll takes every node out and in again, the owner first: its service moves, and moves on when that node's turn comes.
func roll(ctx context.Context, s *Scene) error {
	for _, n := range append([]*cluster.Node{s.Owner}, s.Others...) {
		if err := s.restart(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

func (s *Scene) restart(ctx context.Context, n *cluster.Node) error {
	for _, args := range [][]string{{"node", "standby", n.Name}, {"node", "leave"}} {
		if out, err := n.Holdfast(ctx, args...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if args[1] == "standby" {
			if err := cluster.Await(ctx, "its services go", func() error {
				if runs := s.Judge.Runs(); runs[len(runs)-1].Owner == uint32(n.Number) {
					return errors.New("they are there")
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := cluster.Await(short, "its daemon ends", func() error {
		if len(n.Endings("daemon")) == 0 {
			return errors.New("it runs")
		}
		return nil
	}); err != nil {
		return err
	}
	if err := n.Reset(ctx); err != nil {
		return err
	}
	if err := s.AwaitMembers(ctx, s.Nodes...); err != nil {
		return err
	}
	out, err := n.Holdfast(ctx, "node", "online", n.Name)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}
