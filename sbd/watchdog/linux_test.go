package watchdog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// driver plays a kernel driver; what is written to the device goes to a file.
type driver struct {
	file       string
	openErr    error
	options    uint32
	identity   string
	setErr     error
	round      int // the driver rounds timeouts up to a multiple of this
	seconds    int
	sets       []int
	opens      int
	readErr    error
	supportErr error
}

func newDriver(t *testing.T) *driver {
	return &driver{
		file:     filepath.Join(t.TempDir(), "device"),
		options:  unix.WDIOF_MAGICCLOSE | unix.WDIOF_SETTIMEOUT | unix.WDIOF_KEEPALIVEPING,
		identity: "Test Watchdog", round: 1, seconds: 60,
	}
}

func (d *driver) open(string) (int, error) {
	d.opens++
	if d.openErr != nil {
		return -1, d.openErr
	}
	return unix.Open(d.file, unix.O_CREAT|unix.O_APPEND|unix.O_RDWR, 0o600)
}

func (d *driver) support(int) (*unix.WatchdogInfo, error) {
	w := &unix.WatchdogInfo{Options: d.options}
	copy(w.Identity[:], d.identity)
	return w, d.supportErr
}

func (d *driver) setTimeout(_, seconds int) error {
	if d.setErr != nil {
		return d.setErr
	}
	d.sets = append(d.sets, seconds)
	d.seconds = (seconds + d.round - 1) / d.round * d.round
	return nil
}

func (d *driver) timeout(int) (time.Duration, error) {
	return time.Duration(d.seconds) * time.Second, d.readErr
}

