package accept

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// shown begins the first status that a demo prints: everything runs then.
const shown = "--- before the fault ---"

// demo is a running bin/demo.
type demo struct {
	cmd   *exec.Cmd
	ended chan error

	mu  sync.Mutex
	out bytes.Buffer // guarded by mu
}

// Write collects what the demo prints.
func (d *demo) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(b)
}

func (d *demo) printed() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// startDemo runs the demo with more in its environment.
func startDemo(t *testing.T, env []string, args ...string) *demo {
	t.Helper()
	d := &demo{cmd: exec.Command(filepath.Join(built(), "demo"), args...), ended: make(chan error, 1)}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- d.cmd.Wait() }() // ends with the process
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	return d
}

// id is the name that everything of the demo begins with.
func (d *demo) id() string { return fmt.Sprintf("hfdemo-%d-", d.cmd.Process.Pid) }

// end waits for the end and returns the exit code.
func (d *demo) end(ctx context.Context, t *testing.T) int {
	t.Helper()
	select {
	case <-d.ended:
		return d.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		t.Fatalf("the demo has not ended: %v\n%s", ctx.Err(), d.printed())
		return -1
	}
}

// until waits until the demo has printed a text.
func (d *demo) until(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	err := stage.Await(ctx, "the demo prints "+text, func() error {
		if !strings.Contains(d.printed(), text) {
			return fmt.Errorf("it has printed: %s", d.printed())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// traces lists what there is on this machine that belongs to the demo.
func (d *demo) traces(t *testing.T) []string {
	t.Helper()
	var found []string
	list := func(kind, pattern string, has func(path string) bool) {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if has(p) {
				found = append(found, kind+" "+p)
			}
		}
	}
	holds := func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), d.id())
	}
	always := func(string) bool { return true }
	for _, root := range []string{"/run", os.TempDir(), "/run/netns"} {
		list("file", filepath.Join(root, d.id()+"*"), always)
	}
	if group, err := groups.FindCgroup2(); err == nil {
		list("cgroup", filepath.Join(group, d.id()+"*"), always)
	}
	list("loop device", "/sys/block/loop*/loop/backing_file", holds)
	list("mount in", "/proc/[0-9]*/mountinfo", holds)
	list("process", "/proc/[0-9]*/environ", holds)
	cards, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cards {
		if slices.Contains([]string{"hb0", "hb1", "lan"}, c.Name) {
			found = append(found, "network card "+c.Name)
		}
	}
	return found
}

// gone fails if anything of the demo is left.
func (d *demo) gone(t *testing.T) {
	t.Helper()
	if left := d.traces(t); len(left) > 0 {
		t.Errorf("left behind:\n%s\nit had printed:\n%s", strings.Join(left, "\n"), d.printed())
	}
}

// loseDisk is the demo with the most to clean up: a lost disk, and a new one.
func loseDisk() []string { return []string{"DEMO_DISKS=3", "DEMO_FAULT=lose-disk"} }

// replacing is what that demo prints when the new disk is there.
const replacing = "# holdfast disk replace /"

// TestDemoInterrupted interrupts the demo while everything runs, while a disk is
// lost and being replaced, and while it is still being put up: nothing is left.
func TestDemoInterrupted(t *testing.T) {
	wanted(t, true)
	for _, c := range []struct {
		name, text string
		env        []string
	}{
		{"at work", shown, []string{"DEMO_BMC=1"}}, {"half up", "beta# holdfast join", nil}, {"replacing", replacing, loseDisk()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := limit(t, time.Minute)
			d := startDemo(t, c.env)
			d.until(ctx, t, c.text)
			if len(d.traces(t)) == 0 {
				t.Fatal("no trace of the running demo was found: the test would see nothing")
			}
			if err := d.cmd.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			if code := d.end(ctx, t); code != 130 {
				t.Errorf("exit code %d, want 130\n%s", code, d.printed())
			}
			d.gone(t)
		})
	}
}

// TestDemoKilled kills the demo's driver: the next run removes what it has left.
func TestDemoKilled(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, time.Minute)
	d := startDemo(t, loseDisk())
	d.until(ctx, t, replacing)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.end(ctx, t)
	if len(d.traces(t)) == 0 {
		t.Fatal("a killed driver has left nothing: the test would see nothing")
	}
	swept, err := remains.Sweep()
	if err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(swept, func(name string) bool { return strings.HasPrefix(name, d.id()) }) {
		t.Errorf("swept %v, not %s", swept, d.id())
	}
	d.gone(t)
}

// TestDemo runs demos to their end: the exit code says whether the service came
// back with every write that was acknowledged.
func TestDemo(t *testing.T) {
	wanted(t, false)
	for _, c := range []struct {
		name string
		root bool
		env  []string
		args []string
		want []string // lines of the output
	}{
		{"plain", false, nil, []string{"-plain"}, []string{"proof that alpha is dead: E3 time", "first answer from beta", "writes were acknowledged, all of them read back"}},
		{
			"active-active", true,
			[]string{"DEMO=active-active", "DEMO_FAULT=freeze"},
			nil,
			[]string{"is mounted on beta", "first answer from beta", "reports: ", "orders: "},
		},
		{"move", true, []string{"DEMO_FAULT=move"}, nil, []string{"may start orders (proof: E1 released)", "first answer from beta"}},
		{
			"lose-disk", true,
			loseDisk(),
			[]string{"-failover-within", "7s"}, // nobody is to be suspected on a busy machine
			[]string{"put a new one in its place", "every node shows three good disks", "verdict: orders was untouched", "none failed", "all of them read back from alpha"},
		},
		{
			"bmc", true,
			[]string{"DEMO_BMC=1"},
			[]string{"-failover-within", "14s"},
			[]string{"proof that alpha is dead: E4 power off", "the takeover rested on                         E4 power off                 E3 time", "all of them read back"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := stage.Able(); c.root && err != nil {
				t.Skipf("this machine cannot put up a cluster with disks and networks: %v", err)
			}
			t.Parallel() // with each other alone: what they wait for is time
			ctx := limit(t, 3*time.Minute)
			d := startDemo(t, c.env, c.args...)
			if code := d.end(ctx, t); code != 0 {
				t.Fatalf("exit code %d\n%s", code, d.printed())
			}
			for _, line := range c.want {
				if !strings.Contains(d.printed(), line) {
					t.Errorf("it has not printed %q:\n%s", line, d.printed())
				}
			}
			d.gone(t)
		})
	}
}
