// Package plancmd is the life of the configuration on the command line: plan, apply,
// config, history and rollback. The daemon plans, and decides whether what is applied
// is what was planned; here files are read, and plans shown and confirmed.
package plancmd

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

// command is what every command here has.
type command struct {
	*shell.Shell
	dial func() (*api.Client, error)
}

// Commands makes the commands. dial reaches the daemon of this node.
func Commands(sh *shell.Shell, dial func() (*api.Client, error)) []*cobra.Command {
	r := &command{Shell: sh, dial: dial}
	return []*cobra.Command{r.planCommand(), r.applyCommand(), r.configCommand(), r.historyCommand(), r.rollbackCommand()}
}

func (r *command) planCommand() *cobra.Command {
	var file string
	c := r.PrintsJSON(shell.Command("plan -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		_, _, err := r.plan(c, api.ApplyRequest{File: file})
		return err
	}))
	fileFlag(c, &file)
	return c
}

func fileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the configuration: a YAML `file`, or - for standard input")
}

func (r *command) applyCommand() *cobra.Command {
	var ask api.ApplyRequest
	var dryRun, yes bool
	c := r.PrintsJSON(shell.Command("apply -f FILE", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, plan, err := r.plan(c, ask)
		if err != nil {
			return err
		}
		if dryRun {
			return r.planned(plan.Plan)
		}
		if len(plan.Changes) == 0 {
			return r.nothing()
		}
		if !yes {
			if ask.File == "-" || r.JSON {
				return shell.Usage(errors.New("apply: --yes is needed when the configuration comes from standard input, and with --json: nobody can be asked"))
			}
			if err := r.Confirm("apply this", "yes"); err != nil {
				return err
			}
		}
		// What was shown is what is applied: not a later version, nor another file.
		ask.Config, ask.Expect = plan.text, plan.Config
		done, err := client.Apply(c.Context(), ask)
		if err != nil {
			return err
		}
		return r.result(done)
	}))
	fileFlag(c, &ask.File)
	c.Flags().Uint64Var(&ask.Expect, "expect-version", 0, "refuse unless the configuration has this `version`, as plan showed it")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only show what it would do, as plan does")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// planned prints the plan of apply --dry-run for a program.
func (r *command) planned(p *api.Plan) error {
	if !r.JSON {
		return nil
	}
	return r.PrintJSON(p)
}

// planned is a plan and the text that it is for.
type planned struct {
	*api.Plan
	text string
}

// plan parses a file, asks the daemon what applying it would do, and shows that.
// A plan with problems is an error.
func (r *command) plan(c *cobra.Command, ask api.ApplyRequest) (*api.Client, planned, error) {
	var p planned
	if ask.File == "" {
		return nil, p, shell.Usage(errors.New("give the configuration: -f FILE; holdfast config export prints the present one"))
	}
	text, err := r.readFile(ask.File)
	if err != nil {
		return nil, p, err
	}
	if _, err := config.ParseCluster(ask.File, text); err != nil {
		return nil, p, err
	}
	client, err := r.dial()
	if err != nil {
		return nil, p, err
	}
	p.text, ask.Config = string(text), string(text)
	if p.Plan, err = client.Plan(c.Context(), ask); err != nil {
		return nil, p, err
	}
	if r.JSON && c.Name() == "plan" {
		err = r.PrintJSON(p.Plan)
	} else if !r.JSON {
		r.show(p.Plan)
	}
	if err == nil && len(p.Problems) > 0 {
		err = fmt.Errorf("refused, nothing was changed: %s", strings.Join(p.Problems, "; "))
	}
	if err == nil && ask.Expect != 0 && ask.Expect != p.Plan.Config {
		err = fmt.Errorf("the configuration is at version %d, not %d: somebody changed it; look with holdfast history, and plan again", p.Plan.Config, ask.Expect)
	}
	return client, p, err
}

func (r *command) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(r.In)
	}
	return os.ReadFile(name)
}

// result says that something was committed.
func (r *command) result(done *api.Result) error {
	if r.JSON {
		return r.PrintJSON(done)
	}
	r.Say("%s", screen.Result(done, "applied"))
	return nil
}

