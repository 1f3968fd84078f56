package watchdog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The marks of a qualification file. A reader refuses any other version: what a
// newer version measures may mean something else.
const (
	qualificationFormat  = "holdfast-watchdog-qualification"
	qualificationVersion = 1
)

// The least that a qualification holds.
const (
	minStarveRuns     = 3
	minGuardDeathRuns = 1
)

// Qualification is the record of a device's measured reset time. Nominal timeouts
// lie: the same value means one period with one kernel and two with the next, and
// some drivers pet on their own. So a device counts with its measured time only
// where everything that may change it is as it was (Matches); elsewhere it counts
// as unqualified, with twice its timeout and a second.
//
// The file is one JSON object, UTF-8, mode 0600; times in nanoseconds:
//
//	{
//	  "format": "holdfast-watchdog-qualification", "version": 1,
//	  "node": "alpha", "host_uuid": "4c4c4544-...",
//	  "device": "iTCO_wdt", "driver": "iTCO_wdt",
//	  "driver_parameters": ["heartbeat=30", "nowayout=Y"],
//	  "firmware": "Dell Inc. 2.19.1 06/05/2023", "kernel_release": "6.12.43+deb13-amd64",
//	  "timeout_ns": 2000000000, "emulated": false,
//	  "runs": [{"kind": "starve", "actual_ns": 2034000000}, ...],
//	  "t_max_ns": 2237400000, "when": "2026-01-31T12:00:00Z"
//	}
//
// All fields are there, no others are, and t_max_ns is 1.1 times the longest run.
type Qualification struct {
	Setting
	// Runs are at least three of starving the device and one of killing the
	// guard while a second holder has the descriptor.
	Runs []Run
	// TMax is 1.1 times the longest run: the bound that proofs of death use.
	TMax time.Duration
	// When is the time of the last run, UTC, by the wall clock; for people.
	When time.Time
}

// Setting is everything that the time of a reset may depend on.
type Setting struct {
	Node             string
	HostUUID         string
	Device           string // the driver's identity string
	Driver           string
	DriverParameters []string // "name=value", sorted
	Firmware         string   // the machine's and, where it tells, the device's
	KernelRelease    string
	Timeout          time.Duration // as read back
	Emulated         bool
}

// Run is one measured reset.
type Run struct {
	Kind RunKind
	// Actual is the time from the last pet to the reset.
	Actual time.Duration
}

// RunKind says how the device came to bite.
type RunKind string

// The kinds of run.
const (
	RunStarve     RunKind = "starve"      // the guard stopped feeding
	RunGuardDeath RunKind = "guard-death" // the guard was stopped, and killed just before the bite
)

// NewQualification makes the record of finished runs.
func NewQualification(s Setting, runs []Run, when time.Time) (Qualification, error) {
	q := Qualification{Setting: s, Runs: runs, TMax: boundOf(runs), When: when.UTC().Truncate(time.Second)}
	return q, q.check()
}

// boundOf is 1.1 times the longest run, rounded up.
func boundOf(runs []Run) time.Duration {
	var longest time.Duration
	for _, r := range runs {
		longest = max(longest, r.Actual)
	}
	return longest + (longest+9)/10
}

func (q Qualification) check() error {
	count := map[RunKind]int{}
	for _, r := range q.Runs {
		if r.Kind != RunStarve && r.Kind != RunGuardDeath {
			return fmt.Errorf("unknown kind of run %q", r.Kind)
		}
		// Half the timeout is no measurement of this device biting by itself.
		if r.Actual < q.Timeout/2 {
			return fmt.Errorf("a %s run of %v is no reset by a timeout of %v", r.Kind, r.Actual, q.Timeout)
		}
		count[r.Kind]++
	}
	switch {
	case q.Node == "" || q.HostUUID == "" || q.Device == "" || q.KernelRelease == "":
		return errors.New("node, host, device and kernel must be named")
	case q.Timeout <= 0:
		return fmt.Errorf("timeout %v", q.Timeout)
	case count[RunStarve] < minStarveRuns || count[RunGuardDeath] < minGuardDeathRuns:
		return fmt.Errorf("%d starve and %d guard-death runs, want at least %d and %d",
			count[RunStarve], count[RunGuardDeath], minStarveRuns, minGuardDeathRuns)
	case q.TMax != boundOf(q.Runs):
		return fmt.Errorf("t_max %v is not 1.1 times the longest run, %v", q.TMax, boundOf(q.Runs))
	case q.When.IsZero():
		return errors.New("the date is missing")
	}
	return nil
}

// Matches says whether the record counts for a device as it is now. Otherwise the
// reasons say, one by one, what differs; none means that it counts.
func (q Qualification) Matches(now Setting) (reasons []string) {
	differs := func(what, was, is string) {
		if was != is {
			reasons = append(reasons, fmt.Sprintf("%s was %q when it was measured and is %q now", what, was, is))
		}
	}
	differs("the node", q.Node, now.Node)
	differs("the host", q.HostUUID, now.HostUUID)
	differs("the device", q.Device, now.Device)
	differs("the driver", q.Driver, now.Driver)
	differs("the set of driver parameters", strings.Join(q.DriverParameters, " "), strings.Join(now.DriverParameters, " "))
	differs("the firmware", q.Firmware, now.Firmware)
	differs("the kernel", q.KernelRelease, now.KernelRelease)
	differs("the timeout", q.Timeout.String(), now.Timeout.String())
	differs("the platform", platformName(q.Emulated), platformName(now.Emulated))
	return reasons
}

func platformName(emulated bool) string {
	if emulated {
		return "emulated"
	}
	return "real"
}

// SettingOf describes the device of info, on this node and host, as it is now. It
// reads sysfs, opens no device, and asks an emulator nothing.
func SettingOf(node, hostUUID string, info Info) (Setting, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Setting{}, fmt.Errorf("read the kernel's release: %w", err)
	}
	s := Setting{
		Node: node, HostUUID: hostUUID,
		Device: info.Identity, Driver: info.Driver, DriverParameters: []string{},
		KernelRelease: cString(u.Release[:]), Timeout: info.Timeout, Emulated: info.Emulated,
	}
	if info.Emulated {
		s.Firmware = "power emulator"
		return s, nil
	}
	h := newHost()
	sys := h.find(info.Path)
	s.DriverParameters = append(s.DriverParameters, sys.Parameters...)
	s.Firmware = h.firmware(sys)
	return s, nil
}

// firmware names the machine's firmware, and the device's own where it tells.
func (h host) firmware(sys Listed) string {
	dmi := filepath.Join(h.sys, "class/dmi/id")
	parts := []string{readLine(dmi, "bios_vendor"), readLine(dmi, "bios_version"), readLine(dmi, "bios_date")}
	if sys.Firmware != "" && sys.Firmware != "0" {
		parts = append(parts, "device", sys.Firmware)
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, " ")
}
