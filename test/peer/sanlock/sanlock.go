// Package sanlock puts sanlock and its watchdog daemon up, as Debian packages
// them, on the machines of a stage. sanlock is no cluster manager: it gives a lease
// on a shared disk to one host, and to another when the first must have been reset by
// its watchdog. So the service is a program that is started under such a lease, and
// each machine asks for the lease again and again.
package sanlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/machine"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/chipfile"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
)

// Packages are what it needs of Debian, beside systemd.
func Packages() []string { return []string{"sanlock"} }

// UnlimitedVerb is the first argument of the program peer that makes it sanlock, with
// the limits that sanlock wants: see package unlimited.
const UnlimitedVerb = "unlimited"

// Setting is what an administrator chooses.
type Setting struct {
	Setting string
	// IO is what a request to the disk may take, in whole seconds. sanlock renews its
	// lease every 2 IO, gives up after 8 IO without renewal, and takes a host for dead
	// 60 s later, which is the watchdog timeout that is built into wdmd.
	IO time.Duration
}

// Cluster is the contender.
type Cluster struct {
	Setting
	chips *chipfile.Set
	stage *stage.Stage
}

// About implements contender.Contender.
func (c *Cluster) About() contender.About {
	return contender.About{Manager: "sanlock", Setting: c.Setting.Setting, Daemons: []string{"sanlock", "wdmd"}}
}

// Where the leases are on the quorum disk, which is theirs alone: the lockspace with a
// sector for each host, and behind it the resource.
const (
	space     = "peer"
	leaseSize = 1 << 20
)

func lockspace(host int, disk string) string { return fmt.Sprintf("%s:%d:%s:0", space, host, disk) }
func resource(disk string) string {
	return fmt.Sprintf("%s:service:%s:%d", space, disk, leaseSize)
}

// Raise implements contender.Contender.
func (c *Cluster) Raise(ctx context.Context, tree string) (*stage.Stage, error) {
	var err error
	if c.chips, err = chipfile.MountSet(contender.Machines(), stage.HardChip, func() string { return c.stage.PowerSocket() }); err != nil {
		return nil, err
	}
	s, err := stage.Raise(ctx, stage.Options{
		Bin: os.Getenv(contender.ProgramsEnv), Names: contender.Machines(), Root: true,
		Machines: &stage.Machines{Tree: tree, Bare: true, Watchdogs: c.chips.Paths, Furnish: c.furnish},
	})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.start(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close(), c.Close())
	}
	return s, nil
}

// furnish gives a machine its configuration. The unit of wdmd loads softdog where no
// driver has a device; here one has. sanlock is root, whose the disk is here.
func (c *Cluster) furnish(s *stage.Stage, n *stage.Node, root string) error {
	c.stage = s
	return machine.Furniture{
		"etc/hostname":         {Text: n.Name + "\n", Mode: 0o644},
		"usr/local/bin/serve":  {Text: serve, Mode: 0o755},
		"usr/local/bin/wanted": {Text: wanted, Mode: 0o755},
		"etc/systemd/system/sanlock.service.d/options.conf": {
			Text: "[Service]\nExecStart=\nExecStart=" + filepath.Join(s.Bin, "peer") + " " + UnlimitedVerb + " /usr/sbin/sanlock daemon -w 1 -U root -G root -e " + n.Name + "\n",
			Mode: 0o644,
		},
		"etc/systemd/system/wdmd.service.d/device.conf": {
			Text: "[Service]\nExecStartPre=\nExecStart=\nExecStart=/usr/sbin/wdmd -w /dev/watchdog\n", Mode: 0o644,
		},
	}.Put(root)
}

// serve is the service: the file and the address that the comparison looks for.
const serve = "#!/bin/sh\nip address add " + contender.Address + "/24 dev " + contender.Card +
	" && : > " + contender.StateFile + "\nexec sleep infinity\n"

// wanted starts the service when the lease is to be had.
const wanted = "#!/bin/sh\nwhile :; do sanlock client command -r \"$1\" -c /usr/local/bin/serve; sleep 0.2; done\n"

// start makes the leases, has both hosts join, and lets first alpha and then beta
// ask for the service's lease.
func (c *Cluster) start(ctx context.Context, s *stage.Stage) error {
	disk := s.QuorumPath(1)
	for _, n := range s.Nodes {
		if _, err := n.Run(ctx, "/usr/bin/systemctl", "start", "wdmd", "sanlock"); err != nil {
			why, _ := n.Run(ctx, "/usr/bin/journalctl", "--no-pager", "-n", "30", "-u", "wdmd", "-u", "sanlock")
			return fmt.Errorf("%w: %s", err, why)
		}
		// systemd holds it for started a moment before it listens.
		if err := stage.Await(ctx, n.Name+": sanlock answers", func() error {
			_, err := n.Run(ctx, "/usr/sbin/sanlock", "client", "status")
			return err
		}); err != nil {
			return err
		}
	}
	io := strconv.Itoa(int(c.IO / time.Second))
	for _, what := range [][]string{{"-s", lockspace(0, disk), "-o", io}, {"-r", resource(disk)}} {
		if _, err := s.Nodes[0].Run(ctx, "/usr/sbin/sanlock", append([]string{"client", "init"}, what...)...); err != nil {
			return err
		}
	}
	if err := join(ctx, s, io); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if _, err := n.Run(ctx, "/usr/bin/systemd-run", "--unit=wanted", "/usr/local/bin/wanted", resource(disk)); err != nil {
			return err
		}
		if err := stage.Await(ctx, "the service runs on alpha", func() error {
			if _, err := os.Stat(filepath.Join(s.Nodes[0].Root(), contender.StateFile)); err != nil || !s.Nodes[0].Carries(contender.Address) {
				words, _ := n.Run(ctx, "/usr/bin/journalctl", "--no-pager", "-n", "10", "-u", "wanted")
				return fmt.Errorf("%w: %s", errors.Join(err, errors.New("no address")), words)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return armed(ctx, s)
}

// join adds the lockspace on both hosts, which takes some 2 IO.
func join(ctx context.Context, s *stage.Stage, io string) error {
	errs := make([]error, len(s.Nodes))
	var wait sync.WaitGroup
	for i, n := range s.Nodes {
		wait.Go(func() {
			_, errs[i] = n.Run(ctx, "/usr/sbin/sanlock", "client", "add_lockspace", "-s", lockspace(n.ID, s.QuorumPath(1)), "-o", io)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// armed says that a watchdog stands behind the lease: without one sanlock's reckoning
// of when the other host has ended would be worth nothing, and its time no comparison.
func armed(ctx context.Context, s *stage.Stage) error {
	for _, n := range s.Nodes {
		out, err := n.Run(ctx, "/usr/sbin/wdmd", "-d")
		if err != nil || !strings.Contains(out, "sanlock") {
			return fmt.Errorf("%s: wdmd watches over no lease of sanlock's: %q, %w", n.Name, out, err)
		}
	}
	return nil
}

// Close removes what outlives the stage.
func (c *Cluster) Close() error {
	if c.chips == nil {
		return nil
	}
	return c.chips.Close()
}

// Move implements contender.Contender; a lease is nothing that can be moved.
func (c *Cluster) Move(context.Context, *stage.Stage, *stage.Node) error {
	return errors.New("sanlock moves nothing: that is its user's to do")
}
