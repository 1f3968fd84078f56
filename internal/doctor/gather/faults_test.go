package gather_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/doctor/gather"
	"github.com/holdfast-ha/holdfast/internal/doctor/mend"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// fault is something that is wrong with a machine, and what the doctor must say.
type fault struct {
	check string
	level doctor.Level
	plant func(*machine)
	words string
}

func write(name, text string) func(*machine) { return func(m *machine) { m.put(name, text) } }

func faults() []fault {
	w, f, u := doctor.Warning, doctor.Failure, doctor.Unknown
	const softOnly = "softdog"
	soft := func(m *machine) { m.node.Watchdogs = []config.Watchdog{{Device: softOnly}} }
	port := func(m *machine) {
		m.port = "off"
		m.put("sys/class/fc_remote_ports/rport-1:0-2/fast_io_fail_tmo", "off")
	}
	return []fault{
		{"reset-line", f, func(m *machine) { m.remove("proc/sysrq-trigger") }, "sysrq-trigger"},
		{"clocksource", f, write("sys/devices/system/clocksource/clocksource0/current_clocksource", "jiffies"), "jiffies"},
		{"clocksource", w, write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"), "hpet"},
		{"nocluster", w, write("proc/cmdline", "ro nocluster"), "nocluster"},
		{"panic", w, soft, "softdog is dead with the kernel"},
		{"reserve", w, write("proc/sys/vm/min_free_kbytes", "2048"), "2 MiB"},
		{"kdump", f, func(m *machine) {
			m.put("sys/kernel/kexec_crash_loaded", "1")
			m.put("etc/kdump.conf", "path /var/crash\next4 /dev/vg/data\n")
		}, "service orders"},
		{"real-time", w, func(m *machine) { m.status.Self.RealTime = "SCHED_RR" }, "SCHED_RR"},
		{"pair", f, func(m *machine) { m.node.Watchdogs = nil }, "no watchdog"},
		{"pair", w, soft, "softdog alone"},
		{"pair", w, func(m *machine) { m.node.Watchdogs = m.node.Watchdogs[:1] }, "one watchdog only"},
		{"device", f, func(m *machine) { m.node.Watchdogs[0].Device = "/dev/watchdog7" }, "no such watchdog"},
		{"holder", f, func(m *machine) {
			m.put("proc/99/comm", "watchdog")
			m.link("proc/99/fd/3", "/dev/watchdog0")
		}, "watchdog has it open"},
		{"holder", f, func(m *machine) { m.remove("proc/77/fd/watchdog0") }, "RuntimeWatchdogSec"},
		{"manager", f, write("etc/systemd/system.conf", "[Manager]\nRuntimeWatchdogSec=30s\n"), "/etc/systemd/system.conf"},
		{"measured", w, func(m *machine) { m.dog = errors.New("another kernel") }, "another kernel"},
		{"softdog", f, write("sys/module/softdog/parameters/soft_noboot", "1"), "resets nothing"},
		{"loaded", w, func(m *machine) { m.remove("etc/modules-load.d/extra.conf") }, "loads it at boot"},
		{"stop-on-reboot", w, write("sys/module/watchdog/parameters/stop_on_reboot", "1"), "stop_on_reboot"},
		{"there", f, func(m *machine) { m.remove(quorum) }, "there is no"},
		{"there", w, func(m *machine) { m.node.Disks[0].Path = "/dev/dm-0" }, "another name after a boot"},
		{"latency", f, func(m *machine) { m.took = 4 * time.Second }, "more than half"},
		{"latency", w, func(m *machine) { m.took = time.Second }, "an eighth"},
		{"latency", f, func(m *machine) { m.readErr = errors.New("medium error") }, "medium error"},
		{"writable", f, write("sys/devices/virtual/block/dm-0/ro", "1"), "read-only"},
		{"writable", f, func(m *machine) { m.status.Disks[0].Error = "timeout" }, "timeout"},
		{"cache", w, write("sys/devices/virtual/block/dm-0/queue/fua", "0"), "forgets"},
		{"paths", w, func(m *machine) { m.units["sdb"] = "faulty" }, "sdb"},
		{"queueing", f, func(m *machine) { m.queue = "on" }, "held back (on)"},
		{"polling", w, func(m *machine) { m.units["polling"] = "2" }, "every 21 s"},
		{"fast-io-fail", w, port, "minutes"},
		{"iscsi-recovery", f, func(m *machine) { m.record = "120"; m.put("sys/class/iscsi_session/session1/recovery_tmo", "120") }, "120 s"},
		{"reservations", f, func(m *machine) { m.keysErr = errors.New("illegal request") }, "illegal request"},
		{"reservations", w, func(m *machine) { m.keys.Capabilities = scsi.Capabilities{} }, "APTPL"},
		{"reservations", w, func(m *machine) { m.keys.Silent = []string{"sdq"} }, "no answer by sdq"},
		{"reservations", w, func(m *machine) { m.conf.Fencing = nil }, "does not stand under fencing.ways of alpha"},
		{"controller", f, func(m *machine) { m.master = errors.New("another machine") }, "another machine"},
		{"privileges", w, func(m *machine) { m.node.BMC.URL = "redfish://holdfast@10.9.0.11" }, "when it is switched"},
		{"ways", f, func(m *machine) { m.status.Fencing[0].Ways[0].State = "failed" }, "its check fails"},
		{"ways", w, func(m *machine) { m.peer.Ways[0].Ways[0].Stale = true }, "not checked for long"},
		{"ways", w, func(m *machine) { m.status.Fencing = nil }, "by time alone"},
		{"power-key", w, func(m *machine) { m.remove("etc/systemd/logind.conf.d/50-x.conf") }, "orderly shutdown"},
		{"wall-clock", w, func(m *machine) { m.synced = false }, "nobody keeps"},
		{"slew", w, write("etc/chrony/chrony.conf", "confdir /etc/chrony/conf.d\n"), "83333 ppm"},
		{"sleep", f, func(m *machine) { m.remove("etc/systemd/sleep.conf.d/50-x.conf") }, "suspend.target hibernate.target"},
		{"count", w, func(m *machine) { m.node.Links = m.node.Links[:1] }, "one link only"},
		{"card", f, func(m *machine) { m.cards = m.cards[:1] }, "no network card"},
		{"card", f, write("sys/class/net/eth1/carrier", "0"), "no carrier"},
		{"mtu", f, write("sys/class/net/eth1/mtu", "576"), "below the 1248"},
		{"mtu", w, func(m *machine) { m.peer.MTU[1] = 9000 }, "beta has 9000"},
		{"separate", w, func(m *machine) {
			m.cards = []gather.Card{{Name: "eth0", Address: "10.0.0.11"}, {Name: "eth0.5", Address: "10.1.0.11"}}
			m.link("sys/class/net/eth0.5/lower_eth0", "../eth0")
		}, "both go over eth0"},
		{"separate", w, func(m *machine) { m.cards[1].Subnet = m.cards[0].Subnet }, "both are in 10.0.0.0/24"},
		{"loss", w, write("sys/class/net/eth0/statistics/rx_missed_errors", "5000"), "5003 of"},
		{"heard", w, func(m *machine) { m.status.Links[0].Up = false }, "not heard"},
		{"own-unit", w, func(m *machine) { m.units["holdfast.service"] = "disabled" }, "out of the cluster"},
		{"services", u, func(m *machine) { m.conf = nil }, "no state was kept"},
		{"units", f, func(m *machine) { m.units["postgresql.service"] = "enabled" }, "without being granted"},
		{"fstab", f, write("etc/fstab", "UUID=1 / ext4 defaults 0 1\n/dev/vg/data /srv/orders ext4 defaults 0 0\n# the end\n"), "two nodes"},
		{"lvm", f, func(m *machine) { m.auto = true }, "every node that sees it"},
		{"other-clusters", f, func(m *machine) { m.units["pacemaker.service"] = "enabled" }, "at the next boot"},
		{"other-clusters", f, func(m *machine) { m.units["pacemaker.service"] = "disabled+" }, "it runs"},
		{"space", f, func(m *machine) { m.room = 1 << 20 }, "1 MiB"},
		{"space", w, func(m *machine) { m.room = 500 << 20 }, "500 MiB"},
		{"daemon", f, func(m *machine) { m.status = nil }, "does not run"},
		{"daemon", w, func(m *machine) { m.status.Self.Stage = "joining" }, "no member"},
		{"warnings", w, func(m *machine) { m.status.Warnings = []string{"one thing"} }, "one thing"},
		{"reached", u, func(m *machine) { m.peer = doctor.Peer{Name: "beta", Problem: "refused"} }, "refused"},
		{"versions", w, func(m *machine) { m.peer.Build = "0.9" }, "0.9"},
		{"configuration", w, func(m *machine) { m.peer.Config = 2 }, "version 2"},
		{"kernels", w, func(m *machine) { m.peer.Kernel = "6.1" }, "6.1"},
		{"agents", w, func(m *machine) { m.agentHere("#!/bin/sh\nexit 1\n") }, "heartbeat:nginx differs"},
		{"agents", w, func(m *machine) {
			m.conf.Fencing = []cluster.Ways{{Node: "beta", Ways: []cluster.Way{{All: []cluster.Way{{Agent: "fence_apc"}}}}}}
			m.put("usr/sbin/fence_apc", "#!/bin/sh\n")
		}, "fence_apc is missing there"},
		{"multipath-settings", w, func(m *machine) {
			m.peer.Multipath = map[string]string{"polling_interval": "9m0s", "no_path_retry of 3600b": "queue"}
		}, "polling_interval is 9m0s there"},
		{"clocks", w, func(m *machine) { m.peer.Offset = -time.Minute }, "60 s"},
		{"nodes", f, func(m *machine) {
			m.peer.Report = &doctor.Report{Level: doctor.Failure, Sections: []doctor.Section{{Name: "boot", Findings: []doctor.Finding{{Level: doctor.Failure, Text: "mounted twice"}}}}}
		}, "boot: mounted twice"},
		{"certificates", f, write("etc/holdfast/metrics.pem", "none"), "no certificate is in it"},
		{"drills", w, func(m *machine) { m.drills = nil }, "no drill"},
		{"drills", w, func(m *machine) {
			m.status.Drills = &api.Drills{Every: 30 * 86400, Overdue: []string{api.DrillCutDisk}}
		}, "the drill cut-disk is overdue: one is wanted every 30 days"},
		{"drills", w, func(m *machine) { m.drills[0].OK = false }, "has failed"},
		{"drills", w, func(m *machine) { m.drills[0].Time = m.drills[0].Time.AddDate(-1, 0, 0) }, "days ago"},
	}
}

func find(r doctor.Report, check string) (worst doctor.Level, all []doctor.Finding) {
	worst = doctor.OK
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			if x.Check == check && x.Level != doctor.OK {
				all = append(all, x)
				if worst != doctor.Failure {
					worst = x.Level
				}
			}
		}
	}
	return worst, all
}

