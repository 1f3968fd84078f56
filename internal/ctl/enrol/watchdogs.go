package enrol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// recordsDir holds the qualification records, one NAME.json for each device.
func recordsDir(n *config.Node) string { return filepath.Join(n.Dirs.State, "watchdogs") }

// setWatchdogs parses DEVICE and DEVICE:TIMEOUT, or takes every device that
// nobody uses.
func (o *Options) setWatchdogs(n *config.Node) error {
	for _, text := range o.Watchdogs {
		w := config.Watchdog{Device: text}
		if i := strings.LastIndexByte(text, ':'); i > 0 {
			d, err := time.ParseDuration(text[i+1:])
			if err != nil || d <= 0 {
				return fmt.Errorf("--watchdog %s: %q is no timeout; want DEVICE or DEVICE:5s", text, text[i+1:])
			}
			w = config.Watchdog{Device: text[:i], Timeout: d}
		}
		if o.Emulation.On && strings.Contains(w.Device, "/") {
			return fmt.Errorf("--watchdog %s: a device of this machine, but the node is emulated; write the emulator's name for it", text)
		}
		n.Watchdogs = append(n.Watchdogs, w)
	}
	if len(n.Watchdogs) > 0 || o.Emulation.On {
		return nil
	}
	list, err := watchdog.List()
	if err != nil {
		return fmt.Errorf("the watchdogs of this machine cannot be listed (%w): give --watchdog", err)
	}
	for _, l := range list {
		if len(l.Holders) == 0 && l.State != "active" {
			n.Watchdogs = append(n.Watchdogs, config.Watchdog{Device: l.Path})
		}
	}
	return nil
}

// Hardware is what the derivation of timeouts rests on at a node.
type Hardware struct {
	Input timing.Input // but for failover_within
	Notes []string     // why a device counts for less than it could
}

// HardwareOf looks at the node's watchdogs without opening any, for opening is
// what arms them. host is the identity that qualification records carry.
func HardwareOf(n *config.Node, host ident.UUID) (Hardware, error) {
	h := Hardware{Input: timing.Input{
		SecondHolder: n.Platform.Holder != "" || !n.Platform.Emulated && bootedWithSystemd(),
		PauseBound:   n.Platform.PauseBound, AcceptSoftdog: n.AcceptSoftdog,
	}}
	if !n.Platform.PauseSet && !n.Platform.Emulated && isGuest() {
		h.Input.PauseBound = guestPause // as the daemon counts where node.yaml says nothing
	}
	var list []watchdog.Listed
	if !n.Platform.Emulated {
		var err error
		if list, err = watchdog.List(); err != nil {
			return h, err
		}
	}
	for _, w := range n.Watchdogs {
		d := timing.Device{Name: w.Device, Timeout: w.Timeout, Software: w.Device == config.Softdog}
		info := watchdog.Info{Path: w.Device, Software: d.Software, Emulated: n.Platform.Emulated}
		if !n.Platform.Emulated {
			l, err := listed(list, w.Device)
			if err != nil {
				return h, err
			}
			d.Software, d.Min, d.Max = l.Driver == config.Softdog, l.MinTimeout, l.MaxTimeout
			info = watchdog.Info{Path: l.Path, Identity: l.Identity, Driver: l.Driver, Software: d.Software}
		}
		q, err := record(n, host, info)
		switch {
		case err == nil:
			d.Class, d.TMax, d.At = timing.Qualified, q.TMax, q.Timeout
		default:
			h.Notes = append(h.Notes, fmt.Sprintf("watchdog %s is not measured, so it counts with twice its timeout and a second (%v); before the node has work, `holdfast watchdog qualify %s` measures it", w.Device, err, w.Device))
		}
		h.Input.Devices = append(h.Input.Devices, d)
	}
	if !slices.ContainsFunc(h.Input.Devices, func(d timing.Device) bool { return !d.Software }) && n.AcceptSoftdog {
		h.Input.Lockup = lockupTime(n.Platform.Emulated)
	}
	return h, nil
}

