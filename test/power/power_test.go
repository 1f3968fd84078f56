package power_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/watchdogtest"
	"github.com/holdfast-ha/holdfast/test/power"
)

// role makes the test's binary play another process.
const role = "HOLDFAST_POWER_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "emulator":
		err = power.EmulatorMain(os.Args[1:])
	case "holder":
		err = power.HolderMain(os.Args[1:])
	case "mark":
		err = power.MarkMain(os.Args[1:])
	case "guard":
		err = guardMain(os.Args[1], os.Args[2], os.Args[3])
	case "writer":
		err = writerMain(os.Args[1])
	case "keeper":
		err = keeperMain(os.Args[1])
	case "sleeper":
		fmt.Println("ready")
		_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// guardMain feeds a device until it is killed; with a holder it hands the
// descriptor over first.
func guardMain(socket, timeout, holder string) error {
	t, err := time.ParseDuration(timeout)
	if err != nil {
		return err
	}
	d, err := watchdog.OpenEmulated(socket, "alpha", "hw", t)
	if err != nil {
		return err
	}
	if holder != "none" {
		kept, err := watchdog.NameOf(d)
		if err != nil {
			return err
		}
		if err := watchdog.SendToHolder(holder, kept); err != nil {
			return err
		}
	}
	if err := d.Feed(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n') // hung: it feeds no more
	return err
}

// process is a child of the test.
type process struct {
	*exec.Cmd
	input io.WriteCloser // a pipe to its standard input
	out   *bufio.Reader
}

// start runs this binary in a role and waits for its first line, "ready".
func start(t *testing.T, r string, env []string, args ...string) *process {
	t.Helper()
	return startIn(t, 0, strings.Join(env, ""), r, args...)
}

// startIn is start in new namespaces, with one entry more in the environment.
func startIn(t *testing.T, namespaces uintptr, env, r string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(exe, args...)}
	p.Env = append(os.Environ(), role+"="+r)
	if env != "" {
		p.Env = append(p.Env, env)
	}
	p.Stderr = os.Stderr
	if namespaces != 0 {
		p.SysProcAttr = &syscall.SysProcAttr{Unshareflags: namespaces}
	}
	if p.input, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill() // it may have ended; Wait tells nothing new then
		p.Wait()
	})
	if line, err := p.out.ReadString('\n'); line != power.Ready+"\n" {
		t.Fatalf("%s said %q, %v, want ready", r, line, err)
	}
	return p
}

// ended waits until the process is gone, and says by which signal.
func (p *process) ended(t *testing.T) unix.Signal {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("process %d did not end within 20 s", p.Process.Pid)
	}
	status := p.ProcessState.Sys().(interface{ Signal() unix.Signal })
	return status.Signal()
}

