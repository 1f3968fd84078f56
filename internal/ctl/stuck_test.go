package ctl_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// asProgram lets the test binary be the program itself, which is a process that
// somebody waits for.
const asProgram = "HOLDFAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(ctl.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// program runs a command line as a process of its own, which must end in time.
func program(t *testing.T, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Errorf("%v: the process did not end within a minute", args)
		_ = cmd.Process.Kill() // it may be one that cannot be killed
		return result{code: -1}
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// TestStuckDisk: one of three disks does not answer, really: the kernel has the
// requests and keeps them. Every verb shows the others, names this one, and its
// process ends.
func TestStuckDisk(t *testing.T) {
	t.Parallel()
	stuck, stop := storagetest.Stuck(t, 72<<20)
	s := newSite(t)
	a, b := s.disk("a", 72), s.disk("b", 72)
	s.init("--sector-size", "4096", "--disk", a, "--disk", stuck, "--disk", b).says(t, 0)
	at := func(args ...string) result {
		return program(t, append([]string{"--config", s.yaml("alpha"), "disk", "--timeout", "300ms"}, args...)...)
	}
	at("verify").says(t, 0, stuck+": everything", a+": everything")
	stop()
	at("show", "--for", "10ms").says(t, 1, a+"\n", b+"\n", stuck, "no answer within the deadline")
	at("show", "--for", "0", "--json").says(t, 1, `"path": "`+b+`"`, `"error": "`)
	at("verify").says(t, 3, a+": everything", b+": everything", stuck, "no answer")
	at("watch", "--interval", "50ms", "--for", "500ms").says(t, 1, a, b, stuck, "reads, last")
	at("export", "--to", filepath.Join(s.dir, "export")).says(t, 1, "3 disks", stuck, "no answer")
	at("dump", stuck).says(t, 1, stuck, "no answer")
	at("dump", a).says(t, 0, "superblock B")
	at("repair", "--yes", stuck).says(t, 1, stuck, "no answer")
	at("adopt-clone", "--yes", stuck).says(t, 1, stuck, "no answer")
	at("wipe", "--for", "1ms", stuck).says(t, 1, stuck, "no answer")
	at("create", "--yes", s.disk("fresh", 72)).says(t, 0, "is quorum disk")
	at("create", "--yes", stuck).says(t, 1, stuck, "no answer")
}
