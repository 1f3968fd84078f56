package accept

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/programs"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/power"
)

// programsEnv is the environment variable by which TestMain passes the folder to the tests.
const programsEnv = "HOLDFAST_ACCEPT_PROGRAMS"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return m.Run() // every test skips itself
	}
	dir, err := os.MkdirTemp("", "hfdemo-programs-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(programs.Build(dir), os.Setenv(programsEnv, dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "accept:", err)
		return 1
	}
	if swept, err := remains.Sweep(); err != nil || len(swept) > 0 {
		fmt.Fprintln(os.Stderr, "accept: removed what killed runs had left:", swept, err)
	}
	return m.Run()
}

// built is the folder of the programs under test.
func built() string { return os.Getenv(programsEnv) }

// wanted skips where whole clusters are not wanted, or not possible.
func wanted(t *testing.T, root bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: whole clusters take minutes; make test runs them")
	}
	if err := stage.Able(); root && err != nil {
		t.Skipf("this machine cannot put up a cluster with disks and networks: %v", err)
	}
}

// limit is the time that a test may take at all.
func limit(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// raise puts a cluster up that ends with the test.
func raise(ctx context.Context, t *testing.T, o stage.Options) *stage.Stage {
	t.Helper()
	o.Bin, o.Root = built(), true
	logs := t.TempDir()
	o.Logs = logs
	s, err := stage.Raise(ctx, o)
	if err != nil {
		showLogs(t, logs)
		t.Fatalf("put a cluster up: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("left behind: %v", err)
		}
		if t.Failed() {
			showLogs(t, logs)
		}
	})
	return s
}

// showLogs prints the end of what each program has said.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*")) // fails only for a bad pattern
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || len(text) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// pause lets the cluster go on for a while.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// owner is the node on which the only service runs.
func owner(ctx context.Context, t *testing.T, s *stage.Stage) *stage.Node {
	t.Helper()
	n, err := s.Owner(ctx, s.Services[0])
	if err != nil || n == nil {
		t.Fatalf("%s runs nowhere: %v", s.Services[0].Name, err)
	}
	return n
}

// journal follows the power emulator's events.
type journal struct {
	observer *power.Observer
	events   []power.Event
}

func follow(t *testing.T, s *stage.Stage) *journal {
	t.Helper()
	o, err := power.DialObserver(s.PowerSocket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return &journal{observer: o}
}

// await returns the first event from an index on that is wanted. All events up
// to then are kept.
func (j *journal) await(ctx context.Context, from int, what string, wanted func(power.Event) bool) (power.Event, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return power.Event{}, errors.New("no deadline")
	}
	for i := from; ; i++ {
		for i >= len(j.events) {
			e, err := j.observer.Next(deadline)
			if err != nil {
				return e, fmt.Errorf("%s: %w", what, err)
			}
			j.events = append(j.events, e)
		}
		if wanted(j.events[i]) {
			return j.events[i], nil
		}
	}
}

// mark reads all events so far and returns the index of the next one.
func (j *journal) mark(ctx context.Context, t *testing.T, s *stage.Stage, text string) int {
	t.Helper()
	if err := s.Power.Mark("", text); err != nil {
		t.Fatal(err)
	}
	e, err := j.await(ctx, 0, text, func(e power.Event) bool { return e.What == power.Mark && e.Text == text })
	if err != nil {
		t.Fatal(err)
	}
	return e.Seq + 1
}

// loss says whether the event begins a power loss of the node.
func loss(node string) func(power.Event) bool {
	return func(e power.Event) bool {
		return e.Node == node && (e.What == power.Bite || e.What == power.ResetRequested || e.What == power.PowerOff)
	}
}

// comeBack gives a node its power again and waits until it is a member and the
// services run.
func comeBack(ctx context.Context, t *testing.T, s *stage.Stage, n *stage.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for _, step := range []func() error{
		n.Thaw,
		func() error { return n.Boot(ctx) },
		func() error { return s.AwaitMembers(ctx, s.Nodes...) },
		func() error { return s.AwaitRunning(ctx) },
	} {
		if err := step(); err != nil {
			t.Fatalf("%s comes back: %v", n.Name, err)
		}
	}
}
