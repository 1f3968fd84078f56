package dogcmd

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// trial is what watchdog test says before the machine is reset, as --json prints it.
type trial struct {
	Device   string  `json:"device"`
	Identity string  `json:"identity"`
	Timeout  float64 `json:"timeout_seconds"`
	State    string  `json:"state"` // resetting
}

func (a *app) test() *cobra.Command {
	c := a.resets("test", a.try)
	c.Flags().StringVar(&a.name, "node", "", "the `name` of a node that is in no cluster yet")
	return c
}

// try arms a device, feeds it a few times and then no more. It returns only if the
// machine was not reset.
func (a *app) try(device string) error {
	b, err := a.bench(device)
	if err != nil {
		return err
	}
	release, err := b.free()
	if err != nil {
		return err
	}
	defer release()
	if !a.yes {
		ask := fmt.Sprintf("%s will reset this machine, without sync and without stopping anything. Go on", b.device)
		if err := a.Confirm(ask, b.node.Name); err != nil {
			return err
		}
	}
	d, err := b.arm()
	if err != nil {
		return err
	}
	i := d.Info()
	if err := a.announce(trial{Device: b.device, Identity: i.Identity, Timeout: i.Timeout.Seconds(), State: stateResetting}); err != nil {
		return errors.Join(err, d.Disarm())
	}
	if err := a.starve(d); err != nil {
		return errors.Join(err, d.Disarm())
	}
	return errors.Join(fmt.Errorf("%s (%s) has not reset this machine within %v of the last feed, %d times its timeout: it is no watchdog that anything may rest on",
		b.device, i.Identity, biteFactor*i.Timeout, biteFactor), d.Disarm())
}

func (a *app) announce(t trial) error {
	if a.JSON {
		return a.PrintJSON(t)
	}
	a.Say("%s (%s) is armed: timeout %s as read back. It is fed a few times, and then no more.", t.Device, t.Identity, screen.Seconds(seconds(t.Timeout)))
	return nil
}

// starve feeds for half a timeout, and then waits for the reset.
func (a *app) starve(d watchdog.Device) error {
	timeout := d.Info().Timeout
	tick := time.NewTicker(timeout / 2 / feeds)
	defer tick.Stop()
	for range feeds {
		if err := d.Feed(); err != nil {
			return err
		}
		<-tick.C
	}
	end := time.NewTimer(biteFactor * timeout)
	defer end.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for begun := time.Now(); ; {
		select {
		case <-end.C:
			return nil
		case <-second.C:
			if !a.JSON {
				a.Say("  %s since the last feed", screen.Seconds(time.Since(begun)))
			}
		}
	}
}
