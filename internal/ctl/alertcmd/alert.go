// Package alertcmd is the command holdfast alert: it tries whether those whom the
// configuration names can be told when something happens.
package alertcmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// Command makes the command. test has the daemon of this node tell the receivers.
func Command(sh *shell.Shell, test func(context.Context, api.AlertTest) ([]api.AlertTried, error)) *cobra.Command {
	return shell.Group("alert", sh.PrintsJSON(shell.Command("test [RECEIVER]", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		var r api.AlertTest
		if len(args) == 1 {
			r.Receiver = args[0]
		}
		list, err := test(c.Context(), r)
		if err != nil {
			return err
		}
		return show(sh, list)
	})))
}

// show says what became of the test; a receiver that did not take it is a failure.
func show(sh *shell.Shell, list []api.AlertTried) error {
	if sh.JSON {
		if err := sh.PrintJSON(list); err != nil {
			return err
		}
	}
	if len(list) == 0 && !sh.JSON {
		return errors.New("there is nobody to tell: name receivers under alerts in the configuration (holdfast config export)")
	}
	bad := len(list) == 0
	for _, r := range list {
		bad = bad || !r.OK
		if word := map[bool]string{true: "ok", false: "failed"}[r.OK]; !sh.JSON {
			sh.Say("  %-8s %s: %s (%s)", word, r.Receiver, screen.Wrap(r.Text, screen.Width-11, "           "), screen.Seconds(r.Took.Duration()))
		}
	}
	if bad {
		return shell.Code(1)
	}
	return nil
}