// TestHealthy: a machine that lacks nothing has nothing but ok, and every check that
// knows a fault has looked at it, or had nothing to look at.
func TestHealthy(t *testing.T) {
	t.Parallel()
	r := doctor.Examine(newMachine(t).facts())
	said := map[string]bool{}
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			said[x.Check] = true
			if x.Level != doctor.OK {
				t.Errorf("%s: %s: %s %s: %s", s.Name, x.Check, x.Level, x.On, x.Text)
			}
		}
	}
	silent := []string{"nocluster", "count", "services", "warnings", "reached"} // that say nothing while all is well
	for _, f := range faults() {
		if !said[f.check] && !slices.Contains(silent, f.check) {
			t.Errorf("%s says nothing of a healthy machine", f.check)
		}
		said[f.check] = true
	}
	if len(said) < 45 {
		t.Errorf("only %d checks", len(said))
	}
}

// TestFaults: each fault is found, with a remedy. What can be fixed is fixed, found
// fixed, and taken back to the last byte.
func TestFaults(t *testing.T) {
	t.Parallel()
	fixed := map[string]bool{}
	for _, c := range faults() {
		t.Run(c.check+"/"+c.words, func(t *testing.T) {
			m := newMachine(t)
			c.plant(m)
			worst, found := find(doctor.Examine(m.facts()), c.check)
			if worst != c.level || len(found) == 0 || !strings.Contains(found[0].Text, c.words) || found[0].Remedy == "" {
				t.Fatalf("%s %+v, want %s and %q", worst, found, c.level, c.words)
			}
			if found[0].Fix == nil {
				return
			}
			fixed[c.check] = true
			tryFix(t, m, found[0])
		})
	}
	for _, name := range []string{
		"panic", "reserve", "manager", "softdog", "loaded", "stop-on-reboot", "queueing", "polling", "fast-io-fail", "iscsi-recovery",
		"power-key", "slew", "sleep", "own-unit", "units", "fstab", "lvm", "other-clusters",
	} {
		if !fixed[name] {
			t.Errorf("%s has no fix", name)
		}
		delete(fixed, name)
	}
	for name := range fixed {
		t.Errorf("the fix of %s is in no list", name)
	}
}

