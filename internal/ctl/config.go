package ctl

import (
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
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

func (a *app) planCommand() *cobra.Command {
	var file string
	c := a.PrintsJSON(shell.Command("plan -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
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
	c := a.PrintsJSON(shell.Command("apply -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, plan, err := a.plan(c, r)
		if err != nil || dryRun {
			return err
		}
		if len(plan.Changes) == 0 {
			return nil
		}
		if !yes {
			if r.File == "-" || a.JSON {
				return shell.Usage(errors.New("apply: --yes is needed when the configuration comes from standard input, and with --json: nobody can be asked"))
			}
			if err := a.Confirm("apply this", "yes"); err != nil {
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
		return nil, p, shell.Usage(errors.New("give the configuration: -f FILE; holdfast config export prints the present one"))
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
	if a.JSON && c.Name() == "plan" {
		err = a.PrintJSON(p.Plan)
	} else if !a.JSON {
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
		return io.ReadAll(a.In)
	}
	return os.ReadFile(name)
}

func (a *app) showPlan(p *api.Plan) {
	if len(p.Changes) == 0 && len(p.Problems) == 0 {
		a.Say("no changes: this is configuration %d", p.Config)
		return
	}
	a.Say("compared with configuration %d", p.Config)
	for _, change := range p.Changes {
		sign := map[string]string{"add": "+", "remove": "-"}[change.Kind]
		if sign == "" {
			sign = "~"
		}
		a.Say("  %s %s", sign, screen.Wrap(change.What+": "+change.Text, screen.Width-4, "      "))
	}
	if len(p.Actions) == 0 {
		a.Say("nothing starts, stops or moves")
	} else {
		a.Say("in this order")
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
		a.Say("  %d. %s", i+1, screen.Wrap(text, screen.Width-5, "     "))
	}
	for _, problem := range p.Problems {
		a.Say("  REFUSED: %s", screen.Wrap(problem, screen.Width-11, "     "))
	}
}

// showResult says that something was committed.
func (a *app) showResult(r *api.Result, word string) error {
	if a.JSON {
		return a.PrintJSON(r)
	}
	text := r.Text
	if text == "" {
		text = word
	}
	if r.State > 0 {
		text += fmt.Sprintf(" (state %d)", r.State)
	}
	a.Say("%s", text)
	return nil
}

func (a *app) configCommand() *cobra.Command {
	var version uint64
	export := a.PrintsJSON(shell.Command("export", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		conf, err := client.Config(c.Context(), version)
		if err != nil {
			return err
		}
		if a.JSON {
			return a.PrintJSON(conf)
		}
		_, err = io.WriteString(a.Out, conf.Text)
		return err
	}))
	export.Flags().Uint64Var(&version, "version", 0, "an older `version`, as holdfast history lists them (default: the present one)")
	check := shell.Command("check FILE", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error {
		text, err := a.readFile(args[0])
		if err != nil {
			return err
		}
		conf, err := config.ParseCluster(args[0], text)
		if err != nil {
			return err
		}
		a.Say("%s: well formed, %s; what it would do: holdfast plan -f %s", args[0], screen.Plural(len(conf.Services), "service"), args[0])
		return nil
	})
	schema := shell.Command("schema [node]", cobra.MaximumNArgs(1), func(_ *cobra.Command, args []string) error {
		text := config.ClusterSchema()
		if len(args) > 0 {
			if args[0] != "node" {
				return shell.Usage(fmt.Errorf("config schema %s: want nothing, for the cluster's configuration, or node, for node.yaml", args[0]))
			}
			text = config.NodeSchema()
		}
		_, err := a.Out.Write(text)
		return err
	})
	return shell.Group("config", export, check, schema)
}

func (a *app) historyCommand() *cobra.Command {
	return a.PrintsJSON(shell.Command("history", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := a.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		list, err := client.History(c.Context())
		if err != nil {
			return err
		}
		if a.JSON {
			return a.PrintJSON(list)
		}
		t := screen.NewTable(a.Out)
		t.Row("VERSION", "LEARNED", "STATE", "SIZE")
		for _, v := range list {
			t.Row(strconv.FormatUint(v.Config, 10), v.Time.Format(time.DateTime), strconv.FormatUint(v.State, 10), screen.Size(int64(v.Bytes)))
		}
		t.Done()
		a.Say("to go back to one: holdfast rollback VERSION")
		return nil
	}))
}

// rollbackCommand applies an older version again, as a new one.
func (a *app) rollbackCommand() *cobra.Command {
	var yes bool
	c := shell.Command("rollback VERSION", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		version, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || version == 0 {
			return shell.Usage(fmt.Errorf("rollback %s: want a version that holdfast history lists", args[0]))
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
			if err := a.Confirm("go back to this", "yes"); err != nil {
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
