package ctl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
)

func (a *app) planCommand() *cobra.Command {
	var file string
	c := a.printsJSON(command("plan -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		_, _, err := a.plan(c, api.ApplyRequest{File: file})
		return err
	}))
	fileFlag(c, &file)
	return c
}

func fileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the configuration: a YAML `file`, or - for standard input")
}

func (a *app) applyCommand() *cobra.Command {
	var r api.ApplyRequest
	var dryRun, yes bool
	c := a.printsJSON(command("apply -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, plan, err := a.plan(c, r)
		if err != nil || dryRun {
			return err
		}
		if len(plan.Changes) == 0 {
			return nil
		}
		if !yes {
			if r.File == "-" || a.json {
				return usageError{errors.New("apply: --yes is needed when the configuration comes from standard input, and with --json: nobody can be asked")}
			}
			if err := a.confirm("apply this", "yes"); err != nil {
				return err
			}
		}
		// What was shown is what is applied: not a later version, nor another file.
		r.Config, r.Expect = plan.text, plan.Config
		done, err := client.Apply(c.Context(), r)
		if err != nil {
			return err
		}
		return a.showResult(done, "applied")
	}))
	fileFlag(c, &r.File)
	c.Flags().Uint64Var(&r.Expect, "expect-version", 0, "refuse unless the configuration has this `version`, as plan showed it")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only show what it would do, as plan does")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// planned is a plan and the text that it is for.
type planned struct {
	*api.Plan
	text string
}

// plan parses a file, asks the daemon what applying it would do, and shows that.
// A plan with problems is an error.
func (a *app) plan(c *cobra.Command, r api.ApplyRequest) (*api.Client, planned, error) {
	var p planned
	if r.File == "" {
		return nil, p, usageError{errors.New("give the configuration: -f FILE; holdfast config export prints the present one")}
	}
	text, err := a.readFile(r.File)
	if err != nil {
		return nil, p, err
	}
	if _, err := config.ParseCluster(r.File, text); err != nil {
		return nil, p, err
	}
	client, err := a.dial()
	if err != nil {
		return nil, p, err
	}
	p.text, r.Config = string(text), string(text)
	if p.Plan, err = client.Plan(c.Context(), r); err != nil {
		return nil, p, err
	}
	if a.json && c.Name() == "plan" {
		err = a.printJSON(p.Plan)
	} else if !a.json {
		a.showPlan(p.Plan)
	}
	if err == nil && len(p.Problems) > 0 {
		err = fmt.Errorf("refused, nothing was changed: %s", strings.Join(p.Problems, "; "))
	}
	if err == nil && r.Expect != 0 && r.Expect != p.Plan.Config {
		err = fmt.Errorf("the configuration is at version %d, not %d: somebody changed it; look with holdfast history, and plan again", p.Plan.Config, r.Expect)
	}
	return client, p, err
}

func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.in)
	}
	return os.ReadFile(name)
}

func (a *app) showPlan(p *api.Plan) {
	if len(p.Changes) == 0 && len(p.Problems) == 0 {
		a.say("no changes: this is configuration %d", p.Config)
		return
	}
	a.say("compared with configuration %d", p.Config)
	for _, change := range p.Changes {
		sign := map[string]string{"add": "+", "remove": "-"}[change.Kind]
		if sign == "" {
			sign = "~"
		}
		a.say("  %s %s", sign, screen.Wrap(change.What+": "+change.Text, screen.Width-4, "      "))
	}
	if len(p.Actions) == 0 {
		a.say("nothing starts, stops or moves")
	} else {
		a.say("in this order")
	}
	for i, act := range p.Actions {
		text := act.Action + " " + act.Service
		if act.From != "" {
			text += " from " + act.From
		}
		if act.To != "" {
			text += " on " + act.To
		}
		if act.Text != "" {
			text += ": " + act.Text
		}
		if act.Interruption != nil {
			text += " (interrupted for about " + screen.Seconds(act.Interruption.Duration()) + ")"
		}
		a.say("  %d. %s", i+1, screen.Wrap(text, screen.Width-5, "     "))
	}
	for _, problem := range p.Problems {
		a.say("  REFUSED: %s", screen.Wrap(problem, screen.Width-11, "     "))
	}
}

