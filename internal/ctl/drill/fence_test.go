package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
)

// world is a daemon whose cluster has one other node, beta, and what its switch is
// like.
type world struct {
	state   string // of the way, as status shows it
	says    func(step string) (outcome string, off bool)
	runsOn  bool // it beats on whatever the switch says
	refused error

	began time.Time // of the off
	on    bool
	steps []string
	notes []api.DrillRequest
}

func newWorld() *world {
	return &world{on: true, says: func(step string) (string, bool) { return "proven", step == api.DrillOff }}
}

func (w *world) Close() {}

func (w *world) Status(context.Context) (*api.Status, error) {
	n := api.Node{Name: "beta", Phase: "member"}
	age := api.Seconds(0)
	if !w.on && !w.runsOn {
		age = api.Of(time.Since(w.began))
		if time.Since(w.began) > 20*time.Millisecond {
			n.Phase = "out"
		}
	}
	n.DiskAge = &age
	ways := []api.Way{{Way: "bmc", State: "works"}, {Way: "disk", State: w.state}}
	return &api.Status{Self: api.Self{Name: "alpha"}, Nodes: []api.Node{{Name: "alpha"}, n}, Fencing: []api.Readiness{{Node: "beta", Ways: ways}}}, nil
}

func (w *world) Drill(_ context.Context, _ string, q api.DrillRequest) (*api.DrillStep, error) {
	if w.refused != nil && q.Step == api.DrillOff {
		return nil, w.refused
	}
	if q.Step == api.DrillVerdict {
		w.notes = append(w.notes, q)
		return &api.DrillStep{}, nil
	}
	w.steps = append(w.steps, q.Step)
	outcome, off := w.says(q.Step)
	s := &api.DrillStep{Step: q.Step, Way: q.Way, Outcome: outcome, Text: "evidence"}
	if off {
		s.Off = new(api.Seconds)
	}
	switch q.Step {
	case api.DrillOff:
		w.on, w.began = false, time.Now()
	case api.DrillOn:
		w.on = true
	}
	return s, nil
}

// drill runs the command and gives its report.
func drill(t *testing.T, w *world, in string, args ...string) (Report, error) {
	t.Helper()
	var out bytes.Buffer
	sh := &shell.Shell{In: strings.NewReader(in), Out: &out, Err: io.Discard, JSON: true}
	f := &fence{Shell: sh, dial: func() (Daemon, error) { return w, nil }, poll: time.Millisecond, late: 40 * time.Millisecond}
	c := &cobra.Command{Use: "fence", SilenceUsage: true, SilenceErrors: true, RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), args[0]) }}
	c.Flags().StringVar(&f.by, "by", "", "")
	c.Flags().BoolVar(&f.cycle, "cycle", false, "")
	c.Flags().BoolVar(&f.yes, "yes", false, "")
	c.Flags().DurationVar(&f.wait, "wait", 10*time.Second, "")
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	var r Report
	if i := strings.Index(out.String(), "{"); i >= 0 {
		if err := json.Unmarshal(out.Bytes()[i:], &r); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return r, err
}

// TestCheck: without --cycle nothing is switched, and each way gets a verdict.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		ok     bool
		words  string
	}{
		"well":                 {func(w *world) { w.state = "works" }, true, "answers for the node"},
		"silent":               {func(w *world) { w.says = func(string) (string, bool) { return "unknown", false } }, false, "unknown: evidence"},
		"says off of a member": {func(w *world) { w.says = func(string) (string, bool) { return "proven", true } }, false, "another machine"},
		"no watchdog":          {func(w *world) { w.state = "failed" }, false, "answers"},
	} {
		w := newWorld()
		c.change(w)
		r, err := drill(t, w, "", "beta")
		var code shell.Code
		if r.OK != c.ok || (err == nil) != c.ok || err != nil && !errors.As(err, &code) || len(r.Ways) != 2 || !strings.Contains(r.Ways[0].Text, c.words) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if !slices.Equal(w.steps, []string{api.DrillCheck}) || len(w.notes) != 1 || w.notes[0].OK != r.Ways[0].OK {
			t.Errorf("%s: steps %v, noted %+v", name, w.steps, w.notes)
		}
	}
}

// TestCycle: the power goes and comes back; a switch that says off and leaves the
// machine running is found, and gives no power where none was taken by it.
func TestCycle(t *testing.T) {
	all := []string{api.DrillCheck, api.DrillOff, api.DrillOn}
	for name, c := range map[string]struct {
		change func(*world)
		ok     bool
		words  string
		steps  []string
	}{
		"well": {func(*world) {}, true, "came back", all},
		"lies": {func(w *world) { w.runsOn = true }, false, "it lies", all},
		"failed": {func(w *world) {
			w.says = func(step string) (string, bool) {
				return map[string]string{api.DrillOff: "failed"}[step] + map[bool]string{true: "proven"}[step != api.DrillOff], false
			}
		}, false, "off: failed", all[:2]},
		"refused": {func(w *world) { w.refused = errors.New("it owns orders") }, false, "it owns orders", all[:1]},
	} {
		w := newWorld()
		c.change(w)
		r, _ := drill(t, w, "", "beta", "--cycle", "--yes", "--by", "bmc")
		if len(r.Ways) != 1 || r.OK != c.ok || !strings.Contains(r.Ways[0].Text, c.words) || !slices.Equal(w.steps, c.steps) {
			t.Errorf("%s: %+v, steps %v", name, r, w.steps)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ args, in, words string }{
		{"alpha", "", "is this node"},
		{"gamma", "", "no node"},
		{"beta --by fence_x", "", "no way"},
		{"beta --cycle", "no\n", "nothing was changed"},
		{"beta --cycle --by disk", "", "cuts its power"},
	} {
		w := newWorld()
		if _, err := drill(t, w, c.in, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.words) || len(w.steps) != 0 {
			t.Errorf("%s: %v, steps %v", c.args, err, w.steps)
		}
	}
}
