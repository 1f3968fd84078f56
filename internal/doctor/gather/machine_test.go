package gather_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/doctor/gather"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage/program"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// machine is a healthy machine as files, and programs that work on them.
type machine struct {
	t       *testing.T
	root    string
	node    *config.Node
	conf    *cluster.Config
	units   map[string]string // UnitFileState by name; with "+" at its end it is active
	queue   string            // queueing of the map without Holdfast's section
	port    string            // fast_io_fail_tmo without it
	record  string            // replacement_timeout in iscsid's record
	auto    bool              // of the volume group
	took    time.Duration
	dog     error // why a watchdog is not measured
	readErr error
	master  error // of the controller
	room    uint64
	synced  bool
	keys    scsi.Report
	keysErr error
	cards   []gather.Card
	status  *api.Status
	peer    doctor.Peer
	drills  []doctor.Drill
}

const (
	quorum = "/dev/disk/by-id/dm-uuid-mpath-3600a"
	rport  = "sys/devices/pci0/host1/rport-1:0-2"
	sess   = "sys/devices/platform/host3/session1"
)

func newMachine(t *testing.T) *machine {
	m := &machine{
		t: t, root: t.TempDir(), queue: "off", port: "2", record: "2", took: 300 * time.Microsecond, room: 8 << 30, synced: true,
		units: map[string]string{"holdfast.service": "enabled", "postgresql.service": "disabled", "pacemaker.service": "disabled"},
		keys:  scsi.Report{Keys: []uint64{1, 2}, Reservation: scsi.Reservation{Held: true}, Capabilities: scsi.Capabilities{Persists: true, Persisting: true}},
		cards: []gather.Card{{Name: "eth0", Address: "10.0.0.11", Subnet: "10.0.0.0/24"}, {Name: "eth1", Address: "10.1.0.11", Subnet: "10.1.0.0/24"}},
	}
	m.node = &config.Node{
		Name: "alpha", Disks: []config.QuorumDisk{{Path: quorum}}, Watchdogs: []config.Watchdog{{Device: "/dev/watchdog0"}, {Device: "softdog"}},
		Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.11:7320"), netip.MustParseAddrPort("10.1.0.11:7320")},
		BMC:   config.BMC{URL: "ipmi://holdfast@10.9.0.11"}, Dirs: config.UsualDirs("alpha"),
		Metrics: config.Metrics{Certificate: "/etc/holdfast/metrics.pem"},
	}
	m.conf = &cluster.Config{Fencing: []cluster.Ways{{Node: "alpha", Ways: []cluster.Way{{Kind: cluster.WayReservation}}}}, Services: []cluster.Service{{Name: "orders", Stack: []cluster.Member{
		{Kind: "lvm", Storage: true, Guarded: true, Spec: []byte(`{"group":"vg","devices":["/dev/disk/by-id/wwn-0x600"]}`)},
		{Kind: "filesystem", Storage: true, Guarded: true, Spec: []byte(`{"device":"/dev/vg/data","at":"/srv/orders"}`)},
		{Kind: "systemd", Spec: []byte(`{"unit":"postgresql"}`)},
		{Kind: "ocf", Spec: []byte(`{"agent":"heartbeat:nginx"}`)},
	}}}}
	m.status = &api.Status{
		Self: api.Self{Name: "alpha", Stage: "member", Build: "1.0"}, Cluster: api.ClusterInfo{Name: "hospital", Config: 3},
		Nodes: []api.Node{{Name: "alpha"}, {Name: "beta"}}, Disks: []api.Disk{{Path: quorum, Latency: 0.001}},
		Links:   []api.Link{{Peer: "beta", Local: "10.0.0.11:7320", Remote: "10.0.0.12:7320", Up: true}},
		Fencing: []api.Readiness{{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works"}}}},
	}
	m.peer = doctor.Peer{
		Name: "beta", Build: "1.0", Config: 3, Kernel: "6.12.0", MTU: []int{1500, 1500}, Report: &doctor.Report{Level: doctor.OK},
		Ways: []api.Readiness{{Node: "alpha", Ways: []api.Way{{Way: "bmc", State: "works"}}}},
	}
	m.drills = []doctor.Drill{{Kind: "fence", Node: "beta", Time: time.Unix(1e9-86400, 0), OK: true}}
	m.put("etc/holdfast/metrics.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gather.Certified(t, time.Now().AddDate(1, 0, 0)).Certificate[0]})))
	m.files()
	m.disks()
	m.agentHere("#!/bin/sh\n")
	m.peer.Agents = m.facts().Cluster.Agents
	return m
}

func (m *machine) agentHere(text string) { m.put("usr/lib/ocf/resource.d/heartbeat/nginx", text) }

// files are the machine without its disks.
func (m *machine) files() {
	for name, text := range map[string]string{
		"proc/sys/kernel/osrelease": "6.12.0", "proc/sys/kernel/panic": "0", "proc/sys/vm/min_free_kbytes": "67584", "proc/sysrq-trigger": "",
		"proc/cmdline": "root=/dev/sda1 ro", "proc/cpuinfo": "flags: fpu", "proc/meminfo": "MemTotal:       16000000 kB\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc", "sys/kernel/kexec_crash_loaded": "0", "sys/kernel/kexec_crash_size": "0",
		"sys/module/watchdog/parameters/stop_on_reboot": "0", "sys/module/softdog/parameters/soft_noboot": "0",
		"sys/class/watchdog/watchdog0/identity": "iTCO_wdt", "sys/class/watchdog/watchdog0/state": "active",
		"sys/class/watchdog/watchdog1/identity": "Software Watchdog", "sys/class/watchdog/watchdog1/state": "active",
		"proc/1/comm": "systemd", "proc/77/comm": "holdfast-guard",
		"etc/modules-load.d/extra.conf": "softdog\n", "etc/chrony/chrony.conf": "pool x\nconfdir /etc/chrony/conf.d\nmaxslewrate 500\n",
		"usr/lib/systemd/system/suspend.target": "", "usr/lib/systemd/system/hibernate.target": "",
		"etc/systemd/sleep.conf.d/50-x.conf":  "[Sleep]\nAllowSuspend=no\nAllowHibernation=no\n",
		"etc/systemd/logind.conf.d/50-x.conf": "[Login]\nHandlePowerKey=ignore\n",
		"etc/fstab":                           "UUID=1 / ext4 defaults 0 1\n/dev/vg/data /srv/orders ext4 noauto 0 0\n",
	} {
		m.put(name, text)
	}
	for _, dog := range []string{"watchdog0", "watchdog1"} {
		for _, pid := range []string{"1", "77"} {
			m.link("proc/"+pid+"/fd/"+dog, "/dev/"+dog)
		}
	}
	for _, card := range []string{"eth0", "eth1"} {
		dir := "sys/class/net/" + card
		m.put(dir+"/carrier", "1")
		m.put(dir+"/mtu", "1500")
		m.put(dir+"/statistics/rx_packets", "1000000")
		m.put(dir+"/statistics/rx_errors", "3")
	}
}

// disks are a multipath map with one path by Fibre Channel and one by iSCSI.
func (m *machine) disks() {
	for name, path := range map[string]string{"sda": rport + "/target1/1:0:0:0", "sdb": sess + "/target3/3:0:0:0"} {
		m.put(path+"/vendor", "ACME    ")
		m.put(path+"/model", "Array 9")
		m.put(path+"/block/"+name+"/dev", map[string]string{"sda": "8:0", "sdb": "8:16"}[name])
		m.link(path+"/block/"+name+"/device", "../..")
		m.link("sys/class/block/"+name, "../../../"+path+"/block/"+name)
	}
	const dm = "sys/devices/virtual/block/dm-0"
	for name, text := range map[string]string{
		"dev": "254:0", "ro": "0", "dm/uuid": "mpath-3600a", "dm/name": "mpatha", "queue/write_cache": "write back", "queue/fua": "1",
		"slaves/sda/x": "", "slaves/sdb/x": "",
	} {
		m.put(dm+"/"+name, text)
	}
	m.link("sys/class/block/dm-0", "../../../"+dm)
	m.link("sys/dev/block/254:0", "../../../"+dm)
	m.put("dev/dm-0", "")
	m.link(quorum, "../../dm-0")
	m.put("sys/class/fc_remote_ports/rport-1:0-2/fast_io_fail_tmo", "2")
	m.put("sys/class/iscsi_session/session1/recovery_tmo", "2")
	m.put("sys/class/iscsi_session/session1/targetname", "iqn.2026-11.example:quorum")
	m.put("sys/class/iscsi_connection/connection1:0/persistent_address", "10.2.0.5")
	m.put("sys/class/iscsi_connection/connection1:0/persistent_port", "3260")
}

func (m *machine) put(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) link(name, to string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.root, name)); err != nil {
		m.t.Fatal(err)
	}
}

// facts looks at the machine, and adds what its daemon would say.
func (m *machine) facts() *doctor.Facts {
	g := gather.Machine{Root: m.root, Run: m.run, Probe: gather.Probes{
		Measured: func(*config.Node, watchdog.Listed) error { return m.dog },
		Read: func(_ string, times int) ([]time.Duration, error) {
			all := make([]time.Duration, times)
			for i := range all {
				all[i] = m.took
			}
			return all, m.readErr
		},
		Cards:        func() ([]gather.Card, error) { return m.cards, nil },
		Synced:       func() (bool, error) { return m.synced, nil },
		Room:         func(string) (uint64, uint64, error) { return m.room, 16 << 30, nil },
		Reservations: func(string) (scsi.Report, error) { return m.keys, m.keysErr },
		Controller:   func(context.Context, *config.Node) error { return m.master },
	}}
	why := ""
	if m.conf == nil {
		why = "no state was kept"
	}
	f := g.Facts(m.t.Context(), m.node, m.conf, why)
	f.Node.F = 6 * time.Second
	f.Cluster.Status, f.Cluster.Drills, f.Cluster.Now = m.status, m.drills, time.Unix(1e9, 0)
	f.Cluster.Peers = []doctor.Peer{m.peer}
	if m.status == nil {
		f.Cluster.Problem = "holdfastd does not run here"
	}
	return f
}

// run is the system's programs.
func (m *machine) run(_ context.Context, c program.Command) (program.Result, error) {
	own, _ := os.ReadFile(filepath.Join(m.root, "etc/multipath/conf.d/holdfast.conf"))
	ours := func(setting, value, else_ string) string {
		if strings.Contains(string(own), setting) {
			return value
		}
		return else_
	}
	switch line := strings.Join(c.Argv, " "); {
	case line == "multipathd show maps json":
		return program.Result{Stdout: fmt.Sprintf(`{"maps":[{"name":"mpatha","uuid":"3600a","queueing":%q,"path_groups":[{"paths":[
			{"dev":"sda","dm_st":"active","chk_st":"ready"},{"dev":"sdb","dm_st":"active","chk_st":%q}]}]}]}`,
			ours("no_path_retry fail", "off", m.queue), m.units["sdb"])}, nil
	case line == "multipath -t":
		return program.Result{Stdout: "defaults {\n\tpolling_interval 1\n\tmax_polling_interval " + ours("max_polling_interval 1\n", "1", m.units["polling"]+"1") + "\n}\n"}, nil
	case line == "multipathd reconfigure":
		m.put("sys/class/fc_remote_ports/rport-1:0-2/fast_io_fail_tmo", ours("fast_io_fail_tmo 2", "2", m.port))
	case strings.HasPrefix(line, "systemctl show"):
		return program.Result{Stdout: m.show(c.Argv[3:])}, nil
	case c.Argv[0] == "systemctl" && (c.Argv[1] == "enable" || c.Argv[1] == "disable"):
		m.units[c.Argv[2]] = c.Argv[1] + "d"
	case strings.HasPrefix(line, "lvm vgs"):
		return program.Result{Stdout: fmt.Sprintf(`{"report":[{"vg":[{"vg_name":"vg","vg_uuid":"u","vg_systemid":"","vg_tags":"","vg_missing_pv_count":"0","lv_count":"1","vg_autoactivation":%q}]}]}`,
			map[bool]string{true: "enabled"}[m.auto])}, nil
	case strings.HasPrefix(line, "lvm pvs"):
		return program.Result{Stdout: `{"report":[{"pv":[{"pv_name":"/dev/sdc"}]}]}`}, nil
	case strings.HasPrefix(line, "lvm lvmconfig"):
		return program.Result{Code: 5}, nil
	case strings.HasPrefix(line, "lvm vgchange"):
		m.auto = strings.Contains(line, " y ")
	case strings.HasPrefix(line, "iscsiadm -m node -T iqn.2026-11.example:quorum -p 10.2.0.5:3260 -o update"):
		m.record = c.Argv[len(c.Argv)-1]
	case strings.HasPrefix(line, "systemctl "):
	default:
		return program.Result{Code: 1, Stderr: "the test knows no " + line}, nil
	}
	return program.Result{}, nil
}

func (m *machine) show(names []string) string {
	var b strings.Builder
	for _, n := range names {
		state, active := strings.CutSuffix(m.units[n], "+")
		load := map[bool]string{true: "not-found", false: "loaded"}[state == ""]
		fmt.Fprintf(&b, "Id=%s\nLoadState=%s\nUnitFileState=%s\nActiveState=%s\n\n", n, load, state, map[bool]string{true: "active", false: "inactive"}[active])
	}
	return b.String()
}

// picture is everything that a fix could change; parameters of modules change at a
// boot only.
func (m *machine) picture() string {
	var b strings.Builder
	err := filepath.WalkDir(m.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == filepath.Join(m.root, "sys/module") {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode())
		if to, err := os.Readlink(path); err == nil {
			fmt.Fprintln(&b, to)
		} else if !d.IsDir() {
			text, err := os.ReadFile(path)
			fmt.Fprintln(&b, strings.TrimSpace(string(text)), err)
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	fmt.Fprintln(&b, m.units, m.record, m.auto)
	return b.String()
}
