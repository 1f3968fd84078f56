package systemd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// inside builds a small root around the machine's own /usr and executes systemd in
// it. $1 is the new root, $2 the folder of the test's program.
const inside = `set -e
mount -t tmpfs -o mode=755 root "$1"; cd "$1"
mkdir -p usr etc/systemd/system proc sys dev run tmp var/lib root old
mount --rbind /usr usr; for d in bin sbin lib lib32 lib64 libx32; do [ ! -L /$d ] || ln -s usr/$d $d; done
cp /etc/passwd /etc/group /etc/nsswitch.conf etc/; : >etc/machine-id; : >etc/fstab
cp "$3"/* etc/systemd/system/
mount -t tmpfs -o mode=755 dev dev; mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount -t tmpfs -o mode=755 run run; mount -t tmpfs tmp tmp
mkdir -p ".$2"; mount --bind "$2" ".$2"
for x in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do IFS=: read a b c <<END
$x
END
mknod -m 666 dev/$a c $b $c; done
: >dev/console; ln -s /proc/self/fd dev/fd; mkdir dev/shm dev/pts
mount -t cgroup2 cgroup2 sys/fs/cgroup
touch run/host-container; : >run/null; [ ! -e proc/sysrq-trigger ] || mount --bind run/null proc/sysrq-trigger
pivot_root . old; umount -l /old; cd /
exec env -i container=holdfast-test PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --bounding-set=-sys_time,-sys_module,-sys_boot /lib/systemd/systemd --system --unit=holdfast-test.target
`

// container is a real service manager in namespaces of its own; without a pid, this
// machine's own.
type container struct {
	t   *testing.T
	pid int
}

// thisMachine gives units to the service manager of the machine that the test runs on,
// which is one to be thrown away: HOLDFAST_SYSTEMD=this says so.
func thisMachine(t *testing.T, units map[string]string) *container {
	t.Helper()
	for name, text := range units {
		if err := os.WriteFile(filepath.Join("/etc/systemd/system", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &container{t: t}
	c.run("systemctl", "daemon-reload")
	c.run("systemctl", "start", "holdfast-test.target")
	return c
}

func newContainer(t *testing.T, units map[string]string) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: no namespaces for a service manager can be made; run this test as root")
	}
	for _, p := range []string{"/lib/systemd/systemd", "/usr/bin/setpriv", "/usr/bin/unshare"} {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("%s is missing (%v): apt-get install systemd util-linux", p, err)
		}
	}
	units["holdfast-test.target"] = "[Unit]\nDefaultDependencies=no\n"
	if os.Getenv("HOLDFAST_SYSTEMD") == "this" {
		return thisMachine(t, units)
	}
	root, err := groups.FindCgroup2()
	if err != nil {
		t.Skipf("no cgroups for a service manager (%v)", err)
	}
	cgroup := filepath.Join(root, fmt.Sprintf("holdfast-systemd-%d", os.Getpid()))
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Skipf("no cgroup for a service manager: %v", err)
	}
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	files := t.TempDir()
	for name, text := range units {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child", "--propagation", "private",
		"/bin/sh", "-c", inside, "sh", t.TempDir(), filepath.Dir(self), files)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &container{t: t}
	t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(cgroup, "cgroup.kill"), []byte("1"), 0)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		await(t, "the container's cgroup is gone", func() bool {
			_ = exec.Command("find", cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
			_, err := os.Stat(cgroup)
			return err != nil
		})
		if t.Failed() {
			t.Logf("the container's output: %s", log.String())
		}
	})
	await(t, "systemd is process 1 of the container", func() bool {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		_, err := fmt.Sscan(string(list), &c.pid)
		if err != nil {
			return false
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.pid))
		return strings.TrimSpace(string(name)) == "systemd"
	})
	var why error
	defer func() {
		if t.Failed() {
			t.Logf("last seen: %v", why)
		}
	}()
	await(t, "systemd listens", func() bool {
		why = c.try("systemctl", "is-active", "holdfast-test.target")
		return why == nil
	})
	return c
}