// testPower starts an emulator in this process with one node, alpha, that is on.
func testPower(t *testing.T, supply power.Supply, chips ...power.Chip) (*power.Emulator, *power.Control, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf-power-") // a socket's path is at most 107 bytes long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "power")
	e, err := power.Start(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := power.DialControl(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if len(chips) == 0 {
		chips = []power.Chip{{Name: "hw"}}
	}
	if err := c.Register(power.Node{Name: "alpha", Chips: chips, Supply: supply}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PowerOn("alpha"); err != nil {
		t.Fatal(err)
	}
	return e, c, socket
}

// await polls the event log.
func await(t *testing.T, e *power.Emulator, what power.What, within time.Duration) power.Event {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if ev, ok := find(e, what); ok {
			return ev
		}
	}
	t.Fatalf("no %s within %v; events: %+v", what, within, e.Events())
	return power.Event{}
}

func find(e *power.Emulator, what power.What) (power.Event, bool) {
	for _, ev := range e.Events() {
		if ev.What == what {
			return ev, true
		}
	}
	return power.Event{}, false
}

func noTrouble(t *testing.T, e *power.Emulator) {
	t.Helper()
	if ev, ok := find(e, power.Trouble); ok {
		t.Errorf("trouble: %s", ev.Text)
	}
}

func TestEmulatedWatchdogConforms(t *testing.T) {
	watchdogtest.Conform(t, func(t *testing.T) watchdogtest.Rig {
		const timeout = 600 * time.Millisecond
		e, _, socket := testPower(t, power.Supply{})
		return watchdogtest.Rig{
			Open: func() (watchdog.Device, error) {
				return watchdog.OpenEmulated(socket, "alpha", "hw", timeout)
			},
			Timeout: timeout,
			Now:     monotonic,
			Wait:    func(d time.Duration) { <-time.After(d) },
			Bite: func() (watchdogtest.Bite, bool) {
				ev, ok := find(e, power.Bite)
				return watchdogtest.Bite{Device: ev.Device, At: time.Duration(ev.At), LastPet: time.Duration(ev.LastPet)}, ok
			},
		}
	})
}

// monotonic is the emulator's clock, as this machine has only one.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// TestGuardDeath is the hung guard that is killed just before its watchdog would
// bite. With a second holder of the descriptor the reset comes one timeout after
// the last feed; without one the kernel's pet at the close grants a second.
func TestGuardDeath(t *testing.T) {
	const timeout = 800 * time.Millisecond
	resetAfter := func(t *testing.T, second bool) float64 {
		e, _, socket := testPower(t, power.Supply{})
		holder := "none"
		if second {
			holder = socket + ".holder"
			start(t, "holder", nil, "-socket", holder)
		}
		guard := start(t, "guard", nil, socket, timeout.String(), holder)
		lastFeed := monotonic()
		<-time.After(timeout * 7 / 10)
		if err := guard.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		bite := await(t, e, power.Bite, 4*timeout)
		return float64(time.Duration(bite.At)-lastFeed) / float64(timeout)
	}
	for _, tt := range []struct {
		name      string
		second    bool
		low, high float64
	}{
		{"with a second holder", true, 0.9, 1.55},
		{"without", false, 1.6, 2.6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := resetAfter(t, tt.second); got < tt.low || got > tt.high {
				t.Errorf("the reset came %.2f timeouts after the last feed, want %.2f to %.2f", got, tt.low, tt.high)
			}
		})
	}
}

func TestHolderKeepsDropsAndFetches(t *testing.T) {
	_, _, socket := testPower(t, power.Supply{})
	holder := socket + ".holder"
	start(t, "holder", nil, "-socket", holder)
	keeper, err := watchdog.FindKeeper(holder)
	if err != nil {
		t.Fatal(err)
	}
	d, err := watchdog.OpenEmulated(socket, "alpha", "hw", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := watchdog.NameOf(d)
	if err != nil || kept.Name != "hw" {
		t.Fatalf("name %v, %v, want hw", kept, err)
	}
	if err := keeper.Keep(kept); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// A guard that starts anew finds the device held, and takes it over.
	if _, err := watchdog.OpenEmulated(socket, "alpha", "hw", time.Minute); !errors.Is(err, watchdog.ErrBusy) {
		t.Fatalf("opening a held device gave %v, want ErrBusy", err)
	}
	fetched, err := keeper.Fetch()
	if err != nil || len(fetched) != 1 || fetched[0].Name != "hw" {
		t.Fatalf("fetched %v, %v", fetched, err)
	}
	adopted, err := watchdog.Adopt(fetched[0].FD, "hw")
	if err != nil {
		t.Fatal(err)
	}
	if err := adopted.Feed(); err != nil || adopted.Info().Timeout != time.Minute {
		t.Fatalf("adopted %+v, feed %v", adopted.Info(), err)
	}
	if err := keeper.Drop("hw"); err != nil {
		t.Fatal(err)
	}
	if err := adopted.Disarm(); err != nil {
		t.Fatal(err)
	}
	again, err := openFreed(t, socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Disarm(); err != nil {
		t.Error(err)
	}
}

// openFreed opens the device as soon as the emulator has noticed the close.
func openFreed(t *testing.T, socket string) (watchdog.Device, error) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; <-time.After(5 * time.Millisecond) {
		d, err := watchdog.OpenEmulated(socket, "alpha", "hw", time.Minute)
		if !errors.Is(err, watchdog.ErrBusy) || time.Now().After(deadline) {
			return d, err
		}
	}
}

func TestChipsThatDifferFromTheRule(t *testing.T) {
	e, _, socket := testPower(t, power.Supply{},
		power.Chip{Name: "nomagic", StopsOnClose: true},
		power.Chip{Name: "nowayout", NoWayOut: true},
		power.Chip{Name: "slow", Min: 5 * time.Second},
		power.Chip{Name: "soft", Software: true, Identity: "Software Watchdog"})
	if _, err := watchdog.OpenEmulated(socket, "alpha", "nomagic", time.Second); !errors.Is(err, watchdog.ErrStopsOnClose) {
		t.Errorf("a driver that stops on close gave %v, want ErrStopsOnClose", err)
	}
	if _, err := watchdog.OpenEmulated(socket, "alpha", "slow", time.Second); err == nil || !strings.Contains(err.Error(), "minimum of 5s") {
		t.Errorf("a timeout below the minimum gave %v", err)
	}
	if _, err := watchdog.OpenEmulated(socket, "alpha", "none", time.Second); err == nil {
		t.Error("a device that is not there was opened")
	}
	soft, err := watchdog.OpenEmulated(socket, "alpha", "soft", time.Minute)
	if err != nil || !soft.Info().Software {
		t.Errorf("softdog: %+v, %v", soft, err)
	}
	d, err := watchdog.OpenEmulated(socket, "alpha", "nowayout", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Disarm(); err == nil || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("disarming a device with nowayout gave %v", err)
	}
	if ev := await(t, e, power.Bite, 10*time.Second); ev.Device != "nowayout" {
		t.Errorf("%s bit, want nowayout, which cannot be stopped", ev.Device)
	}
}

// A device that interrupts does so once before its bite, and not while it is fed.
func TestPretimeout(t *testing.T) {
	e, _, socket := testPower(t, power.Supply{}, power.Chip{Name: "hw"})
	d, err := watchdog.Open(watchdog.Config{Emulator: socket, Node: "alpha", Device: "hw", Timeout: 600 * time.Millisecond, Pretimeout: 400 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Info().Pretimeout; got != 400*time.Millisecond {
		t.Errorf("pretimeout %v as read back", got)
	}
	if err := d.Feed(); err != nil {
		t.Fatal(err)
	}
	bite := await(t, e, power.Bite, 10*time.Second)
	told := 0
	for _, ev := range e.Events() {
		if ev.What == power.Pretimeout && ev.LastPet == bite.LastPet {
			told++
			if before := time.Duration(bite.At - ev.At); before <= 0 || ev.At-ev.LastPet < int64(200*time.Millisecond) {
				t.Errorf("interrupted %v before the bite, %v after the last pet", before, time.Duration(ev.At-ev.LastPet))
			}
		}
	}
	if told != 1 {
		t.Errorf("interrupted %d times after the last pet", told)
	}
}

func TestPlatformIdentityAndClock(t *testing.T) {
	e, c, socket := testPower(t, power.Supply{})
	if err := c.Register(power.Node{Name: "beta"}); err != nil {
		t.Fatal(err)
	}
	if _, err := clock.DialEmulator(socket, "beta"); err == nil || !strings.Contains(err.Error(), "no power") {
		t.Errorf("a node without power has a platform: %v", err)
	}
	first := platform(t, socket)
	id, before := first.Identity(), instant(t, first)
	if !id.Emulated || id.HostKind != clock.HostEmulated || id.Host.IsZero() {
		t.Errorf("identity %+v", id)
	}
	if before < 0 || before > 60*int64(time.Second) {
		t.Errorf("the clock of a node that was just powered on says %v", time.Duration(before))
	}
	if again := platform(t, socket).Identity(); again != id {
		t.Errorf("identity %+v changed to %+v within one boot", id, again)
	}
	if n := testing.AllocsPerRun(100, func() { first.Now() }); n != 0 {
		t.Errorf("Now allocates %v times", n)
	}
	if err := first.Reset("test"); err == nil {
		t.Error("Reset returned without an error in a process that was not killed")
	}
	await(t, e, power.ResetRequested, 5*time.Second)
	await(t, e, power.Dark, 10*time.Second)
	if st, err := c.State("alpha"); err != nil || st.State != power.Resetting {
		t.Errorf("state %+v, %v, want resetting", st, err)
	}
	boot, err := c.PowerOn("alpha")
	if err != nil {
		t.Fatal(err)
	}
	second := platform(t, socket).Identity()
	if second.Boot == id.Boot || second.Boot != boot || second.Host != id.Host {
		t.Errorf("after a reset %+v became %+v; want a new boot of the same host", id, second)
	}
}

func platform(t *testing.T, socket string) *clock.Emulated {
	t.Helper()
	p, err := clock.DialEmulator(socket, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func instant(t *testing.T, p clock.Platform) int64 {
	t.Helper()
	at, err := p.Now()
	if err != nil && !errors.Is(err, clock.ErrNoisy) {
		t.Fatal(err)
	}
	return int64(at)
}

// TestEmulatedNeverTouchesTheMachine is the promise that a demo on somebody's
// workstation cannot reset it.
func TestEmulatedNeverTouchesTheMachine(t *testing.T) {
	_, _, socket := testPower(t, power.Supply{})
	opened := false
	p, err := clock.Open(clock.Config{Emulator: socket, Node: "alpha", OpenReset: func() (*os.File, error) {
		opened = true
		return nil, errors.New("the emulated platform opened the reset line")
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"/dev/watchdog", "/dev/watchdog0", "../watchdog0", ""} {
		if d, err := watchdog.Open(watchdog.Config{Emulator: socket, Node: "alpha", Device: device, Timeout: time.Minute}); err == nil {
			t.Errorf("on an emulated platform %q was opened: %+v", device, d.Info())
		}
	}
	if err := p.Reset("test"); err == nil || opened {
		t.Errorf("reset gave %v, opened the reset line: %v", err, opened)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if target, _ := os.Readlink(l); strings.Contains(target, "sysrq") || strings.HasPrefix(target, "/dev/watchdog") {
			t.Errorf("descriptor %s is %s", l, target)
		}
	}
}

// TestObserverSeesOneClock is how a failover's margin is measured: the survivor's
// mark and the victim's bite, both stamped by the emulator.
func TestObserverSeesOneClock(t *testing.T) {
	_, _, socket := testPower(t, power.Supply{})
	o, err := power.DialObserver(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	d, err := watchdog.OpenEmulated(socket, "alpha", "hw", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var last power.Event
	next := func(what power.What) power.Event {
		for i := last.Seq; ; i++ {
			ev, err := o.Next(time.Now().Add(10 * time.Second))
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			last = ev
			if ev.What == what {
				return ev
			}
		}
	}
	bite := next(power.Bite)
	next(power.Dark)
	if err := o.Mark("beta", "mount begins"); err != nil {
		t.Fatal(err)
	}
	mark := next(power.Mark)
	if mark.Node != "beta" || mark.Text != "mount begins" || mark.At <= bite.At || bite.LastPet >= bite.At {
		t.Errorf("bite %+v, mark %+v; want the mark after the bite after the pet", bite, mark)
	}
	end := start0(t, "mark", "-socket", socket, "beta", "second", "mark")
	if err := end.Wait(); err != nil {
		t.Fatal(err)
	}
	if ev := next(power.Mark); ev.Text != "second mark" {
		t.Errorf("mark %+v", ev)
	}
}

// start0 runs this binary in a role that says nothing.
func start0(t *testing.T, r string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), role+"="+r)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestQualificationIsMeasuredOnce(t *testing.T) {
	const timeout = 400 * time.Millisecond
	e, c, _ := testPower(t, power.Supply{}, power.Chip{Name: "hw"}, power.Chip{Name: "soft"})
	q, err := c.Qualify("alpha", "hw", timeout)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range q.Runs {
		if ratio := float64(r.Actual) / float64(timeout); ratio < 1 || ratio > 2 {
			t.Errorf("%s run took %.2f timeouts", r.Kind, ratio)
		}
	}
	st, err := c.State("alpha")
	if err != nil {
		t.Fatal(err)
	}
	info := watchdog.Info{Identity: "Emulated Watchdog hw", Driver: "emulated", Timeout: timeout, Emulated: true}
	setting, err := watchdog.SettingOf("alpha", st.HostUUID.String(), info)
	if err != nil {
		t.Fatal(err)
	}
	if reasons := q.Matches(setting); len(reasons) != 0 {
		t.Errorf("the record does not count for the device it was issued for: %v", reasons)
	}
	bites := count(e, power.Bite)
	other, err := c.Qualify("alpha", "soft", timeout)
	if err != nil {
		t.Fatal(err)
	}
	if other.TMax != q.TMax || count(e, power.Bite) != bites {
		t.Errorf("the second device was measured again: t_max %v and %v", q.TMax, other.TMax)
	}
	if _, err := c.Qualify("alpha", "none", timeout); err == nil {
		t.Error("a device that is not there was qualified")
	}
	if st.State != power.On {
		t.Errorf("qualifying left the node %s", st.State)
	}
}

func count(e *power.Emulator, what power.What) int {
	n := 0
	for _, ev := range e.Events() {
		if ev.What == what {
			n++
		}
	}
	return n
}

func TestRegistrationRefuses(t *testing.T) {
	_, c, _ := testPower(t, power.Supply{})
	for name, n := range map[string]power.Node{
		"the root":                 {Name: "x", Supply: power.Supply{Mounts: []string{"/"}}},
		"a top directory":          {Name: "x", Supply: power.Supply{Mounts: []string{"/home"}}},
		"a relative path":          {Name: "x", Supply: power.Supply{Mounts: []string{"a/b/c"}}},
		"the root cgroup":          {Name: "x", Supply: power.Supply{Cgroups: []string{"/sys"}}},
		"this machine's links":     {Name: "x", Supply: power.Supply{Links: []power.Link{{Name: "eth0"}}}},
		"a marker without a value": {Name: "x", Supply: power.Supply{Marker: "HOME="}},
		"the emulator's own":       {Name: "x", Supply: power.Supply{Marker: "PATH=" + os.Getenv("PATH")}},
		"no name":                  {},
		"two chips of one name":    {Name: "x", Chips: []power.Chip{{Name: "a"}, {Name: "a"}}},
		"a host that is no UUID":   {Name: "x", HostUUID: "alpha"},
	} {
		if err := c.Register(n); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := c.PowerOn("alpha"); err == nil {
		t.Error("a node that is on was powered on")
	}
	if _, err := c.PowerOn("nobody"); err == nil {
		t.Error("a node that is not there was powered on")
	}
}
