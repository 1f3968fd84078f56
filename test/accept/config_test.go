package accept

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestConfiguration is the life of a configuration on a real cluster: what a plan
// says, with what every node lacks for it, is what applying does; nobody overwrites
// what somebody else has applied; history, export and rollback give back what was;
// and a secret that it names is nowhere but in the program that was given it.
func TestConfiguration(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 4*time.Minute)
	s := raise(ctx, t, stage.Options{Names: []string{"alpha", "beta"}, Within: 7 * time.Second, Services: []stage.Service{{Name: "orders", Prefer: []string{"alpha"}}}})
	if err := s.AwaitRunning(ctx); err != nil {
		t.Fatal(err)
	}
	alpha, beta := s.Node("alpha"), s.Node("beta")
	first, version := say(ctx, t, alpha, "config", "export"), configVersion(ctx, t, alpha)
	before := serviceAt(ctx, t, alpha, "orders")

	const planted = "planted-4c77e1d2"
	got := filepath.Join(t.TempDir(), "token")
	job := fmt.Sprintf("  job:\n    prefer: [beta]\n    stack:\n      - exec: {run: [/bin/sh, -c, 'echo $TOKEN > %s; exec sleep 1000'], env: {TOKEN: \"secret:token\"}}\n", got)
	next := strings.Replace(first, "services:\n", "services:\n"+job, 1)
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	write(t, file, next, 0o644)

	out, err := alpha.Holdfast(ctx, "plan", "-f", file)
	for _, want := range []string{"+ service job: exec", "job could not run on alpha: ", "job could not run on beta: ", "secret token is missing on this node", "REFUSED: service job"} {
		if !strings.Contains(joined(out), want) {
			t.Errorf("the plan does not say %q (%v):\n%s", want, err, out)
		}
	}
	if out, err := alpha.Holdfast(ctx, "apply", "-f", file, "--yes"); err == nil {
		t.Errorf("applied although no node has the secret:\n%s", out)
	}
	write(t, filepath.Join(secrets(t, alpha), "token"), planted+"\n", 0o600)
	out = say(ctx, t, beta, "plan", "-f", file)
	for _, want := range []string{"1. start job on alpha: ", "job could not run on beta: ", "stay as they are: orders"} {
		if !strings.Contains(joined(out), want) {
			t.Errorf("the plan does not say %q:\n%s", want, out)
		}
	}
	do(ctx, t, beta, "apply", "-f", file, "--yes", "--expect-version", strconv.FormatUint(version, 10))
	if err := stage.Await(ctx, "the program to have its secret", func() error {
		text, err := os.ReadFile(got)
		if err == nil && strings.TrimSpace(string(text)) != planted {
			err = fmt.Errorf("it has %q", text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if now := serviceAt(ctx, t, alpha, "job"); now.Node != "alpha" {
		t.Errorf("job: %+v", now)
	}
	nowhere(ctx, t, s, planted)

	if out, err := alpha.Holdfast(ctx, "apply", "-f", file, "--yes", "--expect-version", strconv.FormatUint(version, 10)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at version %d by now, not %d", version+1, version)) {
		t.Errorf("applied over a version that somebody else has applied: %v\n%s", err, out)
	}
	for _, n := range s.Nodes {
		if err := stage.Await(ctx, n.Name+" to keep both versions", func() error {
			if list := say(ctx, t, n, "history"); !strings.Contains(list, fmt.Sprintf("\n%d  ", version)) || !strings.Contains(list, fmt.Sprintf("\n%d  ", version+1)) {
				return fmt.Errorf("history:\n%s", list)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if old := say(ctx, t, n, "config", "export", "--version", strconv.FormatUint(version, 10)); old != first {
			t.Errorf("%s kept another version %d:\n%s", n.Name, version, old)
		}
	}
	do(ctx, t, alpha, "rollback", strconv.FormatUint(version, 10), "--yes")
	if err := stage.Await(ctx, "beta to learn of the rollback", func() error {
		if now := say(ctx, t, beta, "config", "export"); now != first || configVersion(ctx, t, beta) != version+2 {
			return fmt.Errorf("version %d:\n%s", configVersion(ctx, t, beta), now)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if now := serviceAt(ctx, t, alpha, "orders"); now.Term != before.Term || now.State != "running" || now.Node != before.Node {
		t.Errorf("orders was %+v, and is %+v", before, now)
	}
}

// joined is a text without the breaks of its lines.
func joined(text string) string { return strings.Join(strings.Fields(text), " ") }

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// say runs a command, and returns what it prints.
func say(ctx context.Context, t *testing.T, n *stage.Node, args ...string) string {
	t.Helper()
	out, err := n.Holdfast(ctx, args...)
	if err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func configVersion(ctx context.Context, t *testing.T, n *stage.Node) uint64 {
	t.Helper()
	st, err := n.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st.Cluster.Config
}

// secrets is a node's folder of secrets.
func secrets(t *testing.T, n *stage.Node) string {
	t.Helper()
	text, err := os.ReadFile(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	node, err := config.ParseNode(n.Config(), text)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(node.Key), "secrets")
}

// nowhere looks for a secret in all that others may read: command lines, what nodes
// keep and have printed, the quorum disk, and what the commands show.
func nowhere(ctx context.Context, t *testing.T, s *stage.Stage, planted string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	files := append(lines, s.QuorumPath(1))
	for _, n := range s.Nodes {
		text, err := os.ReadFile(n.Config())
		if err != nil {
			t.Fatal(err)
		}
		node, err := config.ParseNode(n.Config(), text)
		if err != nil {
			t.Fatal(err)
		}
		if err := filepath.WalkDir(node.Dirs.State, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil // a file that is gone by now was looked at by nobody
		}); err != nil {
			t.Fatal(err)
		}
		files = append(files, n.Log("holdfastd"))
		for _, args := range [][]string{{"config", "export"}, {"events", "--json"}, {"history", "--json"}, {"status", "--json"}, {"explain", "job", "--json"}} {
			// status fails where it warns: of softdog, here.
			if out, err := n.Holdfast(ctx, args...); strings.Contains(out, planted) || len(out) < 100 {
				t.Errorf("holdfast %s on %s shows it, or nothing (%v):\n%s", strings.Join(args, " "), n.Name, err, out)
			}
		}
	}
	looked := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a process that has ended
		}
		looked++
		if bytes.Contains(text, []byte(planted)) {
			t.Errorf("%s holds it", path)
		}
	}
	t.Logf("looked into %d files", looked)
}
