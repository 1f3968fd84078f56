package accept

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writerWakesUp keeps a process of the active node, which has a file of the
// service open, from ending with its node: the power emulator spares it. When it
// wakes up after the takeover its write fails, and nothing of it is in the data
// of the node that runs the service now.
func writerWakesUp(ctx context.Context, t *testing.T, r *rig) {
	n, instant, event := r.begin(ctx, t)
	path := filepath.Join(r.service.Mountpoint(), "spared")
	cmd := n.Command("demo", "write", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	cmd.Stdout = theirs
	pid, ended, err := n.Launch("writer", cmd)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		<-ended
	}()
	said := bufio.NewReader(answers)
	say := func(line string) string {
		t.Helper()
		if line != "" {
			if _, err := io.WriteString(in, line+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := said.ReadString('\n')
		if err != nil {
			t.Fatalf("the writer ended: %v", err)
		}
		return strings.TrimSpace(answer)
	}
	if got := say(""); got != "ready" {
		t.Fatalf("the writer says %q", got)
	}
	if got := say("before"); got != "ok" {
		t.Fatalf("the writer says %q while its node is well", got)
	}
	if err := n.Spare(pid); err != nil {
		t.Fatal(err)
	}
	if err := n.Freeze(); err != nil {
		t.Fatal(err)
	}
	heir, _ := r.takenOver(ctx, t, n, instant, event)
	there := filepath.Join(heir.Root(), path)
	before := read(t, there)
	if string(before) != "before\n" {
		t.Errorf("%s has %q of the writer, want what was acknowledged", heir.Name, before)
	}
	if err := n.Thaw(); err != nil {
		t.Fatal(err)
	}
	if got := say("after"); !strings.HasPrefix(got, "error:") {
		t.Errorf("the writer woke up after the takeover and was told %q; its write must fail", got)
	} else {
		t.Logf("the writer: %s", got)
	}
	if after := read(t, there); !bytes.Equal(before, after) {
		t.Errorf("the data of %s changed from %q to %q", heir.Name, before, after)
	}
	if err := n.Spare(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	<-ended
	comeBack(ctx, t, r.stage, n)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
