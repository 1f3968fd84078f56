package faults

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/network"
)

// links sets a fault on every way between the owner and the others.
func links(f network.Fault) func(context.Context, *Scene) error {
	return func(_ context.Context, s *Scene) error {
		s.SetLinks(s.Owner, f)
		return nil
	}
}

// cable pulls a cable of the owner, or plugs it in.
func cable(card int, up bool) func(context.Context, *Scene) error {
	return func(ctx context.Context, s *Scene) error { return s.Owner.Link(ctx, card, up) }
}

// ofLinks break heartbeat networks.
func ofLinks() []Fault {
	whole := links(network.Fault{})
	oneWay := func(f network.Fault, out bool) func(context.Context, *Scene) error {
		return func(_ context.Context, s *Scene) error {
			for _, l := range s.Links {
				for _, o := range s.Others {
					if out {
						l.Set(s.Owner.Name, o.Name, f)
					} else {
						l.Set(o.Name, s.Owner.Name, f)
					}
				}
			}
			return nil
		}
	}
	return []Fault{
		{Name: "first link cut", Does: "its cable is pulled", Want: Stays, Parts: Net, Strike: cable(0, false), Mend: cable(0, true)},
		{Name: "second link cut", Does: "its cable is pulled", Want: Stays, Parts: Net, Strike: cable(1, false), Mend: cable(1, true)},
		{
			Name: "both links cut", Does: "the disks are whole", Want: Stays, Parts: Net, Hold: cluster.FullWithin + 5*time.Second,
			Strike: links(network.Fault{Loss: 1}), Mend: whole,
		},
		{Name: "one-way loss, out", Does: "nobody hears the owner", Want: Stays, Parts: Net, Strike: oneWay(network.Fault{Loss: 1}, true), Mend: whole},
		{Name: "one-way loss, in", Does: "the owner hears nobody", Want: Stays, Parts: Net, Strike: oneWay(network.Fault{Loss: 1}, false), Mend: whole},
		{Name: "30 % loss", Does: "both networks, both directions", Want: Stays, Parts: Net, Strike: links(network.Fault{Loss: 0.3}), Mend: whole},
		{Name: "delay", Does: "300 ms each way", Want: Stays, Parts: Net, Strike: links(network.Fault{Delay: 300 * time.Millisecond}), Mend: whole},
	}
}

// quorum puts a fault before the owner's quorum disks.
func quorum(f disk.Fault) func(context.Context, *Scene) error {
	return func(_ context.Context, s *Scene) (err error) {
		for _, d := range s.Quorums {
			err = errors.Join(err, d.Set(s.Owner.Name, f))
		}
		return err
	}
}

// JustUnder is how long each request takes where disks are slow just under the bound: a beat is a write and a read, and the
// lease is good for seven seconds.
const JustUnder = 1500 * time.Millisecond

// ofDisks break the owner's way to disks.
func ofDisks() []Fault {
	mended := func(ctx context.Context, s *Scene) error {
		return errors.Join(quorum(disk.Fault{Drop: true})(ctx, s), powerBack(ctx, s))
	}
	return []Fault{
		{
			Name: "quorum disks cut", Does: "all requests of the owner fail; the others bear with it for 5 s, then ask it to release", Want: Moves, Parts: Quorum,
			Strike: quorum(disk.Fault{Error: syscall.EIO}), Mend: mended,
		},
		{
			Name: "quorum disks hung", Does: "no request of the owner is answered", Want: Moves, Parts: Quorum | Node,
			Strike: quorum(disk.Fault{Hang: true}), Mend: mended,
		},
		{
			Name: "quorum disks slow just under the bound", Does: "each request of the owner takes 1.5 s", Want: Stays, Parts: Quorum, Hold: 15 * time.Second,
			Strike: quorum(disk.Fault{Delay: JustUnder}), Mend: mended,
		},
		{
			Name: "quorum disks read-only", Does: "writes of the owner fail", Want: Moves, Parts: Quorum,
			Strike: quorum(disk.Fault{Error: syscall.EPERM, Reading: true}), Mend: mended,
		},
		{
			Name: "quorum disks out of space", Does: "writes of the owner fail with ENOSPC, as on a thin LUN", Want: Moves, Parts: Quorum,
			Strike: quorum(disk.Fault{Error: syscall.ENOSPC, Reading: true}), Mend: mended,
		},
		{
			Name: "data disks cut", Does: "the owner's, under its service", Want: Moves, Parts: Data | Node,
			Strike: func(_ context.Context, s *Scene) error {
				return errors.Join(s.Data.Set(s.Owner.Name, disk.Fault{Error: syscall.EIO}), s.Files.Set(s.Owner.Name, disk.Fault{Error: syscall.EIO}))
			}, Mend: func(ctx context.Context, s *Scene) error {
				return errors.Join(s.Data.Set(s.Owner.Name, disk.Fault{Drop: true}), s.Files.Set(s.Owner.Name, disk.Fault{Drop: true}), powerBack(ctx, s))
			},
		},
	}
}

