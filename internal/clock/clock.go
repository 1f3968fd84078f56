// Package clock is the platform port: what a node knows of itself without
// asking anybody - its interval clock, which boot this is, which host - and the
// one way to end its life. The real platform is Linux; the emulated one (demo
// and tests) talks to a power emulator that plays firmware and reset line.
package clock

import (
	"errors"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Platform is a node's own clock, identity and reset line.
type Platform interface {
	// Now returns now() of the protocol: CLOCK_MONOTONIC_RAW plus the time
	// suspended. It fails with ErrNoisy when no tight sample could be taken.
	Now() (ident.Instant, error)
	// Identity returns the boot identity and the host's UUID.
	Identity() Identity
	// Reset ends this node's life at once, without sync. It returns only if
	// the platform did not obey; the caller then starves the watchdogs.
	Reset(why string) error
}

// Identity is who this machine is, and which boot of it.
type Identity struct {
	Boot     ident.BootID
	Host     ident.UUID
	Emulated bool
}

// ErrNoisy says that the clocks could not be read together within 1 ms.
var ErrNoisy = errors.New("clock: no sample tighter than 1 ms in 10 tries")
