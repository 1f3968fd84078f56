package guard

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/holder"
	"github.com/holdfast-ha/holdfast/test/power"
)

// role makes the test's binary play the guard.
const role = "HOLDFAST_GUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(jitterRole) != "":
		os.Exit(playJitter(os.Getenv(jitterRole)))
	case os.Getenv(role) != "":
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// node is an emulated machine with a quorum disk in a file, two watchdogs of one
// second, a descriptor holder and a guard in a process of its own.
type node struct {
	t        *testing.T
	emulator *power.Emulator
	control  *power.Control
	holder   *holder.Holder
	boot     ident.BootID
	dir      string
	guard    *exec.Cmd
}

func newNode(t *testing.T) *node {
	t.Helper()
	disk, l := fileDisk(t)
	return newNodeOn(t, disk, l)
}

// newNodeOn is newNode with a quorum disk that is there already.
func newNodeOn(t *testing.T, disk string, l quorumdisk.Layout) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	var err error
	n.emulator, err = power.Start(n.path("power.sock"), nil)
	must(t, err)
	t.Cleanup(func() { _ = n.emulator.Close() })
	n.holder, err = holder.Start(n.path("holder.sock"))
	must(t, err)
	t.Cleanup(func() { _ = n.holder.Close() })
	n.control, err = power.DialControl(n.path("power.sock"))
	must(t, err)
	t.Cleanup(func() { _ = n.control.Close() })
	must(t, n.control.Register(power.Node{
		Name:   "alpha",
		Chips:  []power.Chip{{Name: "hw"}, {Name: "soft", Software: true}},
		Supply: power.Supply{Marker: role + "=" + n.dir},
	}))
	n.boot, err = n.control.PowerOn("alpha")
	must(t, err)
	must(t, keys.Save(n.path("key")))
	s := &guardwire.Settings{
		Node: self, Name: "alpha", Cluster: clusterID, Layout: guardwire.Layout{NMax: l.Nmax, Sector: l.SectorSize},
		Disks: []guardwire.DiskSetting{{Path: disk, UUID: diskUUID(0)}}, Key: n.path("key"),
		Watchdogs: []guardwire.WatchdogSetting{{Device: "hw", Timeout: time.Second}, {Device: "soft", Timeout: time.Second}},
		Run:       n.dir, Holder: n.path("holder.sock"), Emulator: n.path("power.sock"), Drain: 10 * time.Millisecond,
	}
	text, err := s.Marshal()
	must(t, err)
	must(t, os.WriteFile(n.path("guard.conf"), text, 0o600))
	return n
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// start runs the guard; the emulator finds it by its environment.
func (n *node) start() {
	n.t.Helper()
	exe, err := os.Executable()
	must(n.t, err)
	c := exec.Command(exe, "-config", n.path("guard.conf"))
	c.Env = append(os.Environ(), role+"="+n.dir)
	c.Stderr = &lines{t: n.t}
	must(n.t, c.Start())
	n.guard = c
	n.t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
}

// lines passes on what the guard logs.
type lines struct{ t *testing.T }

func (l *lines) Write(p []byte) (int, error) {
	l.t.Logf("guard: %s", p)
	return len(p), nil
}