func (c *container) prefix() []string {
	if c.pid == 0 {
		return nil
	}
	return []string{"nsenter", "-t", fmt.Sprint(c.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"}
}

func (c *container) try(argv ...string) error {
	argv = append(c.prefix(), argv...)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", argv, err, out)
	}
	return nil
}

func (c *container) run(argv ...string) {
	c.t.Helper()
	if err := c.try(argv...); err != nil {
		c.t.Fatal(err)
	}
}

// ask calls the agent inside, in a process of its own.
func (c *container) ask(verb, unit string) resources.Report {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := os.CreateTemp(c.t.TempDir(), "answer")
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		c.t.Fatal(err)
	}
	defer null.Close()
	argv := append(c.prefix(), self, "agent", "systemd", verb)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"service": "s", "member": "m", "timeout_ns": %d, "spec": {"unit": %q}}`, 20*time.Second, unit))
	cmd.ExtraFiles = []*os.File{answer, null}
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %v: %s", argv, err, out)
	}
	text, err := os.ReadFile(answer.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	var r resources.Report
	if err := json.Unmarshal(text, &r); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	return r
}

// TestRealSystemd holds the agent against the real thing.
func TestRealSystemd(t *testing.T) {
	const plain = "[Unit]\nDefaultDependencies=no\n"
	c := newContainer(t, map[string]string{
		"web.service":    plain + "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=0\n",
		"broken.service": plain + "[Service]\nExecStart=/bin/false\nType=oneshot\n",
		"messy.service":  plain + "[Service]\nExecStart=/bin/sh -c 'sleep 1000 & exec sleep 1000'\nKillMode=process\n",
		"slow.service":   plain + "[Service]\nExecStartPre=/bin/sleep 1000\nExecStart=/bin/sleep 1000\n",
		"auto.service":   plain + "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=holdfast-test.target\n",
	})
	t.Run("lives", func(t *testing.T) {
		agenttest.Lives(t, agenttest.Case{
			Kind: "systemd", Spec: map[string]any{"unit": "web"}, Prefix: c.prefix(), Brief: true,
			// Restart=always of its own: the drop-in leaves that to the cluster.
			Lose: func(*testing.T) { c.run("systemctl", "kill", "-s", "KILL", "web.service") },
		})
	})
	want := func(verb, unit string, outcome resources.Outcome, words string) {
		t.Helper()
		if r := c.ask(verb, unit); r.Outcome != outcome || !strings.Contains(r.Text, words) {
			t.Errorf("%s %s: %v: %s; want %v with %q", verb, unit, r.Outcome, r.Text, outcome, words)
		}
	}
	// Nobody else starts it, and systemctl does not call that an error.
	c.run("systemctl", "start", "web.service")
	want("probe", "web", resources.NotRunning, "inactive")
	want("start", "broken", resources.Failed, "result exit-code, its main process exited with 1")
	want("fit", "nowhere", resources.Failed, "there is no unit nowhere.service")
	c.run("systemctl", "enable", "auto.service")
	want("fit", "auto", resources.Failed, "systemctl disable auto.service")
	// What its KillMode leaves behind is ended too.
	want("start", "messy", resources.OK, "")
	want("stop", "messy", resources.OK, "")
	want("probe", "messy", resources.NotRunning, "")
	// A start that is under way in the manager when the daemon comes back.
	c.run("mkdir", "-p", "/run/holdfast/units")
	c.run("systemctl", "start", "--no-block", "slow.service")
	await(t, "the slow unit is activating", func() bool { return c.ask("probe", "slow").Outcome != resources.NotRunning })
	want("stop", "slow", resources.OK, "")
	want("probe", "slow", resources.NotRunning, "")
}

// A failure of a real unit is told without being asked for.
func TestRealSystemdTells(t *testing.T) {
	c := newContainer(t, map[string]string{"bell.service": "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n"})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(c.prefix(), self, "watch", "bell.service")
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 64)
	go func() { // ends with the output
		defer close(told)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			told <- lines.Text()
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	expect := func(active string) time.Time {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case ch := <-told:
				if ch == "bell.service "+active {
					return time.Now()
				}
			case <-deadline:
				t.Fatalf("%q was not told", active)
			}
		}
	}
	expect("")
	c.run("systemctl", "start", "bell.service")
	expect("active")
	began := time.Now()
	c.run("systemctl", "kill", "-s", "KILL", "bell.service")
	t.Logf("the failure was told %v after the kill was asked for", expect("failed").Sub(began).Round(time.Millisecond))
}
