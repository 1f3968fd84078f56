package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/statuscmd"
)

// checkCommand is the status as a plugin of Nagios, Icinga and their kin: one
// line, and an exit code from 0 to 3 whatever happens.
func (a *app) checkCommand() *cobra.Command {
	var l screen.Limits
	c := shell.Command("check", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		if l.LatencyCritical > 0 && l.LatencyCritical < l.LatencyWarning {
			a.Say("HOLDFAST UNKNOWN - --latency-critical=%s is below --latency-warning=%s", l.LatencyCritical, l.LatencyWarning)
			return shell.Code(exitUnknown)
		}
		s, err := a.status(c)
		if err != nil {
			a.Say("HOLDFAST UNKNOWN - %v", err)
			return shell.Code(exitUnknown)
		}
		line, health := screen.Check(s, l)
		fmt.Fprintln(a.Out, line)
		return statuscmd.Health(health)
	})
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		a.Say("HOLDFAST UNKNOWN - %v", err)
		return shell.Code(exitUnknown)
	})
	c.Flags().DurationVar(&l.LatencyWarning, "latency-warning", 0, "warn when a quorum disk took this `time` for a beat")
	c.Flags().DurationVar(&l.LatencyCritical, "latency-critical", 0, "the same, critical")
	c.Flags().StringSliceVar(&l.Services, "service", nil, "look at this `service` alone; repeatable")
	return c
}

func (a *app) status(c *cobra.Command) (*api.Status, error) {
	client, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Status(c.Context())
}
