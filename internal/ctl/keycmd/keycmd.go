// Package keycmd is the command holdfast key: how the cluster's key stands, and its
// exchange for a new one. What is done is done by the daemons, a step at a time; this
// asks for the next one until there is none.
package keycmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

const (
	between   = 2 * time.Second // until what the last step waits for is looked at again
	usualWait = 3 * time.Minute // for what was sealed with the old key and may land yet
)

// Daemon is what the command asks; api.Client does.
type Daemon interface {
	// Keys says how the exchange of keys stands.
	Keys(ctx context.Context) (*api.KeyStatus, error)
	// RotateKey takes the next step.
	RotateKey(ctx context.Context, r api.KeyRequest) (*api.KeyProgress, error)
	// Close ends the connection.
	Close()
}

// Command makes the command. waited is the error of a wait that ran out.
func Command(sh *shell.Shell, dial func() (Daemon, error), waited error) *cobra.Command {
	return shell.Group("key", status(sh, dial), rotate(sh, dial, waited))
}

func status(sh *shell.Shell, dial func() (Daemon, error)) *cobra.Command {
	return sh.PrintsJSON(shell.Command("status", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		d, err := dial()
		if err != nil {
			return err
		}
		defer d.Close()
		s, err := d.Keys(c.Context())
		if err != nil {
			return err
		}
		if sh.JSON {
			return sh.PrintJSON(s)
		}
		show(sh, s)
		return nil
	}))
}

// show prints how it stands: the whole, every node, every disk that holds something old.
func show(sh *shell.Shell, s *api.KeyStatus) {
	switch s.Stage {
	case api.KeySettled:
		sh.Say("The cluster's key is %s.", s.Key)
	case api.KeyOdd:
		sh.Say("The nodes have keys that fit no exchange. Copy the key file of a node that works, with mode 600, to the one whose key is another, and restart holdfastd there.")
	default:
		sh.Say("The key %s is being exchanged for %s: %s. Go on with: holdfast key rotate", s.Key, s.New, words(s.Stage))
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		switch {
		case n.Seals == "":
			sh.Say("  %-12s does not answer: %s", n.Node, screen.Wrap(n.Error, screen.Width-32, strings.Repeat(" ", 15)))
		case n.Accepts == "":
			sh.Say("  %-12s seals with %s, since %s", n.Node, n.Seals, n.Since.Local().Format("2006-01-02 15:04"))
		default:
			more := ""
			if !n.Applied {
				more = "; not used by daemon and guard yet"
			}
			sh.Say("  %-12s seals with %s, accepts %s too%s", n.Node, n.Seals, n.Accepts, more)
		}
	}
	for _, d := range s.Disks {
		switch {
		case d.Error != "":
			sh.Say("  disk %d       cannot be read: %s", d.Disk, d.Error)
		case d.Old > 0 && s.Stage == api.KeySettling:
			sh.Say("  disk %d       %d records are sealed with %s yet: %s", d.Disk, d.Old, s.Key, strings.Join(d.Where, ", "))
		}
	}
}

func words(stage string) string {
	return map[string]string{
		api.KeyOffering: "not every node has the new one, and all seal with the old one",
		api.KeyTurning:  "every node accepts both, and not every one seals with the new one",
		api.KeySettling: "every node seals with the new one, and what stands on the disks is sealed anew before the old one is forgotten",
	}[stage]
}

func rotate(sh *shell.Shell, dial func() (Daemon, error), waited error) *cobra.Command {
	var dry bool
	wait := usualWait
	c := sh.PrintsJSON(shell.Command("rotate", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		d, err := dial()
		if err != nil {
			return err
		}
		defer d.Close()
		p, err := d.RotateKey(c.Context(), api.KeyRequest{Begin: true, DryRun: dry})
		if err == nil && !dry {
			p, err = goOn(c.Context(), sh, d, p, time.Now().Add(wait))
		} else if err == nil {
			tell(sh, p)
		}
		switch {
		case err != nil:
			return err
		case sh.JSON:
			err = sh.PrintJSON(p)
		}
		if !dry && !p.Done {
			return errors.Join(err, fmt.Errorf("after %v: %w: waiting %s. Everything works meanwhile; go on with holdfast key rotate", wait, waited, p.Waits))
		}
		return err
	}))
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done, and whether every node answers")
	c.Flags().DurationVar(&wait, "wait", wait, "wait up to this `time` for what the last step needs; exit status 4 if it is not there")
	return c
}

// goOn takes one step after the other until nothing is left, or the time has run out.
func goOn(ctx context.Context, sh *shell.Shell, d Daemon, p *api.KeyProgress, until time.Time) (*api.KeyProgress, error) {
	did := []string{}
	for said := ""; ; {
		tell(sh, p)
		did = append(did, p.Did...)
		if p.Waits != said && p.Waits != "" {
			said = p.Waits
			if most := ""; !sh.JSON {
				if p.Left > 0 {
					most = fmt.Sprintf(" (%s)", screen.Seconds(p.Left.Duration()))
				}
				sh.Say("waiting%s %s", most, p.Waits)
			}
		}
		if p.Done || p.Waits != "" && time.Now().After(until) {
			p.Did = did
			return p, nil
		}
		if p.Waits != "" {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(between):
			}
		}
		var err error
		if p, err = d.RotateKey(ctx, api.KeyRequest{}); err != nil {
			return nil, err
		}
	}
}

func tell(sh *shell.Shell, p *api.KeyProgress) {
	for _, t := range p.Did {
		if !sh.JSON {
			sh.Say("%s", t)
		}
	}
}
