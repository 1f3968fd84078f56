package examples

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/programs"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/demo/volatile"
)

// programsEnv is the environment variable by which TestMain passes the folder of the
// programs to the tests.
const programsEnv = "HOLDFAST_EXAMPLES_PROGRAMS"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return m.Run() // what needs programs skips itself
	}
	dir, err := os.MkdirTemp("", "hfdemo-programs-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = programs.Build(dir)
	}
	if err == nil {
		err = os.Setenv(programsEnv, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "examples:", err)
		return 1
	}
	if swept, err := remains.Sweep(); err != nil || len(swept) > 0 {
		fmt.Fprintln(os.Stderr, "examples: removed what killed runs had left:", swept, err)
	}
	return m.Run()
}

// wanted skips where whole clusters are not wanted, or this one is not possible.
func wanted(t *testing.T, needs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: whole clusters take minutes; make test runs them")
	}
	if err := stage.Able(); err != nil {
		t.Skipf("this machine cannot put up a cluster with disks and networks: %v", err)
	}
	if err := volatile.Able(); err != nil {
		t.Skipf("this machine has no disks that forget: %v", err)
	}
	for _, file := range needs {
		if found, _ := filepath.Glob(file); len(found) == 0 {
			t.Skipf("%s is missing: run test/setup.sh as root", file)
		}
	}
}

// rig is a cluster at work on an example.
type rig struct {
	*stage.Stage
	example written
	text    string
	names   *strings.Replacer // of disks and programs: the page's to this machine's
}

// disk is a name of a disk in the page.
var disk = regexp.MustCompile(`/dev/disk/by-id/\S+[^\s,;}]`)

// raise puts up a cluster for an example, with the disks that its configuration
// names and nothing on it yet. Each node has the folders fresh for itself.
func raise(ctx context.Context, t *testing.T, title string, o stage.Options, fresh ...string) *rig {
	t.Helper()
	r := &rig{example: example(t, title)}
	text, conf := r.example.configuration(t)
	o.Bin, o.Root, o.ClusterName, o.Within, o.Names = os.Getenv(programsEnv), true, conf.Name, conf.FailoverWithin, []string{"alpha", "beta"}
	o.Logs = t.TempDir()
	scenery := &stage.Scenery{Fresh: append([]string{"/srv"}, fresh...)}
	disks := disk.FindAllString(text, -1)
	for i := range disks {
		scenery.Disks = append(scenery.Disks, stage.DataDisk{Name: fmt.Sprintf("lun%d", i), Size: 512 << 20, Volatile: true})
	}
	o.Scenery = scenery
	for i := range conf.Services {
		o.Services = append(o.Services, stage.Service{Name: conf.Services[i].Name})
	}
	var err error
	if r.Stage, err = stage.Raise(ctx, o); err != nil {
		showLogs(t, o.Logs)
		t.Fatalf("put a cluster up: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("left behind: %v", err)
		}
		if t.Failed() {
			showLogs(t, o.Logs)
		}
	})
	var names []string
	for i, d := range disks {
		names = append(names, d, r.DiskPath(fmt.Sprintf("lun%d", i)))
	}
	if here, _ := filepath.Glob("/usr/lib/postgresql/*/bin"); len(here) > 0 {
		names = append(names, "/usr/lib/postgresql/15/bin", here[len(here)-1])
	}
	r.names = strings.NewReplacer(names...)
	r.text = r.names.Replace(text)
	return r
}

// shell runs one of the page's blocks of commands on a node.
func (r *rig) shell(t *testing.T, n *stage.Node, block int) {
	t.Helper()
	if out, err := n.Shell(r.names.Replace(r.example.block(t, "sh", block))); err != nil {
		t.Fatalf("commands %d of %q on %s: %v\n%s", block+1, r.example.title, n.Name, err, out)
	}
}

// owner is the node on which a service runs.
func (r *rig) owner(ctx context.Context, t *testing.T, service int) *stage.Node {
	t.Helper()
	n, err := r.Owner(ctx, r.Services[service])
	if err != nil || n == nil {
		t.Fatalf("%s runs nowhere: %v", r.Services[service].Name, err)
	}
	return n
}

// other is the node that a node is not.
func (r *rig) other(n *stage.Node) *stage.Node {
	if r.Nodes[0] == n {
		return r.Nodes[1]
	}
	return r.Nodes[0]
}

// powerOff takes the power from a node and waits until all services run on the other.
func (r *rig) powerOff(ctx context.Context, t *testing.T, n *stage.Node) {
	t.Helper()
	if err := r.Power.PowerOff(n.Name, "the test pulls the plug"); err != nil {
		t.Fatal(err)
	}
	err := stage.Await(ctx, "all services run on "+r.other(n).Name, func() error {
		for _, v := range r.Services {
			if now, err := r.Owner(ctx, v); err != nil || now != r.other(n) {
				return fmt.Errorf("%s does not: %w", v.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// boot gives a node its power back and waits until it is a member again.
func (r *rig) boot(ctx context.Context, t *testing.T, n *stage.Node) {
	t.Helper()
	for _, step := range []func() error{
		n.Thaw,
		func() error { return n.Boot(ctx) },
		func() error { return r.AwaitMembers(ctx, r.Nodes...) },
	} {
		if err := step(); err != nil {
			t.Fatalf("%s comes back: %v", n.Name, err)
		}
	}
}

// limit is the time that a test may take at all.
func limit(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// showLogs prints the end of what each program has said.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*")) // fails only for a bad pattern
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || len(text) == 0 || strings.HasPrefix(filepath.Base(f), "client-") {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("%s:\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}
