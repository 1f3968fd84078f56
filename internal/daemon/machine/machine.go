// Package machine says what a node's machine contributes to the timeouts: its
// watchdogs as the guard has armed them, whether a hypervisor may stop it, and
// how its kernel ends itself.
package machine

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// guestPause is how long a hypervisor may stop a guest where node.yaml does not
// say: snapshots and migrations stun for seconds.
const guestPause = 10 * time.Second

// Timing is what the timeouts are derived from: the watchdogs as the guard
// has armed them, with the timeouts that the drivers gave back. A device that
// could not be armed is none.
func Timing(s *guardwire.Snapshot, node *config.Node) timing.Input {
	in := timing.Input{
		SecondHolder: s.Holder != guardwire.NoHolder, AcceptSoftdog: node.AcceptSoftdog, PauseBound: node.Platform.PauseBound,
	}
	if !node.Platform.PauseSet && !s.Emulated && isGuest() {
		in.PauseBound = guestPause
	}
	for _, w := range s.Watchdogs {
		if w.Class == cluster.WatchdogNone {
			continue
		}
		d := timing.Device{Name: w.Path, Software: w.Software, Timeout: w.Timeout}
		// softdog alone is never a qualified lease, but as one of a pair it is a
		// qualified device if its record counts.
		if w.Class == cluster.WatchdogQualified || w.Software && w.Why == "" {
			d.Class, d.TMax, d.At = timing.Qualified, w.TMax, w.Timeout
		}
		in.Devices = append(in.Devices, d)
		if s.Emulated && w.Software {
			in.Lockup = w.TMax // an emulated device bites whatever the CPUs do
		}
	}
	if !s.Emulated {
		in.Lockup = lockup(func(name string) (int, bool) {
			text, err := os.ReadFile("/proc/sys/kernel/" + name)
			n, bad := strconv.Atoi(string(bytes.TrimSpace(text)))
			return n, err == nil && bad == nil
		})
	}
	return in
}

// lockup is how long the kernel needs to end itself when one of its CPUs is
// locked up: twice watchdog_thresh and 2 s until it is seen, the delay of
// kernel.panic and 1 s for the reset. It is 0, never, unless all of that is
// switched on. See the kernel's Documentation/admin-guide/lockup-watchdogs.rst.
func lockup(setting func(name string) (int, bool)) time.Duration {
	for _, must := range []string{"nmi_watchdog", "hardlockup_panic", "softlockup_panic"} {
		if v, ok := setting(must); !ok || v != 1 {
			return 0
		}
	}
	thresh, ok1 := setting("watchdog_thresh")
	delay, ok2 := setting("panic")
	if !ok1 || !ok2 || thresh <= 0 || delay == 0 {
		return 0
	}
	return time.Duration(2*thresh+2+max(0, delay)+1) * time.Second
}

// isGuest says whether the CPU announces a hypervisor.
func isGuest() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && bytes.Contains(text, []byte(" hypervisor"))
}

// waitLessEnv names an entry of the environment that shortens every wait of a
// proof by time. The tests that must see a proof come too early set it; on
// anything but a node of a power emulator it means nothing.
const waitLessEnv = "HOLDFAST_TEST_WAIT_LESS"

// WaitLess is by how much the waits are shortened: 0 but in such a test.
func WaitLess(node *config.Node, log zerolog.Logger) time.Duration {
	text := os.Getenv(waitLessEnv)
	if !node.Platform.Emulated || text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		log.Error().Err(err).Msg(waitLessEnv + " is not understood, and not used")
		return 0
	}
	log.Warn().Dur("by", d).Msg("UNSAFE: every proof by time is made too early, for a test")
	return d
}
