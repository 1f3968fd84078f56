package guardfaults

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// starvedInPieces lets daemon, guard and both run for a sixth of the time only, with
// pauses in between: real-time scheduling is no way out of that, as it is out of a
// cgroup's share. The feeds come late, and still in time.
func starvedInPieces(m *machine, long time.Duration) {
	m.t.Helper()
	for _, c := range []struct {
		what string
		whom []*process
	}{{"the daemon", []*process{m.daemon}}, {"the guard", []*process{m.guard}}, {"both", []*process{m.daemon, m.guard}}} {
		pieces := 0
		for end := time.Now().Add(long); time.Now().Before(end); pieces++ {
			for _, p := range c.whom {
				p.signal(m.t, unix.SIGSTOP)
			}
			m.goesOn(timeout/8, c.what+" is stopped for a moment")
			for _, p := range c.whom {
				p.signal(m.t, unix.SIGCONT)
			}
			m.goesOn(timeout/40, c.what+" runs for a moment")
		}
		m.t.Logf("%s: %d pieces", c.what, pieces)
	}
}

func pid(p *process) string { return strconv.Itoa(p.cmd.Process.Pid) }

// starvedByCgroup leaves daemon, guard and both one hundredth of a processor each.
func starvedByCgroup(m *machine, long time.Duration) {
	m.t.Helper()
	for _, c := range []struct {
		what string
		whom []*process
	}{{"the daemon", []*process{m.daemon}}, {"the guard", []*process{m.guard}}, {"both", []*process{m.daemon, m.guard}}} {
		undo, err := starve(m.t, c.whom)
		if errors.Is(err, errNoController) {
			m.t.Log(err)
			return
		}
		must(m.t, err)
		m.goesOn(long, c.what+" starve")
		m.t.Logf("%s: %s", c.what, undo())
	}
}

var errNoController = errors.New("this kernel has no cpu controller that a cgroup can be given (neither cpu.max of cgroup v2 nor /sys/fs/cgroup/cpu): nothing was starved")

// starve puts processes into a cgroup with a hundredth of a processor, of ordinary
// and of real-time scheduling, and returns how to take them out again, which says how they were held up.
func starve(t *testing.T, whom []*process) (undo func() string, err error) {
	t.Helper()
	name := "hfg-" + strconv.Itoa(os.Getpid()) + "-" + pid(whom[0])
	const v1, v2 = "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"
	var dir, back string
	var files map[string]string
	switch {
	case exists(filepath.Join(v1, "cpu.cfs_quota_us")):
		dir, back = filepath.Join(v1, name), v1
		files = map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "1000"}
	case exists(filepath.Join(v2, "cgroup.controllers")):
		_ = os.WriteFile(filepath.Join(v2, "cgroup.subtree_control"), []byte("+cpu"), 0) // it may be on, or impossible
		dir, back = filepath.Join(v2, name), v2
		files = map[string]string{"cpu.max": "1000 100000"}
	default:
		return nil, errNoController
	}
	must(t, os.Mkdir(dir, 0o755))
	if exists(filepath.Join(dir, "cpu.rt_runtime_us")) {
		files["cpu.rt_runtime_us"] = "10000" // of a second
	}
	var failed error
	for f, v := range files {
		failed = errors.Join(failed, os.WriteFile(filepath.Join(dir, f), []byte(v), 0))
	}
	if failed != nil {
		return nil, errors.Join(errNoController, failed, unix.Rmdir(dir))
	}
	move := func(to string) error {
		var failed error
		for _, p := range whom {
			failed = errors.Join(failed, os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(pid(p)), 0))
		}
		return failed
	}
	undone := false
	undo = func() string {
		if undone {
			return ""
		}
		undone = true
		stat, _ := os.ReadFile(filepath.Join(dir, "cpu.stat")) // for people
		if err := move(back); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Error(err)
		}
		for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil {
				return strings.Join(strings.Fields(string(stat)), " ")
			}
			if time.Now().After(end) {
				t.Errorf("remove cgroup %s: %v", dir, err)
				return ""
			}
		}
	}
	t.Cleanup(func() { undo() })
	return undo, move(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
