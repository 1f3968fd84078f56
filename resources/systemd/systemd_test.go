package systemd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/systemd"
)

// TestMain is also the agent, and what watches units inside a container.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "watch" {
		units := os.Args[2:]
		systemd.Watch(context.Background(), func() []string { return units }, func(c systemd.Change) { fmt.Println(c.Unit + " " + c.Active) })
	}
	agenttest.Main(m, resources.Kinds{"systemd": systemd.Agent{}})
}

const web = "web.service"

type verb func(context.Context, resources.Request) resources.Report

func ask(t *testing.T, v verb, within time.Duration) resources.Report {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"unit": web})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return v(ctx, resources.Request{Service: "s", Member: "m", Spec: raw, Timeout: within})
}

func want(t *testing.T, v verb, outcome resources.Outcome, words string) {
	t.Helper()
	if r := ask(t, v, 20*time.Second); r.Outcome != outcome || !strings.Contains(r.Text, words) {
		t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
}

func TestAgent(t *testing.T) {
	newManager(t).add(web)
	agenttest.Run(t, systemd.Agent{}, map[string]any{"unit": "web"})
}

func TestLives(t *testing.T) {
	m := newManager(t)
	m.add(web)
	agenttest.Lives(t, agenttest.Case{
		Kind: "systemd", Spec: map[string]any{"unit": web}, Env: m.env(),
		Lose: func(*testing.T) { m.set(web, "failed", "failed") },
	})
}

func (m *manager) env() []string {
	return []string{"HOLDFAST_SYSTEMD_BUS=" + m.address, "HOLDFAST_SYSTEMD_RUN=" + m.dir, "HOLDFAST_RUN=" + m.dir}
}

// The drop-in leaves restarts to the cluster and starts to nobody else, and the
// manager is told of it once.
func TestDropIn(t *testing.T) {
	m := newManager(t)
	m.add(web)
	a := systemd.Agent{}
	want(t, a.Start, resources.OK, "active")
	text, err := os.ReadFile(filepath.Join(m.dir, web+".d", "50-holdfast.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Restart=no", "Before=holdfastd.service", "ConditionPathExists=" + m.dir + "/units/" + web} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("drop-in without %s:\n%s", line, text)
		}
	}
	want(t, a.Stop, resources.OK, "")
	want(t, a.Start, resources.OK, "")
	if m.reloads != 1 {
		t.Errorf("%d reloads, want 1", m.reloads)
	}
	want(t, a.Stop, resources.OK, "")
	if _, err := (calls{m}).StartUnit(web, "replace"); err != nil {
		t.Fatal(err)
	}
	await(t, "the job of somebody else is over", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.units[web].job == 0 })
	want(t, a.Probe, resources.NotRunning, "inactive")
}

func TestRefusals(t *testing.T) {
	m := newManager(t)
	a := systemd.Agent{}
	want(t, a.Fit, resources.Failed, "no unit web.service")
	want(t, a.Start, resources.Failed, "no unit web.service")
	want(t, a.Stop, resources.OK, "no unit")
	want(t, a.Probe, resources.NotRunning, "")
	m.add(web).load = "masked"
	want(t, a.Start, resources.Failed, "systemctl unmask web.service")
	m.alter(web, func(u *unit) { u.load, u.file = "loaded", "enabled" })
	want(t, a.Fit, resources.Failed, "systemctl disable web.service")
	want(t, a.Start, resources.Failed, "systemctl disable web.service")
	if r := ask(t, a.Fit, time.Second); r.Severity != resources.Hard {
		t.Errorf("severity %q, want hard", r.Severity)
	}
}

func TestAFailedStartNamesItsCause(t *testing.T) {
	m := newManager(t)
	m.add(web).startAs = "failed"
	want(t, systemd.Agent{}.Start, resources.Failed, "job failed, it is failed (failed), result exit-code, its main process exited with 203; journalctl -u web.service")
	want(t, systemd.Agent{}.Probe, resources.NotRunning, "")
	m.alter(web, func(u *unit) { u.startAs = "" })
	want(t, systemd.Agent{}.Start, resources.OK, "")
}

// A start that the manager still has in its queue, left by an earlier life of the
// daemon, is neither running nor stopped; the stop takes it out of the queue.
func TestAQueuedStartIsCancelled(t *testing.T) {
	m := newManager(t)
	m.add(web).holdStart = true
	a := systemd.Agent{}
	if r := ask(t, a.Start, 200*time.Millisecond); r.Outcome != resources.Unknown {
		t.Fatalf("start: %v: %s; want unknown", r.Outcome, r.Text)
	}
	want(t, a.Probe, resources.Unknown, "queued")
	want(t, a.Stop, resources.OK, "inactive")
	if m.replaced != 1 {
		t.Errorf("%d jobs were replaced, want 1", m.replaced)
	}
	want(t, a.Probe, resources.NotRunning, "")
}

