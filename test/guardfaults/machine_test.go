package guardfaults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/holder"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
	"github.com/holdfast-ha/holdfast/test/power"
)

const (
	timeout  = 2 * time.Second  // of both watchdogs
	within   = 6 * time.Second  // failover_within
	permit   = 30 * time.Second // for which a daemon's last word lets the guard go on
	slack    = time.Second      // of a busy machine, where an instant is compared
	patience = 40 * time.Second
	quorumMB = 48
	rootMB   = 80
	marker   = "HOLDFAST_GUARDFAULTS_NODE" // in the environment of the machine's processes
)

// machine is an emulated machine with two watchdogs, the only node of its cluster.
type machine struct {
	t        *testing.T
	dir      string
	emulator *power.Emulator
	control  *power.Control
	quorum   string
	hang     func() // the quorum disk; nil: it cannot
	root     root
	daemon   *process
	guard    *process
	started  []*process
}

// root is the root file system: the one of this machine, or an own one that can
// hang.
type root struct {
	device string // loop device; empty: this machine's
	at     string // where it is mounted, in the namespaces of the processes
	hang   func()
}

type options struct{ ownRoot, stuckQuorum bool }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newMachine makes the machine, its cluster, and starts guard and daemon; it
// returns when the node is a member.
func newMachine(t *testing.T, o options) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "hfg") // t.TempDir is too long for the path of a socket
	must(t, err)
	m := &machine{t: t, dir: dir}
	t.Cleanup(m.tearDown) // after that of Stuck, which ends what waits for its file
	if o.stuckQuorum {
		m.quorum, m.hang = storagetest.Stuck(t, quorumMB<<20)
	} else {
		m.quorum = m.path("quorum")
		f, err := os.Create(m.quorum)
		must(t, err)
		must(t, errors.Join(f.Truncate(quorumMB<<20), f.Close()))
	}
	m.emulator, err = power.Start(m.path("power.sock"), io.Discard)
	must(t, err)
	t.Cleanup(func() { _ = m.emulator.Close() })
	second, err := holder.Start(m.path("holder.sock"))
	must(t, err)
	t.Cleanup(func() { _ = second.Close() })
	m.control, err = power.DialControl(m.path("power.sock"))
	must(t, err)
	t.Cleanup(func() { _ = m.control.Close() })
	must(t, m.control.Register(power.Node{
		Name: "alpha", Supply: power.Supply{Marker: marker + "=" + dir},
		Chips: []power.Chip{{Name: "soft", Identity: "Software Watchdog", Software: true}, {Name: "hw"}},
	}))
	_, err = m.control.PowerOn("alpha")
	must(t, err)
	m.measured()
	out, err := m.prepare("holdfast", m.initFlags()...).CombinedOutput()
	if err != nil {
		t.Fatalf("holdfast init: %v\n%s", err, out)
	}
	if o.ownRoot {
		m.makeRoot()
	}
	m.start()
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// ownEtc and ownState are where an own root file system has what init has made.
const (
	ownEtc   = "/etc/holdfast"
	ownState = "/var/lib/holdfast"
)

func (m *machine) etc() string {
	if m.root.device != "" {
		return ownEtc
	}
	return m.path("etc")
}

func (m *machine) initFlags() []string {
	must(m.t, os.MkdirAll(m.path("run"), 0o755))
	pid := os.Getpid()
	f := []string{
		"init", "--name", "alpha", "--cluster", "faults", "--failover-within", within.String(), "--disk", m.quorum, "--nmax", "4",
		"--etc", m.path("etc"), "--run", m.path("run"), "--state", m.path("state"),
		"--emulated", "--emulator", m.path("power.sock"), "--holder", m.path("holder.sock"), "--pause-bound", "0s",
		"--watchdog", "soft:" + timeout.String(), "--watchdog", "hw:" + timeout.String(),
	}
	// Links that no other node of this machine has: the folder's name is unlike any other's.
	sum := 0
	for _, c := range m.dir {
		sum = (sum*31 + int(c)) % 60000
	}
	for i := range 2 {
		f = append(f, "--link", fmt.Sprintf("127.%d.%d.%d:%d", 128+pid>>8&63, pid&255, 1+i, 2000+sum))
	}
	return f
}

// measured writes the records of the machine's watchdogs.
func (m *machine) measured() {
	m.t.Helper()
	must(m.t, os.MkdirAll(m.path("state/watchdogs"), 0o755))
	for _, chip := range []string{"soft", "hw"} {
		q, err := m.control.Qualify("alpha", chip, timeout)
		must(m.t, err)
		must(m.t, watchdog.SaveQualification(m.path("state/watchdogs/"+chip+".json"), q))
	}
}

// start starts guard and daemon, and waits until the node is a member.
func (m *machine) start() {
	m.t.Helper()
	m.startGuard()
	m.startDaemon()
	m.await("the node is a member", m.member)
}

// member asks the daemon whether the node is a member of its cluster.
func (m *machine) member() bool {
	c, err := api.Dial(m.path("run/api.sock"))
	if err != nil {
		return false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Second)
	defer cancel()
	st, err := c.Status(ctx)
	return err == nil && slices.ContainsFunc(st.Nodes, func(n api.Node) bool { return n.Name == "alpha" && n.Phase == "member" })
}

func (m *machine) startGuard() {
	m.guard = m.launch("holdfast-guard", "-config", filepath.Join(m.etc(), "guard.conf"))
}

func (m *machine) startDaemon() {
	m.daemon = m.launch("holdfastd", "-config", filepath.Join(m.etc(), "node.yaml"))
}

