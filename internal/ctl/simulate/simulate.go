// Package simulate is the command holdfast simulate: it replays what a node has
// decided, and asks the cluster's engine what would happen.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/server"
	"github.com/holdfast-ha/holdfast/internal/ctl/offline"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// command is one run of it.
type command struct {
	*shell.Shell
	dial   func() (*api.Client, error)
	replay string
	since  time.Duration
	log    string
	story  bool
}

// here stands for this node's own log.
const here = "."

// Command makes the command. dial reaches the daemon of this node.
func Command(sh *shell.Shell, dial func() (*api.Client, error)) *cobra.Command {
	r := &command{Shell: sh, dial: dial}
	c := sh.PrintsJSON(shell.Command("simulate [QUESTION]", cobra.ArbitraryArgs, r.run))
	fs := c.Flags()
	fs.StringVar(&r.replay, "replay", "", "replay a `file` of a decision log, or all in a directory; alone: this node's own")
	fs.Lookup("replay").NoOptDefVal = here
	fs.DurationVar(&r.since, "since", 0, "with --replay: only what was decided within this `time`, as 2h")
	fs.StringVar(&r.log, "log", "", "ask about what the node knew whose state `directory`, or a copy of it, or file of a log, this is")
	fs.BoolVar(&r.story, "story", false, "show every line of what would be noted, or was")
	return c
}

func (r *command) run(c *cobra.Command, args []string) error {
	question := strings.Join(args, " ")
	switch {
	case r.replay != "" && (len(args) > 1 || question != "" && r.replay != here):
		return shell.Usage(errors.New("simulate: want a question or --replay, not both"))
	case r.replay != "":
		if question != "" {
			r.replay = question // --replay FILE, written without the sign
		}
		return r.again()
	case question == "":
		return shell.Usage(errors.New(`simulate: want a question such as "what if beta dies", or --replay; see: holdfast simulate --help`))
	}
	s, err := r.ask(c.Context(), question)
	if err != nil {
		return err
	}
	if r.JSON {
		return r.PrintJSON(s)
	}
	r.show(s)
	return nil
}

// ask asks the daemon, or the log where it does not run.
func (r *command) ask(ctx context.Context, question string) (*api.Simulation, error) {
	if r.log == "" {
		client, err := r.dial()
		if err == nil {
			defer client.Close()
			return client.Simulate(ctx, question)
		}
		if !errors.Is(err, api.ErrNoDaemon) {
			return nil, err
		}
	}
	n, err := r.Offline(r.log)
	if err != nil {
		return nil, err
	}
	return server.Simulate(&n.Facts, question)
}

// Offline opens the log in a directory, or of this node, and says so.
func (r *command) Offline(dir string) (*offline.Node, error) { return FromLog(r.Shell, dir) }

// FromLog opens the log in a state directory; empty: this node's. It says on
// standard error from when the answer is.
func FromLog(sh *shell.Shell, dir string) (*offline.Node, error) {
	if dir == "" {
		own, err := sh.Node()
		if err != nil {
			return nil, err
		}
		dir = own.Dirs.State
	}
	n, err := offline.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("the daemon does not run, and its log does not help: %w", err)
	}
	fmt.Fprintf(sh.Err, "holdfast: the daemon was not asked; this is what %s knew at %s, by its decision log\n", n.Facts.Name, n.Until.Local().Format(time.DateTime))
	return n, nil
}

// again replays.
func (r *command) again() error {
	files, err := r.files()
	if err != nil {
		return err
	}
	if r.since > 0 {
		files = decisions.From(files, time.Now().Add(-r.since))
	}
	out, err := offline.Replay(files)
	if err != nil {
		return err
	}
	if r.JSON {
		err = r.PrintJSON(out)
	} else {
		r.showReplay(out)
	}
	if err == nil && !out.Same {
		return shell.Code(1)
	}
	return err
}

func (r *command) files() ([]decisions.File, error) {
	dir := r.replay
	if dir == here {
		n, err := r.Node()
		if err != nil {
			return nil, err
		}
		dir = n.Dirs.State
	}
	return offline.Find(filepath.Clean(dir))
}

func (r *command) showReplay(o *offline.Replayed) {
	r.Say("%s to %s: %s, %s of the daemon began", o.From.Local().Format(time.DateTime), o.To.Local().Format(time.DateTime), screen.Plural(o.Files, "file"), screen.Plural(o.Lives, "life"))
	r.Say("%s replayed, %s of the core's memory compared", screen.Plural(o.Steps, "step"), screen.Plural(o.Digests, "digest"))
	if o.Skipped > 0 {
		r.Say("%s could not be replayed: there is nothing before them to begin from", screen.Plural(o.Skipped, "step"))
	}
	for _, n := range o.Notes {
		r.Say("%s", screen.Wrap(n, screen.Width, "  "))
	}
	if r.story {
		for _, d := range o.Decided {
			r.Say("%s  %-10s %s", d.Time.Local().Format("2006-01-02 15:04:05.000"), d.Kind, d.Text)
		}
	}
	switch {
	case !o.Same:
		r.Say("DIFFERS: %s", o.Differs)
	case o.Steps == 0:
		r.Say("nothing was compared")
	default:
		r.Say("the same: every action, byte for byte")
	}
}

func (r *command) show(s *api.Simulation) {
	r.Say("if %s:", strings.Join(s.Faults, " and "))
	for i := range s.Services {
		r.Say("  %s", screen.Wrap(sentence(&s.Services[i]), screen.Width-2, "    "))
	}
	for _, n := range s.Nodes {
		text := n.Name + " is lost; nobody could be sure of its end"
		if n.Proof != nil {
			text = n.Name + " is lost; its end is known by proof " + n.Proof.Kind + ": " + n.Proof.Text
		}
		r.Say("  %s", screen.Wrap(text, screen.Width-2, "    "))
	}
	if len(s.After) > 0 {
		r.Say("\nafterwards the cluster could not survive")
		for _, a := range s.After {
			r.Say("  %s", screen.Wrap(a, screen.Width-2, "    "))
		}
	}
	if len(s.Assumed) > 0 {
		r.Say("\nassumed")
		for _, a := range s.Assumed {
			r.Say("  %s", screen.Wrap(a, screen.Width-2, "    "))
		}
	}
	if r.story {
		r.Say("\nwhat would be noted")
		for _, l := range s.Story {
			r.Say("  %8.1fs  %-10s %s", l.At.Duration().Seconds(), l.Kind, l.Text)
		}
	}
}

// sentence is what would become of a service.
func sentence(f *api.Foretold) string {
	from := f.From
	if from == "" {
		from = "nowhere"
	}
	var text string
	switch {
	case f.Runs && f.Granted == nil:
		return fmt.Sprintf("%s stays on %s", f.Name, f.To)
	case f.Runs:
		text = fmt.Sprintf("%s goes from %s to %s: allowed to start after %s, then its own start", f.Name, from, f.To, screen.Seconds(f.Granted.Duration()))
		if f.Proof != nil {
			text += "; proof " + f.Proof.Kind
		}
	default:
		text = fmt.Sprintf("%s is DOWN (it was on %s)", f.Name, from)
	}
	if f.Why != "" {
		text += "; " + f.Why
	}
	if !f.Runs {
		for _, c := range f.Candidates {
			if !c.Able && c.Remedy != "" {
				text += fmt.Sprintf("; for %s: %s", c.Node, c.Remedy)
			}
		}
	}
	return text
}