// each puts a fault before some quorum disks for all nodes.
func each(f disk.Fault, which ...int) func(context.Context, *Scene) error {
	return func(_ context.Context, s *Scene) (err error) {
		for _, w := range which {
			for _, n := range s.Nodes {
				err = errors.Join(err, s.Quorums[w].Set(n.Name, f))
			}
		}
		return err
	}
}

// ofArrays break quorum disks for all nodes, and take them away.
func ofArrays() []Fault {
	return []Fault{
		{
			Name: "one of three quorum disks lost", Does: "for all nodes", Want: Stays, Parts: Quorum,
			Strike: each(disk.Fault{Error: syscall.EIO}, 2), Mend: each(disk.Fault{Drop: true}, 2),
		},
		{
			Name: "two of three quorum disks lost", Does: "for all nodes: nothing can be decided, and all consent to the owner's going on", Want: Stays, Parts: Quorum, Hold: cluster.FullWithin + 5*time.Second,
			Strike: each(disk.Fault{Error: syscall.EIO}, 1, 2), Mend: each(disk.Fault{Drop: true}, 1, 2),
		},
		{
			Name: "a quorum disk replaced", Does: "one is lost, and another takes its place while the service runs", Want: Stays, Parts: Quorum, Seldom: true,
			Strike: func(ctx context.Context, s *Scene) error {
				if err := each(disk.Fault{Error: syscall.EIO}, 2)(ctx, s); err != nil {
					return err
				}
				return s.Replace(ctx, s.Others[0], 2)
			}, Mend: func(_ context.Context, s *Scene) (err error) { return s.Discard() },
		},
		{
			Name: "a clone of a quorum disk mapped", Does: "the owner gets a snapshot of one in its place, for a while", Want: Stays, Parts: Quorum,
			Strike: func(_ context.Context, s *Scene) error { return s.Quorums[1].Clone(s.Owner.Name, true) },
			Mend:   func(_ context.Context, s *Scene) error { return s.Quorums[1].Clone(s.Owner.Name, false) },
		},
		{
			Name: "a hiccup of everything", Does: "for 3 s no disk of any node answers and no frame passes", Want: Stays, Parts: Whole,
			Strike: func(ctx context.Context, s *Scene) error {
				err := s.everything(disk.Fault{Hang: true}, network.Fault{Loss: 1})
				return errors.Join(err, wait(ctx, 3*time.Second), s.everything(disk.Fault{}, network.Fault{}))
			},
		},
	}
}

func (s *Scene) everything(d disk.Fault, l network.Fault) (err error) {
	for _, n := range s.Nodes {
		for _, shared := range append(s.Quorums[:], s.Data, s.Files) {
			err = errors.Join(err, shared.Set(n.Name, d))
		}
		s.SetLinks(n, l)
	}
	return err
}

// ofControllers break management controllers.
func ofControllers() []Fault {
	breaks := func(f bmctest.Fault) func(context.Context, *Scene) error {
		return func(_ context.Context, s *Scene) error {
			for _, c := range s.Controllers {
				c.Break(f)
			}
			return nil
		}
	}
	return []Fault{
		{Name: "controllers dead", Does: "none answers", Want: Stays, Parts: Board, Strike: breaks(bmctest.Hanging), Mend: breaks(bmctest.Honest)},
		{
			Name: "controller lying, node frozen", Does: "it says that it switches the machine off, and does not", Want: Moves, Parts: Board | Node, Proof: []string{"E2 newer incarnation", "E3 time"},
			Strike: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Lying)
				return s.Owner.FreezeProcesses(ctx)
			}, Mend: func(ctx context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Honest)
				return powerBack(ctx, s)
			},
		},
		{
			Name: "controller says off of a node that runs", Does: "for as long as the owner beats, nobody believes it", Want: Stays, Parts: Board,
			Strike: func(_ context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.SaysOff)
				return nil
			}, Mend: func(_ context.Context, s *Scene) error {
				s.Controller(s.Owner).Break(bmctest.Honest)
				return nil
			},
		},
	}
}
