package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// ofNodes are ends of a whole machine.
func ofNodes() []Fault {
	return []Fault{
		{
			Name: "node killed", Does: "its power goes, its controller's does not", Want: Moves, Parts: Node,
			Strike: func(_ context.Context, s *Scene) error {
				s.Controller(s.Owner).Power(false)
				return nil
			}, Mend: powerBack,
		},
		{
			Name: "power off, controller included", Does: "one cord feeds both", Want: Moves, Parts: Node | Board, Proof: []string{"E3 time"},
			Strike: func(_ context.Context, s *Scene) error {
				c := s.Controller(s.Owner)
				c.Power(false)
				c.Break(bmctest.Hanging)
				return nil
			}, Mend: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Honest)
				return powerBack(ctx, s)
			},
		},
		{
			// The controller may be faster than the card, which TestCluster has alone.
			Name: "kernel panic", Does: "the kernel stays where it is until the card resets the machine", Want: Moves, Parts: Node,
			Strike: func(ctx context.Context, s *Scene) error { return s.Owner.Panic(ctx) }, Mend: powerBack,
		},
		{
			Name: "everything frozen, thawed after the takeover", Does: "its hypervisor stops the machine, and lets it go on when the service runs elsewhere", Want: Moves, Parts: Node,
			Proof: []string{"E4 power off"}, NeedsController: true, Strike: func(ctx context.Context, s *Scene) error { return s.Owner.Freeze(ctx) },
			Mend: func(ctx context.Context, s *Scene) error {
				if s.Owner.Boots() > 0 {
					_ = s.Owner.Thaw(ctx) // it has been switched off and on meanwhile
				}
				return powerBack(ctx, s)
			},
		},
		{
			Name: "reboot faster than detection", Does: "the button for a reset", Want: Either, Parts: Node,
			Strike: func(ctx context.Context, s *Scene) error { return s.Owner.Reset(ctx) },
		},
		{
			Name: "processes frozen", Does: "guard, daemon and services stop where they are; the kernel goes on", Want: Moves, Parts: Node,
			Strike: func(ctx context.Context, s *Scene) error { return s.Owner.FreezeProcesses(ctx) }, Mend: powerBack,
		},
	}
}

// powerBack gives the machine the power that nobody else gives it.
func powerBack(_ context.Context, s *Scene) error {
	s.Controller(s.Owner).Power(true)
	return nil
}

// ofPrograms are ends of programs, and what a node's own resources do to them.
func ofPrograms() []Fault {
	return []Fault{
		{
			Name: "guard killed", Does: "a service manager starts another, which finds the node bound and resets it", Want: Moves, Parts: Node, Events: []string{"RESET"},
			Strike: func(ctx context.Context, s *Scene) error { return s.Owner.KillGuard(ctx) }, Mend: powerBack,
		},
		{
			Name: "guard stopped first, killed just before the bite", Does: "the descriptors have a second holder, so its end feeds nobody", Want: Moves, Parts: Node,
			Strike: stopAndKill, Mend: func(ctx context.Context, s *Scene) error {
				s.Rest(s.Owner, false)
				return powerBack(ctx, s)
			},
		},
		{
			Name: "guard and daemon stopped", Does: "the service goes on writing until the watchdogs bite", Want: Moves, Parts: Node,
			Strike: func(ctx context.Context, s *Scene) error {
				return errors.Join(signal(ctx, s.Owner, "guard", unix.SIGSTOP), signal(ctx, s.Owner, "daemon", unix.SIGSTOP))
			}, Mend: powerBack,
		},
		{
			Name: "daemon killed", Does: "another is started; the guard and the service go on", Want: Stays, Parts: Node, Strike: func(ctx context.Context, s *Scene) error {
				return signal(ctx, s.Owner, "daemon", unix.SIGKILL)
			},
		},
		{
			Name: "daemon killed in the middle of a start", Does: "the service is moved, and the new owner's daemon killed when its first member writes", Want: Either, Parts: Node | Data,
			Strike: killStarter,
		},
		{
			Name: "out of memory", Does: "a program takes all memory of the node until the kernel ends one", Want: Stays, Parts: Node, Strike: func(ctx context.Context, s *Scene) error {
				if err := s.Owner.Start(ctx, "hog", "/init", "trouble", "memory", "4096"); err != nil {
					return err
				}
				return cluster.Await(ctx, "the kernel ends a program for its memory", func() error {
					if len(s.Owner.Endings("hog")) == 0 {
						return errors.New("it takes more and more")
					}
					return nil
				})
			},
		},
		{
			Name: "full disk", Does: "the node's own file system has no room left", Want: Stays, Parts: Node, Strike: func(ctx context.Context, s *Scene) error {
				out, err := s.Owner.Run(ctx, "/init", "trouble", "fill", "/own")
				s.Notes = append(s.Notes, out)
				return err
			}, Mend: func(ctx context.Context, s *Scene) error {
				return cluster.Await(ctx, "room is made, also after a reset", func() error {
					_, err := s.Owner.Run(ctx, "/init", "trouble", "empty", "/own")
					return err
				})
			},
		},
		{
			Name: "file system kept in use where no table shows it", Does: "the service is moved away; a copy of the mount that only a descriptor leads to writes on", Want: Moves, Parts: Node | Data,
			Strike: squat, Mend: func(ctx context.Context, s *Scene) error {
				if len(s.Owner.Endings("squatter")) == 0 {
					_ = signal(ctx, s.Owner, "squatter", unix.SIGKILL) // its machine may be gone
				}
				return powerBack(ctx, s)
			},
		},
	}
}

