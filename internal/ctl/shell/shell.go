// Package shell is what every command of the program holdfast stands on: where
// it reads and writes, the flags that all commands share, and how a command is
// made, asks and fails. The commands themselves are package ctl's and those
// below it; they get a Shell and nothing global.
package shell

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// UsageError is a command line that no command understands.
type UsageError struct{ Err error }

// Error is the cause's.
func (u UsageError) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u UsageError) Unwrap() error { return u.Err }

// Usage says that a command line is wrong.
func Usage(err error) error { return UsageError{Err: err} }

// Code ends the program with an exit code; what there was to say was said.
type Code int

// Error is for nobody: nothing is printed for a Code.
func (c Code) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Shell is where a command reads and writes, and the flags of all commands.
type Shell struct {
	In       io.Reader
	Out, Err io.Writer
	Config   string // path of node.yaml
	JSON     bool   // print one JSON document instead of text
}

// Say writes one line to standard output.
func (s *Shell) Say(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

// PrintJSON writes one indented document to standard output.
func (s *Shell) PrintJSON(v any) error {
	e := json.NewEncoder(s.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Confirm asks to type an answer; anything else is a refusal. With --json the
// question goes to standard error, for standard output is a document.
func (s *Shell) Confirm(what, answer string) error {
	to := s.Out
	if s.JSON {
		to = s.Err
	}
	fmt.Fprintf(to, "%s? Type %s: ", what, answer)
	if typed := s.ReadLine(); typed != answer {
		return fmt.Errorf("%q was typed, not %q: nothing was changed", typed, answer)
	}
	return nil
}

// ReadLine reads one line of standard input, buffered, so that the next question
// gets the next line. An end of the input is an empty answer.
func (s *Shell) ReadLine() string {
	if _, buffered := s.In.(*bufio.Reader); !buffered {
		s.In = bufio.NewReader(s.In)
	}
	line, _ := s.In.(*bufio.Reader).ReadString('\n')
	return strings.TrimSpace(line)
}

// PrintsJSON adds --json to a command that prints data.
func (s *Shell) PrintsJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&s.JSON, "json", false, "print JSON, whose names do not change within a version")
	return c
}

// ErrNoNode says that this machine belongs to no cluster yet.
var ErrNoNode = errors.New("this node belongs to no cluster yet")

// Node reads node.yaml. Its error says what to do where there is none, and wraps
// ErrNoNode then.
func (s *Shell) Node() (*config.Node, error) {
	text, err := os.ReadFile(s.Config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w, for there is no %s: holdfast init makes a cluster, holdfast join TOKEN joins one (--config names another file)", ErrNoNode, s.Config)
	}
	if err != nil {
		return nil, err
	}
	return config.ParseNode(s.Config, text)
}

// Command makes a command whose texts stand in help.txt; args says how many
// arguments it takes.
func Command(use string, args cobra.PositionalArgs, run func(c *cobra.Command, args []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, RunE: run, DisableFlagsInUseLine: false}
	c.Args = func(c *cobra.Command, given []string) error {
		if err := args(c, given); err != nil {
			return Usage(fmt.Errorf("%s: %w; usage: %s", c.CommandPath(), wanted(c, given, err), c.UseLine()))
		}
		return nil
	}
	return c
}

// wanted says in words which arguments are missing, or too many; the usage line names
// them. What is wrong in another way is said as it is.
func wanted(c *cobra.Command, given []string, err error) error {
	var names []string
	for _, word := range strings.Fields(c.Use)[1:] {
		if word != strings.ToUpper(word) || strings.ContainsAny(word, "|[]-.") {
			if len(given) == 0 {
				return errors.New("say which")
			}
			return err // options, or several ways to call it
		}
		names = append(names, word)
	}
	switch {
	case len(given) > len(names):
		return fmt.Errorf("%q is one word too many", given[len(names)])
	case len(given) < len(names):
		return fmt.Errorf("%s is missing", strings.Join(names[len(given):], " and "))
	}
	return err
}

// Duration adds to the error of an option what a time looks like.
func Duration(err error) error {
	if strings.Contains(err.Error(), "invalid duration") {
		return fmt.Errorf("%w: a time is written as 90s, 30m or 2h", err)
	}
	return err
}

// Group makes a command that only has others below it.
func Group(use string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return Usage(errors.New(text + " See: " + c.CommandPath() + " --help"))
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(below...)
	return c
}

// IsTerminal says whether a person looks at what is written: a device, or a
// writer that says so of itself.
func IsTerminal(w io.Writer) bool {
	if t, ok := w.(interface{ Terminal() bool }); ok {
		return t.Terminal()
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
