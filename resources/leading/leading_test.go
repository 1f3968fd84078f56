package leading_test

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources/leading"
)

// group is a member whose processes the test decides on.
type group struct {
	mu   sync.Mutex
	pids []int
}

func (g *group) set(pids ...int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pids = pids
}

func (g *group) list(leading.Of) []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pids
}

// sleeper starts a process, and returns it and what ends it.
func sleeper(t *testing.T) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func TestTheEndOfALeadingProcess(t *testing.T) {
	orders := leading.Of{Service: "orders", Member: "web"}
	var g group
	w, err := leading.New(g.list)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan string, 16), make(chan error, 1)
	go func() {
		ended <- w.Run(ctx, func(of leading.Of, what string) { told <- of.Service + "/" + of.Member + ": " + what })
	}()
	hears := func(want bool, when string) {
		t.Helper()
		select {
		case got := <-told:
			if !want || !strings.HasPrefix(got, "orders/web: its process") || !strings.Contains(got, "(sleep) has ended") {
				t.Errorf("%s: %q", when, got)
			}
		case <-time.After(map[bool]time.Duration{true: 20 * time.Second, false: 200 * time.Millisecond}[want]):
			if want {
				t.Fatalf("%s: nothing was told", when)
			}
		}
	}
	one, endOne := sleeper(t)
	two, endTwo := sleeper(t)
	g.set(one)
	w.Look([]leading.Of{orders})
	hears(false, "while all run")
	g.set(two) // a successor, and nobody has said so
	endOne()
	hears(true, "the end of the first")
	endTwo()
	hears(true, "the end of its successor")
	three, endThree := sleeper(t)
	g.set(three)
	w.Look([]leading.Of{orders})
	w.Look(nil)
	endThree()
	hears(false, "of a member that is gone")
	four, endFour := sleeper(t)
	g.set(four)
	w.Look([]leading.Of{orders})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the end of the watch: %v", err)
	}
	endFour()
	hears(false, "of a watch that has ended")
	w.Look([]leading.Of{orders}) // after the end it watches nothing, and breaks nothing
}

// A process below the leading one is its own affair.
func TestAHelperMayEnd(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 600 & echo $!; wait; sleep 600")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	buf := make([]byte, 16)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var helper int
	for _, c := range strings.TrimSpace(string(buf[:n])) {
		helper = 10*helper + int(c-'0')
	}
	var g group
	g.set(cmd.Process.Pid, helper)
	w, err := leading.New(g.list)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan string, 16), make(chan error, 1)
	go func() { ended <- w.Run(ctx, func(_ leading.Of, what string) { told <- what }) }()
	w.Look([]leading.Of{{Service: "orders", Member: "web"}})
	_ = syscall.Kill(helper, syscall.SIGKILL)
	select {
	case what := <-told:
		t.Errorf("the end of a helper was told: %s", what)
	case <-time.After(200 * time.Millisecond):
	}
	_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
	select {
	case what := <-told:
		if !strings.Contains(what, "(sh)") {
			t.Errorf("told %q", what)
		}
	case <-time.After(20 * time.Second):
		t.Error("the end of the leading process was not told")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