func signal(ctx context.Context, n *cluster.Node, name string, sig unix.Signal) error {
	_, err := n.Ask(ctx, wire.Request{Op: wire.Signal, Args: []string{name}, Code: int(sig)})
	return err
}

// stopAndKill leaves the watchdogs a second less than they take.
func stopAndKill(ctx context.Context, s *Scene) error {
	s.Rest(s.Owner, true) // no other guard, or that one resets the machine at once
	if err := signal(ctx, s.Owner, "guard", unix.SIGSTOP); err != nil {
		return err
	}
	if err := wait(ctx, cluster.Timeout-time.Second); err != nil {
		return err
	}
	return signal(ctx, s.Owner, "guard", unix.SIGKILL)
}

// killStarter strikes the node that the service is moved to, when its disk's writer has begun and the file system has not.
func killStarter(ctx context.Context, s *Scene) error {
	to, before := s.Others[s.Random.IntN(len(s.Others))], len(s.Judge.Runs())
	if out, err := s.Owner.Holdfast(ctx, "service", "move", cluster.Service, "--to", to.Name); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for len(s.Judge.Runs()) == before {
		if err := wait(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("the move to %s: %w", to.Name, err)
		}
	}
	s.Notes = append(s.Notes, "killed on "+to.Name)
	return signal(ctx, to, "daemon", unix.SIGKILL)
}

// squat keeps the file system in use before it moves the service away.
func squat(ctx context.Context, s *Scene) error {
	if err := s.Owner.Start(ctx, "squatter", "/init", "trouble", "squat", cluster.Place); err != nil {
		return err
	}
	to := s.Others[s.Random.IntN(len(s.Others))]
	if out, err := s.Owner.Holdfast(ctx, "service", "move", cluster.Service, "--to", to.Name); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// ofClocks change clocks that nothing may rest on.
func ofClocks() []Fault {
	run := func(args ...string) func(context.Context, *Scene) error {
		return func(ctx context.Context, s *Scene) error {
			_, err := s.Owner.Run(ctx, append([]string{"/init", "trouble"}, args...)...)
			return err
		}
	}
	return []Fault{
		{Name: "clock stepped on", Does: "by an hour", Want: Stays, Parts: Clock, Strike: run("step", "1h"), Mend: run("step", "-1h")},
		{Name: "clock stepped back", Does: "by an hour", Want: Stays, Parts: Clock, Strike: run("step", "-1h"), Mend: run("step", "1h")},
		{
			Name: "clock slewed", Does: "all clocks but the raw one go faster by a tenth", Want: Stays, Parts: Clock, Hold: 20 * time.Second,
			Strike: run("slew", "10"), Mend: run("slew", "0"),
		},
	}
}
