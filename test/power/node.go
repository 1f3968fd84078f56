package power

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/power/outage"
)

// Node is an emulated machine, as a control connection registers it. Registering
// a name again replaces what was said before; the node must be off then, but for
// a change of its Supply alone.
type Node struct {
	Name string `json:"name"`
	// HostUUID is the firmware's product UUID; empty: one is made up once.
	HostUUID string `json:"host_uuid,omitempty"`
	Chips    []Chip `json:"chips"`
	Supply   Supply `json:"supply"`
}

// Chip is a watchdog device of a node.
type Chip struct {
	Name     string `json:"name"`
	Identity string `json:"identity"` // what the driver would say of itself
	// Default is the timeout at start; zero: one minute.
	Default time.Duration `json:"default_ns,omitempty"`
	// Min is the smallest timeout that can be set; zero: 100 ms.
	Min time.Duration `json:"min_ns,omitempty"`
	// StopsOnClose is a driver without WDIOF_MAGICCLOSE.
	StopsOnClose bool `json:"stops_on_close,omitempty"`
	NoWayOut     bool `json:"nowayout,omitempty"`
	Software     bool `json:"software,omitempty"` // plays softdog
}

// Supply is everything that stops when the node loses power.
type Supply = outage.Supply

// Link is a network card of a Supply.
type Link = outage.Link

// State is the state of a node's power.
type State string

// The states. A machine that was reset is Resetting, not Off, until somebody
// boots it with power-on: a BMC would say that it is on.
const (
	Off       State = "off"
	On        State = "on"
	Resetting State = "resetting"
)

const (
	defaultTimeout = time.Minute
	minTimeout     = 100 * time.Millisecond
)

func (n *Node) normalize() error {
	if n.Name == "" || strings.ContainsAny(n.Name, "/ \n") {
		return fmt.Errorf("node %q: want a name without slash and blank", n.Name)
	}
	seen := map[string]bool{}
	for i := range n.Chips {
		c := &n.Chips[i]
		if c.Name == "" || seen[c.Name] || strings.Contains(c.Name, "/") {
			return fmt.Errorf("node %s: chip %q: want distinct names without slash", n.Name, c.Name)
		}
		seen[c.Name] = true
		if c.Identity == "" {
			c.Identity = "Emulated Watchdog " + c.Name
		}
		if c.Default <= 0 {
			c.Default = defaultTimeout
		}
		if c.Min <= 0 {
			c.Min = minTimeout
		}
	}
	if err := n.Supply.Check(); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}
