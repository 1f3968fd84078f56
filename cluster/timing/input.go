package timing

import (
	"fmt"
	"math"
	"time"
)

// Limits and fixed parts of the derivation.
const (
	// DefaultRho is the largest relative error of a node's interval clock: 0.5 %
	// is ten times what a quartz is allowed to drift.
	DefaultRho = 0.005
	// DefaultTz is how long a write of a reset host may still reach a disk.
	DefaultTz = time.Second
	// DefaultIO is the assumed 99.9th percentile of one beat's disk request.
	DefaultIO = 20 * time.Millisecond
	// DefaultGrace bounds for how long services outlive the loss of all quorum
	// disks while all members still talk: what arrays take to fail over.
	DefaultGrace = 120 * time.Second
	// Eps covers the resolution of timers and the time between two statements.
	Eps = 50 * time.Millisecond
	// LargestB is the largest failover_within that is accepted.
	LargestB = 10 * time.Minute

	granule   = 500 * time.Millisecond // SmallestB is a multiple of it
	fixedPart = 300 * time.Millisecond // of B: reading, confirming, committing
	requests  = 7                      // disk requests in that part: sight, confirm, two phases of a commit
	leastTwd  = 2 * time.Second        // a 1 s watchdog bites healthy nodes
	leastH    = 200 * time.Millisecond
	mostH     = time.Second
	leastTsus = 2 * time.Second // LACP and MLAG failovers take 1 to 3 s
)

// Class says how far a watchdog device is known.
type Class uint8

// Only a device whose reset was measured on this very machine is Qualified.
const (
	Unqualified Class = iota
	Qualified
)

// Device is one watchdog that the guard will feed.
type Device struct {
	Name     string // for messages
	Class    Class
	Software bool          // softdog: runs on the kernel's own timers
	Timeout  time.Duration // fixed by the admin; 0: derived
	Min, Max time.Duration // what the driver accepts; 0: 1 s, no limit
	TMax     time.Duration // measured: 1.1 times the longest of three runs; 0: assumed
	At       time.Duration // the timeout that TMax was measured with
}

// Input is what the table is derived from. Zero values mean the default.
type Input struct {
	FailoverWithin time.Duration
	Devices        []Device
	SecondHolder   bool          // somebody beside the guard holds the devices' descriptors
	Tz             time.Duration // default DefaultTz; less only as measured on this array
	IO             time.Duration // 99.9th percentile of one beat's disk request, default DefaultIO
	Rho            float64       // default DefaultRho
	PauseBound     time.Duration // V: 0 on bare metal
	Grace          time.Duration // G: 0 means no network grace (G = F)
	AllowOneSecond bool          // the derivation may choose a 1 s watchdog
	AcceptSoftdog  bool          // the admin accepted softdog alone in writing
	Lockup         time.Duration // with softdog alone: 2*watchdog_thresh + 2 s + reset time
}

func (in Input) withDefaults() Input {
	if in.Tz == 0 {
		in.Tz = DefaultTz
	}
	if in.IO == 0 {
		in.IO = DefaultIO
	}
	if in.Rho == 0 {
		in.Rho = DefaultRho
	}
	return in
}

// reserve is what of B is kept for seeing, confirming and committing.
func (in Input) reserve() time.Duration { return max(fixedPart, requests*in.IO) }

// check refuses what no value of B could make right.
func (in Input) check() *Unsafe {
	switch {
	case len(in.Devices) == 0:
		return &Unsafe{Rule: "no watchdog: nothing ends a node that hangs, so no time may be waited for", Hints: []string{
			"load a driver (softdog at least), or guard every service with persistent reservations and configure a power way",
		}}
	case in.Rho < 0 || in.Rho > 0.1:
		return &Unsafe{Rule: fmt.Sprintf("a clock error of %v: must be from 0 to 0.1", in.Rho)}
	case in.Tz < 0 || in.IO < 0 || in.PauseBound < 0 || in.Grace < 0:
		return &Unsafe{Rule: "a negative time among T_z, beat I/O, pause bound and grace"}
	}
	for _, d := range in.Devices {
		if u := d.check(); u != nil {
			return u
		}
	}
	return in.checkSoftdog()
}

func (in Input) checkSoftdog() *Unsafe {
	for _, d := range in.Devices {
		if !d.Software {
			return nil
		}
	}
	if !in.AcceptSoftdog {
		return &Unsafe{Rule: "softdog alone: it runs on one CPU of the machine that it shall end, so it proves no death", Hints: []string{
			"add a hardware watchdog, or accept it in writing: `watchdog: {accept_softdog: true}` in node.yaml",
		}}
	}
	if in.Lockup <= 0 {
		return &Unsafe{Rule: "softdog alone: the time that the kernel's lockup detector needs (2*watchdog_thresh + 2 s + reset) is not known", Hints: []string{
			"set kernel.watchdog_thresh, nmi_watchdog=1, hardlockup_panic=1, softlockup_panic=1 and panic=1",
		}}
	}
	return nil
}

func (d Device) check() *Unsafe {
	least, most := d.limits()
	switch {
	case d.Timeout != 0 && d.Timeout < time.Second:
		return &Unsafe{Rule: fmt.Sprintf("watchdog %s: a timeout of %s is under 1 s", d.Name, sec(d.Timeout))}
	case d.Timeout != 0 && (d.Timeout < least || d.Timeout > most):
		return &Unsafe{Rule: fmt.Sprintf("watchdog %s: its driver accepts %s to %s, not %s", d.Name, sec(least), sec(most), sec(d.Timeout))}
	case least > most:
		return &Unsafe{Rule: fmt.Sprintf("watchdog %s: its driver accepts no timeout (least %s, most %s)", d.Name, sec(least), sec(most))}
	case d.TMax != 0 && (d.At <= 0 || d.TMax < d.At/2):
		return &Unsafe{Rule: fmt.Sprintf("watchdog %s: a reset after %s measured with a timeout of %s makes no sense", d.Name, sec(d.TMax), sec(d.At)), Hints: []string{
			"the record is wrong: remove it, and the device counts as unmeasured",
		}}
	}
	return nil
}

func (d Device) limits() (least, most time.Duration) {
	least, most = max(d.Min, time.Second), d.Max
	if most == 0 {
		most = 1<<63 - 1
	}
	return least, most
}

// reset returns the longest time from the last effective feed to the reset with
// timeout t, and whether that was measured (or, before the first measurement of
// a device that is to be qualified, is what a healthy one shows).
func (d Device) reset(t time.Duration) (time.Duration, bool) {
	healthy := t + t/10 + 100*time.Millisecond
	switch {
	case d.Class != Qualified, d.TMax != 0 && d.At != t:
		return 2*t + time.Second, false
	case d.TMax == 0:
		return healthy, true
	case d.Software:
		return max(d.TMax, healthy), true // its timer is slewed with the clock
	}
	return d.TMax, true
}

// sec writes a duration as people read it: seconds, at most three digits after
// the point.
func sec(d time.Duration) string {
	if d == math.MaxInt64 {
		return "without limit"
	}
	s := fmt.Sprintf("%.3f", d.Seconds())
	for s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	if s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s + " s"
}
