package bmc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State is what is known about the power of a machine.
type State uint8

// The states. The zero value is Unknown: what nobody read is not known.
const (
	Unknown State = iota // no answer, or none that can be believed; never a reason to act as if it were Off
	On                   // the controller says that the machine has power
	Off                  // the controller says that the machine has no power
)

// String gives "unknown", "on" or "off".
func (s State) String() string {
	switch s {
	case On:
		return "on"
	case Off:
		return "off"
	}
	return "unknown"
}

// ErrOtherMachine is in the chain of an error of Off and On when the controller
// speaks for another machine than the expected one, or does not say for which.
// Nothing was switched.
var ErrOtherMachine = errors.New("not shown to be the expected machine")

// Identity is what a controller said about the machine that it switches.
type Identity struct {
	GUID GUID   // the system's UUID; the zero value if the controller did not say
	Name string // for people: the system's name, or the plug of a fence agent; may be empty
}

// String gives the identity in words.
func (i Identity) String() string {
	switch {
	case i.GUID.IsZero() && i.Name == "":
		return "a machine that the controller does not name"
	case i.GUID.IsZero():
		return fmt.Sprintf("%q", i.Name)
	case i.Name == "":
		return i.GUID.String()
	}
	return fmt.Sprintf("%q (%s)", i.Name, i.GUID)
}

// Reading is one reading of the power state, taken in a session of its own.
type Reading struct {
	State    State
	Identity Identity  // who the controller spoke for in this session, as far as it said
	At       time.Time // when the answer was complete, with the monotonic clock
	Text     string    // why the state is Unknown; empty otherwise
}

// Switch is the power of one machine. Its methods open a session, use it and
// close it; they return when ctx ends, even if the driver below hangs, and may
// be called by several goroutines, of which one at a time is served.
type Switch interface {
	// State reads the power state. Failure is the state Unknown with a text.
	State(ctx context.Context) Reading
	// Off asks to cut the power at once, without asking the operating
	// system. That it returns nil proves nothing: read the state.
	Off(ctx context.Context) error
	// On asks to switch the power on. That it returns nil proves nothing.
	On(ctx context.Context) error
	// String names the switch, as its reference does; it holds no secret.
	String() string
}

// Options is what a Switch needs beside its reference.
type Options struct {
	// Password is for the user of the reference. Agents get it as the option
	// "password"; the empty secret passes none.
	Password Secret
	// Secrets are for agents: more of them, by the option that each is told as.
	Secrets map[string]Secret
	// Node is for agents too: the machine's name, which is told as nodename, and
	// as the plug where the reference names none and the agent knows plugs.
	Node string
	// Expect holds the GUIDs that the machine is known by; one has to match,
	// in any byte order, in every session, before anything is switched and
	// before a reading counts. Empty accepts any machine. Agents name no
	// GUID, so nothing can be expected of them.
	Expect []GUID
	// Attempt bounds one call into the driver, beside the caller's context.
	// 0 means 10 s, for agents 60 s.
	Attempt time.Duration
}
