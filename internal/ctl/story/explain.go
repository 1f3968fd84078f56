// Package story is what happened and why: the commands holdfast explain and holdfast
// events.
package story

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/simulate"
)

// Dial reaches the daemon of this node.
type Dial func() (*api.Client, error)

// command is one of the commands.
type command struct {
	*shell.Shell
	dial Dial
	self string // the name of the node whose daemon is asked
	// lines counts the events that were shown.
	lines int
}

// Explain makes holdfast explain.
func Explain(sh *shell.Shell, dial Dial) *cobra.Command {
	a := &command{Shell: sh, dial: dial}
	var log string
	cmd := a.PrintsJSON(shell.Command("explain SERVICE | explain node NODE | explain event ID | explain incident [ID]", cobra.RangeArgs(1, 2), func(c *cobra.Command, args []string) error {
		if id, is := incidentArgs(args); is {
			return a.incident(c, log, id)
		}
		x, err := a.why(c, log, args)
		if err != nil {
			return err
		}
		if a.JSON {
			return a.PrintJSON(x)
		}
		a.showExplanation(x)
		return nil
	}))
	cmd.Flags().StringVar(&log, "log", "", "explain from the decision log in this state `directory`, a copy of it, or one file of it")
	return cmd
}

// why asks the daemon, or the log where it does not run.
func (a *command) why(c *cobra.Command, log string, args []string) (*api.Explanation, error) {
	if log == "" {
		client, err := a.dial()
		if err == nil {
			defer client.Close()
			return askWhy(c, client, args)
		}
		if !errors.Is(err, api.ErrNoDaemon) {
			return nil, err
		}
	}
	n, err := simulate.FromLog(a.Shell, log)
	if err != nil {
		return nil, err
	}
	return askWhy(c, n, args)
}

// explainer answers why; a Client does, and a log.
type explainer interface {
	// ExplainService says why a service is where it is.
	ExplainService(ctx context.Context, name string) (*api.Explanation, error)
	// ExplainNode says why a node is what it is.
	ExplainNode(ctx context.Context, name string) (*api.Explanation, error)
	// ExplainEvent says what led to an event.
	ExplainEvent(ctx context.Context, id uint64) (*api.Explanation, error)
}

func askWhy(c *cobra.Command, client explainer, args []string) (*api.Explanation, error) {
	ctx := c.Context()
	switch {
	case len(args) == 1:
		x, err := client.ExplainService(ctx, args[0])
		var failed *api.Error
		if errors.As(err, &failed) && failed.Code == api.CodeNotFound {
			err = fmt.Errorf("%w; for a node: holdfast explain node %s", err, args[0])
			if args[0] == "node" || args[0] == "event" {
				err = shell.Usage(fmt.Errorf("explain %s: which one? holdfast explain %[1]s %[2]s", args[0], strings.ToUpper(args[0])))
			}
		}
		return x, err
	case args[0] == "service":
		return client.ExplainService(ctx, args[1])
	case args[0] == "node":
		return client.ExplainNode(ctx, args[1])
	case args[0] == "event":
		id, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return nil, shell.Usage(fmt.Errorf("explain event %s: want the number that holdfast events shows", args[1]))
		}
		return client.ExplainEvent(ctx, id)
	}
	return nil, shell.Usage(fmt.Errorf("explain %s: want explain SERVICE, explain node NODE or explain event ID", args[0]))
}

func (a *command) showExplanation(x *api.Explanation) {
	a.Say("%s", x.Subject)
	for _, text := range x.Text {
		a.Say("  %s", screen.Wrap(text, screen.Width-2, "  "))
	}
	if p := x.Proof; p != nil {
		text := p.Kind + " of " + p.Node
		if p.By != "" {
			text += ", found by " + p.By
		}
		if p.Text != "" {
			text += ": " + p.Text
		}
		a.Say("\nproof\n  %s", screen.Wrap(text, screen.Width-2, "  "))
	}
	if len(x.Candidates) > 0 {
		a.Say("\nnodes, in the order in which they would be chosen")
		for _, n := range x.Candidates {
			word := "may run it"
			if !n.Able {
				word = "rejected"
			}
			if n.Reason != word && !strings.HasPrefix(n.Reason, word+";") {
				word += ": " + n.Reason
			} else {
				word = n.Reason
			}
			a.Say("  %s", screen.Wrap(n.Node+": "+word, screen.Width-2, "    "))
			if n.Remedy != "" {
				a.Say("    to change that: %s", screen.Wrap(n.Remedy, screen.Width-20, "      "))
			}
		}
	}
	if len(x.Events) > 0 {
		a.Say("\nwhat led there")
		t := screen.NewTable(a.Out)
		for _, e := range x.Events {
			t.Row("  "+strconv.FormatUint(e.ID, 10), e.Time.Format(time.DateTime), e.Kind, eventText(&e))
		}
		t.Done()
	}
}
