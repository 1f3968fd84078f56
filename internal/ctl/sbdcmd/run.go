package sbdcmd

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:embed usage.txt
var usage string

// command is a command line that is being carried out. Only the goroutine that
// runs it prints.
type command struct {
	System
	options
}

// Run carries out one command line, without the program's name, in this process
// and returns its exit code: 0, or 1 for everything that went wrong. Reasons go
// to s.Err, where sbd(8) only has a line about its log.
func Run(ctx context.Context, args []string, s System) int {
	o, err := s.parse(args)
	if err == nil && o.help {
		fmt.Fprint(s.Err, usage)
		return exitOK
	}
	if err == nil {
		c := &command{System: s, options: *o}
		err = c.carryOut(ctx)
	}
	var r refusal
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &r):
		if r.text != "" {
			fmt.Fprintln(s.Err, r.text)
		}
		if r.usage {
			fmt.Fprint(s.Err, usage)
			return exitFailed
		}
	default:
		fmt.Fprintln(s.Err, "sbd: "+err.Error())
	}
	fmt.Fprintln(s.Err, "sbd failed; please check the logs.")
	return exitFailed
}

// diskVerbs are the verbs that work on disks.
func diskVerbs() []string { return []string{"create", "dump", "list", "allocate", "message", "ping"} }

// touchesDisks says whether a command line opens disks.
func touchesDisks(args []string) bool {
	operands, err := scan(args, func(byte, string) error { return nil })
	return err == nil && len(operands) > 0 && slices.Contains(diskVerbs(), operands[0])
}

func (c *command) carryOut(ctx context.Context) error {
	verb := c.operands[0]
	if slices.Contains(diskVerbs(), verb) && len(c.devices) == 0 {
		return fmt.Errorf("%s needs a device: give one to three with -d, or in the environment as SBD_DEVICE", verb)
	}
	switch verb {
	case "create":
		return c.create()
	case "dump":
		return c.dump()
	case "list":
		return c.list()
	case "allocate":
		return c.allocate(ctx)
	case "message":
		return c.message(ctx)
	case "ping":
		return c.ping(ctx)
	case "query-watchdog":
		return c.queryWatchdog()
	case "test-watchdog":
		return c.testWatchdog(ctx)
	case "watch":
		return errors.New("holdfast sbd does not watch: on a node of a Holdfast cluster holdfast-guard reads the mailboxes, elsewhere the daemon of sbd(8) does")
	}
	return misuse("")
}

// operand returns the n-th argument of the verb, "" if it was not given.
func (c *command) operand(n int) string {
	if n >= len(c.operands) {
		return ""
	}
	return c.operands[n]
}

func (c *command) say(format string, args ...any) { fmt.Fprintf(c.Out, format+"\n", args...) }

// complain prints a line of sbd(8)'s own to stderr.
func (c *command) complain(format string, args ...any) { fmt.Fprintf(c.Err, format+"\n", args...) }

// because prints why; sbd(8) has it in its log only.
func (c *command) because(path string, err error) {
	text := err.Error()
	if !strings.Contains(text, path) {
		text = path + ": " + text
	}
	c.complain("sbd: %s", text)
}

// note prints what -v asks for.
func (c *command) note(format string, args ...any) {
	if c.verbose > 0 {
		c.complain("sbd: "+format, args...)
	}
}

// quiet is the error of a failure whose reasons were printed already.
func quiet() error { return refusal{} }