// listed finds a configured device among those of this machine.
func listed(list []watchdog.Listed, device string) (watchdog.Listed, error) {
	path := device
	if p, err := filepath.EvalSymlinks(device); err == nil {
		path = p
	}
	var have []string
	for _, l := range list {
		if l.Path == path || l.Driver == device && device == config.Softdog {
			return l, nil
		}
		have = append(have, l.Path+" ("+l.Driver+")")
	}
	remedy := "this machine has none: load a driver, softdog at least (modprobe softdog)"
	if len(have) > 0 {
		remedy = "this machine has " + strings.Join(have, ", ")
	}
	return watchdog.Listed{}, fmt.Errorf("watchdog %s: there is no such device; %s", device, remedy)
}

// record loads the qualification record of a device and compares it with the
// machine as it is.
func record(n *config.Node, host ident.UUID, info watchdog.Info) (watchdog.Qualification, error) {
	q, err := watchdog.LoadQualification(filepath.Join(recordsDir(n), filepath.Base(info.Path)+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return q, errors.New("no record")
	}
	if err != nil {
		return q, err
	}
	info.Timeout = q.Timeout
	if info.Emulated {
		info.Identity, info.Driver = q.Device, q.Driver
	}
	now, err := watchdog.SettingOf(n.Name, host.String(), info)
	if err != nil {
		return q, err
	}
	if reasons := q.Matches(now); len(reasons) > 0 {
		return q, fmt.Errorf("its record does not count: %s", reasons[0])
	}
	return q, nil
}

// bootedWithSystemd says whether there is a service manager that can hold
// descriptors; the test is that of sd_booted(3).
func bootedWithSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// lockupTime is how long the kernel needs to end itself when one of its CPUs is
// locked up: twice watchdog_thresh and 2 s until it is seen, the delay of
// kernel.panic and 1 s for the reset. It is 0, never, unless all of that is
// switched on. See the kernel's Documentation/admin-guide/lockup-watchdogs.rst.
// An emulated device bites whatever the CPUs do.
func lockupTime(emulated bool) time.Duration {
	if emulated {
		return time.Nanosecond
	}
	get := func(name string) int {
		text, err := os.ReadFile("/proc/sys/kernel/" + name)
		if err != nil {
			return 0
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 is what an unknown setting counts as
		return n
	}
	thresh, delay := get("watchdog_thresh"), get("panic")
	if thresh <= 0 || delay == 0 || get("nmi_watchdog") != 1 || get("hardlockup_panic") != 1 || get("softlockup_panic") != 1 {
		return 0
	}
	return time.Duration(2*thresh+2+max(0, delay)+1) * time.Second
}

// settings is guard.conf.
func settings(n *config.Node, t timing.Table, layout guardwire.Layout) ([]byte, error) {
	s := &guardwire.Settings{
		Node: n.ID, Name: n.Name, Cluster: n.Cluster.ID, Layout: layout, Key: n.Key, AcceptSoft: n.AcceptSoftdog, PowerOff: n.PowerOff,
		Run: n.Dirs.Run, Holder: n.Platform.Holder, Emulator: n.Platform.Emulator,
		PauseBound: n.Platform.PauseBound, Drain: t.Tz, RecordsPath: recordsDir(n),
	}
	for _, d := range n.Disks {
		s.Disks = append(s.Disks, guardwire.DiskSetting{Path: d.Path, UUID: d.UUID})
	}
	for i, w := range n.Watchdogs {
		device := w.Device
		if device == config.Softdog && !n.Platform.Emulated {
			list, err := watchdog.List()
			if err != nil {
				return nil, err
			}
			l, err := listed(list, device)
			if err != nil {
				return nil, err
			}
			device = l.Path
		}
		if w.Pretimeout >= t.Timeouts[i] {
			return nil, fmt.Errorf("watchdog %s: its pretimeout of %v is not less than its timeout of %v: write a shorter one into node.yaml", w.Device, w.Pretimeout, t.Timeouts[i])
		}
		s.Watchdogs = append(s.Watchdogs, guardwire.WatchdogSetting{Device: device, Timeout: t.Timeouts[i], Pretimeout: w.Pretimeout})
	}
	return s.Marshal()
}