func (r *command) configCommand() *cobra.Command {
	var version uint64
	export := r.PrintsJSON(shell.Command("export", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := r.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		conf, err := client.Config(c.Context(), version)
		if err != nil {
			return err
		}
		if r.JSON {
			return r.PrintJSON(conf)
		}
		_, err = io.WriteString(r.Out, conf.Text)
		return err
	}))
	export.Flags().Uint64Var(&version, "version", 0, "an older `version`, as holdfast history lists them (default: the present one)")
	check := r.PrintsJSON(shell.Command("check FILE", cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error { return r.check(args[0]) }))
	schema := shell.Command("schema [node]", cobra.MaximumNArgs(1), func(_ *cobra.Command, args []string) error {
		text := config.ClusterSchema()
		if len(args) > 0 {
			if args[0] != "node" {
				return shell.Usage(fmt.Errorf("config schema %s: want nothing, for the cluster's configuration, or node, for node.yaml", args[0]))
			}
			text = config.NodeSchema()
		}
		_, err := r.Out.Write(text)
		return err
	})
	return shell.Group("config", export, check, schema)
}

// Checked is what config check says of a file.
type Checked struct {
	Version  int    `json:"version"`
	File     string `json:"file"`
	OK       bool   `json:"ok"`
	Services int    `json:"services"`
	Problem  string `json:"problem,omitempty"` // all that is wrong, with places
}

func (r *command) check(file string) error {
	text, err := r.readFile(file)
	if err != nil {
		return err
	}
	conf, err := config.ParseCluster(file, text)
	switch {
	case r.JSON && err != nil:
		return errors.Join(r.PrintJSON(&Checked{Version: api.Version, File: file, Problem: err.Error()}), shell.Code(1))
	case err != nil:
		return err
	case r.JSON:
		return r.PrintJSON(&Checked{Version: api.Version, File: file, OK: true, Services: len(conf.Services)})
	}
	r.Say("%s: well formed, %s; what it would do: holdfast plan -f %s", file, screen.Plural(len(conf.Services), "service"), file)
	return nil
}

func (r *command) historyCommand() *cobra.Command {
	return r.PrintsJSON(shell.Command("history", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		client, err := r.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		list, err := client.History(c.Context())
		if err != nil {
			return err
		}
		if r.JSON {
			return r.PrintJSON(list)
		}
		t := screen.NewTable(r.Out)
		t.Row("VERSION", "LEARNED", "STATE", "SIZE")
		for _, v := range list {
			state := "-"
			if v.State > 0 {
				state = strconv.FormatUint(v.State, 10)
			}
			t.Row(strconv.FormatUint(v.Config, 10), v.Time.Format(time.DateTime), state, screen.Size(int64(v.Bytes)))
		}
		t.Done()
		r.Say("to go back to one: holdfast rollback VERSION")
		return nil
	}))
}

// rollbackCommand applies an older version again, as a new one.
func (r *command) rollbackCommand() *cobra.Command {
	var yes bool
	c := r.PrintsJSON(shell.Command("rollback VERSION", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if r.JSON && !yes {
			return shell.Usage(errors.New("rollback: --yes is needed with --json: nobody can be asked"))
		}
		version, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || version == 0 {
			return shell.Usage(fmt.Errorf("rollback %s: want a version that holdfast history lists", args[0]))
		}
		client, err := r.dial()
		if err != nil {
			return err
		}
		defer client.Close()
		old, err := client.Config(c.Context(), version)
		if err != nil {
			return err
		}
		ask := api.ApplyRequest{Config: old.Text, File: "configuration " + args[0]}
		plan, err := client.Plan(c.Context(), ask)
		if err != nil {
			return err
		}
		if !r.JSON {
			r.show(plan)
		}
		switch {
		case len(plan.Problems) > 0:
			return fmt.Errorf("refused, nothing was changed: %s", strings.Join(plan.Problems, "; "))
		case len(plan.Changes) == 0:
			return r.nothing()
		case !yes:
			if err := r.Confirm("go back to this", "yes"); err != nil {
				return err
			}
		}
		ask.Expect = plan.Config
		done, err := client.Apply(c.Context(), ask)
		if err != nil {
			return err
		}
		return r.result(done)
	}))
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// nothing says to a program that nothing was to be changed; people have read it.
func (r *command) nothing() error {
	if !r.JSON {
		return nil
	}
	return r.PrintJSON(&api.Result{Version: api.Version, Text: "no changes"})
}
