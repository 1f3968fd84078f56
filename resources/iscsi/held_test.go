package iscsi_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// guarded asks as the runner does where reservations guard the disks.
func (s *setting) guarded(v func(context.Context, resources.Request) resources.Report, spec []byte, outcome resources.Outcome, words string) resources.Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	r := v(ctx, resources.Request{Service: "orders", Member: "iscsi", Spec: spec, Guarded: true, Timeout: time.Second})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		s.t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
	return r
}

func (s *setting) calls(word string) int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.Count(string(text), word)
}

// The sessions below a reservation are the node's: the member waits for them, says
// by its note whether it runs, and never logs in or out.
func TestSessionsOfTheNode(t *testing.T) {
	s := newSetting(t)
	t.Setenv("HOLDFAST_RUN", s.dir)
	spec, err := json.Marshal(map[string]any{"target": target, "portal": s.portal, "devices": []string{"/dev/disk/by-id/x"}})
	if err != nil {
		t.Fatal(err)
	}
	a := iscsi.Agent{}
	s.guarded(a.Start, spec, resources.Failed, "the node holds no session")
	if n := s.calls("--login"); n != 0 {
		t.Errorf("the member logged in %d times", n)
	}
	if err := iscsi.Hold(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	s.guarded(a.Fit, spec, resources.OK, "the node has a session")
	s.guarded(a.Probe, spec, resources.NotRunning, "")
	s.guarded(a.Check, spec, resources.NotRunning, "not used by the service")
	for range 2 {
		s.guarded(a.Start, spec, resources.OK, "held by the node")
		s.guarded(a.Probe, spec, resources.OK, "")
		s.guarded(a.Check, spec, resources.OK, "")
	}
	for range 2 {
		s.guarded(a.Stop, spec, resources.OK, "stay with the node")
		s.guarded(a.Probe, spec, resources.NotRunning, "")
	}
	if _, works, err := iscsi.Held(spec); err != nil || !works || s.calls("--logout") != 0 {
		t.Errorf("after the stop the session is gone (%v), or %d logouts", err, s.calls("--logout"))
	}
}

// A stop counts when nothing uses the disks: a claim on one that no list shows, as
// of a mount in another mount namespace, is found.
func TestTheStopOfADiskInUse(t *testing.T) {
	s := newSetting(t)
	t.Setenv("HOLDFAST_RUN", s.dir)
	loop := storagetest.Loop(t, storagetest.File(t, 1<<20), 512)
	spec, err := json.Marshal(map[string]any{"target": target, "portal": s.portal})
	if err != nil {
		t.Fatal(err)
	}
	if err := iscsi.Hold(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	session := filepath.Join(s.dir, "sys/class/iscsi_session/session1/device/target1:0:0/1:0:0:0/block")
	if err := os.Rename(filepath.Join(session, "sdz"), filepath.Join(session, filepath.Base(loop))); err != nil {
		t.Fatal(err)
	}
	a := iscsi.Agent{}
	s.guarded(a.Start, spec, resources.OK, "")
	fd, err := unix.Open(loop, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.guarded(a.Stop, spec, resources.Failed, "in use"); len(r.Holders) != 1 || !strings.Contains(r.Holders[0], "claimed by a program") {
		t.Errorf("holders: %q", r.Holders)
	}
	s.guarded(a.Probe, spec, resources.OK, "")
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	s.guarded(a.Stop, spec, resources.OK, "")
}

// A disk that the kernel has given up comes back with a new session, which is made
// once nothing uses the old one; and a login that is refused says why.
func TestHold(t *testing.T) {
	s := newSetting(t)
	t.Setenv("HOLDFAST_RUN", s.dir)
	spec, err := json.Marshal(map[string]any{"target": target, "portal": s.portal})
	if err != nil {
		t.Fatal(err)
	}
	s.write("refuse", "24", 0o644)
	if err := iscsi.Hold(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "refuses the user or the password") {
		t.Errorf("a refused login: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "refuse")); err != nil {
		t.Fatal(err)
	}
	if err := iscsi.Hold(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if missing, works, err := iscsi.Held(spec); err != nil || !works || len(missing) != 1 {
		t.Errorf("a session whose portal the kernel does not tell: missing %v, works %v, %v", missing, works, err)
	}
	connection := "sys/class/iscsi_connection/connection1:0"
	if err := os.MkdirAll(filepath.Join(s.dir, connection), 0o755); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(s.portal, ":")
	s.write(connection+"/persistent_address", host+"\n", 0o644)
	s.write(connection+"/persistent_port", port+"\n", 0o644)
	logins := s.calls("--login")
	if err := iscsi.Hold(t.Context(), spec); err != nil || s.calls("--login") != logins {
		t.Errorf("a session that works: %v, %d logins more", err, s.calls("--login")-logins)
	}
	s.write("sys/class/iscsi_session/session1/device/target1:0:0/1:0:0:0/state", "offline\n", 0o644)
	if _, works, err := iscsi.Held(spec); works || err != nil {
		t.Errorf("a disk that is offline: works %v, %v", works, err)
	}
	if err := iscsi.Hold(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if _, works, err := iscsi.Held(spec); !works || err != nil || s.calls("--logout") != 1 {
		t.Errorf("works %v, %v, after %d logouts", works, err, s.calls("--logout"))
	}
}

// A target that carries a quorum disk too is the system's: no service makes or ends
// its sessions, and its record stays one for the boot.
func TestTheTargetOfAQuorumDisk(t *testing.T) {
	s := newSetting(t)
	t.Setenv("HOLDFAST_RUN", s.dir)
	loop := storagetest.Loop(t, storagetest.File(t, 1<<20), 512)
	spec := map[string]any{"target": target, "portal": s.portal}
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := iscsi.Hold(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(s.dir, "sys/class/iscsi_session/session1/device/target1:0:0/1:0:0:0")
	if err := os.Rename(filepath.Join(unit, "block/sdz"), filepath.Join(unit, "block", filepath.Base(loop))); err != nil {
		t.Fatal(err)
	}
	a := iscsi.Agent{}
	s.ask(a.Fit, spec, resources.OK, "answers")
	guard(t, loop)
	before := s.calls("")
	s.ask(a.Fit, spec, resources.Failed, "carries a quorum disk too, "+filepath.Base(loop))
	s.ask(a.Start, spec, resources.Failed, "a target of its own")
	s.guarded(a.Fit, raw, resources.OK, "the node has a session")
	if err := iscsi.Hold(t.Context(), raw); err != nil {
		t.Error(err)
	}
	s.guarded(a.Start, raw, resources.OK, "held by the node")
	s.guarded(a.Stop, raw, resources.OK, "stay with the node")
	s.write(filepath.Join("sys/class/iscsi_session/session1/device/target1:0:0/1:0:0:0", "state"), "offline\n", 0o644)
	if err := iscsi.Hold(t.Context(), raw); err == nil || !strings.Contains(err.Error(), "carries a quorum disk too") {
		t.Errorf("with a disk that the kernel has given up: %v", err)
	}
	if after := s.calls(""); after != before {
		t.Error("iscsiadm was called")
	}
}

// guard runs a program with the name of the guard that has a disk open.
func guard(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "holdfast-guard")
	if err := os.WriteFile(name, text, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(name, "600")
	c.ExtraFiles = []*os.File{f}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	})
}