// A stop that does not end is not a stop.
func TestAStopThatHangs(t *testing.T) {
	m := newManager(t)
	m.add(web).holdStop = true
	a := systemd.Agent{}
	want(t, a.Start, resources.OK, "")
	if r := ask(t, a.Stop, 200*time.Millisecond); r.Outcome != resources.Unknown {
		t.Errorf("stop: %v: %s; want unknown", r.Outcome, r.Text)
	}
	want(t, a.Probe, resources.OK, "")
	m.alter(web, func(u *unit) { u.holdStop = false })
	kill := func(ctx context.Context, req resources.Request) resources.Report {
		req.Emergency = true
		return a.Stop(ctx, req)
	}
	want(t, kill, resources.OK, "")
	if len(m.killed) != 1 || m.killed[0] != web+" all 9" {
		t.Errorf("killed %v", m.killed)
	}
}

func TestOnItsWay(t *testing.T) {
	m := newManager(t)
	m.add(web)
	m.set(web, "activating", "start-pre")
	a := systemd.Agent{}
	if r := ask(t, a.Check, 200*time.Millisecond); r.Outcome != resources.Unknown || !strings.Contains(r.Text, "still activating") {
		t.Errorf("check: %v: %s", r.Outcome, r.Text)
	}
	want(t, a.Probe, resources.OK, "activating")
}

// Nobody answers: that is unknown, and no answer to whether it could run here.
func TestWithoutAManager(t *testing.T) {
	t.Setenv("HOLDFAST_SYSTEMD_BUS", "unix:path="+filepath.Join(t.TempDir(), "nobody"))
	want(t, systemd.Agent{}.Probe, resources.Unknown, "")
	want(t, systemd.Agent{}.Fit, resources.Failed, "")
	want(t, systemd.Agent{}.Stop, resources.Failed, "")
}

// A failure is told at once, and a manager that went away and came back is watched
// again, with word that something may have been missed.
func TestWatchReconnects(t *testing.T) {
	m := newManager(t)
	m.add(web)
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan systemd.Change, 64), make(chan struct{})
	go func() {
		defer close(ended)
		systemd.Watch(ctx, func() []string { return []string{web} }, func(c systemd.Change) { told <- c })
	}()
	<-told // connected
	m.restartBus()
	select {
	case c := <-told:
		if c.Active != "" || !c.Down() {
			t.Errorf("after the connection was lost: %+v", c)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not connected again")
	}
	cancel()
	<-ended
}

func TestWatch(t *testing.T) {
	m := newManager(t)
	m.add(web)
	m.add("other.service")
	m.set(web, "active", "running")
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan systemd.Change, 64), make(chan struct{})
	go func() {
		defer close(ended)
		systemd.Watch(ctx, func() []string { return []string{web} }, func(c systemd.Change) { told <- c })
	}()
	expect := func(active string) {
		t.Helper()
		select {
		case c := <-told:
			if c.Unit != web || c.Active != active {
				t.Errorf("told %+v, want %q", c, active)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not told", active)
		}
	}
	expect("")
	m.set("other.service", "failed", "failed")
	m.set(web, "failed", "failed")
	expect("failed")
	if !(systemd.Change{Unit: web, Active: "failed"}).Down() || (systemd.Change{Active: "active"}).Down() {
		t.Error("down is not what it should be")
	}
	cancel()
	<-ended
}

func TestUnitNames(t *testing.T) {
	for given, name := range map[string]string{
		"nginx": "nginx.service", "postgresql@15-main": "postgresql@15-main.service", "a.b": "a.b.service", "x.socket": "x.socket",
		"data.mount": "data.mount", "": "", "../x": "", "a b": "", "x.scope": "x.scope.service",
	} {
		got, err := systemd.UnitName(given)
		if got != name || (err == nil) != (name != "") {
			t.Errorf("%q: %q, %v; want %q", given, got, err, name)
		}
	}
}

// A member whose unit fails is told of with the unit's state, and no other is.
func TestMembersAreWatched(t *testing.T) {
	m := newManager(t)
	m.add(web)
	m.add("other.service")
	m.set(web, "active", "running")
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan string, 64), make(chan struct{})
	go func() {
		defer close(ended)
		systemd.Agent{}.Watch(ctx, func() []resources.Watched {
			return []resources.Watched{{Service: "shop", Member: "systemd", Spec: []byte(`{"unit":"` + web + `"}`)}}
		}, func(m resources.Watched, what string) { told <- m.Service + " " + m.Member + ": " + what })
	}()
	for _, want := range []string{"shop systemd: " + web + " may have changed", "shop systemd: " + web + " is failed"} {
		select {
		case got := <-told:
			if !strings.HasPrefix(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not told", want)
		}
		m.set("other.service", "failed", "failed")
		m.set(web, "active", "running")
		m.set(web, "failed", "failed")
	}
	cancel()
	<-ended
}
