package accept

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/ledger"
)

// upgraded puts newer files in the place of the programs, as a package does,
// which changes nothing; then has the active node change over. Guard and daemon
// are the same processes afterwards with the newer programs, the service is left
// running, its client notices nothing, and no watchdog has bitten. A program that
// cannot take over is refused, and changes nothing.
func upgraded(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	before := serviceAt(ctx, t, n, r.service.Name)
	guard, daemon := n.GuardPID(), n.DaemonPID()

	good := replace(t, "holdfast-guard", []byte("#!/bin/sh\necho I am of another age >&2\nexit 1\n"))
	if out, err := n.Holdfast(ctx, "node", "upgrade"); err == nil || !strings.Contains(out+err.Error(), "another age") || !strings.Contains(out+err.Error(), "nothing was changed") {
		t.Errorf("a guard that cannot take over: %s, %v", out, err)
	}
	replace(t, "holdfast-guard", good)
	daemonFile, err := os.ReadFile(filepath.Join(built(), "holdfastd"))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, "holdfastd", daemonFile)
	for _, pid := range []int{guard, daemon} {
		if !strings.HasSuffix(program(t, pid), " (deleted)") {
			t.Errorf("process %d has changed its program by itself: %s", pid, program(t, pid))
		}
	}
	if out, err := n.Holdfast(ctx, "node", "upgrade"); err != nil || !strings.Contains(out, "left running") {
		t.Fatalf("%s, %v", out, err)
	}
	for _, pid := range []int{guard, daemon} {
		if strings.HasSuffix(program(t, pid), " (deleted)") {
			t.Errorf("process %d runs the old program still: %s", pid, program(t, pid))
		}
	}
	if n.GuardPID() != guard || n.DaemonPID() != daemon {
		t.Errorf("guard %d, daemon %d; want the same processes %d and %d", n.GuardPID(), n.DaemonPID(), guard, daemon)
	}
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.stage.AwaitMembers(within, r.stage.Nodes...); err != nil {
		t.Fatal(err)
	}
	if err := r.stage.AwaitRunning(within); err != nil {
		t.Fatal(err)
	}
	pause(ctx, time.Second) // whatever a new daemon would do to the service
	r.answer(ctx, t, ledger.Now(), "the service answers", nil)
	for _, a := range r.client.Records() {
		if a.At >= instant && (a.Err != "" || a.Node != n.Name) {
			t.Fatalf("write %d during the upgrade: answered by %q, error %q", a.Seq, a.Node, a.Err)
		}
	}
	if now := serviceAt(ctx, t, n, r.service.Name); now.Term != before.Term || now.Node != n.Name {
		t.Errorf("the service is on %s in term %d, it was on %s in term %d", now.Node, now.Term, n.Name, before.Term)
	}
	r.noLoss(ctx, t, event)
}

// replace puts a new file in the place of a program, and gives what was there.
func replace(t *testing.T, name string, content []byte) (before []byte) {
	t.Helper()
	path := filepath.Join(built(), name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return before
}

// program is the file that a process runs.
func program(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		t.Fatal(err)
	}
	return name
}
