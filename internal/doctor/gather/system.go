package gather

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

func (m *Machine) kernel() doctor.Kernel {
	k := doctor.Kernel{
		Release: m.line("proc/sys/kernel/osrelease"), Cmdline: m.line("proc/cmdline"), Sysrq: m.there("proc/sysrq-trigger"),
		Clocksource:  m.line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Guest:        strings.Contains(m.text("proc/cpuinfo"), " hypervisor"),
		CrashLoaded:  m.line("sys/kernel/kexec_crash_loaded") == "1",
		StopOnReboot: m.line("sys/module/watchdog/parameters/stop_on_reboot"),
		CrashTo:      m.crashTo(),
	}
	k.Panic, k.PanicKnown = m.number("proc/sys/kernel/panic")
	k.MinFree, _ = m.number("proc/sys/vm/min_free_kbytes")
	k.CrashSize, _ = m.number("sys/kernel/kexec_crash_size")
	for line := range strings.Lines(m.text("proc/meminfo")) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "MemTotal:" {
			k.MemTotal, _ = strconv.ParseInt(w[1], 10, 64) // 0 is "not known"
		}
	}
	return k
}

// crashTo is where kdump writes: kdump.conf(5) of Fedora and relatives, which names
// a device after its type, or the directory of Debian's kdump-tools.
func (m *Machine) crashTo() string {
	for line := range strings.Lines(m.text("etc/kdump.conf")) {
		w := strings.Fields(line)
		if len(w) == 2 && slices.Contains([]string{"raw", "ext2", "ext3", "ext4", "xfs", "btrfs", "minix", "nfs", "virtiofs"}, w[0]) {
			return w[1]
		}
	}
	for line := range strings.Lines(m.text("etc/default/kdump-tools")) {
		if dir, is := strings.CutPrefix(strings.TrimSpace(line), "KDUMP_COREDIR="); is {
			return strings.Trim(dir, `"'`)
		}
	}
	return ""
}

func (m *Machine) dogs(n *config.Node) []doctor.Dog {
	list, err := watchdog.ListIn(m.Root)
	var all []doctor.Dog
	for _, w := range n.Watchdogs {
		d := doctor.Dog{Device: w.Device, Softdog: w.Device == config.Softdog}
		if err != nil {
			d.Missing = err.Error()
		} else if i := slices.IndexFunc(list, func(l watchdog.Listed) bool { return m.sameDog(l, w.Device) }); i < 0 {
			d.Missing = "this machine has no such watchdog"
		} else {
			d.Listed = list[i]
			d.Softdog = d.Listed.Driver == config.Softdog
			d.Unproven = "not looked at"
			if m.Probe.Measured != nil {
				d.Unproven = ""
				if err := m.Probe.Measured(n, d.Listed); err != nil {
					d.Unproven = err.Error()
				}
			}
		}
		d.AtBoot = d.Softdog && m.loadedAtBoot(config.Softdog)
		all = append(all, d)
	}
	return all
}

func (m *Machine) sameDog(l watchdog.Listed, device string) bool {
	if l.Path == device || device == config.Softdog && l.Driver == device {
		return true
	}
	to, err := filepath.EvalSymlinks(m.path(device))
	return err == nil && to == m.path(l.Path)
}

// loadedAtBoot looks where systemd-modules-load(8) does, and at what is built in.
func (m *Machine) loadedAtBoot(module string) bool {
	for _, pattern := range []string{"etc/modules-load.d/*.conf", "run/modules-load.d/*.conf", "usr/lib/modules-load.d/*.conf", "etc/modules"} {
		files, _ := filepath.Glob(m.path(pattern))
		for _, f := range files {
			text, _ := os.ReadFile(f) // what cannot be read loads nothing
			for line := range strings.Lines(string(text)) {
				if strings.TrimSpace(line) == module {
					return true
				}
			}
		}
	}
	builtin := m.text("lib/modules", m.line("proc/sys/kernel/osrelease"), "modules.builtin")
	return strings.Contains(builtin, "/"+module+".ko")
}

func (m *Machine) manager() doctor.Manager {
	var x doctor.Manager
	x.Runtime, x.File = m.setting("system.conf", "RuntimeWatchdogSec")
	x.Device, _ = m.setting("system.conf", "WatchdogDevice")
	return x
}

