package terminal

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/steps"
)

// daemon answers for a node in any state that the test puts it in.
type daemon struct {
	mu     sync.Mutex
	status *api.Status // guarded by mu; nil: it does not answer
	asked  int         // guarded by mu
}

func (d *daemon) set(s *api.Status) {
	if s != nil {
		s.Next = steps.Of(s)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = s
}

func (d *daemon) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// ServeHTTP answers for the status; there are no events.
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !strings.HasSuffix(r.URL.Path, "/status"):
	case d.status == nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(api.Errorf(api.CodeUnknown, "the daemon is starting"))
	default:
		d.asked++
		_ = json.NewEncoder(w).Encode(d.status)
	}
}

// terminal is a window of tmux in which commands run.
type terminal struct {
	t      *testing.T
	daemon *daemon
	dir    string
	socket string // of the daemon
	tmux   string // of the tmux server
}

// open makes a window of so many columns and rows, with a shell in it.
func open(t *testing.T, columns, rows int) *terminal {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: a program is built and a terminal is waited for; make test does")
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is missing: test/setup.sh installs it (package tmux)")
	}
	dir, err := os.MkdirTemp("", "hfterm") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, daemon: &daemon{}, dir: dir, socket: filepath.Join(dir, "api.sock"), tmux: filepath.Join(dir, "tmux")}
	x.serve()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "github.com/holdfast-ha/holdfast/cmd/holdfast")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	x.run("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), "env", "-u", "NO_COLOR", "PS1=ready$ ", "PATH="+dir+":"+os.Getenv("PATH"), "sh")
	t.Cleanup(func() {
		x.run("kill-server")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	x.await("the shell is ready", func() bool { return strings.Contains(x.screen(), "ready$") })
	return x
}

func (x *terminal) serve() {
	x.t.Helper()
	l, err := net.Listen("unix", x.socket)
	if err != nil {
		x.t.Fatal(err)
	}
	server := &http.Server{Handler: x.daemon}
	done := make(chan struct{})
	go func() { // ends with the test
		defer close(done)
		_ = server.Serve(l)
	}()
	x.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

func (x *terminal) run(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", x.tmux}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// screen is what stands in the window.
func (x *terminal) screen() string { return x.run("capture-pane", "-p") }

// input types a line.
func (x *terminal) input(line string) { x.run("send-keys", line, "Enter") }

func (x *terminal) await(what string, met func() bool) {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); {
		if time.Now().After(end) {
			x.t.Fatalf("%s: not within 20 s; the screen is\n%s", what, x.screen())
		}
		select {
		case <-x.t.Context().Done():
			x.t.Fatal(x.t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// once runs a command in an empty window and gives what it has shown, with its
// colours, and its exit status.
func (x *terminal) once(command string) (text, code string) {
	x.t.Helper()
	x.run("clear-history")
	x.run("respawn-pane", "-k", "env", "-u", "NO_COLOR", "PATH="+x.dir+":"+os.Getenv("PATH"), "sh", "-c", command+"; echo ended with $?.; sleep 1000")
	ended := regexp.MustCompile(`ended with (\d+)\.`)
	x.await(command+" ends", func() bool {
		text = x.run("capture-pane", "-p", "-e", "-S", "-")
		return ended.MatchString(text)
	})
	code = ended.FindStringSubmatch(text)[1]
	for _, back := range []string{"\x1b[39m", "\x1b[49m"} { // to the usual colour
		text = strings.ReplaceAll(text, back, "")
	}
	return text, code
}

func sec(s float64) *api.Seconds { v := api.Seconds(s); return &v }

// well is a cluster of three nodes in which nothing is wrong.
func well() *api.Status {
	s := &api.Status{
		Version: 1, Time: time.Date(2026, 11, 22, 3, 0, 15, 0, time.UTC), Health: api.Healthy,
		Cluster: api.ClusterInfo{Name: "hospital", State: 41, Config: 3, Coordinator: "alpha"},
		Self:    api.Self{Name: "alpha", ID: 1, Stage: "member", Lease: sec(5.6), Holder: "systemd", Guard: "connected"},
		Services: []api.Service{
			{Name: "orders", State: "running", Node: "beta", Term: 4, Why: "it is the node that it prefers most"},
			{Name: "reports", State: "running", Node: "alpha", Term: 2, Why: "it runs 0 other services"},
		},
		DiskSet: api.DiskSet{Stage: api.DisksSettled},
		Failover: api.Failover{Within: 10, Expected: []api.Expected{
			{Proof: "E3 time", Known: true, Typical: 8.9, Worst: 10}, {Proof: "E4 power off", Known: true, Typical: 6.2, Worst: 7.1},
		}},
		Watchdogs: []api.Watchdog{{Path: "/dev/watchdog0", Timeout: 5, Class: "qualified"}, {Path: "/dev/watchdog1", Timeout: 5, Class: "qualified"}},
	}
	for i, name := range []string{"alpha", "beta", "gamma"} {
		n := api.Node{ID: i + 1, Name: name, Phase: "member", Guard: "bound", DiskAge: sec(.3), Watchdog: "qualified"}
		if name != "alpha" {
			n.NetAge = sec(.1)
			s.Fencing = append(s.Fencing, api.Readiness{Node: name, Ways: []api.Way{{Way: "bmc", State: "works", Age: sec(40)}}})
			for k := range 2 {
				s.Links = append(s.Links, api.Link{Index: k, Peer: name, Up: true, Age: sec(.1), Local: fmt.Sprintf("10.%d.0.11:7320", k), Remote: fmt.Sprintf("10.%d.0.1%d:7320", k, i+1)})
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.Nodes[0].Services, s.Nodes[1].Services = []string{"reports"}, []string{"orders"}
	for i := range 3 {
		s.Disks = append(s.Disks, api.Disk{Index: i, ID: fmt.Sprintf("d%d", i), Path: fmt.Sprintf("/dev/disk/by-id/wwn-0x600508b1001c3a2%d", i), Age: sec(.2), Latency: .0012})
	}
	return s
}

// state is a night, and what the screen must say of it.
type state struct {
	spoil func(s *api.Status)
	code  string
	says  []string
}

func states() map[string]state {
	const red, yellow, green = "\x1b[1m\x1b[31m", "\x1b[33m", "\x1b[32m"
	return map[string]state{
		"healthy": {func(*api.Status) {}, "0", []string{"cluster hospital: OK", green + "OK", "LINKS: beta 2 of 2, gamma 2 of 2 up", "FENCING"}},
		"fenced": {func(s *api.Status) {
			s.Health = api.Critical
			s.Nodes[1].Fencing, s.Nodes[1].Remaining, s.Nodes[1].Why, s.Nodes[1].DiskAge = true, sec(4.8), "silent for 3.5s", sec(4.2)
			s.Services[0].State, s.Services[0].Why = "unknown", "its owner is being fenced"
		}, "2", []string{"CRITICAL", red, "WHAT TO DO", "beta is being fenced: silent for 3.5s; orders waits for a proof", "(4.8 s left)", "-> holdfast explain node beta", "unknown"}},
		"service failed": {func(s *api.Status) {
			s.Health = api.Critical
			s.Services[0] = api.Service{Name: "orders", State: "stopped", Why: "no node can run it: beta: failed there: exit status 3; alpha: the device is missing"}
		}, "2", []string{"orders does not run: no node can run it", "-> holdfast service clear orders", "alpha: the device is missing"}},
		"no quorum": {func(s *api.Status) {
			s.Health = api.Critical
			for i := range s.Disks {
				s.Disks[i].Error, s.Disks[i].Age = "read: no answer within the deadline", sec(9)
			}
			s.Warnings = []string{"no beat of this node has reached a majority of the quorum disks for 9s; it lives by the consent of all members, for 1m51s more at most"}
		}, "2", []string{"3 of 3 quorum disks do not answer alpha: nothing can be decided", "-> holdfast disk show", red + "FAILS", "1m51s more at most"}},
		"maintenance": {func(s *api.Status) {
			s.Health = api.Warning
			s.Services[0].Maintenance = &api.Until{Left: 1740, By: "root"}
			s.Warnings = []string{"orders is in maintenance for another 29m0s: its services stay as they are"}
		}, "1", []string{yellow + "WARNING", "orders is in maintenance: it is not taken over, by root (29 min left)", "-> holdfast service maintenance orders --off"}},
		"disk lost": {func(s *api.Status) {
			s.Health = api.Warning
			s.Disks[1].Error = "open: no such device"
		}, "1", []string{"quorum disk 2 (/dev/disk/by-id/wwn-0x600508b1001c3a21) does not answer; the others carry the cluster", "-> holdfast disk replace d1 NEW"}},
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestStates: whatever the night brings, the screen says it first, what to do about it
// and for how long it lasts, in 80 columns or more; colours are for terminals alone,
// and the exit status is the documented one.
func TestStates(t *testing.T) {
	for _, columns := range []int{80, 132} {
		x := open(t, columns, 24)
		for name, c := range states() {
			s := well()
			c.spoil(s)
			x.daemon.set(s)
			text, code := x.once("holdfast --socket " + x.socket + " status")
			if code != c.code {
				t.Errorf("%d columns, %s: exit status %s, want %s", columns, name, code, c.code)
			}
			flat := strings.Join(strings.Fields(escape.ReplaceAllString(text, "")), " ")
			for _, w := range c.says {
				if !strings.Contains(text, w) && !strings.Contains(flat, w) {
					t.Errorf("%d columns, %s: no %q in\n%q", columns, name, w, text)
				}
			}
			if !strings.Contains(text, "\x1b[3") {
				t.Errorf("%s: no colour", name)
			}
			for line := range strings.Lines(escape.ReplaceAllString(text, "")) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
					t.Errorf("%s: %d columns: %s", name, n, line)
				}
			}
			t.Logf("%d columns, %s:\n%s", columns, name, escape.ReplaceAllString(text, ""))
		}
		x.daemon.set(well())
		for _, plain := range []string{"holdfast --socket " + x.socket + " status | cat", "NO_COLOR=1 holdfast --socket " + x.socket + " status"} {
			if text, _ := x.once(plain); strings.Contains(text, "\x1b[3") || !strings.Contains(text, "cluster hospital: OK") {
				t.Errorf("%s: %q", plain, text)
			}
		}
	}
}

// TestWatch: frames are written over each other without an empty screen between them,
// also in a window that is too low, through a daemon that does not answer for a while,
// and the last one is left when it is interrupted, with its exit status.
func TestWatch(t *testing.T) {
	x := open(t, 80, 24)
	raw := filepath.Join(x.dir, "raw")
	x.daemon.set(well())
	x.run("pipe-pane", "cat >"+raw)
	x.input("clear; holdfast --socket " + x.socket + " status --watch=100ms; echo ended with $?.")
	x.await("the first frame", func() bool { return strings.HasPrefix(x.screen(), "cluster hospital: OK") })
	was := x.daemon.times()
	x.await("ten more", func() bool { return x.daemon.times() > was+10 })
	if text := x.screen(); !strings.HasPrefix(text, "cluster hospital: OK") || !strings.Contains(text, "lines more: make the window higher") {
		t.Errorf("it has scrolled:\n%s", text)
	}
	x.run("pipe-pane")
	bytes, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, frames, _ := strings.Cut(string(bytes), "cluster hospital") // the first frame may clear what was there
	if n := strings.Count(frames, "\x1b[H"); n < 8 || strings.Contains(frames, "\x1b[2J") || strings.Contains(frames, "\x1bc") {
		t.Errorf("%d frames, and the screen is cleared between them: %q", n, frames)
	}
	x.daemon.set(nil)
	x.await("it says that nobody answers", func() bool { return strings.HasPrefix(x.screen(), "NO STATUS for ") })
	s := well()
	states()["fenced"].spoil(s)
	x.daemon.set(s)
	x.await("it says what is wrong", func() bool { return strings.HasPrefix(x.screen(), "cluster hospital: CRITICAL") })
	if text := x.screen(); !strings.Contains(text, "beta is being fenced") || strings.Contains(text, "NO STATUS") {
		t.Errorf("what was there before is left:\n%s", text)
	}
	x.run("resize-window", "-x", "132", "-y", "50")
	x.await("the whole screen", func() bool { return strings.Contains(x.screen(), "FENCING") })
	x.run("send-keys", "C-c")
	x.await("it ends", func() bool { return strings.Contains(x.screen(), "ended with 2.") })
	if text := x.screen(); !strings.HasPrefix(text, "cluster hospital: CRITICAL") {
		t.Errorf("the last frame is gone:\n%s", text)
	}
}
