package dogcmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// listedDog is a line of watchdog list.
type listedDog struct {
	Path       string   `json:"path"`
	Identity   string   `json:"identity"`
	Driver     string   `json:"driver"`
	State      string   `json:"state,omitempty"`
	Timeout    float64  `json:"timeout_seconds,omitempty"`
	MinTimeout float64  `json:"min_timeout_seconds,omitempty"`
	MaxTimeout float64  `json:"max_timeout_seconds,omitempty"`
	NoWayOut   bool     `json:"nowayout"`
	ResetLast  bool     `json:"reset_last"`
	Pretimeout float64  `json:"pretimeout_seconds,omitempty"`
	Governor   string   `json:"pretimeout_governor,omitempty"`
	Holders    []string `json:"holders"`
}

func (a *app) list() *cobra.Command {
	return a.PrintsJSON(shell.Command("list", cobra.NoArgs, func(*cobra.Command, []string) error {
		found, err := watchdog.List()
		if err != nil {
			return err
		}
		dogs := []listedDog{}
		for _, l := range found {
			d := listedDog{
				Path: l.Path, Identity: l.Identity, Driver: l.Driver, State: l.State, Timeout: l.Timeout.Seconds(),
				MinTimeout: l.MinTimeout.Seconds(), MaxTimeout: l.MaxTimeout.Seconds(), NoWayOut: l.NoWayOut, Holders: []string{},
				ResetLast: l.ResetLast, Pretimeout: l.Pretimeout.Before.Seconds(), Governor: l.Pretimeout.Governor,
			}
			for _, h := range l.Holders {
				d.Holders = append(d.Holders, fmt.Sprintf("%s (%d)", h.Name, h.PID))
			}
			dogs = append(dogs, d)
		}
		if a.JSON {
			return a.PrintJSON(dogs)
		}
		a.showDogs(dogs)
		return nil
	}))
}

func (a *app) showDogs(dogs []listedDog) {
	if len(dogs) == 0 {
		a.Say("this machine has no watchdog device: load a driver, softdog at least (modprobe softdog)")
		return
	}
	t := screen.NewTable(a.Out)
	t.Row("DEVICE", "DRIVER", "IDENTITY", "STATE", "TIMEOUT", "ACCEPTS", "PRETIMEOUT", "RESET LAST", "FED BY")
	for _, d := range dogs {
		accepts := "unknown"
		if d.MaxTimeout > 0 {
			accepts = fmt.Sprintf("%g to %g s", max(d.MinTimeout, 1), d.MaxTimeout)
		}
		before, last := "-", "-"
		if d.Pretimeout > 0 {
			before = fmt.Sprintf("%g s, %s", d.Pretimeout, screen.OrDash(d.Governor))
		}
		if d.ResetLast {
			last = "yes"
		}
		t.Row(d.Path, screen.OrDash(d.Driver), screen.OrDash(d.Identity), screen.OrDash(d.State),
			screen.Seconds(time.Duration(d.Timeout*float64(time.Second))), accepts, before, last, screen.OrDash(strings.Join(d.Holders, ", ")))
	}
	t.Done()
}