// showResult says that something was committed.
func (a *app) showResult(r *api.Result, word string) error {
	if a.json {
		return a.printJSON(r)
	}
	text := r.Text
	if text == "" {
		text = word
	}
	if r.State > 0 {
		text += fmt.Sprintf(" (state %d)", r.State)
	}
	a.say("%s", text)
	return nil
}

// confirm asks to type an answer; anything else is a refusal.
func (a *app) confirm(what, answer string) error {
	fmt.Fprintf(a.out, "%s? Type %s: ", what, answer)
	if typed := a.readLine(); typed != answer {
		return fmt.Errorf("%q was typed, not %q: nothing was changed", typed, answer)
	}
	return nil
}

// readLine reads one line of standard input, byte by byte, so that the next
// question gets the next line.
func (a *app) readLine() string {
	if _, buffered := a.in.(*bufio.Reader); !buffered {
		a.in = bufio.NewReader(a.in)
	}
	line, _ := a.in.(*bufio.Reader).ReadString('\n') // an end of the input is an empty answer
	return strings.TrimSpace(line)
}

func (a *app) configCommand() *cobra.Command {
	var version uint64
	export := a.printsJSON(command("export", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		conf, err := client.Config(c.Context(), version)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(conf)
		}
		_, err = io.WriteString(a.out, conf.Text)
		return err
	}))
	export.Flags().Uint64Var(&version, "version", 0, "an older `version`, as holdfast history lists them (default: the present one)")
	check := command("check FILE", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		text, err := a.readFile(args[0])
		if err != nil {
			return err
		}
		conf, err := config.ParseCluster(args[0], text)
		if err != nil {
			return err
		}
		a.say("%s: well formed, %s; what it would do: holdfast plan -f %s", args[0], screen.Plural(len(conf.Services), "service"), args[0])
		return nil
	})
	return group("config", export, check)
}

func (a *app) historyCommand() *cobra.Command {
	return a.printsJSON(command("history", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		list, err := client.History(c.Context())
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(list)
		}
		t := screen.NewTable(a.out)
		t.Row("VERSION", "LEARNED", "STATE", "SIZE")
		for _, v := range list {
			t.Row(strconv.FormatUint(v.Config, 10), v.Time.Format(time.DateTime), strconv.FormatUint(v.State, 10), screen.Size(int64(v.Bytes)))
		}
		t.Done()
		a.say("to go back to one: holdfast rollback VERSION")
		return nil
	}))
}

// rollbackCommand applies an older version again, as a new one.
func (a *app) rollbackCommand() *cobra.Command {
	var yes bool
	c := command("rollback VERSION", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		version, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || version == 0 {
			return usageError{fmt.Errorf("rollback %s: want a version that holdfast history lists", args[0])}
		}
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		old, err := client.Config(c.Context(), version)
		if err != nil {
			return err
		}
		r := api.ApplyRequest{Config: old.Text, File: "configuration " + args[0]}
		plan, err := client.Plan(c.Context(), r)
		if err != nil {
			return err
		}
		a.showPlan(plan)
		switch {
		case len(plan.Problems) > 0:
			return fmt.Errorf("refused, nothing was changed: %s", strings.Join(plan.Problems, "; "))
		case len(plan.Changes) == 0:
			return nil
		case !yes:
			if err := a.confirm("go back to this", "yes"); err != nil {
				return err
			}
		}
		r.Expect = plan.Config
		done, err := client.Apply(c.Context(), r)
		if err != nil {
			return err
		}
		return a.showResult(done, "applied")
	})
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}
