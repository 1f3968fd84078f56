package daemon

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// heldState is the state directory of the processes that TestHeldProcess starts.
const heldState = "HOLDFAST_TEST_HELD_STATE"

// indigestible is a core that panics once it knows a committed state.
type indigestible struct{ *core.Core }

func (c indigestible) Step(now ident.Instant, ev cluster.Event) []cluster.Action {
	actions := c.Core.Step(now, ev)
	if s := c.View(now).State; s != nil {
		panic("this state is indigestible")
	}
	return actions
}

// TestHeldProcess: a real process dies of the same version twice. The third comes
// up held, and answers.
func TestHeldProcess(t *testing.T) {
	if dir := os.Getenv(heldState); dir != "" {
		beHeld(t, dir)
		return
	}
	dir := t.TempDir()
	run := func() (string, error) {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHeldProcess$", "-test.v")
		c.Env = append(os.Environ(), heldState+"="+dir)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for i := range 2 {
		if out, err := run(); err == nil || !strings.Contains(out, "panic: this state is indigestible") {
			t.Fatalf("life %d ended with %v:\n%s", i+1, err, out)
		}
	}
	out, err := run()
	if err != nil || !strings.Contains(out, "HELD: holdfastd panicked 2 times on version") || !strings.Contains(out, "indigestible") {
		t.Errorf("the third life ended with %v:\n%s", err, out)
	}
}

// beHeld is the process: it ends well only if its daemon comes up held.
func beHeld(t *testing.T, dir string) {
	r := newRig(t)
	r.node.Dirs.State = dir
	r.core = func(s core.Settings) Core { return indigestible{core.New(s)} }
	r.guard()
	l := r.begin()
	waitFor(t, "the daemon to be held, or to die", func() bool {
		s, err := l.Status(t.Context())
		must(t, err)
		if s.Self.Stage == "held" {
			t.Log(s.Warnings)
		}
		return s.Self.Stage == "held" && s.Health != "ok"
	})
	if _, err := l.Leave(t.Context()); err == nil || !strings.Contains(err.Error(), "ask another node") {
		t.Errorf("a held node leaves: %v", err)
	}
	if n := len(r.runner.calls); n != 0 {
		t.Errorf("a held node ran %v", r.runner.calls)
	}
}
