// Package controllers gives the nodes of a stage management controllers: real
// Redfish over TLS, on the address that all nodes reach, whose "off" takes the
// power of the emulated node.
package controllers

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// Set is the controllers of all nodes of a stage. It is empty until it is
// installed. Its methods are called by one goroutine.
type Set struct {
	machines map[string]*bmctest.Machine
	services []*bmctest.Redfish
	text     strings.Builder

	mu  sync.Mutex // guards bad, which the controllers note
	bad error
}

// Install makes the controllers, once, and says how node.yaml names them; it is
// what stage.Options call Controllers.
func (c *Set) Install(s *stage.Stage) (string, error) {
	if c.machines != nil {
		return c.text.String(), nil
	}
	secret := s.File("bmc.secret")
	if err := os.WriteFile(secret, []byte(bmctest.Password+"\n"), 0o600); err != nil {
		return "", err
	}
	c.machines = map[string]*bmctest.Machine{}
	for _, n := range s.Nodes {
		state, err := s.Power.State(n.Name)
		if err != nil {
			return "", err
		}
		l, err := s.Listen()
		if err != nil {
			return "", err
		}
		m := bmctest.Make(bmc.GUID(state.HostUUID), bmctest.Honest)
		m.Turned = func(on bool) {
			if !on {
				c.note(n.Name, s.Power.PowerOff(n.Name, "its management controller was asked to"))
			}
		}
		r := bmctest.ServeRedfish(l, m)
		c.machines[n.Name], c.services = m, append(c.services, r)
		fmt.Fprintf(&c.text, "  %s: {url: %q, password_file: %s}\n", n.Name, r.URL("1"), secret)
	}
	return c.text.String(), nil
}

func (c *Set) note(node string, err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = errors.Join(c.bad, fmt.Errorf("the controller of %s cannot switch it off: %w", node, err))
}

// Err says what a controller could not do though it said so.
func (c *Set) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad
}

// TurnOn tells a node's controller that the node has its power back.
func (c *Set) TurnOn(n *stage.Node) { c.machines[n.Name].Set(true) }

// GivesPower says whether a node's controller gives its node power.
func (c *Set) GivesPower(n *stage.Node) bool { return c.machines[n.Name].IsOn() }

// Unplug takes all controllers from the network, for good: nobody reaches one
// any more. It may be called twice.
func (c *Set) Unplug() {
	for _, r := range c.services {
		r.Close()
	}
	c.services = nil
}
