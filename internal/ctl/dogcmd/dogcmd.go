// Package dogcmd holds the commands holdfast watchdog ...: what there is, how long
// each device truly takes to reset the machine, and whether it does at all. Looking
// never arms a device, for arming is what opening one does; the two commands that
// arm one reset the machine, say so, and ask.
package dogcmd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/guardhere"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// app is what every command here has.
type app struct {
	*shell.Shell
	ctx     context.Context
	timeout time.Duration // asked for; 0: what the node's files say
	beacons string        // file or device; empty: the first quorum disk that works
	name    string        // of a node without node.yaml
	yes     bool          // do not ask
	again   bool          // begin a new series
	show    bool          // say how far the series is, and end
	follow  bool          // watch the beacons until they end
}

// Command is holdfast watchdog.
func Command(s *shell.Shell) *cobra.Command {
	a := &app{Shell: s}
	return shell.Group("watchdog", a.list(), a.qualify(), a.lookOn(), a.test())
}

// resets makes a command that resets the machine; its one argument is the device.
func (a *app) resets(use string, run func(device string) error) *cobra.Command {
	c := shell.Command(use+" [DEVICE]", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		a.ctx = c.Context()
		return run(strings.Join(args, ""))
	})
	c.Flags().DurationVar(&a.timeout, "timeout", 0, "the device's timeout, a `time` (default: what this node uses)")
	c.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	return a.PrintsJSON(c)
}

// bench is a machine and the device on it that is to be tried.
type bench struct {
	node     *config.Node // with the defaults of a node that is in no cluster, if it is in none
	host     ident.UUID
	boot     ident.BootID
	now      func() time.Duration
	device   string // path, or the emulator's name
	listed   watchdog.Listed
	timeout  time.Duration
	clustery bool // node.yaml is there
}

// bench finds the machine and the device without opening it.
func (a *app) bench(device string) (*bench, error) {
	b := &bench{clustery: true}
	var err error
	if b.node, err = a.Node(); err != nil {
		if _, missing := os.Stat(a.Config); missing == nil || a.name == "" {
			return nil, fmt.Errorf("%w; before that a device can be measured with --node NAME, the name that the node will have", err)
		}
		b.node, b.clustery = &config.Node{Name: a.name, Dirs: config.Dirs{Run: "/run/holdfast/" + a.name, State: "/var/lib/holdfast"}}, false
	}
	p, err := clock.Open(clock.Config{Emulator: b.node.Platform.Emulator, Node: b.node.Name})
	if err != nil {
		return nil, err
	}
	b.host, b.boot = p.Identity().Host, p.Identity().Boot
	b.now = func() time.Duration {
		at, _ := p.Now() // a noisy sample is off by milliseconds, which the margin of a beacon covers
		return time.Duration(at)
	}
	if err := b.find(device); err != nil {
		return nil, err
	}
	return b, b.setTimeout(a.timeout)
}

// find settles which device is meant.
func (b *bench) find(device string) error {
	if b.node.Platform.Emulated {
		if device == "" && len(b.node.Watchdogs) == 1 {
			device = b.node.Watchdogs[0].Device
		}
		if device == "" {
			return shell.Usage(errors.New("which device? This node's node.yaml lists its names"))
		}
		b.device = device
		return nil
	}
	all, err := watchdog.List()
	if err != nil {
		return err
	}
	path := device
	if p, err := filepath.EvalSymlinks(device); err == nil && device != "" {
		path = p
	}
	if path == "/dev/watchdog" && !slices.ContainsFunc(all, func(l watchdog.Listed) bool { return l.Path == path }) {
		path = "/dev/watchdog0" // an alias of it
	}
	var have []string
	for _, l := range all {
		if l.Path == path || l.Driver == device && device == config.Softdog || device == "" && len(all) == 1 {
			b.device, b.listed = l.Path, l
			return nil
		}
		have = append(have, l.Path+" ("+l.Driver+")")
	}
	switch {
	case len(have) == 0:
		return errors.New("this machine has no watchdog device: load a driver, softdog at least (modprobe softdog)")
	case device == "":
		return shell.Usage(fmt.Errorf("which device? This machine has %s", strings.Join(have, ", ")))
	}
	return fmt.Errorf("watchdog %s: there is no such device; this machine has %s", device, strings.Join(have, ", "))
}

// setTimeout takes the timeout that is given, the one of node.yaml, or the one that
// the guard was told.
func (b *bench) setTimeout(given time.Duration) error {
	b.timeout = given
	for _, w := range b.node.Watchdogs {
		if b.timeout == 0 && (w.Device == b.device || b.listed.Driver == w.Device) {
			b.timeout = w.Timeout
		}
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(b.node.Key), "guard.conf")); b.timeout == 0 && b.clustery && err == nil {
		s, err := guardwire.ParseSettings("guard.conf", text)
		if err != nil {
			return err
		}
		for _, w := range s.Watchdogs {
			if w.Device == b.device {
				b.timeout = w.Timeout
			}
		}
	}
	if b.timeout <= 0 {
		return shell.Usage(fmt.Errorf("which timeout? Nothing here says what %s is to be set to: give --timeout 5s, or what holdfast timing shows as T_wd", b.device))
	}
	return nil
}

// free refuses a device that is in use and a machine on which a guard runs, and
// keeps one from starting until this process ends or calls release.
func (b *bench) free() (release func(), err error) {
	if h := b.listed.Holders; len(h) > 0 {
		return nil, fmt.Errorf("%s is in use: process %d (%s) has it open; end that first", b.device, h[0].PID, h[0].Name)
	}
	if !b.node.Platform.Emulated {
		running, err := guardhere.Running("/proc")
		if err != nil {
			return nil, err
		}
		if len(running) > 0 {
			return nil, fmt.Errorf("this machine is a node of a cluster (%s), and would be reset with its services: make it leave first (holdfast node leave), then end holdfast-guard", strings.Join(running, ", "))
		}
	}
	return guardhere.Keep(b.node.Dirs.Run)
}

// arm opens the device; from here on it resets the machine unless it is fed.
func (b *bench) arm() (watchdog.Device, error) {
	return watchdog.Open(watchdog.Config{Device: b.device, Timeout: b.timeout, Emulator: b.node.Platform.Emulator, Node: b.node.Name})
}

// setting is everything that the time of the device may depend on.
func (b *bench) setting(identity, driver string, timeout time.Duration) (watchdog.Setting, error) {
	return watchdog.SettingOf(b.node.Name, b.host.String(), watchdog.Info{
		Path: b.device, Identity: identity, Driver: driver, Timeout: timeout, Emulated: b.node.Platform.Emulated,
	})
}

// digest is a short form of a setting, to be compared.
func digest(s watchdog.Setting) ([32]byte, error) {
	text, err := json.Marshal(s)
	return sha256.Sum256(text), err
}

// record is where the device's measured time is kept, and read by guard and timing.
func (b *bench) record() string {
	return filepath.Join(b.node.Dirs.State, "watchdogs", filepath.Base(b.device)+".json")
}
