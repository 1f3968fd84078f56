// Package pacemaker puts corosync, Pacemaker and sbd up, as Debian packages them,
// with two links, on the machines of a stage.
package pacemaker

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

	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/machine"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/chipfile"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
)

// Packages are what it needs of Debian.
func Packages() []string {
	return []string{
		"corosync", "pacemaker", "pacemaker-cli-utils", "sbd", "cluster-glue", "fence-agents", "python3-requests", "python3-urllib3", "python3-cffi-backend",
		"resource-agents", "systemd", "systemd-sysv", "dbus", "iproute2", "iputils-arping", "procps", "e2fsprogs",
	}
}

// Setting is what an administrator chooses.
type Setting struct {
	Setting  string
	Token    time.Duration // corosync's time until a silent member is gone
	Watchdog time.Duration // sbd's; its message wait is twice that, as sbd recommends
	BMC      bool          // fence_redfish instead of sbd
}

// Cluster is the contender.
type Cluster struct {
	Setting
	chips *chipfile.Set
	bmcs  *controllers.Set
	stage *stage.Stage
}

// About implements contender.Contender.
func (c *Cluster) About() contender.About {
	return contender.About{Manager: "Pacemaker", Setting: c.Setting.Setting, Daemons: []string{"corosync", "pacemaker", "sbd"}}
}

// Raise implements contender.Contender.
func (c *Cluster) Raise(ctx context.Context, tree string) (*stage.Stage, error) {
	machines := contender.Machines()
	if c.BMC {
		machines = nil // nobody feeds a watchdog
	}
	var err error
	if c.chips, err = chipfile.MountSet(machines, stage.HardChip, func() string { return c.stage.PowerSocket() }); err != nil {
		return nil, err
	}
	s, err := stage.Raise(ctx, stage.Options{
		Bin: os.Getenv(contender.ProgramsEnv), Names: contender.Machines(), Root: true, Timeout: c.Watchdog,
		Machines: &stage.Machines{Tree: tree, Bare: true, Watchdogs: c.chips.Paths, Furnish: c.furnish},
	})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.stage = s
	if err := c.start(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close(), c.Close())
	}
	return s, nil
}

// Close removes what outlives the stage; call it after the stage's.
func (c *Cluster) Close() error {
	if c.bmcs != nil {
		c.bmcs.Unplug()
	}
	if c.chips == nil {
		return nil
	}
	return c.chips.Close()
}

// place is the stage.
func place(s *stage.Stage) Place {
	return Place{Names: contender.Machines(), Network: "10.77", Address: contender.Address, Card: contender.Card, Quorum: s.QuorumPath(1)}
}

// furnish gives a machine its configuration.
func (c *Cluster) furnish(s *stage.Stage, n *stage.Node, root string) error {
	c.stage = s
	user, group, err := clusterUser(s.Machines.Tree)
	if err != nil {
		return err
	}
	fence, err := c.fencing(s)
	if err != nil {
		return err
	}
	files := machine.Furniture{"etc/hostname": {Text: n.Name + "\n", Mode: 0o644}}
	for path, text := range c.Files(place(s), fence) {
		file := machine.File{Text: text, Mode: 0o644}
		if strings.HasPrefix(path, "var/lib/pacemaker/") {
			file.Mode, file.User, file.Grp = 0o600, user, group
		}
		files[path] = file
	}
	err = files.Put(root)
	for _, d := range []string{"var/lib/pacemaker", "var/lib/pacemaker/cib"} {
		err = errors.Join(err, os.Chown(filepath.Join(root, d), user, group), os.Chmod(filepath.Join(root, d), 0o750))
	}
	return err
}

// clusterUser is hacluster and its group haclient in a tree.
func clusterUser(tree string) (user, group int, err error) {
	text, err := os.ReadFile(filepath.Join(tree, "etc/passwd"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(line, ":")
		if f[0] == "hacluster" && len(f) > 3 {
			user, err1 := strconv.Atoi(f[2])
			group, err2 := strconv.Atoi(f[3])
			return user, group, errors.Join(err1, err2)
		}
	}
	return 0, 0, fmt.Errorf("%s has no user hacluster: pacemaker is not installed in it", tree)
}

// start starts the daemons on both machines, layer by layer: all at once starve
// each other, and sbd gives up.
func (c *Cluster) start(ctx context.Context, s *stage.Stage) error {
	if !c.BMC {
		marking := c.Marking(place(s))
		if _, err := s.Nodes[0].Run(ctx, marking[0], marking[1:]...); err != nil {
			return err
		}
	}
	for _, unit := range []string{"corosync", "pacemaker"} {
		if err := startUnit(ctx, s, unit); err != nil {
			return err
		}
	}
	return stage.Await(ctx, "Pacemaker runs the service on alpha, with two nodes and a fence", func() error {
		out, err := s.Nodes[0].Run(ctx, "/usr/sbin/crm_mon", "-1", "-r")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "Online: [ alpha beta ]") || strings.Count(out, "Started") < 3 || !s.Nodes[0].Carries(contender.Address) {
			return errors.New(out)
		}
		return nil
	})
}

func startUnit(ctx context.Context, s *stage.Stage, unit string) error {
	errs := make([]error, len(s.Nodes))
	var wait sync.WaitGroup
	for i, n := range s.Nodes {
		wait.Go(func() {
			if _, err := n.Run(ctx, "/usr/bin/systemctl", "start", unit); err != nil {
				why, _ := n.Run(ctx, "/usr/bin/journalctl", "--no-pager", "-n", "30", "-u", unit, "-u", "sbd")
				errs[i] = fmt.Errorf("%w: %s", err, why)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Move implements contender.Contender.
func (c *Cluster) Move(ctx context.Context, s *stage.Stage, to *stage.Node) error {
	_, err := s.Nodes[0].Run(ctx, "/usr/sbin/crm_resource", "--move", "-r", "service", "-N", to.Name)
	return err
}
