// Package ctl is the command holdfast: one file per command. A command either
// asks the daemon of this node over its local API, or works on the quorum disks
// alone when no daemon is needed; it decides nothing itself.
//
// Everything that a command may touch comes in through Main's arguments and the
// flags, so that the tests run whole commands in-process. A command prints its
// result to stdout, as text for people or, with --json, as one JSON document for
// programs; errors go to stderr, and say what is wrong, with what, and what to do.
// The texts of `--help`, which are the man pages as well, stand in help.txt.
package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/sbdcmd"
)

// Exit codes. status uses the first four as monitoring plugins do.
const (
	exitOK       = 0
	exitWarning  = 1 // status: a warning
	exitFailed   = 1 // others: refused, or it failed; nothing was changed unless the message says so
	exitCritical = 2 // status: a service is down, or there is no quorum
	exitUsage    = 2 // others: a wrong command line
	exitUnknown  = 3 // the daemon does not answer
	exitWaiting  = 4 // --wait ran out; what was asked for goes on
)

// errWaited says that --wait ran out.
var errWaited = errors.New("not there yet")

// usageError is a command line that no command understands.
type usageError struct{ error }

// health is the exit code of a status that was printed already.
type health int

// Error is for nobody: Main prints nothing for a health.
func (h health) Error() string { return fmt.Sprintf("health %d", int(h)) }

// Main runs one command line, without the program's name, and returns its exit
// code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	var h health
	if err != nil && !errors.As(err, &h) {
		fmt.Fprintln(stderr, "holdfast: "+strings.TrimSpace(err.Error()))
	}
	return exitCode(err)
}

// exitCode is the only place where an error becomes a number.
func exitCode(err error) int {
	var h health
	var u usageError
	var none unknownError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &h):
		return int(h)
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(err, errWaited):
		return exitWaiting
	case errors.As(err, &none), errors.Is(err, api.ErrNoDaemon):
		return exitUnknown
	}
	return exitFailed
}

// app is what every command has: where to read and write, and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	config   string // path of node.yaml
	socket   string // of the daemon; empty: what node.yaml says
	json     bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "holdfast", SilenceErrors: true, SilenceUsage: true, DisableAutoGenTag: true,
		SuggestionsMinimumDistance: 2,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	fs := root.PersistentFlags()
	fs.StringVar(&a.config, "config", "/etc/holdfast/node.yaml", "this node's `file`")
	fs.StringVar(&a.socket, "socket", "", "the daemon's `socket` (default: in the run directory of node.yaml)")
	root.AddCommand(
		a.initCommand(), a.joinCommand(), a.tokenCommand(),
		a.statusCommand(), a.explainCommand(), a.eventsCommand(), a.timingCommand(),
		a.planCommand(), a.applyCommand(), a.configCommand(), a.historyCommand(), a.rollbackCommand(),
		a.serviceCommand(), a.nodeCommand(), a.diskCommand(), a.watchdogCommand(),
		sbdcmd.Command(func(code int) error { return health(code) }),
		a.versionCommand(), a.completionCommand(), a.manCommand(),
	)
	describe(root)
	return root
}

// command makes a command whose texts stand in help.txt; args says how many
// arguments it takes.
func command(use string, args cobra.PositionalArgs, run func(c *cobra.Command, args []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, RunE: run, DisableFlagsInUseLine: false}
	c.Args = func(c *cobra.Command, given []string) error {
		if err := args(c, given); err != nil {
			return usageError{fmt.Errorf("%s: %w; usage: %s", c.CommandPath(), err, c.UseLine())}
		}
		return nil
	}
	return c
}

// group makes a command that only has others below it.
func group(use string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usageError{errors.New(text + " See: " + c.CommandPath() + " --help")}
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(below...)
	return c
}

// printsJSON adds --json to a command that prints data.
func (a *app) printsJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON, whose names do not change within a version")
	return c
}

// node reads node.yaml.
func (a *app) node() (*config.Node, error) {
	text, err := os.ReadFile(a.config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("this node belongs to no cluster yet, for there is no %s: holdfast init makes a cluster, holdfast join TOKEN joins one (--config names another file)", a.config)
	}
	if err != nil {
		return nil, err
	}
	return config.ParseNode(a.config, text)
}
