package program_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage/program"
)

func TestRun(t *testing.T) {
	r, err := program.Run(context.Background(), program.Command{
		Argv: []string{"/bin/sh", "-c", `echo "$WORD"; cat; echo no >&2; exit 7`}, Env: []string{"WORD=yes"}, Stdin: "given",
	})
	if err != nil || r.Stdout != "yes\ngiven" || r.Stderr != "no\n" || r.Code != 7 || r.Said() != "no" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := program.Run(context.Background(), program.Command{Argv: []string{"no-such-program-here"}}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not installed: %v", err)
	}
	if _, err := program.Run(context.Background(), program.Command{Argv: []string{"/bin/sh", "-c", "kill -9 $$"}}); err == nil {
		t.Error("a program that was killed has no exit code")
	}
}

// What stays behind holds the outputs; nobody waits for it.
func TestWhatStaysBehind(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := program.Run(ctx, program.Command{Argv: []string{"/bin/sh", "-c", "(trap '' HUP; exec sleep 5) & echo done"}})
	if err != nil || r.Stdout != "done\n" {
		t.Errorf("%+v, %v", r, err)
	}
	cancel()
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	r, err := program.Run(ctx, program.Command{Argv: []string{"/bin/sh", "-c", "echo begun >&2; sleep 1000"}})
	if !errors.Is(err, context.DeadlineExceeded) || r.Said() != "begun" {
		t.Errorf("%+v, %v", r, err)
	}
}
