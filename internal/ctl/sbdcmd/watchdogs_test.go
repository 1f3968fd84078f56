package sbdcmd_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// lameDog is a device that never bites.
type lameDog struct{ armed, closed, disarmed int }

func (d *lameDog) Info() watchdog.Info { return watchdog.Info{Timeout: 6 * time.Second} }
func (d *lameDog) Feed() error         { return errors.New("the test fed it") }
func (d *lameDog) Disarm() error       { d.disarmed++; return nil }
func (d *lameDog) Close() error        { d.closed++; return nil }

func TestQueryWatchdog(t *testing.T) {
	b := newBench(t)
	if r := b.run("query-watchdog"); r.code != 0 || r.out != "\nDiscovered 0 watchdog devices:\n" {
		t.Errorf("without devices: %+v", r)
	}
	b.sys.Dogs.List = func() ([]watchdog.Listed, error) {
		return []watchdog.Listed{
			{Path: "/dev/watchdog0", Identity: "iTCO_wdt", Driver: "iTCO_wdt", Holders: []watchdog.Holder{{PID: 7, Name: "systemd"}}},
			{Path: "/dev/watchdog1", Identity: "Software Watchdog", Driver: "softdog"},
			{Path: "/dev/watchdog2"},
		}, nil
	}
	const want = `
Discovered 3 watchdog devices:

[1] /dev/watchdog0
Identity: Busy: PID 7 (systemd)
Driver: iTCO_wdt

[2] /dev/watchdog1
Identity: Software Watchdog
Driver: softdog
CAUTION: Not recommended for use with sbd.

[3] /dev/watchdog2
Identity: <unknown>
Driver: <unknown>
`
	if r := b.run("query-watchdog"); r.code != 0 || r.out != want {
		t.Errorf("query-watchdog says %s%s", r.out, r.err)
	}
}

// TestTestWatchdog never opens a device: what would be armed is a fake.
func TestTestWatchdog(t *testing.T) {
	b := newBench(t)
	dog := &lameDog{}
	var armed string
	b.sys.Dogs.Arm = func(path string, timeout time.Duration) (watchdog.Device, error) {
		dog.armed++
		armed = path + " " + timeout.String()
		return dog, nil
	}
	ask := func(answer string, args ...string) result {
		b.sys.In = strings.NewReader(answer)
		return b.run(append([]string{"test-watchdog"}, args...)...)
	}
	for _, answer := range []string{"", "\n", "yes\n", "proceed\n", "Proceed"} {
		ask(answer).says(t, 0, "Proceed? [NO/Proceed] ", "Aborting watchdog test!!!")
	}
	for _, args := range [][]string{{"-w", "/dev/null"}, {"-T"}, {"-W", "-W"}} {
		ask("Proceed\n", args...).says(t, 0, "Watchdog is disabled - aborting test!!!")
	}
	b.sys.Dogs.List = func() ([]watchdog.Listed, error) {
		return []watchdog.Listed{
			{Path: "/dev/watchdog0", Holders: []watchdog.Holder{{PID: 7, Name: "systemd"}}}, {Path: "/dev/watchdog1"},
		}, nil
	}
	ask("Proceed\n").says(t, 1, "Error: Multiple watchdog devices discovered.", "[2] /dev/watchdog1")
	ask("Proceed\n", "-w", "/dev/watchdog0").says(t, 1, "is busy", "systemd")
	ask("Proceed\n", "-w", "/dev/watchdog").says(t, 1, "is busy", "systemd")
	b.sys.Dogs.Guards = func() ([]string, error) { return []string{"holdfast-guard runs as process 12"}, nil }
	ask("Proceed\n", "-w", "/dev/watchdog1").says(t, 1, "holdfast-guard runs as process 12", "node leave")
	if dog.armed != 0 {
		t.Fatalf("a refused test armed %s", armed)
	}
	b.sys.Dogs.Guards = func() ([]string, error) { return nil, nil }
	ask("Proceed\n", "-w", "/dev/watchdog1", "-1", "5").says(t, 1,
		"Initializing /dev/watchdog1 with a reset countdown of 5 seconds ...", "The device made 6s of it.",
		"Reset countdown ... 6 seconds", "Reset countdown ... 2 seconds", "System expected to reset any moment ...",
		"System should have reset ...", "Error: The watchdog device has failed to reboot the system,")
	if armed != "/dev/watchdog1 5s" || dog.closed != 1 || dog.disarmed != 0 {
		t.Errorf("armed %s, closed %d times, disarmed %d times", armed, dog.closed, dog.disarmed)
	}
	b.sys.Dogs.Arm = func(string, time.Duration) (watchdog.Device, error) { return nil, watchdog.ErrBusy }
	ask("Proceed\n", "-w", "/dev/watchdog1").says(t, 1, "Failed to initialize watchdog!!!", "in use")
}