func (d *driver) written(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(d.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// testHost makes a sysfs and a /proc with one device, 250:0.
func testHost(t *testing.T, attributes map[string]string) host {
	t.Helper()
	root := t.TempDir()
	h := host{
		sys: filepath.Join(root, "sys"), proc: filepath.Join(root, "proc"),
		rdev: func(path string) (uint64, error) {
			if strings.HasSuffix(path, "/dev/watchdog") {
				return unix.Mkdev(10, 130), nil
			}
			return unix.Mkdev(250, 0), nil
		},
	}
	class := filepath.Join(h.sys, "class/watchdog/watchdog0")
	write(t, filepath.Join(class, "dev"), "250:0")
	for name, value := range attributes {
		write(t, filepath.Join(class, name), value)
	}
	return h
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenLinuxSetsTheTimeoutOnceAndReadsItBack(t *testing.T) {
	k := newDriver(t)
	k.round = 4
	d, err := openLinux(k, testHost(t, nil), "/dev/watchdog0", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(k.sets, []int{5}) {
		t.Errorf("timeouts set: %v, want 5 (seconds), once", k.sets)
	}
	if d.Info().Timeout != 8*time.Second {
		t.Errorf("timeout %v, want what the driver made of it, 8 s", d.Info().Timeout)
	}
	for range 2 {
		if err := d.Feed(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Disarm(); err != nil {
		t.Fatal(err)
	}
	if got := k.written(t); got != "11V" {
		t.Errorf("wrote %q, want two pets and a magic close", got)
	}
}

// A device that interrupts before it resets: set where it can, read back, and never
// in the way of arming it.
func TestPretimeout(t *testing.T) {
	for name, c := range map[string]struct {
		can    uint32
		before time.Duration
		want   time.Duration
		sets   []int
	}{
		"as asked":        {unix.WDIOF_PRETIMEOUT, 2 * time.Second, 2 * time.Second, []int{2}},
		"not asked":       {unix.WDIOF_PRETIMEOUT, 0, 7 * time.Second, nil},
		"not at all":      {0, 2 * time.Second, 0, nil},
		"not so early":    {unix.WDIOF_PRETIMEOUT, time.Minute, 7 * time.Second, nil},
		"driver refuses":  {unix.WDIOF_PRETIMEOUT, 3 * time.Second, 7 * time.Second, []int{3}},
		"less than whole": {unix.WDIOF_PRETIMEOUT, time.Millisecond, 7 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newDriver(t)
			k.options |= c.can
			d, err := openLinux(k, testHost(t, nil), "/dev/watchdog0", 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			i := &interrupts{is: 7}
			d.setPretimeout(i, c.before)
			if got := d.Info().Pretimeout; got != c.want || !slices.Equal(i.sets, c.sets) {
				t.Errorf("pretimeout %v after sets %v; want %v after %v", got, i.sets, c.want, c.sets)
			}
			if w := k.written(t); w != "" {
				t.Errorf("it fed the device: %q", w)
			}
		})
	}
}

// interrupts is the pretimeout of a driver; it refuses an odd one.
type interrupts struct {
	is   int
	sets []int
}

func (i *interrupts) setPretimeout(_, seconds int) error {
	i.sets = append(i.sets, seconds)
	if seconds%2 == 1 {
		return unix.EINVAL
	}
	i.is = seconds
	return nil
}

func (i *interrupts) pretimeout(int) (time.Duration, error) {
	return time.Duration(i.is) * time.Second, nil
}

func TestCloseWritesNothing(t *testing.T) {
	k := newDriver(t)
	d, err := openLinux(k, testHost(t, nil), "/dev/watchdog0", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := k.written(t); got != "" {
		t.Errorf("close wrote %q", got)
	}
	if err := d.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestFeedDoesNotAllocate(t *testing.T) {
	d, err := openLinux(newDriver(t), testHost(t, nil), "/dev/watchdog0", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := testing.AllocsPerRun(100, func() { d.Feed() }); n != 0 {
		t.Errorf("Feed allocates %v times; the guard's loop must not", n)
	}
}

func TestOpenLinuxRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		sysfs   map[string]string
		change  func(*driver)
		want    string
		opens   int    // how often the device was opened, and so armed
		left    string // what was written to leave it
	}{
		{"part of a second", 1500 * time.Millisecond, nil, nil, "whole seconds", 0, ""},
		{"below the minimum", 5 * time.Second, map[string]string{"min_timeout": "6"}, nil, "minimum of 6s", 0, ""},
		{"above the maximum", 5 * time.Second, map[string]string{"max_timeout": "4"}, nil, "maximum of 4s", 0, ""},
		{"stops on close, sysfs knows", 5 * time.Second, map[string]string{"options": "0x8080"}, nil, "nowayout=1", 0, ""},
		{
			"stops on close, the driver says", 5 * time.Second, nil,
			func(d *driver) { d.options = unix.WDIOF_SETTIMEOUT }, "nowayout=1", 1, "V",
		},
		{
			"only an alarm", 5 * time.Second, nil,
			func(d *driver) { d.options |= unix.WDIOF_ALARMONLY }, "alarm", 1, "V",
		},
		{
			"timeout refused", 5 * time.Second, nil,
			func(d *driver) { d.setErr = unix.EINVAL }, "set the timeout to 5s", 1, "V",
		},
		{
			"timeout unreadable", 5 * time.Second, nil,
			func(d *driver) { d.readErr = unix.ENOTTY }, "read the timeout back", 1, "V",
		},
		{
			"timeout of nothing", 5 * time.Second, nil, func(d *driver) { d.round = 1; d.seconds = 0; d.options = unix.WDIOF_MAGICCLOSE },
			"read the timeout back", 1, "V",
		},
		{
			"no answer", 5 * time.Second, nil,
			func(d *driver) { d.supportErr = unix.EIO }, "what the driver can do", 1, "V",
		},
		{
			"not there", 5 * time.Second, nil,
			func(d *driver) { d.openErr = unix.ENOENT }, "no such file", 1, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newDriver(t)
			if tt.change != nil {
				tt.change(k)
			}
			d, err := openLinux(k, testHost(t, tt.sysfs), "/dev/watchdog0", tt.timeout)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v, want an error with %q", d, err, tt.want)
			}
			if k.opens != tt.opens || k.written(t) != tt.left {
				t.Errorf("opened %d times and wrote %q, want %d and %q", k.opens, k.written(t), tt.opens, tt.left)
			}
		})
	}
}

func TestNowayoutMakesUpForMagicClose(t *testing.T) {
	k := newDriver(t)
	k.options = unix.WDIOF_SETTIMEOUT
	d, err := openLinux(k, testHost(t, map[string]string{"nowayout": "1", "options": "0x80"}), "/dev/watchdog", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if i := d.Info(); !i.NoWayOut || i.MagicClose {
		t.Errorf("info %+v", i)
	}
	if err := d.Disarm(); err == nil || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("disarming a device with nowayout gave %v, want an error that says it runs on", err)
	}
}

func TestAFixedTimeoutIsTakenAsItIs(t *testing.T) {
	k := newDriver(t)
	k.options, k.seconds = unix.WDIOF_MAGICCLOSE, 10
	d, err := openLinux(k, testHost(t, nil), "/dev/watchdog0", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if d.Info().Timeout != 10*time.Second || len(k.sets) != 0 {
		t.Errorf("timeout %v, set %v; want the driver's own 10 s and no attempt", d.Info().Timeout, k.sets)
	}
}

func TestABusyDeviceNamesItsHolders(t *testing.T) {
	k := newDriver(t)
	k.openErr = unix.EBUSY
	h := testHost(t, nil)
	for pid, name := range map[string]string{"1": "systemd", "812": "wdmd"} {
		write(t, filepath.Join(h.proc, pid, "comm"), name)
		if err := os.MkdirAll(filepath.Join(h.proc, pid, "fd"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/watchdog0", filepath.Join(h.proc, pid, "fd/7")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := openLinux(k, h, "/dev/watchdog0", 5*time.Second)
	if !errors.Is(err, ErrBusy) {
		t.Fatalf("got %v, want ErrBusy", err)
	}
	for _, want := range []string{"wdmd (process 812)", "RuntimeWatchdogSec=off"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

func TestAdoptPetsNothing(t *testing.T) {
	k := newDriver(t)
	k.seconds, k.identity = 7, "Software Watchdog"
	fd, _ := k.open("")
	d, err := adoptLinux(k, testHost(t, nil), fd, "/dev/watchdog0")
	if err != nil {
		t.Fatal(err)
	}
	if len(k.sets) != 0 || k.written(t) != "" || k.opens != 1 {
		t.Errorf("adopting set %v and wrote %q", k.sets, k.written(t))
	}
	if i := d.Info(); i.Timeout != 7*time.Second || !i.Software || i.Driver != softdog {
		t.Errorf("info %+v, want softdog with 7 s", i)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(int(mustOpen(t, os.DevNull).Fd()), "/dev/watchdog0"); err == nil {
		t.Error("/dev/null was adopted as a watchdog")
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestListReadsSysfsOnly(t *testing.T) {
	h := testHost(t, map[string]string{
		"identity": "iTCO_wdt", "state": "inactive", "timeout": "30", "min_timeout": "4",
		"max_timeout": "613", "nowayout": "0", "options": "0x8180", "fw_version": "6",
		"bootstatus": "32", "pretimeout": "2", "pretimeout_governor": "panic",
	})
	if err := os.MkdirAll(filepath.Join(h.sys, "class/watchdog/watchdog0/device"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/sys/bus/platform/drivers/iTCO_wdt",
		filepath.Join(h.sys, "class/watchdog/watchdog0/device/driver")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.sys, "module/iTCO_wdt/parameters/nowayout"), "N")
	write(t, filepath.Join(h.sys, "module/iTCO_wdt/parameters/heartbeat"), "30")
	all, err := h.list()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v, want one device", all, err)
	}
	l := all[0]
	if !l.ResetLast || l.Pretimeout != (Pretimeout{2 * time.Second, "panic"}) {
		t.Errorf("listed %+v", l)
	}
	if l.Path != "/dev/watchdog0" || l.Driver != "iTCO_wdt" || l.MinTimeout != 4*time.Second || !l.MagicClose ||
		!slices.Equal(l.Parameters, []string{"heartbeat=30", "nowayout=N"}) || len(l.Holders) != 0 {
		t.Errorf("listed %+v", l)
	}
}

// Devices without a parent in sysfs, and one without a class there.
func TestDriversThatSysfsDoesNotName(t *testing.T) {
	for identity, want := range map[string]string{"Software Watchdog": "softdog", "i6300ESB timer": "i6300esb", "IPMI": "ipmi_watchdog", "other": ""} {
		h := testHost(t, map[string]string{"identity": identity})
		write(t, filepath.Join(h.sys, "module/i6300esb/parameters/heartbeat"), "30")
		all, err := h.list()
		if err != nil || len(all) != 1 || all[0].Driver != want || (len(all[0].Parameters) == 1) != (want == "i6300esb") {
			t.Errorf("%s: listed %+v, %v; want driver %q", identity, all, err, want)
		}
	}
	h := testHost(t, nil)
	if err := os.RemoveAll(filepath.Join(h.sys, "class/watchdog")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.sys, "class/misc/watchdog/dev"), "10:130")
	write(t, filepath.Join(h.sys, "module/ipmi_watchdog/parameters/nowayout"), "Y")
	all, err := h.list()
	if err != nil || len(all) != 1 || all[0].Path != "/dev/watchdog" || all[0].Driver != "ipmi_watchdog" || !all[0].NoWayOut {
		t.Errorf("listed %+v, %v", all, err)
	}
	if l := h.find("/dev/watchdog"); l.Driver != "ipmi_watchdog" {
		t.Errorf("found %+v", l)
	}
	k := newDriver(t)
	k.identity = "IPMI"
	if _, err := openLinux(k, h, "/dev/watchdog", 5*time.Second); err == nil || k.opens > 0 {
		t.Errorf("a controller that may block for seconds was armed for 5 s: %v", err)
	}
	d, err := openLinux(k, h, "/dev/watchdog", 10*time.Second)
	if err != nil || d.Info().Driver != "ipmi_watchdog" {
		t.Errorf("opened %+v, %v", d, err)
	}
}

func TestTheMachineIsListedWithoutArming(t *testing.T) {
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		t.Logf("%+v", l)
		for _, p := range l.Holders {
			if p.PID == os.Getpid() {
				t.Errorf("listing opened %s", l.Path)
			}
		}
	}
}

func TestPassedDescriptors(t *testing.T) {
	got, err := passed(100, "100", "2", "watchdog0:hw")
	want := []Named{{"watchdog0", 3}, {"hw", 4}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("passed %v, %v, want %v", got, err, want)
	}
	for _, env := range [][2]string{{"", ""}, {"99", "2"}, {"100", ""}} {
		if got, err := passed(100, env[0], env[1], "x"); len(got) != 0 || err != nil {
			t.Errorf("LISTEN_PID=%q LISTEN_FDS=%q gave %v, %v; they are not ours", env[0], env[1], got, err)
		}
	}
	if _, err := passed(100, "100", "many", ""); err == nil {
		t.Error("LISTEN_FDS=many was understood")
	}
}
