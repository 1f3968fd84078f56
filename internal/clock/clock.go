// Package clock is the platform port: what a node knows of itself without
// asking anybody - its interval clock, which boot this is, which host - and the
// one way to end its life. The real platform is Linux; the emulated one (demo
// and tests) talks to a power emulator that plays firmware and reset line.
//
// The interval clock is now() = CLOCK_MONOTONIC_RAW + (CLOCK_BOOTTIME -
// CLOCK_MONOTONIC): time that no time service slews, plus the time this machine
// was suspended. Leases and proofs of death compare only this clock; the two
// others run up to several percent fast or slow while chrony corrects them.
package clock

import (
	"errors"
	"time"

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
	// PowerOff switches this node off; it is for a node that holds nothing. It
	// returns only if the platform did not obey, or not yet.
	PowerOff(why string) error
}

// Sampler is a Platform that also tells how a reading came about. Both platforms
// of this package are Samplers; the guard uses it to notice a suspend.
type Sampler interface {
	// Sample returns a reading of now() with its parts. With ErrNoisy the
	// sample is the tightest one taken: good for a log line, not for a
	// lease and not for judging a suspend. It does not allocate.
	Sample() (Sample, error)
}

// Sample is one reading of the interval clock.
type Sample struct {
	// Now is CLOCK_MONOTONIC_RAW plus Suspended; it never goes backwards.
	Now ident.Instant
	// Suspended is the time this machine was suspended since its boot. A
	// step of more than lease.Nap between two samples is a suspend.
	Suspended time.Duration
	// Width is the time between the first and the last clock of the sample:
	// the most by which Suspended can be too small.
	Width time.Duration
}

// Identity is who this machine is, and which boot of it.
type Identity struct {
	Boot     ident.BootID
	Host     ident.UUID
	HostKind HostKind // where Host comes from
	Emulated bool
}

// HostKind says where a host's UUID comes from, and so what it proves.
type HostKind string

// The sources of a host UUID, the strongest first.
const (
	HostDMI       HostKind = "dmi"        // the firmware's product UUID: stays with the hardware
	HostMachineID HostKind = "machine-id" // hashed from /etc/machine-id: a copied disk copies it
	HostEmulated  HostKind = "emulated"   // given by the power emulator
)

// ErrNoisy says that the clocks could not be read together within 1 ms.
var ErrNoisy = errors.New("clock: no sample tighter than 1 ms in 10 tries")
