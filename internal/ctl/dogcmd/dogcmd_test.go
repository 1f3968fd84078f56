package dogcmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/test/power"
)

// role makes the test's binary play the program holdfast.
const role = "HOLDFAST_DOGCMD_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	os.Exit(ctl.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// machine is an emulated node, alpha, that init has made; its processes die with
// its power.
type machine struct {
	t       *testing.T
	dir     string
	power   *power.Emulator
	control *power.Control
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // t.TempDir is too long for the path of a socket
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	m := &machine{t: t, dir: dir}
	m.power, err = power.Start(m.path("power.sock"), io.Discard)
	must(t, err)
	t.Cleanup(func() { _ = m.power.Close() })
	m.control, err = power.DialControl(m.path("power.sock"))
	must(t, err)
	t.Cleanup(func() { _ = m.control.Close() })
	must(t, m.control.Register(power.Node{
		Name: "alpha", Supply: power.Supply{Marker: role + "=" + dir},
		Chips: []power.Chip{{Name: "hw", Identity: "emulated hardware"}, {Name: "deaf", NoWayOut: true}},
	}))
	m.boot()
	f, err := os.Create(m.path("q0"))
	must(t, err)
	must(t, errors.Join(f.Truncate(48<<20), f.Close()))
	must(t, os.Mkdir(m.path("run"), 0o755))
	m.here("", "init", "--name", "alpha", "--emulated", "--emulator", m.path("power.sock"), "--holder", m.path("holder.sock"),
		"--etc", m.path("etc"), "--run", m.path("run"), "--state", m.path("state"), "--link", "127.0.0.1:7001", "--link", "127.0.1.1:7001",
		"--watchdog", "hw:1s", "--watchdog", "deaf", "--cluster", "hospital", "--nmax", "4", "--disk", m.path("q0"), "--failover-within", "20s").says(t, 0)
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) boot() {
	m.t.Helper()
	_, err := m.control.PowerOn("alpha")
	must(m.t, err)
}

type result struct {
	code     int // -1: killed, as a reset does it
	out, err string
}

// says fails the test unless the exit code is code and both outputs together hold
// all texts.
func (r result) says(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	oneLine := strings.Join(strings.Fields(r.out+r.err), " ")
	for _, text := range texts {
		if !strings.Contains(oneLine, text) {
			t.Errorf("does not say %q:\n%s%s", text, r.out, r.err)
		}
	}
}