// later are the fixes that count only from the next boot on: what sysfs shows then
// is put there by the kernel.
func later(m *machine, check string) {
	switch check {
	case "softdog":
		if text, _ := os.ReadFile(filepath.Join(m.root, "etc/modprobe.d/zz-holdfast-softdog.conf")); strings.Contains(string(text), "soft_noboot=0") {
			m.put("sys/module/softdog/parameters/soft_noboot", "0")
		}
	case "stop-on-reboot":
		if text, _ := os.ReadFile(filepath.Join(m.root, "etc/modprobe.d/zz-holdfast-watchdog.conf")); strings.Contains(string(text), "stop_on_reboot=0") {
			m.put("sys/module/watchdog/parameters/stop_on_reboot", "0")
		}
	}
}

func tryFix(t *testing.T, m *machine, x doctor.Finding) {
	t.Helper()
	before := m.picture()
	b := mend.Bench{Root: m.root, Records: t.TempDir(), Run: m.run, Now: time.Now}
	if err := b.Do(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	made, err := b.Made()
	if err != nil || len(made) != 1 || made[0].Check != x.Check {
		t.Fatalf("recorded: %+v, %v", made, err)
	}
	if m.picture() == before {
		t.Error("the fix changed nothing")
	}
	later(m, x.Check)
	if worst, found := find(doctor.Examine(m.facts()), x.Check); worst != doctor.OK {
		t.Errorf("after the fix: %+v", found)
	}
	if err := b.Undo(t.Context(), func(r *mend.Record) {
		if r.Check != x.Check {
			t.Errorf("took back %s", r.Check)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if now := m.picture(); now != before {
		t.Errorf("taken back, the machine is another one:\n%s", differ(before, now))
	}
	if made, err := b.Made(); err != nil || len(made) != 0 {
		t.Errorf("still recorded: %+v, %v", made, err)
	}
}

func differ(a, b string) string {
	var out []string
	for line := range strings.Lines(b) {
		if !strings.Contains(a, line) {
			out = append(out, "+ "+line)
		}
	}
	for line := range strings.Lines(a) {
		if !strings.Contains(b, line) {
			out = append(out, "- "+line)
		}
	}
	return strings.Join(out, "")
}

// TestEmulated: an emulated node is not judged by the machine that it is emulated on.
func TestEmulated(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, c := range faults() {
		switch c.check {
		case "panic", "reserve", "sleep", "lvm", "fstab", "manager":
			c.plant(m)
		}
	}
	m.node.Platform.Emulated = true
	r := doctor.Examine(m.facts())
	for _, s := range r.Sections {
		if s.Name == "kernel" || s.Name == "watchdogs" || s.Name == "boot" || s.Name == "time" {
			for _, x := range s.Findings {
				if x.Check != "real-time" {
					t.Errorf("%s: %+v", s.Name, x)
				}
			}
		}
	}
}
