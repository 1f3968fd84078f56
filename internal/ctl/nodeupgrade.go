package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// nodeUpgrade has the programs that a package has put in place take over.
func (a *app) nodeUpgrade() *cobra.Command {
	var r api.UpgradeRequest
	wait := 30 * time.Second
	c := a.PrintsJSON(shell.Command("upgrade", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		s, err := client.Status(c.Context())
		if err != nil {
			return err
		}
		done, err := client.Upgrade(c.Context(), r)
		if err != nil {
			return err
		}
		if r.DryRun {
			return a.showResult(done, done.Text)
		}
		build, err := a.followed(c.Context(), s.Self.Life, wait)
		if err != nil {
			return err
		}
		done.Text = fmt.Sprintf("%s is upgraded, its services were left running: holdfastd answers again as %s. %s", s.Self.Name, build, done.Text)
		return a.showResult(done, done.Text)
	}))
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "only ask the new programs whether they could take over")
	c.Flags().DurationVar(&wait, "wait", wait, "wait up to this `time` for the daemon to answer again; exit status 4 if it does not")
	return c
}

// followed waits until the daemon answers in another life, and gives its build.
func (a *app) followed(ctx context.Context, before uint64, wait time.Duration) (string, error) {
	deadline := time.Now().Add(wait)
	for {
		self, err := a.self(ctx)
		if err == nil && self.Life != before {
			return self.Build, nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("after %s: %w: the guard runs the newer program, holdfastd does not answer as one; holdfast status and the journal of holdfastd say more", wait, errWaited)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(waitStep):
		}
	}
}

func (a *app) self(ctx context.Context) (api.Self, error) {
	client, err := a.dial()
	if err != nil {
		return api.Self{}, err
	}
	defer client.Close()
	s, err := client.Status(ctx)
	if err != nil {
		return api.Self{}, err
	}
	return s.Self, nil
}
