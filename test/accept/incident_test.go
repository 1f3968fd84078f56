package accept

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/incidents"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// TestIncident freezes the active node, and asks the other one what happened, of all
// nodes: the daemons answer each other over their links. Afterwards the node that came
// back tells of its own part, the doctors of both speak, and the report has it all.
func TestIncident(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 4*time.Minute)
	s := raise(ctx, t, stage.Options{Services: witnessed(), Names: []string{"alpha", "beta"}, Within: 7 * time.Second})
	log := follow(t, s)
	lost := owner(ctx, t, s)
	told := tellScript(ctx, t, s, lost)
	from := log.mark(ctx, t, s, "freeze "+lost.Name)
	if err := lost.Freeze(); err != nil {
		t.Fatal(err)
	}
	mount, err := log.await(ctx, from, "the other node mounts", func(e power.Event) bool {
		return e.What == power.Mark && e.Node != lost.Name && e.Text == s.Services[0].WitnessText()
	})
	if err != nil {
		t.Fatal(err)
	}
	comeBack(ctx, t, s, lost)
	other := s.Nodes[slices.IndexFunc(s.Nodes, func(n *stage.Node) bool { return n.Name == mount.Node })]

	var x struct {
		incidents.Incident
		Remedies []string
	}
	ask(ctx, t, other, &x, "explain", "incident", "last", "--json")
	if x.Kind != incidents.NodeLost || x.Subject != lost.Name || x.Open() || x.Proof == nil || x.Returned == nil || len(x.Services) != 1 || x.Services[0].To != other.Name || len(x.Remedies) == 0 {
		t.Errorf("%+v", x)
	}
	if err := stage.Await(ctx, "the timeline ends with the first check that finds it well", func() error {
		ask(ctx, t, other, &x, "explain", "incident", "last", "--json")
		if x.Services[0].Checked == nil || !x.Services[0].Checked.After(*x.Services[0].Started) {
			return fmt.Errorf("%+v", x.Services)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if out, err := other.Holdfast(ctx, "events", "--json"); err != nil || !strings.Contains(out, `"told_by":"`+lost.Name) || !strings.Contains(out, `"told_by":"`+other.Name) {
		t.Errorf("%v: %s", err, out)
	}
	var r doctor.Report
	ask(ctx, t, other, &r, "doctor", "--section", "cluster", "--json")
	found := map[string]bool{}
	for _, part := range r.Sections {
		for _, f := range part.Findings {
			found[f.Check+" "+f.On] = true
		}
	}
	if !found["nodes "+lost.Name] || found["reached "+lost.Name] || !found["versions "] {
		t.Errorf("%+v", r)
	}
	err = stage.Await(ctx, "the script is told that it is over", func() error {
		text, err := os.ReadFile(told)
		if err == nil && !strings.Contains(string(text), "over "+x.ID+":over\n") {
			err = fmt.Errorf("it was told %q", text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(told); err != nil || strings.Count(string(text), x.ID+":over") != 1 || strings.Count(string(text), x.ID+":problem") > 1 {
		t.Errorf("the script was told %q, %v", text, err)
	}
	to := filepath.Join(t.TempDir(), "report.tar.gz")
	var made struct{ Files, Missing []string }
	ask(ctx, t, other, &made, "report", "--json", "--output", to)
	for _, name := range []string{"status.json", "doctor.json", "nodes/" + lost.Name + "/events.jsonl", "disks/1.txt", "config/cluster.yaml"} {
		if !slices.Contains(made.Files, name) {
			t.Errorf("the report has no %s: %q, without %q", name, made.Files, made.Missing)
		}
	}
}

// tellScript has a script told what happens, and gives the file that it writes to.
func tellScript(ctx context.Context, t *testing.T, s *stage.Stage, n *stage.Node) string {
	t.Helper()
	dir := t.TempDir()
	path, told := filepath.Join(dir, "tell"), filepath.Join(dir, "told")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >/dev/null\necho \"$HOLDFAST_ALERT_LEVEL $HOLDFAST_ALERT_KEY\" >>"+told+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf, err := n.Holdfast(ctx, "config", "export")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, conf+"\nalerts: [{script: "+path+"}]\n"); err != nil {
		t.Fatal(err)
	}
	var tried []struct{ OK bool }
	ask(ctx, t, n, &tried, "alert", "test", "--json")
	if text, err := os.ReadFile(told); err != nil || len(tried) != 1 || !tried[0].OK || !strings.HasPrefix(string(text), "test test-") {
		t.Fatalf("%+v, told %q, %v", tried, text, err)
	}
	return told
}

// ask runs holdfast on a node and reads the JSON that it prints. A warning is no
// failure here: an emulated node has some.
func ask(ctx context.Context, t *testing.T, n *stage.Node, into any, args ...string) {
	t.Helper()
	out, err := n.Holdfast(ctx, args...)
	if bad := json.Unmarshal([]byte(out), into); bad != nil {
		t.Fatalf("holdfast %s: %v, %v: %s", strings.Join(args, " "), err, bad, out)
	}
}