func (m *Machine) clock() doctor.Clock {
	c := doctor.Clock{}
	if m.Probe.Synced != nil {
		synced, err := m.Probe.Synced()
		c.Known, c.Synced = err == nil, synced
	}
	for _, file := range []string{"etc/chrony/chrony.conf", "etc/chrony.conf"} {
		if m.there(file) {
			c.Keeper, c.Slew = "chrony", 83333.333 // chrony's default
			m.chrony(file, &c)
			return c
		}
	}
	for _, k := range []struct{ file, name string }{{"run/systemd/timesync/synchronized", "systemd-timesyncd"}, {"etc/ntpsec/ntp.conf", "ntpd"}, {"etc/ntp.conf", "ntpd"}} {
		if m.there(k.file) {
			c.Keeper = k.name
			break
		}
	}
	return c
}

// chrony reads maxslewrate, and the folders whose files are read in its place. The
// last setting counts.
func (m *Machine) chrony(file string, c *doctor.Clock) {
	for line := range strings.Lines(m.text(file)) {
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		switch strings.ToLower(w[0]) {
		case "maxslewrate":
			if rate, err := strconv.ParseFloat(w[1], 64); err == nil {
				c.Slew = rate
			}
		case "confdir":
			c.SlewDir = w[1]
			files, _ := filepath.Glob(m.path(w[1], "*.conf"))
			for _, f := range files {
				m.chrony(strings.TrimPrefix(f, m.Root), c)
			}
		}
	}
}

func (m *Machine) sleep() doctor.Sleep {
	var s doctor.Sleep
	suspend, _ := m.setting("sleep.conf", "AllowSuspend")
	for _, t := range []struct{ unit, key string }{
		{"suspend.target", "AllowSuspend"},
		{"hibernate.target", "AllowHibernation"},
		{"hybrid-sleep.target", "AllowHybridSleep"},
		{"suspend-then-hibernate.target", "AllowSuspendThenHibernate"},
	} {
		if !m.there("usr/lib/systemd/system", t.unit) && !m.there("lib/systemd/system", t.unit) {
			continue
		}
		to, err := os.Readlink(m.path("etc/systemd/system", t.unit))
		allow, _ := m.setting("sleep.conf", t.key)
		if allow == "" && t.key != "AllowHibernation" {
			allow = suspend // both kinds that begin with a suspend follow it
		}
		s.Targets = append(s.Targets, doctor.Target{Unit: t.unit, Masked: err == nil && to == "/dev/null", Denied: allow == "no"})
	}
	return s
}

func (m *Machine) space(n *config.Node) []doctor.Space {
	var all []doctor.Space
	for _, path := range []string{n.Dirs.State} {
		if m.Probe.Room == nil {
			break
		}
		if free, total, err := m.Probe.Room(path); err == nil {
			all = append(all, doctor.Space{Path: path, Free: free, Total: total})
		}
	}
	return all
}

func (m *Machine) links(n *config.Node) []doctor.Link {
	var cards []Card
	if m.Probe.Cards != nil {
		cards, _ = m.Probe.Cards() // a link without a card is what the check says
	}
	var all []doctor.Link
	for _, a := range n.Links {
		l := doctor.Link{Address: a.String()}
		if i := slices.IndexFunc(cards, func(c Card) bool { return c.Address == a.Addr().String() }); i >= 0 {
			l.Card, l.Subnet = cards[i].Name, cards[i].Subnet
			m.card(&l)
		}
		all = append(all, l)
	}
	return all
}

func (m *Machine) card(l *doctor.Link) {
	dir := filepath.Join("sys/class/net", l.Card)
	l.Up = m.line(dir, "carrier") == "1" || m.line(dir, "operstate") == "unknown" // as of loopback and of some tunnels
	mtu, _ := m.number(dir, "mtu")
	l.MTU = int(mtu)
	l.Leaves = m.leaves(l.Card, 8)
	count := func(name string) uint64 {
		n, _ := m.number(dir, "statistics", name)
		return uint64(max(0, n))
	}
	// A card counts as dropped also what nobody here listens to: only what is damaged
	// or finds no room is lost.
	l.Errors, l.Packets = count("rx_errors")+count("rx_missed_errors")+count("rx_over_errors"), count("rx_packets")
}

// leaves follows bonds, bridges and VLANs down to cards.
func (m *Machine) leaves(card string, depth int) []string {
	lower, _ := filepath.Glob(m.path("sys/class/net", card, "lower_*"))
	if len(lower) == 0 || depth == 0 {
		return []string{card}
	}
	var all []string
	for _, l := range lower {
		all = append(all, m.leaves(strings.TrimPrefix(filepath.Base(l), "lower_"), depth-1)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
