package sbdcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// queryWatchdog lists the devices from sysfs. sbd(8) opens each of them, which
// arms it.
func (c *command) queryWatchdog() error {
	dogs, err := c.Dogs.List()
	if err != nil {
		return err
	}
	c.showDogs(dogs)
	return nil
}

func (c *command) showDogs(dogs []watchdog.Listed) {
	c.say("\nDiscovered %d watchdog devices:", len(dogs))
	for i, d := range dogs {
		identity := orUnknown(d.Identity)
		if len(d.Holders) > 0 {
			identity = fmt.Sprintf("Busy: PID %d (%s)", d.Holders[0].PID, orUnknown(d.Holders[0].Name))
		}
		c.say("\n[%d] %s\nIdentity: %s\nDriver: %s", i+1, d.Path, identity, orUnknown(d.Driver))
		if d.Driver == "softdog" {
			c.say("CAUTION: Not recommended for use with sbd.")
		}
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "<unknown>"
	}
	return s
}

// testWatchdog arms a device and lets it reset this machine. It asks first,
// wherever its input comes from, and refuses where a reset would hit a guard or
// the device is somebody's.
func (c *command) testWatchdog(ctx context.Context) error {
	dog := &c.dog
	if dog.keepPeriod || dog.off || dog.device == "/dev/null" || dog.used > 0 && dog.used%2 == 0 {
		c.say("\nWatchdog is disabled - aborting test!!!")
		return nil
	}
	dogs, err := c.Dogs.List()
	if err != nil {
		return err
	}
	if !dog.given && len(dogs) > 1 {
		c.say("\nError: Multiple watchdog devices discovered.\n       Use -w <watchdog> or SBD_WATCHDOG_DEV to specify\n       which device to reset the system with")
		c.showDogs(dogs)
		return quiet()
	}
	if err := c.mayTest(dogs); err != nil {
		return err
	}
	c.say("\nWARNING: This operation is expected to force-reboot this system\n         without following any shutdown procedures.\n")
	fmt.Fprint(c.Out, "Proceed? [NO/Proceed] ")
	answer, err := bufio.NewReader(c.In).ReadString('\n')
	if err != nil || answer != "Proceed\n" {
		c.say("\nAborting watchdog test!!!")
		return nil
	}
	c.say("")
	return c.letItReset(ctx, dogs)
}

// mayTest refuses a device that somebody has open, and any test on a machine
// where a guard runs: the reset would take its services with it.
func (c *command) mayTest(dogs []watchdog.Listed) error {
	for _, d := range dogs {
		busy := d.Path == c.dog.device || sameDevice(d.Path, c.dog.device) || c.dog.device == "/dev/watchdog" && d.Path == "/dev/watchdog0"
		if busy && len(d.Holders) > 0 {
			return fmt.Errorf("%s is busy: process %d (%s) feeds it; end that first", c.dog.device, d.Holders[0].PID, orUnknown(d.Holders[0].Name))
		}
	}
	found, err := c.Dogs.Guards()
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("this machine is a node of a cluster: %s; make it leave first: holdfast node leave, then systemctl stop holdfast-guard", strings.Join(found, ", "))
	}
	return nil
}

// sameDevice says whether two paths lead to one device node.
func sameDevice(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// letItReset arms the device and never feeds it.
func (c *command) letItReset(ctx context.Context, dogs []watchdog.Listed) error {
	left := c.times.watchdog
	c.say("Initializing %s with a reset countdown of %d seconds ...", c.dog.device, left)
	d, err := c.Dogs.Arm(c.dog.device, time.Duration(left)*time.Second)
	if err != nil {
		c.say("Failed to initialize watchdog!!!")
		c.showDogs(dogs)
		return err
	}
	if got := d.Info().Timeout; got != time.Duration(left)*time.Second {
		c.say("The device made %v of it.", got)
		left = int((got + time.Second - 1) / time.Second)
	}
	c.say("\nNOTICE: The watchdog device is expected to reset the system\n        in %d seconds.  If system remains active beyond that time,\n        watchdog may not be functional.\n", left)
	for n := left; n > 1; n-- {
		c.say("Reset countdown ... %d seconds", n)
		c.Sleep(ctx, time.Second)
	}
	for range 2 {
		c.say("System expected to reset any moment ...")
		c.Sleep(ctx, time.Second)
	}
	for range 5 {
		c.say("System should have reset ...")
		c.Sleep(ctx, time.Second)
	}
	c.say("Error: The watchdog device has failed to reboot the system,\n       and it may not be suitable for usage with sbd.")
	// Closed without the magic character it stays armed: should it be late only,
	// it still resets the machine, as was agreed to.
	return errors.Join(quiet(), d.Close())
}
