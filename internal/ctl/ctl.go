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
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/ctl/alertcmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/contain"
	"github.com/holdfast-ha/holdfast/internal/ctl/diskcmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/doctor"
	"github.com/holdfast-ha/holdfast/internal/ctl/dogcmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/drill"
	"github.com/holdfast-ha/holdfast/internal/ctl/keycmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/plancmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/recovery"
	"github.com/holdfast-ha/holdfast/internal/ctl/report"
	"github.com/holdfast-ha/holdfast/internal/ctl/sbdcmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/ctl/simulate"
	"github.com/holdfast-ha/holdfast/internal/ctl/statuscmd"
	"github.com/holdfast-ha/holdfast/internal/ctl/story"
)

// Exit codes. status and check use the first four as monitoring plugins do.
const (
	exitOK      = 0
	exitFailed  = 1 // others: refused, or it failed; nothing was changed unless the message says so
	exitUsage   = 2 // others: a wrong command line
	exitUnknown = 3 // the daemon does not answer
	exitWaiting = 4 // --wait ran out; what was asked for goes on
)

// errWaited says that --wait ran out.
var errWaited = errors.New("not there yet")

// Main runs one command line, without the program's name, and returns its exit
// code.
//
// A command that touches disks works in a child process where it may leave one
// behind: package contain. Whoever has put another writer in place of our output
// runs it inside of a program of his own, which cannot be started again.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if stdout != os.Stdout || !touchesDisks(args) {
		return run(context.Background(), args, stdin, stdout, stderr)
	}
	return contain.Run(context.Background(), contain.Program{
		Name: "holdfast", Args: args, In: stdin, Out: stdout, Err: stderr, Terminal: shell.IsTerminal(stdout),
		Work: func(ctx context.Context, out, errOut io.Writer) int { return run(ctx, args, stdin, out, errOut) },
	})
}

// touchesDisks says whether a command line opens quorum disks in this process.
// holdfast sbd sees to that itself.
func touchesDisks(args []string) bool {
	c, _, err := (&app{}).root().Find(args)
	if err != nil {
		return false
	}
	words := strings.Fields(c.CommandPath())
	return len(words) > 1 && slices.Contains([]string{"disk", "init", "join", "doctor"}, words[1])
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{Shell: shell.Shell{In: stdin, Out: stdout, Err: stderr}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var done shell.Code
	if err != nil && !errors.As(err, &done) {
		fmt.Fprintln(stderr, "holdfast: "+strings.TrimSpace(err.Error()))
	}
	return exitCode(err)
}

// exitCode is the only place where an error becomes a number.
func exitCode(err error) int {
	var done shell.Code
	var u shell.UsageError
	var none statuscmd.UnknownError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
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
	shell.Shell
	socket string // of the daemon; empty: what node.yaml says
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "holdfast", SilenceErrors: true, SilenceUsage: true, DisableAutoGenTag: true,
		SuggestionsMinimumDistance: 2, Version: build.String(),
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return shell.Usage(fmt.Errorf("%w; see: %s --help", shell.Duration(err), c.CommandPath()))
	})
	fs := root.PersistentFlags()
	fs.StringVar(&a.Config, "config", "/etc/holdfast/node.yaml", "this node's `file`")
	fs.StringVar(&a.socket, "socket", "", "the daemon's `socket` (default: in the run directory of node.yaml)")
	root.AddCommand(
		a.initCommand(), a.joinCommand(), a.tokenCommand(),
		doctor.Command(&a.Shell, a.dialAll), report.Command(&a.Shell), alertcmd.Command(&a.Shell, a.alertTest),
		statuscmd.Command(&a.Shell, func() (statuscmd.Daemon, error) { return a.dial() }), a.checkCommand(), story.Explain(&a.Shell, a.dial), story.Events(&a.Shell, a.dial), a.timingCommand(), simulate.Command(&a.Shell, a.dial),
		a.serviceCommand(), a.nodeCommand(), a.clusterCommand(), drill.Command(&a.Shell, func() (drill.Daemon, error) { return a.dial() }, a.dial), diskcmd.Command(&a.Shell, a.diskReplace(), a.diskGrow(), recovery.Command(&a.Shell)), dogcmd.Command(&a.Shell),
		keycmd.Command(&a.Shell, func() (keycmd.Daemon, error) { return a.dial() }, errWaited),
		sbdcmd.Command(func(code int) error { return shell.Code(code) }),
		a.versionCommand(), a.completionCommand(), a.manCommand(),
	)
	root.AddCommand(plancmd.Commands(&a.Shell, a.dial)...)
	describe(root)
	return root
}