// dial connects once the guard has its watchdogs.
func (n *node) dial() *guardwire.Client {
	n.t.Helper()
	var c *guardwire.Client
	waitFor(n.t, "the guard's snapshot", func() bool {
		var err error
		c, err = guardwire.Dial(n.path(socketFile))
		return err == nil
	})
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// claim binds incarnation 7 of this boot, permitted for a minute.
func (n *node) claim(c *guardwire.Client) ident.Incarnation {
	n.t.Helper()
	if e := n.tryClaim(c); !e.OK {
		n.t.Fatalf("claim was refused: %s", e.Err)
	}
	return ident.Incarnation{N: 7, Boot: n.boot}
}

func (n *node) tryClaim(c *guardwire.Client) *guardwire.Echo {
	n.t.Helper()
	p := promise()
	p.Lease.TMax, p.Lease.Class = 3*time.Second, cluster.WatchdogUnqualified
	x := &running{rig: &rig{t: n.t}}
	return x.order(c, &guardwire.Claim{Inc: ident.Incarnation{N: 7, Boot: n.boot}, Until: c.Snapshot().Now.Add(time.Minute), Params: p})
}

// happened says whether the emulator saw such an event.
func (n *node) happened(what power.What) bool {
	return slices.ContainsFunc(n.emulator.Events(), func(e power.Event) bool { return e.What == what })
}

func (n *node) dark() bool {
	s, err := n.control.State("alpha")
	must(n.t, err)
	return s.State != power.On
}

func TestGuardProcess(t *testing.T) {
	n := newNode(t)
	n.start()
	c := n.dial()
	s := c.Snapshot()
	if s.Boot != n.boot || !s.Emulated || s.Holder != guardwire.ProcessHolder || len(s.Watchdogs) != 2 {
		t.Fatalf("snapshot %+v", s)
	}
	for _, w := range s.Watchdogs {
		if w.Timeout != time.Second || w.Class == cluster.WatchdogNone || w.Class == cluster.WatchdogQualified || w.Why == "" {
			t.Errorf("watchdog %+v", w)
		}
	}
	must(t, n.guard.Process.Signal(syscall.SIGTERM))
	if err := n.guard.Wait(); err != nil {
		t.Errorf("a clean end: %v", err)
	}
	if !n.happened(power.Disarmed) || n.dark() {
		t.Errorf("events %+v", n.emulator.Events())
	}
	// Crashed while free: the successor takes the kept descriptors over.
	n.start()
	n.dial()
	must(t, n.guard.Process.Kill())
	_ = n.guard.Wait()
	n.start()
	c = n.dial()
	if s := c.Snapshot(); s.Holder != guardwire.ProcessHolder || len(s.Watchdogs) != 2 || s.Watchdogs[0].Class == cluster.WatchdogNone {
		t.Errorf("after a crash while free: %+v", s)
	}
	if n.happened(power.ClosePet) || n.dark() {
		t.Errorf("events %+v", n.emulator.Events())
	}
}

// A frozen guard feeds nothing, and the watchdogs end its node.
func TestFrozenGuardIsBitten(t *testing.T) {
	n := newNode(t)
	n.start()
	n.claim(n.dial())
	must(t, n.guard.Process.Signal(syscall.SIGSTOP))
	waitFor(t, "the reset", n.dark)
	if !n.happened(power.Bite) || n.happened(power.ClosePet) {
		t.Errorf("events %+v", n.emulator.Events())
	}
}

// A hung guard is killed just before its node is bitten. Its end closes the
// watchdogs, which the kernel would count as a feed: but somebody else holds them.
func TestHungGuardKilledLate(t *testing.T) {
	n := newNode(t)
	n.start()
	n.claim(n.dial())
	must(t, n.guard.Process.Signal(syscall.SIGSTOP))
	hung := time.Now()
	waitFor(t, "the watchdogs to be about to bite", func() bool { return time.Since(hung) > 700*time.Millisecond })
	must(t, n.guard.Process.Kill())
	_ = n.guard.Wait()
	waitFor(t, "the reset", n.dark)
	for _, e := range n.emulator.Events() {
		if e.What == power.ClosePet || e.What == power.Bite && e.LastPet > n.lastRound(hung) {
			t.Errorf("a watchdog was fed by the guard's end: %+v", e)
		}
	}
}

// lastRound is the latest time, on the emulator's clock, of a feed by a guard
// that was stopped at that time.
func (n *node) lastRound(stopped time.Time) int64 {
	var ts unix.Timespec
	must(n.t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano() - int64(time.Since(stopped)) + int64(100*time.Millisecond)
}

// The successor of a guard that was killed while bound resets the node.
func TestKilledGuardIsNotReplaced(t *testing.T) {
	n := newNode(t)
	n.start()
	n.claim(n.dial())
	must(t, n.guard.Process.Kill())
	_ = n.guard.Wait()
	n.start()
	waitFor(t, "the reset", n.dark)
	if !n.happened(power.ResetRequested) || n.happened(power.ClosePet) {
		t.Errorf("events %+v", n.emulator.Events())
	}
}

// A bound guard replaces itself and keeps process, lease and watchdogs.
func TestUpgradeWhileBound(t *testing.T) {
	n := newNode(t)
	n.start()
	c := n.dial()
	inc := n.claim(c)
	if _, err := c.Send(&guardwire.Upgrade{}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Receive()
		if e, ok := m.(*guardwire.Echo); ok && e.Order == guardwire.KindUpgrade {
			t.Fatalf("refused: %s", e.Err)
		}
		if err != nil {
			break // the old program is gone
		}
	}
	c = n.dial()
	s := c.Snapshot()
	if s.Lease.Inc != inc || s.Params.Lease.F != promise().Lease.F || s.Holder != guardwire.ProcessHolder || len(s.Watchdogs) != 2 {
		t.Fatalf("snapshot after the upgrade %+v", s)
	}
	waitFor(t, "the new program's cycles to renew the lease", func() bool {
		m, err := c.Receive()
		must(t, err)
		table, ok := m.(*guardwire.Table)
		return ok && table.Wrote && table.Inc == inc && table.Issued > s.Now.Add(2*time.Second)
	})
	if n.dark() || n.happened(power.ClosePet) {
		t.Errorf("events %+v", n.emulator.Events())
	}
	x := &running{rig: &rig{t: t}}
	x.obeyed(c, &guardwire.Retire{Inc: inc})
	must(t, n.guard.Process.Signal(syscall.SIGTERM))
	if err := n.guard.Wait(); err != nil || n.dark() {
		t.Errorf("a clean end: %v", err)
	}
}

// What makes the guard punctual holds for all of it: no thread was left out, the
// threads that came later included, and no page of the program has to be read from
// the root file system any more.
func TestTheWholeProcessIsPunctual(t *testing.T) {
	n := newNode(t)
	n.start()
	c := n.dial()
	n.claim(c)
	refused := c.Snapshot().RealTime
	pid := n.guard.Process.Pid
	policy, said := uint32(unix.SCHED_RR), strings.Contains(refused, "real-time")
	if said {
		t.Logf("this kernel refuses it, and the guard says so: %s", refused)
		policy = unix.SCHED_NORMAL
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	if len(tasks) < 3 {
		t.Errorf("only %d threads: the test shows little", len(tasks))
	}
	for _, k := range tasks {
		tid, err := strconv.Atoi(k.Name())
		must(t, err)
		a, err := unix.SchedGetAttr(tid, 0)
		must(t, err)
		if a.Policy != policy || said && a.Nice != -20 && !strings.Contains(refused, "high priority") {
			t.Errorf("thread %d runs by policy %d at nice %d", tid, a.Policy, a.Nice)
		}
	}
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if must(t, err); strings.TrimSpace(string(score)) != "-1000" && !strings.Contains(refused, "OOM") {
		t.Errorf("OOM score %s", score)
	}
	if strings.Contains(refused, "memory") {
		if os.Geteuid() == 0 {
			t.Errorf("root may not lock memory: %s", refused)
		}
		t.Skipf("this user may not lock memory (run as root, or with ulimit -l unlimited), so that it is not seen whether all of the program is: %s", refused)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	must(t, err)
	files := 0
	for _, m := range mappings(string(maps)) {
		if m.file && m.size > 0 {
			files++
			if m.present < m.size || !m.locked {
				t.Errorf("%s: %d of %d KiB are in memory, locked: %v", m.head, m.present, m.size, m.locked)
			}
		}
	}
	if files < 2 {
		t.Errorf("%d parts of the program found: the test shows nothing", files)
	}
}

// mapping is one entry of /proc/PID/smaps, in KiB.
type mapping struct {
	head          string
	file          bool // readable, and of a file
	size, present int
	locked        bool
}

func mappings(text string) []mapping {
	var all []mapping
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			all = append(all, mapping{head: strings.TrimSpace(line), file: len(f) > 5 && strings.HasPrefix(f[5], "/") && f[5] != "/[aio]" && f[1][0] == 'r'})
		case len(all) == 0 || len(f) < 2:
		case f[0] == "Size:":
			all[len(all)-1].size, _ = strconv.Atoi(f[1])
		case f[0] == "Rss:":
			all[len(all)-1].present, _ = strconv.Atoi(f[1])
		case f[0] == "VmFlags:":
			all[len(all)-1].locked = slices.Contains(f, "lo")
		}
	}
	return all
}
