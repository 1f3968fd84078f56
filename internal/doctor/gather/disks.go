package gather

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/guarded"
	"github.com/holdfast-ha/holdfast/storage/kind"
	"github.com/holdfast-ha/holdfast/storage/multipath"
	"github.com/holdfast-ha/holdfast/storage/program"
)

func (m *Machine) disks(ctx context.Context, n *config.Node) []doctor.Disk {
	var all []doctor.Disk
	for _, q := range n.Disks {
		d := doctor.Disk{Path: q.Path, Stable: strings.HasPrefix(q.Path, "/dev/disk/") || strings.HasPrefix(q.Path, "/dev/mapper/") || !strings.HasPrefix(q.Path, "/dev/")}
		to, err := filepath.EvalSymlinks(m.path(q.Path))
		switch {
		case err != nil:
			d.Missing = fmt.Sprintf("there is no %s", q.Path)
		default:
			m.device(ctx, &d, filepath.Base(to))
		}
		if d.Missing == "" && m.Probe.Read != nil {
			if d.Reads, err = m.Probe.Read(q.Path, reads); err != nil {
				d.ReadErr = err.Error()
			}
		}
		all = append(all, d)
	}
	return all
}

// device looks at a block device by its name of the kernel.
func (m *Machine) device(ctx context.Context, d *doctor.Disk, name string) {
	dir := filepath.Join("sys/class/block", name)
	major, minor, is := strings.Cut(m.line(dir, "dev"), ":")
	if !is { // a file, as emulated nodes have
		d.Kind, _ = kind.Of(m.path(d.Path))
		return
	}
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	v, err := kind.In(m.path("sys"), unix.Mkdev(uint32(a), uint32(b)))
	if err != nil {
		d.Missing = err.Error()
		return
	}
	d.Kind = v
	d.ReadOnly = m.line(dir, "ro") == "1"
	d.Cache, d.FUA = m.line(dir, "queue/write_cache"), m.line(dir, "queue/fua") == "1"
	if uuid := m.line(dir, "dm/uuid"); strings.HasPrefix(uuid, "mpath-") {
		d.WWID, d.Map = strings.TrimPrefix(uuid, "mpath-"), m.line(dir, "dm/name")
		t := multipath.Tool{Run: m.Run, Sysfs: m.path("sys")}
		if found, ok, err := t.Find(ctx, d.Map); err == nil && ok {
			d.Queueing = found.Queueing
			for _, p := range found.Paths {
				d.Ways = append(d.Ways, m.way(p.Device, p.Works, p.State))
			}
		}
	} else {
		d.Ways = append(d.Ways, m.way(name, true, ""))
	}
	for _, w := range d.Ways {
		d.Vendor, d.Model = m.line("sys/class/block", w.Device, "device/vendor"), m.line("sys/class/block", w.Device, "device/model")
	}
}

// way looks at what carries one path.
func (m *Machine) way(name string, works bool, state string) doctor.Way {
	w := doctor.Way{Device: name, Works: works, State: state}
	full, err := filepath.EvalSymlinks(m.path("sys/class/block", name))
	if err != nil {
		return w
	}
	for _, part := range strings.Split(full, "/") {
		switch {
		case strings.HasPrefix(part, "rport-"):
			w.FastFail = m.line("sys/class/fc_remote_ports", part, "fast_io_fail_tmo")
		case strings.HasPrefix(part, "session"):
			w.Session = part
			w.Recovery, w.Target = m.line("sys/class/iscsi_session", part, "recovery_tmo"), m.line("sys/class/iscsi_session", part, "targetname")
			connection := "sys/class/iscsi_connection/connection" + strings.TrimPrefix(part, "session") + ":0"
			if a, p := m.line(connection, "persistent_address"), m.line(connection, "persistent_port"); a != "" && p != "" {
				w.Portal = a + ":" + p
			}
		}
	}
	return w
}

// multipath asks for the configuration in effect: what is built in, multipath.conf
// and the files of conf.d.
func (m *Machine) multipath(ctx context.Context, disks []doctor.Disk) doctor.Multipath {
	x := doctor.Multipath{Own: m.text("etc/multipath/conf.d/holdfast.conf")}
	if m.Run == nil || !slices.ContainsFunc(disks, func(d doctor.Disk) bool { return d.Kind.Kind == kind.Multipath }) {
		return x
	}
	res, err := m.Run(ctx, program.Command{Argv: []string{"multipath", "-t"}})
	if err != nil || res.Code != 0 {
		return x
	}
	defaults, _, _ := strings.Cut(res.Stdout, "\n}")
	for line := range strings.Lines(defaults) {
		w := strings.Fields(line)
		if len(w) != 2 || w[0] != "polling_interval" && w[0] != "max_polling_interval" {
			continue
		}
		if s, err := strconv.Atoi(strings.Trim(w[1], `"`)); err == nil {
			x.Known, x.Polling = true, max(x.Polling, time.Duration(s)*time.Second)
		}
	}
	return x
}

// luns are the disks of services that are guarded by reservations.
func (m *Machine) luns(conf *cluster.Config) []doctor.LUN {
	if conf == nil || m.Probe.Reservations == nil {
		return nil
	}
	var all []doctor.LUN
	for i := range conf.Services {
		s := &conf.Services[i]
		if !s.Guarded() {
			continue
		}
		devices, err := guarded.Devices(s)
		if err != nil {
			all = append(all, doctor.LUN{Service: s.Name, Problem: err.Error()})
		}
		for _, device := range devices {
			l := doctor.LUN{Service: s.Name, Device: device}
			r, err := m.Probe.Reservations(device)
			if err != nil {
				l.Problem = err.Error()
			}
			l.Held, l.Keys, l.Silent = r.Reservation.Held, len(r.Keys), r.Silent
			l.Persisting = r.Capabilities.Persisting || len(r.Keys) == 0 && r.Capabilities.Persists
			all = append(all, l)
		}
	}
	return all
}
