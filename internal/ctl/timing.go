package ctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/enrol"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

func (a *app) timingCommand() *cobra.Command {
	var within time.Duration
	var format string
	c := a.PrintsJSON(shell.Command("timing", cobra.NoArgs, func(c *cobra.Command, _ []string) error {
		if format != "table" && format != "explain" {
			return shell.Usage(fmt.Errorf("--format=%s: want table or explain", format))
		}
		t, source, err := a.timing(c.Context(), within)
		switch {
		case err != nil:
			return err
		case a.JSON:
			return a.PrintJSON(t)
		}
		a.showTiming(t, source, format == "explain")
		return nil
	}))
	c.Flags().DurationVar(&within, "failover-within", 0, "what another `value` would give on this node's hardware")
	c.Flags().StringVarP(&format, "format", "f", "table", "`table`, or explain: with the inequality behind each value")
	return c
}

// timing asks the daemon, or derives the table from what stands on this node
// and on the quorum disk. The second result says which.
func (a *app) timing(ctx context.Context, within time.Duration) (*api.Timing, string, error) {
	if within == 0 {
		client, err := a.dial()
		if err == nil {
			defer client.Close()
			t, err := client.Timing(ctx)
			return t, "as the daemon uses it", err
		}
		if !errors.Is(err, api.ErrNoDaemon) {
			return nil, "", err
		}
	}
	n, err := a.Node()
	if err != nil {
		return nil, "", err
	}
	host, err := hostOf(n)
	if err != nil {
		return nil, "", err
	}
	h, err := enrol.HardwareOf(n, host)
	if err != nil {
		return nil, "", err
	}
	var conf *cluster.Config
	source := "as it would be"
	if within == 0 {
		source = "derived from the quorum disk and this node's hardware, for the daemon does not run"
		if conf, err = onDisk(n); err != nil {
			return nil, "", fmt.Errorf("the daemon does not run, and failover_within cannot be read from the quorum disks: %w; give --failover-within", err)
		}
		within, h.Input.Grace = conf.FailoverWithin, conf.NetworkGrace()
	}
	h.Input.FailoverWithin = within
	table, err := timing.Derive(h.Input)
	if err != nil {
		return nil, "", err
	}
	return wireTiming(table, conf), source, nil
}

// hostOf is the identity of this host; an emulated node's needs its emulator.
func hostOf(n *config.Node) (ident.UUID, error) {
	p, err := clock.Open(clock.Config{Emulator: n.Platform.Emulator, Node: n.Name})
	if err != nil {
		return ident.UUID{}, err
	}
	if c, ok := p.(interface{ Close() error }); ok {
		_ = c.Close() // it was only asked who it is
	}
	return p.Identity().Host, nil
}

// onDisk reads the newest configuration from the first quorum disk that answers.
func onDisk(n *config.Node) (*cluster.Config, error) {
	keys, err := quorumdisk.LoadKeys(n.Key)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, d := range n.Disks {
		v, err := enrol.OpenVolume(d.Path, keys, volume.Expect{Cluster: n.Cluster.ID, Epoch: n.Cluster.Epoch, Disk: d.UUID}, storage.Options{ReadOnly: true})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		s, _, err := v.NewestState(enrol.Patience)
		_ = v.Disk().Close() // read only
		if err != nil || s == nil {
			failed = errors.Join(failed, fmt.Errorf("%s: no state of the cluster: %w", d.Path, err))
			continue
		}
		return config.ParseCluster("the cluster's configuration", s.Config)
	}
	return nil, failed
}

func wireTiming(t timing.Table, conf *cluster.Config) *api.Timing {
	w := &api.Timing{Version: api.Version, Within: api.Of(t.B)}
	for _, r := range t.Explain() {
		w.Rows = append(w.Rows, api.Row{Name: r.Name, Value: api.Of(r.Value), Why: r.Why})
	}
	w.Failures = api.Failures(t.Failures(fencing.CostsOf(conf)))
	for _, e := range t.Expect(fencing.CostsOf(conf)) {
		w.Expected = append(w.Expected, api.Expected{Proof: e.Proof, Known: e.Known, Typical: api.Of(e.Typ), Worst: api.Of(e.Worst), Why: e.Why})
	}
	return w
}

func (a *app) showTiming(t *api.Timing, source string, explain bool) {
	a.Say("timeouts for failover_within %s,\n%s", screen.Seconds(t.Within.Duration()), source)
	if t.Problem != "" {
		a.Say("NOT SAFE: %s", screen.Wrap(t.Problem, screen.Width-10, "  "))
	}
	a.Say("")
	if explain {
		for _, r := range t.Rows {
			a.Say("%-16s %9s  %s", r.Name, exact(r.Value), screen.Wrap(r.Why, screen.Width-28, strings.Repeat(" ", 28)))
		}
	} else {
		rows := screen.NewTable(a.Out)
		half := (len(t.Rows) + 1) / 2
		for i := range half {
			cells := []string{t.Rows[i].Name, exact(t.Rows[i].Value)}
			if j := i + half; j < len(t.Rows) {
				cells = append(cells, "  "+t.Rows[j].Name, exact(t.Rows[j].Value))
			}
			rows.Row(cells...)
		}
		rows.Done()
	}
	a.Say("\nfrom a fault to the permission to start elsewhere, by what proves the death")
	for _, e := range t.Expected {
		times := "cannot be predicted"
		if e.Known {
			times = fmt.Sprintf("%s, at worst %s", screen.Seconds(e.Typical.Duration()), screen.Seconds(e.Worst.Duration()))
		}
		a.Say("%-21s %-23s %s", e.Proof, times, screen.Wrap(e.Why, screen.Width-46, strings.Repeat(" ", 46)))
	}
	if len(t.Failures) > 0 {
		a.Say("\nby what fails")
	}
	for _, f := range t.Failures {
		times := "no takeover"
		if f.Proof != "" {
			times = fmt.Sprintf("%s, at worst %s, by %s", screen.Seconds(f.Typical.Duration()), screen.Seconds(f.Worst.Duration()), f.Proof)
		}
		a.Say("%s: %s", f.What, times)
		if f.Why != "" {
			a.Say("  %s", screen.Wrap(f.Why, screen.Width-4, "  "))
		}
	}
	if !explain {
		a.Say("\nwhy each value is no other: holdfast timing -f explain")
	}
}

// exact shows milliseconds, for tables that are compared with others.
func exact(s api.Seconds) string {
	if s > 3e9 { // a century
		return "no limit"
	}
	return fmt.Sprintf("%.3f s", float64(s))
}
