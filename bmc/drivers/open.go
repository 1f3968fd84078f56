package drivers

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
)

// The longest time of one call into a driver, unless Options.Attempt says
// otherwise. Fence agents wait themselves for the machine to go off, for up to
// 20 s by default, and start slowly.
const (
	attemptTime      = 10 * time.Second
	attemptTimeAgent = 60 * time.Second
)

// Open makes a Switch. It reads the files that the reference names and contacts
// nobody; the Switch keeps nothing open between its calls and needs no Close.
func Open(r bmc.Reference, o bmc.Options) (bmc.Switch, error) {
	if o.Attempt <= 0 {
		o.Attempt = attemptTime
		if r.Way == bmc.WayAgent {
			o.Attempt = attemptTimeAgent
		}
	}
	d, err := open(r, o)
	if err != nil {
		return nil, fmt.Errorf("power switch %s: %w", r.Title(), err)
	}
	return bmc.NewSwitch(r.Title(), d, o)
}

func open(r bmc.Reference, o bmc.Options) (bmc.Driver, error) {
	switch r.Way {
	case bmc.WayRedfish, bmc.WayRedfishPlain:
		return openRedfish(r, o)
	case bmc.WayIPMI:
		return openIPMI(r, o)
	case bmc.WayAgent:
		return openAgent(r, o)
	}
	return nil, errors.New("has no way to the controller: make references with bmc.Parse")
}
