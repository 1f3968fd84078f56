package exchange_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources/exchange"
)

func run(t *testing.T, script string, ask func(f *exchange.Files)) *exchange.Files {
	t.Helper()
	f, err := exchange.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	cmd := exec.Command("/bin/sh", "-c", script)
	f.Give(cmd, os.Stderr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask(f)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, which is killed below
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("the process has not ended")
	}
	return f
}

func TestRequestAndReport(t *testing.T) {
	long := strings.Repeat("x", 1<<20) // more than a pipe takes at once
	f := run(t, `tr -d x >&3; echo one; echo two >&2`, func(f *exchange.Files) { f.Ask([]byte(long+"asked"), 10*time.Second) })
	if text, err := f.Report(); err != nil || string(text) != "asked" {
		t.Errorf("report %q, %v", text, err)
	}
	if f.Printed() != "one / two" {
		t.Errorf("printed %q", f.Printed())
	}
}

// TestNobodyAsks: who waits for a request that never comes ends; so it does where the
// daemon has died.
func TestNobodyAsks(t *testing.T) {
	f := run(t, `cat`, (*exchange.Files).Close)
	if _, err := f.Report(); err == nil {
		t.Error("a report was read though none was written")
	}
}

// TestNobodyReads: a process that reads nothing does not keep who asks for longer than
// was given.
func TestNobodyReads(t *testing.T) {
	f, err := exchange.New()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/bin/sleep", "1000")
	f.Give(cmd, os.Stderr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() { // ends with the process at the latest
		defer close(asked)
		f.Ask(make([]byte, 1<<20), 50*time.Millisecond)
	}()
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Error("it still asks, though nobody reads")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	<-asked
}

func TestLongOutput(t *testing.T) {
	f := run(t, `head -c 200000 /dev/zero | tr '\0' y; true`, func(f *exchange.Files) { f.Ask(nil, time.Second) })
	if p := f.Printed(); len(p) > 5000 || !strings.HasPrefix(p, "...yyy") {
		t.Errorf("%d characters: %.20s", len(p), p)
	}
}
