package exec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/exec"
)

// ask calls the agent in this process, with what an earlier start left.
func ask(t *testing.T, verb resources.Verb, spec string, left ...int) (resources.Report, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	req := resources.Request{Service: "s", Member: "m", Spec: json.RawMessage(spec), Left: left, Timeout: 20 * time.Second, Stderr: &stderr}
	var r resources.Report
	switch verb {
	case "start":
		r = exec.Agent{}.Start(ctx, req)
	case "kill":
		req.Emergency = true
		r = exec.Agent{}.Stop(ctx, req)
	case "stop":
		r = exec.Agent{}.Stop(ctx, req)
	case "check":
		r = exec.Agent{}.Check(ctx, req)
	default:
		r = exec.Agent{}.Probe(ctx, req)
	}
	return r, stderr.String()
}

func TestAgent(t *testing.T) {
	agenttest.Run(t, exec.Agent{}, map[string]any{
		"dir": t.TempDir(), "start": "touch up", "stop": "rm up", "check": "test -e up || exit 7",
	})
}

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"exec": exec.Agent{}}) }

// Both forms live as in a daemon: a program that stays, and commands that leave
// something behind.
func TestLives(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		pid := filepath.Join(t.TempDir(), "pid")
		agenttest.Lives(t, agenttest.Case{
			Kind: "exec", Spec: map[string]any{"run": "echo $$ >" + pid + "; exec sleep 1000", "settle": "50ms"},
			Lose: func(t *testing.T) { killFrom(t, pid) },
		})
	})
	t.Run("run, checked at a glance", func(t *testing.T) {
		pid := filepath.Join(t.TempDir(), "pid")
		agenttest.Lives(t, agenttest.Case{
			Kind: "exec", Spec: map[string]any{"run": "echo $$ >" + pid + "; exec sleep 1000", "settle": "50ms"},
			Lose: func(t *testing.T) { killFrom(t, pid) }, Glance: resources.Kinds{"exec": exec.Agent{}}.Glance, Brief: true,
		})
	})
	t.Run("start and stop", func(t *testing.T) {
		dir := t.TempDir()
		agenttest.Lives(t, agenttest.Case{Kind: "exec", Spec: map[string]any{
			"dir": dir, "start": "sleep 0.05; touch up", "stop": "sleep 0.05; rm -f up", "check": "test -e up || exit 7",
		}, Lose: func(t *testing.T) {
			if err := os.Remove(filepath.Join(dir, "up")); err != nil {
				t.Fatal(err)
			}
		}})
	})
}

func killFrom(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// What has a check of its own, or does not stay, is not checked at a glance.
func TestGlance(t *testing.T) {
	for spec, want := range map[string]bool{
		`{"run": ["sleep", "1000"]}`:                     true,
		`{"run": ["sleep", "1000"], "check": "true"}`:    false,
		`{"start": "true", "stop": "true"}`:              false,
		`{"run": ["sleep", "1000"], "no such field": 1}`: false,
	} {
		r, can := exec.Agent{}.Glance(resources.Request{Service: "web", Member: "m", Spec: []byte(spec)})
		if can != want || can && r.Outcome != resources.NotRunning {
			t.Errorf("%s: %v, %v: %s", spec, can, r.Outcome, r.Text)
		}
	}
}

func TestExitCodesOfACheck(t *testing.T) {
	for _, test := range []struct {
		check        string
		check1, prob resources.Outcome
	}{
		{"exit 0", resources.OK, resources.OK},
		{"exit 7", resources.NotRunning, resources.NotRunning},
		{"exit 3", resources.NotRunning, resources.NotRunning},
		{"exit 1", resources.Failed, resources.Unknown},
		{"kill -9 $$", resources.Failed, resources.Unknown},
	} {
		spec := `{"start": "true", "stop": "true", "check": "` + test.check + `"}`
		if r, _ := ask(t, "check", spec); r.Outcome != test.check1 {
			t.Errorf("check %q: %v: %s; want %v", test.check, r.Outcome, r.Text, test.check1)
		}
		if r, _ := ask(t, "probe", spec); r.Outcome != test.prob {
			t.Errorf("probe with %q: %v: %s; want %v", test.check, r.Outcome, r.Text, test.prob)
		}
	}
}

// A check that cannot tell "not running" from "broken" would make every stop
// unverifiable; better to hear that at the first start.
func TestACheckThatCannotSayNotRunningIsRefusedAtTheStart(t *testing.T) {
	r, _ := ask(t, "start", `{"start": "true", "stop": "true", "check": "exit 1"}`)
	if r.Outcome != resources.Failed || !strings.Contains(r.Text, "must exit with 7") {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
}

func TestWhatRunsIsNotStartedTwice(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "started")
	r, _ := ask(t, "start", `{"start": "touch `+mark+`", "stop": "true", "check": "true"}`)
	if _, err := os.Stat(mark); r.Outcome != resources.OK || err == nil {
		t.Errorf("%v: %s; the start command ran: %v", r.Outcome, r.Text, err == nil)
	}
}

func TestCommandsAsListsWithEnvironmentAndDirectory(t *testing.T) {
	dir := t.TempDir()
	spec, err := json.Marshal(map[string]any{
		"start": []string{"/bin/sh", "-c", `echo "$GREETING from $PWD, $1"`, "sh", "a b"},
		"env":   map[string]string{"GREETING": "hello"}, "dir": dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, out := ask(t, "start", string(spec))
	if want := "hello from " + dir + ", a b\n"; r.Outcome != resources.OK || out != want {
		t.Errorf("%v: %s; printed %q, want %q", r.Outcome, r.Text, out, want)
	}
}

func TestStopAsksPolitely(t *testing.T) {
	cmd := osexec.Command("/bin/sh", "-c", "sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	r, _ := ask(t, "stop", `{"run": "sleep 1000", "grace": "15s"}`, cmd.Process.Pid)
	if r.Outcome != resources.OK || !strings.Contains(r.Text, "have ended") {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
	<-ended
}

func TestRunThatEndsAtOnceIsAFailedStart(t *testing.T) {
	r, _ := ask(t, "start", `{"run": ["/bin/sh", "-c", "exit 5"]}`)
	if r.Outcome != resources.Failed || !strings.Contains(r.Text, "exit status 5") {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
	r, _ = ask(t, "start", `{"run": "/does/not/exist"}`)
	if r.Outcome != resources.Failed {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
}

func TestRunIsStartedWhenItsCheckIsSatisfied(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ready")
	r, _ := ask(t, "start", `{"run": "touch `+mark+`; exec sleep 1", "check": "test -e `+mark+` || exit 7"}`)
	if r.Outcome != resources.OK || !strings.Contains(r.Text, "check is satisfied") {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
}

func TestBadSpecifications(t *testing.T) {
	for _, spec := range []string{
		`{}`,
		`{"stop": "true"}`,
		`{"run": "a", "start": "b"}`,
		`{"run": "a", "stop": "b"}`,
		`{"start": "a", "check": "b"}`,
		`{"start": 7}`,
		`{"start": "a", "pidfile": "/run/a"}`,
		`{"run": "a", "grace": "-1s"}`,
		`{"run": "a", "grace": 5}`,
	} {
		if r, _ := ask(t, "start", spec); r.Outcome != resources.Failed {
			t.Errorf("%s: %v: %s; want failed", spec, r.Outcome, r.Text)
		}
		if r, _ := ask(t, "probe", spec); r.Outcome != resources.Unknown {
			t.Errorf("probe of %s: %v; want unknown", spec, r.Outcome)
		}
	}
}