// here runs a command line in this process.
func (m *machine) here(stdin string, args ...string) result {
	var out, errs bytes.Buffer
	code := ctl.Main(append(args, "--config", m.path("etc/node.yaml")), strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// there runs a command line in a process of the node.
func (m *machine) there(args ...string) result {
	m.t.Helper()
	exe, err := os.Executable()
	must(m.t, err)
	var out, errs bytes.Buffer
	c := exec.CommandContext(m.t.Context(), exe, append(args, "--config", m.path("etc/node.yaml"))...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), role+"="+m.dir), &out, &errs
	err = c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		m.t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (m *machine) happened(what power.What) int {
	n := 0
	for _, e := range m.power.Events() {
		if e.Node == "alpha" && e.What == what {
			n++
		}
	}
	return n
}

type series struct {
	State  string  `json:"state"`
	Record string  `json:"record"`
	TMax   float64 `json:"t_max_seconds"`
	Next   string  `json:"next"`
	Note   string  `json:"note"`
	Runs   []struct {
		Kind        string
		Least, Most float64
	} `json:"runs"`
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// TestQualify gives the same command again and again, as a script would over the
// boots of a machine, until it says that the device is measured.
func TestQualify(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	seen := make(chan result, 1)
	go func() { seen <- m.here("", "watchdog", "beacons", "--follow", "--json") }()
	wait := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !done(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("waited for: " + what)
			}
		}
	}
	var last result
	for boots := 0; ; boots++ {
		if boots > 6 {
			t.Fatalf("not measured after %d boots: %s", boots, last.out)
		}
		bitten := m.happened(power.Bite)
		last = m.there("watchdog", "qualify", "hw", "--yes", "--json")
		if last.code == 0 {
			break
		}
		if last.code != -1 || m.happened(power.Bite) != bitten+1 {
			t.Fatalf("run %d ended with %d: %s%s", boots+1, last.code, last.out, last.err)
		}
		if s := decode[series](t, last.out); s.State != "resetting" || len(s.Runs) != boots || s.Note != "" {
			t.Errorf("before run %d it said %+v", boots+1, s)
		}
		if boots == 0 {
			looked := decode[struct {
				Elapsed, Margin float64 `json:"-"`
				Phase           string  `json:"phase"`
				Seen            float64 `json:"seen_seconds"`
				Here            float64 `json:"elapsed_seconds"`
			}](t, func() string { r := <-seen; r.says(t, 0); return r.out }())
			if looked.Phase != "starving" || looked.Seen < looked.Here*0.9 || looked.Seen > looked.Here*1.5 {
				t.Errorf("from outside the run looked like %+v", looked)
			}
		}
		m.boot()
		opened := m.happened(power.Opened)
		m.here("", "watchdog", "qualify", "hw", "--show").says(t, 0)
		m.here("", "watchdog", "list").says(t, 0)
		if m.happened(power.Opened) != opened {
			t.Error("a command that only looks has armed the device")
		}
		wait("the node's power", func() bool { s, err := m.control.State("alpha"); return err == nil && s.State == power.On })
	}
	s := decode[series](t, last.out)
	if s.State != "measured" || s.Next != "" || len(s.Runs) != 4 || s.Runs[3].Kind != "guard-death" {
		t.Fatalf("said %+v", s)
	}
	q, err := watchdog.LoadQualification(s.Record)
	must(t, err)
	if q.Timeout != time.Second || q.Device != "emulated hardware" || !q.Emulated || q.TMax.Seconds() != s.TMax {
		t.Errorf("record %+v", q)
	}
	for i, r := range q.Runs {
		if r.Actual < time.Second-25*time.Millisecond || s.Runs[i].Least > s.Runs[i].Most {
			t.Errorf("run %d: %v after the last feed, a timeout of 1 s; %+v", i+1, r.Actual, s.Runs[i])
		}
	}
	if m.happened(power.ClosePet) != 0 {
		t.Error("the death of the feeding process was a feed")
	}
	m.here("", "timing", "--failover-within", "20s", "-f", "explain").says(t, 0)
	m.there("watchdog", "qualify", "hw", "--yes").says(t, 0, "measured", "count with it")
	m.here("alpha\n", "watchdog", "qualify", "hw", "--again", "--show").says(t, 0, "nothing was measured yet")
}

// TestTimingUsesTheRecord: what was measured takes the place of twice the timeout
// and a second.
func TestTimingUsesTheRecord(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	explain := func() string { return m.here("", "timing", "--failover-within", "20s", "-f", "explain").out }
	before := explain()
	q, err := m.control.Qualify("alpha", "hw", time.Second)
	must(t, err)
	must(t, os.MkdirAll(m.path("state/watchdogs"), 0o755))
	must(t, watchdog.SaveQualification(m.path("state/watchdogs/hw.json"), q))
	if after := explain(); after == before {
		t.Errorf("the record changed nothing:\n%s", after)
	}
}

func TestTest(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.here("no\n", "watchdog", "test", "hw").says(t, 1, "will reset this machine", "nothing was changed")
	if m.happened(power.Opened) != 0 {
		t.Fatal("a refused test has armed the device")
	}
	m.there("watchdog", "test", "hw", "--yes", "--timeout", "500ms").says(t, -1, "armed", "500 ms")
	if events := m.power.Events(); !slices.ContainsFunc(events, func(e power.Event) bool { return e.What == power.Bite && e.Device == "hw" }) {
		t.Errorf("events %+v", events)
	}
	m.boot()
	r := m.there("watchdog", "test", "hw", "--yes", "--timeout", "500ms", "--json")
	v := struct {
		Device  string  `json:"device"`
		Timeout float64 `json:"timeout_seconds"`
	}{}
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Device != "hw" || v.Timeout != 0.5 {
		t.Errorf("%v: %s", err, r.out)
	}
}

// A run that was not ended by the device does not count, and says why.
func TestRunsThatDoNotCount(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ask := func(how string) {
		t.Helper()
		exe, err := os.Executable()
		must(t, err)
		c := exec.Command(exe, "watchdog", "qualify", "hw", "--yes", "--json", "--timeout", "2s", "--config", m.path("etc/node.yaml"))
		c.Env = append(os.Environ(), role+"="+m.dir)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		must(t, json.NewDecoder(out).Decode(&series{})) // it is about to begin
		go func() { _, _ = io.Copy(io.Discard, out) }()
		for end := time.Now().Add(20 * time.Second); ; <-time.After(10 * time.Millisecond) {
			r := m.here("", "watchdog", "beacons", "--json")
			if v := (struct {
				Phase string `json:"phase"`
			}{}); r.code == 0 && json.Unmarshal([]byte(r.out), &v) == nil && v.Phase == "starving" {
				break
			}
			if time.Now().After(end) {
				t.Fatal("waited for the starving: " + r.out + r.err)
			}
		}
		if how == "off" {
			must(t, m.control.PowerOff("alpha", "a test"))
			m.boot()
		} else {
			must(t, c.Process.Signal(unix.SIGTERM))
		}
		_ = c.Wait()
	}
	ask("term")
	m.here("", "watchdog", "qualify", "hw", "--timeout", "2s", "--show", "--json").says(t, 0, "broken off in this boot", `"runs": []`)
	must(t, m.control.PowerOff("alpha", "it was left armed"))
	m.boot()
	ask("off")
	m.here("", "watchdog", "qualify", "hw", "--timeout", "2s", "--show", "--json").says(t, 0, "that was no bite", `"runs": []`)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	foreign := m.path("foreign")
	must(t, os.WriteFile(foreign, bytes.Repeat([]byte("precious"), 1024), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"which device":   {[]string{"watchdog", "qualify", "--yes"}, 2, "which device"},
		"no such device": {[]string{"watchdog", "qualify", "none", "--yes", "--timeout", "1s"}, 1, "no watchdog none"},
		"precious file":  {[]string{"watchdog", "qualify", "hw", "--yes", "--beacons", foreign}, 1, "is not empty"},
		"number":         {[]string{"watchdog", "beacons", "beta"}, 2, "no node's number"},
		"no beacons":     {[]string{"watchdog", "beacons"}, 1, "no beacon"},
		"wrong name":     {[]string{"watchdog", "qualify", "hw"}, 1, "nothing was changed"},
	} {
		t.Run(name, func(t *testing.T) { m.here("beta\n", c.args...).says(t, c.code, c.says) })
	}
	fd, err := unix.Open(m.path("run/guard.lock"), unix.O_RDWR|unix.O_CREAT, 0o600)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Flock(fd, unix.LOCK_EX))
	m.there("watchdog", "test", "hw", "--yes").says(t, 1, "the guard of this node runs")
	if n := m.happened(power.Opened); n != 0 {
		t.Errorf("refused commands have armed a device %d times", n)
	}
}