// await polls until done, or fails saying what it waited for.
func (m *machine) await(what string, done func() bool) {
	m.t.Helper()
	for end := time.Now().Add(patience); !done(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("waited %v for: %s; %+v", patience, what, m.emulator.Events())
		}
	}
}

// process is a program of the machine.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
	if s == unix.SIGKILL {
		<-p.ended
	}
}

// prepare makes a command that runs on the machine.
func (m *machine) prepare(program string, args ...string) *exec.Cmd {
	m.t.Helper()
	where := os.Getenv(programsEnv)
	if m.root.device != "" {
		where = "/bin"
	}
	program = filepath.Join(where, program)
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), marker+"="+m.dir)
	if m.root.device != "" {
		self, err := os.Executable()
		must(m.t, err)
		c = exec.Command(self, append([]string{program}, args...)...)
		c.Env = append(os.Environ(), marker+"="+m.dir, enterEnv+"="+m.root.device+" "+m.root.at)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	}
	return c
}

func (m *machine) launch(program string, args ...string) *process {
	m.t.Helper()
	log, err := os.OpenFile(m.path(program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(m.t, err)
	defer log.Close()
	p := &process{cmd: m.prepare(program, args...), ended: make(chan struct{})}
	p.cmd.Stderr, p.cmd.Stdout = log, log
	must(m.t, p.cmd.Start())
	go func() { // ends with the process
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	m.started = append(m.started, p)
	return p
}

// lost is how the machine lost its power; nil: it has not.
func (m *machine) lost() *power.Event {
	for _, e := range m.emulator.Events() {
		if e.Node == "alpha" && (e.What == power.Bite || e.What == power.ResetRequested || e.What == power.PowerOff) {
			return &e
		}
	}
	return nil
}

// goesOn fails the test if the machine loses its power within d.
func (m *machine) goesOn(d time.Duration, what string) {
	m.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if e := m.lost(); e != nil {
			m.t.Fatalf("%s: %s %s after %v of %v", what, e.What, e.Text, d-time.Until(end), d)
		}
	}
}

// now is the emulator's clock.
func now(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano()
}

// bitten waits for the end of the machine by its watchdogs, and fails unless it was
// fed for the last time between least and most after begun, and not by a close.
func (m *machine) bitten(begun int64, least, most time.Duration) {
	m.t.Helper()
	m.await("the watchdogs bite", func() bool { return m.lost() != nil })
	e := m.lost()
	fed := time.Duration(e.LastPet - begun)
	m.t.Logf("fed for the last time %v after the fault, %s %v after it", fed, e.What, time.Duration(e.At-begun))
	if e.What != power.Bite || fed < least || fed > most {
		m.t.Errorf("%s, fed for the last time %v after the fault; want a bite, and %v to %v", e.What, fed, least, most)
	}
	for _, e := range m.emulator.Events() {
		if e.What == power.ClosePet {
			m.t.Errorf("the end of a process fed %s", e.Device)
		}
	}
}

// makeRoot gives the machine a root file system of its own: ext4 on a loop device
// on a file whose kernel waits for ever once it hangs.
func (m *machine) makeRoot() {
	t := m.t
	t.Helper()
	image, hang := storagetest.Stuck(t, rootMB<<20)
	content := t.TempDir()
	for _, d := range []string{"bin", "proc", "dev", "sys", "etc", "var/lib", os.TempDir()} {
		must(t, os.MkdirAll(filepath.Join(content, d), 0o755))
	}
	for _, p := range []string{"holdfast", "holdfastd", "holdfast-guard"} {
		text, err := os.ReadFile(filepath.Join(os.Getenv(programsEnv), p))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(content, "bin", p), text, 0o755))
	}
	must(t, os.CopyFS(filepath.Join(content, ownState), os.DirFS(m.path("state"))))
	must(t, os.CopyFS(filepath.Join(content, ownEtc), os.DirFS(m.path("etc"))))
	for _, f := range []string{"node.yaml", "guard.conf"} {
		text, err := os.ReadFile(m.path("etc/" + f))
		must(t, err)
		moved := strings.NewReplacer(m.path("etc"), ownEtc, m.path("state"), ownState).Replace(string(text))
		must(t, os.WriteFile(filepath.Join(content, ownEtc, f), []byte(moved), 0o600))
	}
	must(t, os.Chmod(filepath.Join(content, ownEtc, "cluster.key"), 0o600)) // a copy is more open
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-d", content, image).CombinedOutput()
	if err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	m.root.at = t.TempDir()
	m.root.device, err = loop.Attach(image)
	must(t, err)
	m.root.hang = hang
}

// tearDown ends what runs, and removes what the machine was made of.
func (m *machine) tearDown() {
	for _, p := range m.started {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	}
	if m.t.Failed() {
		logs, _ := filepath.Glob(m.path("*.log")) // fails only for a bad pattern
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			m.t.Logf("%s:\n%s", filepath.Base(l), strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
	if m.root.device != "" {
		m.detach()
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

// detach gives the loop device of the root file system back, once the last mount
// namespace with it has ended.
func (m *machine) detach() {
	fd, err := unix.Open(m.root.device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.t.Error(err)
		return
	}
	_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) // at the latest when the last one closes it
	_ = unix.Close(fd)
	bound := filepath.Join("/sys/block", filepath.Base(m.root.device), "loop")
	for end := time.Now().Add(patience); exists(bound); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Errorf("%s is still attached", m.root.device)
			return
		}
	}
}
