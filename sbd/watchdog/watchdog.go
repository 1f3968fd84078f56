// Package watchdog feeds and describes watchdog devices. A watchdog is the only
// part of a node that is trusted to end it; so this package never hides what
// the kernel does with one: a plain close and a set-timeout are both pets, only
// the value read back is the timeout, and nothing here disarms by accident.
//
// There are two kinds of device: the kernel's (OpenLinux) and one of a power
// emulator (OpenEmulated), which behaves like the kernel's and is used by the
// demo and the tests. Open picks one by configuration. A Keeper is the second
// holder of the descriptors, which keeps the close of a killed process from
// being a pet. A Qualification is the record of a device's measured reset time.
package watchdog

import (
	"errors"
	"fmt"
	"time"
)

// Device is one armed watchdog. Feed, Close and Disarm are different methods
// on purpose: Close leaves the device running (and pets it), Disarm stops it.
type Device interface {
	// Info describes the device as it was when it was armed or adopted.
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

// Descriptor is a Device that stands on a file descriptor, as both kinds of this
// package do. The number is for handing the device on: to a Keeper, or to the
// program that replaces this one by execve. Closing it is Close.
type Descriptor interface {
	// FD returns the descriptor, or -1 after Close or Disarm.
	FD() int
}

// Info is what a device says of itself after it was armed.
type Info struct {
	Path       string        // /dev/watchdog0, or the emulator's address
	Identity   string        // the driver's identity string
	Driver     string        // kernel driver, "emulated" for the emulator
	Timeout    time.Duration // as read back from the driver: this is T_wd
	Pretimeout time.Duration // as read back: how long before the reset it interrupts; 0: never
	MagicClose bool          // WDIOF_MAGICCLOSE: close without 'V' keeps it running
	NoWayOut   bool          // cannot be stopped once started
	Software   bool          // softdog: runs on the kernel's own timers
	Emulated   bool
}

// Config says which device to open.
type Config struct {
	// Device is a path such as /dev/watchdog0; on an emulated platform the
	// name that the emulator knows, without a slash.
	Device string
	// Timeout is set once, before the first feed; Info tells what came of it.
	Timeout time.Duration
	// Pretimeout, if set, is how long before the reset the device interrupts, in
	// whole seconds: a line in the kernel's log, or whatever its governor does. A
	// driver that cannot is opened all the same; Info tells what came of it.
	Pretimeout time.Duration
	// Emulator is the Unix socket of a power emulator; empty: a real device.
	Emulator string
	// Node is this node's name at the emulator.
	Node string
}

// Open arms the device that c names, see OpenLinux and OpenEmulated. With an
// emulator no path of the machine is ever opened.
func Open(c Config) (Device, error) {
	if c.Emulator != "" {
		d, err := openEmulated(c.Emulator, c.Node, c.Device, c.Timeout)
		if err != nil {
			return nil, fmt.Errorf("emulated watchdog %s of node %s at %s: %w", c.Device, c.Node, c.Emulator, err)
		}
		d.setPretimeout(c.Pretimeout)
		return d, nil
	}
	d, err := openLinux(realKernel{}, newHost(), c.Device, c.Timeout)
	if err != nil {
		return nil, fmt.Errorf("watchdog %s: %w", c.Device, err)
	}
	d.setPretimeout(realKernel{}, c.Pretimeout)
	return d, nil
}

// ErrClosed says that the device was closed or disarmed by its owner before.
var ErrClosed = errors.New("watchdog: the device is closed")

// ErrBusy says that somebody else holds the device.
var ErrBusy = errors.New("watchdog: the device is in use")

// ErrStopsOnClose says that a close, even that of a killed process, stops the
// device. Such a device protects nobody from a dead guard.
var ErrStopsOnClose = errors.New("watchdog: the driver stops the device on every close; " +
	"load it with nowayout=1 or use another device")
