package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/doctor/gather"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// daemon answers as that of a healthy node.
type daemon struct{ status api.Status }

func (d *daemon) Status(context.Context) (*api.Status, error) {
	d.status.Drills = &api.Drills{Last: []api.DrillRecord{{Kind: api.DrillFence, Node: "beta", Way: "bmc", Time: time.Now(), OK: true, Text: "it came back"}}}
	return &d.status, nil
}

func (d *daemon) Timing(context.Context) (*api.Timing, error) {
	return &api.Timing{Rows: []api.Row{{Name: "F", Value: 6}}}, nil
}

func (d *daemon) Config(context.Context, uint64) (*api.Config, error) {
	return &api.Config{Text: "cluster:\n  name: hospital\n  failover_within: 10s\nservices: {}\n"}, nil
}

// other is the daemon of another node, by its name.
type other string

func (o other) Status(context.Context) (*api.Status, error) {
	if o == "gamma" {
		return nil, errors.New("connection refused")
	}
	return &api.Status{Time: time.Now(), Self: api.Self{Name: string(o), Build: "0.9"}}, nil
}

func (o other) Doctor(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{"version":1,"node":"beta","level":"failure","machine":{"kernel":"5.10"},"sections":[{"name":"boot","findings":[{"check":"fstab","level":"failure","text":"mounted twice"}]}]}`), nil
}

// doctorOf runs the command on a machine that is a directory, in which swappiness is
// the one thing that a fix changes.
func doctorOf(t *testing.T, root, in string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(root, "node.yaml")
	if err := os.WriteFile(path, []byte(`name: alpha
id: 1
cluster: {name: hospital, id: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11}
quorum_disks: [{path: /dev/disk/by-id/x, uuid: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c12}]
links: ["10.0.0.11:7320", "10.1.0.11:7320"]
key: /etc/holdfast/cluster.key
watchdogs: [softdog]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	here := &daemon{status: api.Status{Self: api.Self{Name: "alpha", Build: "1.0"}, Nodes: []api.Node{{Name: "alpha"}, {Name: "beta"}, {Name: "gamma"}, {Name: "delta", Phase: "out"}}}}
	others := func(node string) Other { return other(node) }
	var out bytes.Buffer
	d := &command{
		Shell: &shell.Shell{In: strings.NewReader(in), Out: &out, Err: &out, Config: path},
		dial:  func() (Daemon, func(string) Other, error) { return here, others, nil },
		machine: &gather.Machine{Root: root, Run: func(context.Context, program.Command) (program.Result, error) {
			return program.Result{}, errors.New("not here")
		}},
	}
	c := d.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func reserve(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "proc/sys/vm/min_free_kbytes"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestFixAndUndo: what is shown is what is changed, nothing without a yes, and
// everything comes back.
func TestFixAndUndo(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{"proc/sys/vm/min_free_kbytes": "2048\n", "proc/meminfo": "MemTotal: 16000000 kB\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kernel := []string{"--section", "kernel"}
	out, err := doctorOf(t, root, "", kernel...)
	if !errors.Is(err, shell.Code(2)) || !strings.Contains(out, "2 MiB of memory in reserve") || !strings.Contains(out, "-> sysctl vm.min_free_kbytes=65536") {
		t.Errorf("%v: %s", err, out)
	}
	out, _ = doctorOf(t, root, "", append(kernel, "--json")...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Level != doctor.Failure || len(r.Sections) != 1 {
		t.Errorf("%v: %s", err, out)
	}
	out, err = doctorOf(t, root, "no\n", append(kernel, "--fix")...)
	if err == nil || !strings.Contains(out, "write  /etc/sysctl.d/60-holdfast-memory.conf") || !strings.Contains(out, "set    /proc/sys/vm/min_free_kbytes to 65536") || reserve(t, root) != "2048" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = doctorOf(t, root, "", append(kernel, "--fix", "--dry-run")...); err != nil || reserve(t, root) != "2048" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = doctorOf(t, root, "yes\n", append(kernel, "--fix")...); err != nil || reserve(t, root) != "65536" || !strings.Contains(out, "done: vm.min_free_kbytes = 65536") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = doctorOf(t, root, "", "--undo", "--dry-run"); err != nil || reserve(t, root) != "65536" || !strings.Contains(out, "reserve: vm.min_free_kbytes") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = doctorOf(t, root, "", "--undo", "--yes", "--json"); err != nil || reserve(t, root) != "2048" || !strings.Contains(out, `"done": true`) {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "etc")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory is left: %v", err)
	}
	if out, err = doctorOf(t, root, "", "--undo"); err != nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	var usage shell.UsageError
	for _, args := range [][]string{{"--section", "nothing"}, {"--fix", "--undo"}} {
		if out, err := doctorOf(t, t.TempDir(), "", args...); !errors.As(err, &usage) {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	out, err := doctorOf(t, t.TempDir(), "", "--section", "drills", "--section", "cluster", "--brief")
	for _, words := range []string{"this node is no member", "beta: it runs 0.9, this node 1.0", "beta: its own doctor finds: boot: mounted twice", "gamma: its daemon cannot be asked: connection refused"} {
		if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), words) {
			t.Errorf("no %q: %v: %s", words, err, out)
		}
	}
	if strings.Contains(out, "delta: its") {
		t.Errorf("a node that is out was asked: %s", out)
	}
	if out, _ = doctorOf(t, t.TempDir(), "", "--local", "--section", "cluster"); strings.Contains(out, "beta") {
		t.Errorf("with --local others were asked: %s", out)
	}
}

// TestFound: what init and join say of a machine before it has work is what the doctor
// finds there, without what they say themselves.
func TestFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/sys/vm/min_free_kbytes": "2048\n", "proc/meminfo": "MemTotal: 16000000 kB\n", "proc/sysrq-trigger": "",
		"usr/lib/systemd/system/suspend.target": "", "etc/systemd/system.conf": "[Manager]\nRuntimeWatchdogSec=30s\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := &gather.Machine{Root: root, Run: func(context.Context, program.Command) (program.Result, error) {
		return program.Result{}, errors.New("not here")
	}}
	link := netip.MustParseAddrPort("10.0.0.11:7320")
	got := map[string]bool{}
	for _, x := range foundOn(m, &config.Node{Name: "alpha", Links: []netip.AddrPort{link}, Watchdogs: []config.Watchdog{{Device: "softdog"}}}) {
		got[x.Check] = true
		if x.Remedy == "" {
			t.Errorf("%s has no remedy", x.Check)
		}
	}
	for name, want := range map[string]bool{"reserve": true, "sleep": true, "manager": true, "pair": true, "card": true, "count": false, "measured": false, "reset-line": false, "own-unit": false} {
		if got[name] != want {
			t.Errorf("%s: %t, want %t", name, got[name], want)
		}
	}
}
