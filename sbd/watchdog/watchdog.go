// Package watchdog feeds and describes watchdog devices. A watchdog is the only
// part of a node that is trusted to end it; so this package never hides what
// the kernel does with one: a plain close and a set-timeout are both pets, only
// the value read back is the timeout, and nothing here disarms by accident.
package watchdog

import "time"

// Device is one armed watchdog. Feed, Close and Disarm are different methods
// on purpose: Close leaves the device running (and pets it), Disarm stops it.
type Device interface {
	Info() Info
	// Feed pets the device once. It must not allocate.
	Feed() error
	// Disarm stops the device by magic close. Only for a guard that is FREE
	// and whose services are known to be stopped.
	Disarm() error
	// Close closes the descriptor without the magic character: the device
	// keeps running and the kernel pets it once.
	Close() error
}

// Info is what a device says of itself after it was armed.
type Info struct {
	Path       string        // /dev/watchdog0, or the emulator's address
	Identity   string        // the driver's identity string
	Driver     string        // kernel driver, "emulated" for the emulator
	Timeout    time.Duration // as read back from the driver: this is T_wd
	MagicClose bool          // WDIOF_MAGICCLOSE: close without 'V' keeps it running
	NoWayOut   bool          // cannot be stopped once started
	Software   bool          // softdog: runs on the kernel's own timers
	Emulated   bool
}
