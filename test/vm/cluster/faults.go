package cluster

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// FreezeProcesses stops guard, daemon and everything of the services where they are. The kernel goes on, and with it the
// watchdogs.
func (n *Node) FreezeProcesses(ctx context.Context) error {
	var errs []error
	for _, name := range []string{"guard", "daemon"} {
		_, err := n.Ask(ctx, wire.Request{Op: wire.Signal, Args: []string{name}, Code: int(unix.SIGSTOP)})
		errs = append(errs, err)
	}
	return errors.Join(append(errs, n.Write(ctx, "/sys/fs/cgroup/holdfast/services/cgroup.freeze", "1"))...)
}

// KillGuard kills the guard alone.
func (n *Node) KillGuard(ctx context.Context) error {
	_, err := n.Ask(ctx, wire.Request{Op: wire.Signal, Args: []string{"guard"}, Code: int(unix.SIGKILL)})
	return err
}

// CutQuorum makes every request of the node to the quorum disk fail, MendQuorum no longer.
func (c *Cluster) CutQuorum(n *Node) error {
	return c.Quorum.Set(n.Name, disk.Fault{Error: syscall.EIO})
}

// MendQuorum undoes CutQuorum.
func (c *Cluster) MendQuorum(n *Node) error { return c.Quorum.Set(n.Name, disk.Fault{}) }

// SetLinks sets a fault on every way between the node and the others, in both directions, on both networks.
func (c *Cluster) SetLinks(n *Node, f network.Fault) {
	for _, l := range c.Links {
		for _, o := range c.Nodes {
			if o != n {
				l.Set(n.Name, o.Name, f)
				l.Set(o.Name, n.Name, f)
			}
		}
	}
}

// Other waits until a node that is not the one of that number writes, and returns its reign.
func (w *Watch) Other(ctx context.Context, owner int) (Reign, error) {
	var found Reign
	err := Await(ctx, fmt.Sprintf("another node than n%d writes", owner), func() error {
		reigns := w.Reigns()
		for _, r := range reigns {
			if r.Owner != owner {
				found = r
				return nil
			}
		}
		return fmt.Errorf("what was seen: %d reigns", len(reigns))
	})
	return found, err
}

// Recover brings a node back after a fault: with power, if it is off; with Holdfast, if it has booted meanwhile, after the
// number of boots that it had before; else it has to come back by itself. Then it waits until all are members.
func (c *Cluster) Recover(ctx context.Context, n *Node, boots int) error {
	var err error
	switch {
	case !n.On():
		if err = n.PowerOff(); err == nil {
			err = n.PowerOn(ctx)
		}
		if err == nil {
			err = n.Boot(ctx, 1)
		}
	case n.Boots() > boots:
		err = n.Boot(ctx, n.Boots())
	}
	if err != nil {
		return err
	}
	return c.AwaitMembers(ctx, c.Nodes...)
}
