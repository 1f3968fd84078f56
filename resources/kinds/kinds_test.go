package kinds_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/kinds"
	"github.com/holdfast-ha/holdfast/storage/mount"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

// TestMain is also the agent, as the daemon's own binary is.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		os.Exit(kinds.All().AgentMain(os.Args[2], os.Args[3], resources.ProcessStdio()))
	}
	os.Exit(m.Run())
}

// stack is a file system with programs on it, run as in a daemon.
type stack struct {
	runner *resources.Runner
	groups resources.Groups
	svc    resources.Service
	at     string
	dev    mount.Device
}

func newStack(t *testing.T, fsType string) *stack {
	t.Helper()
	path := mounttest.Device(t, fsType)
	cgroup2, err := groups.FindCgroup2()
	if err != nil {
		t.Skipf("no cgroups (%v): mount -t cgroup2 none /sys/fs/cgroup, or run where version 2 is mounted and writable", err)
	}
	root := filepath.Join(cgroup2, fmt.Sprintf("holdfast-test-%d-%s", os.Getpid(), filepath.Base(path)))
	groups, err := groups.NewCgroups(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			t.Errorf("cgroup left behind: %v", err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{groups: groups, at: filepath.Join(t.TempDir(), "srv")}
	if s.dev, err = mount.FindDevice(path); err != nil {
		t.Fatal(err)
	}
	s.runner = resources.NewRunner(resources.RunnerConfig{Groups: groups, AgentCommand: []string{self, "agent"}})
	s.svc = resources.Service{Name: "orders", Stack: []resources.Member{
		spec(t, "fs", "filesystem", map[string]any{"device": path, "at": s.at, "type": fsType, "grace": "20ms"}),
		spec(t, "app", "exec", map[string]any{
			"run": "trap '' TERM; exec 3>log; while :; do echo tick >&3; sleep 0.05; done", "dir": s.at, "settle": "20ms", "grace": "20ms",
		}),
	}}
	s.svc.Stack[0].Storage = true
	t.Cleanup(func() {
		s.runner.Stop(context.Background(), s.svc, 1, resources.StopOptions{Kill: true})
		_ = unix.Unmount(s.at, unix.MNT_DETACH)
	})
	return s
}

func spec(t *testing.T, id, kind string, v any) resources.Member {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return resources.Member{ID: id, Kind: kind, Spec: raw}
}

func (s *stack) start(t *testing.T) {
	t.Helper()
	if res := s.runner.Start(context.Background(), s.svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
		t.Fatalf("start: %v %s", res.Outcome, res.Text)
	}
	if res := s.runner.Check(context.Background(), s.svc, 1); res.Outcome != resources.OK {
		t.Fatalf("check: %v %s", res.Outcome, res.Text)
	}
}

func (s *stack) stop(t *testing.T, opts resources.StopOptions) {
	t.Helper()
	res := s.runner.Stop(context.Background(), s.svc, 1, opts)
	if res.Outcome != resources.OK || !res.Stopped {
		t.Fatalf("stop: %v %s\n%+v", res.Outcome, res.Text, res.Steps)
	}
	if err := s.dev.Released(); err != nil {
		t.Errorf("the device after the stop: %v", err)
	}
	if held, err := s.groups.List(resources.Group{}); err != nil || len(held) != 0 {
		t.Errorf("groups after the stop: %v, %v", held, err)
	}
}

func TestAStackOfRealThings(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		for _, opts := range []resources.StopOptions{{}, {Kill: true}} {
			t.Run(fmt.Sprintf("%s/kill=%v", fsType, opts.Kill), func(t *testing.T) {
				s := newStack(t, fsType)
				s.start(t)
				s.stop(t, opts)
			})
		}
	}
}

// Processes of the service that hide in a namespace of their own are in its
// cgroup, and what they keep mounted is undone.
func TestAServiceThatHidesItsMount(t *testing.T) {
	s := newStack(t, "ext4")
	s.svc.Stack[1] = spec(t, "app", "exec", map[string]any{
		"start": "unshare --mount --propagation private setsid sleep 1000 >/dev/null 2>&1 &", "dir": s.at,
	})
	s.start(t)
	s.stop(t, resources.StopOptions{})
}

// A program that dies is seen by the check, and named.
func TestADeadProgramIsNotRunning(t *testing.T) {
	s := newStack(t, "ext4")
	s.start(t)
	terms, err := s.runner.Terms()
	if err != nil || len(terms) != 1 || len(terms[0].PIDs) == 0 {
		t.Fatalf("terms: %v, %v", terms, err)
	}
	for _, pid := range terms[0].PIDs {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	deadline := time.After(20 * time.Second)
	for {
		res := s.runner.Check(context.Background(), s.svc, 1)
		if res.Outcome == resources.NotRunning && res.Member == "app" && strings.Contains(res.Text, "has ended") {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("check: %v, member %q: %s; want app not running", res.Outcome, res.Member, res.Text)
		default:
		}
	}
	state, _ := s.runner.Probe(context.Background(), s.svc, 1)
	if state != resources.StatePartly {
		t.Errorf("probe: %v, want partly", state)
	}
	s.stop(t, resources.StopOptions{})
}
