package contain

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// answerAndStay is a child that has answered and cannot end, as one whose
// request is stuck in the kernel: it reports on the pipe and waits for its input
// to end, which the test keeps open.
const answerAndStay = `printf '\001\004out\n\002\004err\n\000\001\001' >&3; read -r _`

func child(t *testing.T, ctx context.Context, script string) *exec.Cmd { //nolint:revive // as in exec.CommandContext
	t.Helper()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return cmd
}

// TestFollowLeavesAChildThatCannotEnd: the answer counts, not the child's end.
func TestFollowLeavesAChildThatCannotEnd(t *testing.T) {
	var out, errOut bytes.Buffer
	cmd := child(t, t.Context(), answerAndStay)
	code, err := follow(t.Context(), cmd, &out, &errOut)
	if code != 1 || err != nil || out.String() != "out\n" || errOut.String() != "err\n" {
		t.Errorf("code %d, %v, out %q, err %q", code, err, out.String(), errOut.String())
	}
	if cmd.ProcessState != nil {
		t.Error("the child has ended: the test is not about one that cannot")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
}

func TestFollowAChildThatFails(t *testing.T) {
	for _, script := range []string{
		`exit 3`, `printf '\001\004out' >&3`, `printf '\007\001x' >&3`, `printf '\001\377\377\377\377\377\377' >&3`,
	} {
		var out, errOut bytes.Buffer
		_, err := follow(t.Context(), child(t, t.Context(), script), &out, &errOut)
		if err == nil || !strings.Contains(err.Error(), "ended early") {
			t.Errorf("%s: %v", script, err)
		}
	}
	if _, err := follow(t.Context(), exec.Command("/nonexistent"), io.Discard, io.Discard); err == nil {
		t.Error("a program that is not there was started")
	}
}

// TestFollowInterrupted: also a child that ignores its end does not hold us.
func TestFollowInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := follow(ctx, child(t, context.Background(), `read -r _`), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
}

func TestFrames(t *testing.T) {
	var pipe, out, errOut bytes.Buffer
	long := strings.Repeat("x", 70000)
	for _, f := range []struct {
		kind byte
		text string
	}{{frameOut, "a"}, {frameErr, "b"}, {frameOut, long}, {frameErr, ""}, {frameEnd, "\x01"}} {
		if n, err := (frames{pipe: &pipe, kind: f.kind}).Write([]byte(f.text)); n != len(f.text) || err != nil {
			t.Fatal(n, err)
		}
	}
	code, err := copyFrames(bufio.NewReader(&pipe), &out, &errOut)
	if code != 1 || err != nil || out.String() != "a"+long || errOut.String() != "b" {
		t.Errorf("code %d, %v, %d and %d bytes", code, err, out.Len(), errOut.Len())
	}
}
