package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/exec"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// TestMain is also the agent: the runner re-executes the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		kinds := resources.Kinds{"exec": exec.Agent{}, "actor": actor{}, "adviser": adviser{}}
		os.Exit(kinds.AgentMain(os.Args[2], os.Args[3], resources.ProcessStdio()))
	}
	os.Exit(m.Run())
}

// actor is a kind whose every answer is in its specification: outcome by verb,
// or "hang" (until killed), "die" (no report), "fork" (leave a process). It is
// up when its file exists.
type actor struct{}

type role struct {
	Up                         string
	OnStart, OnStop, OnKill    string
	OnCheck, OnProbe, Stubborn string
}

func (actor) act(req resources.Request, what, good string) resources.Report {
	var r role
	_ = json.Unmarshal(req.Spec, &r)
	said := map[string]string{"start": r.OnStart, "stop": r.OnStop, "kill": r.OnKill, "check": r.OnCheck, "probe": r.OnProbe}[what]
	switch said {
	case "hang":
		<-time.After(time.Hour)
	case "die":
		fmt.Fprintln(os.Stderr, "the actor dies on stage")
		os.Exit(3)
	case "":
		said = good
	}
	var o resources.Outcome
	_ = o.UnmarshalText([]byte(said))
	switch {
	case what == "start" && o == resources.OK:
		_ = os.WriteFile(r.Up, nil, 0o600)
	case (what == "stop" || what == "kill") && o == resources.OK && r.Stubborn == "":
		_ = os.Remove(r.Up)
	}
	return resources.Report{Outcome: o, Text: what + " says " + said}
}

func (a actor) Start(_ context.Context, req resources.Request) resources.Report {
	return a.act(req, "start", "ok")
}

func (a actor) Stop(_ context.Context, req resources.Request) resources.Report {
	if req.Emergency {
		return a.act(req, "kill", "ok")
	}
	return a.act(req, "stop", "ok")
}

func (a actor) Check(_ context.Context, req resources.Request) resources.Report {
	return a.act(req, "check", "ok")
}

func (a actor) Probe(_ context.Context, req resources.Request) resources.Report {
	var r role
	_ = json.Unmarshal(req.Spec, &r)
	if _, err := os.Stat(r.Up); err != nil {
		return a.act(req, "probe", "not-running")
	}
	return a.act(req, "probe", "ok")
}

// groupsUnderTest are the implementations that this machine can run.
func groupsUnderTest(t *testing.T, test func(t *testing.T, groups resources.Groups)) {
	t.Run("cgroups", func(t *testing.T) { test(t, newCgroups(t)) })
	t.Run("marks", func(t *testing.T) {
		groups, err := groups.NewProcessGroups(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		emptyAfterwards(t, groups)
		test(t, groups)
	})
}

// newCgroups makes a subtree that is removed with the test, or skips.
func newCgroups(t *testing.T) *groups.Cgroups {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: cgroups cannot be made; run this test as root")
	}
	mount, err := groups.FindCgroup2()
	if err != nil {
		t.Skipf("no cgroups (%v): mount -t cgroup2 none /sys/fs/cgroup, or run where version 2 is mounted and writable", err)
	}
	root := filepath.Join(mount, "holdfast-test-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	groups, err := groups.NewCgroups(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			t.Errorf("cgroup left behind: %v", err)
		}
	})
	emptyAfterwards(t, groups)
	return groups
}

func emptyAfterwards(t *testing.T, groups resources.Groups) {
	t.Cleanup(func() {
		held, err := groups.List(resources.Group{})
		if err != nil {
			t.Error(err)
		}
		for _, h := range held {
			if err := groups.Kill(h.Group, 10*time.Second); err != nil {
				t.Error(err)
			}
		}
	})
}

// await polls until the condition holds and fails the test with its description.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// gone says that the process has ended, reaped or not.
func gone(pid int) bool {
	return syscall.Kill(pid, 0) == syscall.ESRCH || zombie(pid)
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	for i := len(stat) - 1; i >= 0; i-- {
		if stat[i] == ')' {
			return stat[i+2] == 'Z'
		}
	}
	return false
}
