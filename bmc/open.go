package bmc

import (
	"errors"
	"fmt"
	"time"
)

// The longest time of one call into a driver, unless Options.Attempt says
// otherwise. Fence agents wait themselves for the machine to go off, for up to
// 20 s by default, and start slowly.
const (
	attemptTime      = 10 * time.Second
	attemptTimeAgent = 60 * time.Second
)

// Options is what a Switch needs beside its reference.
type Options struct {
	// Password is for the user of the reference. Agents get it as the option
	// "password"; the empty secret passes none.
	Password Secret
	// Expect holds the GUIDs that the machine is known by; one has to match,
	// in any byte order, in every session, before anything is switched and
	// before a reading counts. Empty accepts any machine. Agents name no
	// GUID, so nothing can be expected of them.
	Expect []GUID
	// Attempt bounds one call into the driver, beside the caller's context.
	// 0 means 10 s, for agents 60 s.
	Attempt time.Duration
}

// Open makes a Switch. It reads the files that the reference names and contacts
// nobody; the Switch keeps nothing open between its calls and needs no Close.
func Open(r Reference, o Options) (Switch, error) {
	if o.Attempt <= 0 {
		o.Attempt = attemptTime
		if r.Way == WayAgent {
			o.Attempt = attemptTimeAgent
		}
	}
	d, err := open(r, o)
	if err != nil {
		return nil, fmt.Errorf("power switch %s: %w", r, err)
	}
	return newGuarded(r.title(), d, o), nil
}

func open(r Reference, o Options) (driver, error) {
	for _, g := range o.Expect {
		if g.IsZero() || g.placeholder() {
			return nil, fmt.Errorf("%s is no machine's own GUID and cannot be expected", g)
		}
	}
	switch r.Way {
	case WayRedfish, WayRedfishPlain:
		return openRedfish(r, o)
	case WayIPMI:
		return openIPMI(r, o)
	case WayAgent:
		return openAgent(r, o)
	}
	return nil, errors.New("has no way to the controller: make references with Parse")
}
