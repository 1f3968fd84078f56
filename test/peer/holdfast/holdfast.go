// Package holdfast puts Holdfast up on the machines of a stage, with the commands
// that an administrator types.
package holdfast

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
)

// Setting is what an administrator chooses.
type Setting struct {
	Setting  string
	Watchdog time.Duration // of both watchdogs
	Within   time.Duration // failover_within; zero: the smallest that is safe
	BMC      bool
}

// Cluster is the contender.
type Cluster struct {
	Setting
	bmcs *controllers.Set
}

// About implements contender.Contender.
func (c *Cluster) About() contender.About {
	return contender.About{Manager: "Holdfast", Setting: c.Setting.Setting, Daemons: []string{"holdfastd", "holdfast-guard"}}
}

// serviceName is what Holdfast calls it.
const serviceName = "service"

// Raise implements contender.Contender.
func (c *Cluster) Raise(ctx context.Context, tree string) (*stage.Stage, error) {
	o := stage.Options{
		Bin: os.Getenv(contender.ProgramsEnv), Names: contender.Machines(), Root: true, Machines: &stage.Machines{Tree: tree},
		Timeout: c.Watchdog, Within: c.Within,
		Services: []stage.Service{{Name: serviceName}},
		Scenery:  &stage.Scenery{}, // applied when it is known what is safe
	}
	if c.BMC {
		c.bmcs = &controllers.Set{}
		o.Controllers = c.bmcs.Install
	}
	s, err := stage.Raise(ctx, o)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := s.Apply(ctx, c.configuration(s.Within)); err != nil {
		return nil, errors.Join(err, s.Close(), c.Close())
	}
	return s, nil
}

// configuration is the cluster's, as an administrator writes it.
func (c *Cluster) configuration(within time.Duration) string {
	text := fmt.Sprintf(`cluster: {name: demo, failover_within: %s}
services:
  %s:
    prefer: [%s]
    stack:
      - ocf: heartbeat:Dummy
        with: {state: %s}
      - ip: {address: %s/24, interface: %s}
`, within, serviceName, contender.Machines()[0], contender.StateFile, contender.Address, contender.Card)
	if c.BMC {
		text += "fencing:\n  ways:\n"
		for _, name := range contender.Machines() {
			text += fmt.Sprintf("    %s: [bmc, disk]\n", name)
		}
	}
	return text
}

// Close removes what outlives the stage.
func (c *Cluster) Close() error {
	if c.bmcs != nil {
		c.bmcs.Unplug()
	}
	return nil
}

// Move implements contender.Contender.
func (c *Cluster) Move(ctx context.Context, s *stage.Stage, to *stage.Node) error {
	_, err := s.Nodes[0].Holdfast(ctx, "service", "move", serviceName, "--to", to.Name)
	return err
}
