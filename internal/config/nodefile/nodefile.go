// Package nodefile writes node.yaml, with comments that say what each value is
// for. Package config reads it.
package nodefile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// Write gives node.yaml, with a comment on everything. config.ParseNode gives the
// same Node back, with defaults filled in.
func Write(n config.Node) []byte {
	var w writer
	w.line("# This node only. Written by `holdfast init` or `holdfast join`; the cluster's")
	w.line("# configuration stands on the quorum disks: `holdfast config export` shows it.")
	w.line("name: %s", quote(n.Name))
	w.line("id: %d                 # its slot on the quorum disks", n.ID)
	if n.Cluster.Epoch == 0 {
		w.line("cluster: {name: %s, id: %q}", quote(n.Cluster.Name), n.Cluster.ID)
	} else {
		w.line("# epoch: how often it was recovered onto new quorum disks; older ones are refused.")
		w.line("cluster: {name: %s, id: %q, epoch: %d}", quote(n.Cluster.Name), n.Cluster.ID, n.Cluster.Epoch)
	}
	w.line("key: %s   # readable by root only", quote(n.Key))
	w.line("")
	w.line("# Quorum is a majority of these, never of the nodes.")
	w.line("quorum_disks:")
	for _, d := range n.Disks {
		w.line("  - path: %s", quote(d.Path))
		w.line("    uuid: %q", d.UUID)
	}
	w.line("")
	w.line("# This node's own address on each heartbeat network, in the order of the other nodes.")
	w.line("links:")
	for _, l := range n.Links {
		w.line("  - %q", l)
	}
	if n.SingleLink {
		w.line("single_link: true        # accepted: one broken cable silences a healthy node")
	}
	w.metrics(&n.Metrics)
	w.watchdogs(n)
	w.platform(n)
	if n.BMC.URL != "" {
		w.line("")
		w.line("# This node's own management controller, for the others to cut its power.")
		w.line("bmc:")
		w.line("  url: %s", quote(n.BMC.URL))
		w.maybe("  password_file: %s", n.BMC.PasswordFile)
	}
	w.controllers(n)
	w.dirs(n)
	return []byte(w.String())
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// metrics writes where scrapes are answered, if anywhere.
func (w *writer) metrics(m *config.Metrics) {
	if !m.Listen.IsValid() {
		return
	}
	w.line("metrics:")
	w.line("  listen: %q", m.Listen)
	w.maybe("  certificate: %s", m.Certificate)
	w.maybe("  key: %s", m.Key)
	w.maybe("  clients: %s", m.Clients)
}

// maybe writes a line with a text, unless that is empty.
func (w *writer) maybe(format, text string) {
	if text != "" {
		w.line(format, quote(text))
	}
}

func (w *writer) watchdogs(n config.Node) {
	w.line("")
	w.line("# What resets this node when it hangs. Without a timeout it is derived from")
	w.line("# failover_within; `holdfast timing` shows it.")
	if len(n.Watchdogs) == 0 {
		w.line("# watchdogs: [{device: /dev/watchdog0}, softdog]")
	} else {
		w.line("watchdogs:")
	}
	for _, d := range n.Watchdogs {
		switch {
		case d.Pretimeout != 0 && d.Timeout != 0:
			w.line("  - {device: %s, timeout: %s, pretimeout: %s}", quote(d.Device), short(d.Timeout), short(d.Pretimeout))
		case d.Pretimeout != 0:
			w.line("  - {device: %s, pretimeout: %s}", quote(d.Device), short(d.Pretimeout))
		case d.Timeout != 0:
			w.line("  - {device: %s, timeout: %s}", quote(d.Device), short(d.Timeout))
		case strings.HasPrefix(d.Device, "/"):
			w.line("  - {device: %s}", quote(d.Device))
		default:
			w.line("  - %s", quote(d.Device))
		}
	}
	if n.AcceptSoftdog || n.PowerOff {
		w.line("watchdog:")
	}
	if n.PowerOff {
		w.line("  mail_off: power-off    # sbd(8)'s message off: the node goes off at the boot after")
	}
	if n.AcceptSoftdog {
		w.line("  accept_softdog: true   # accepted: takeover by lease is weak with softdog alone")
	}
}

func (w *writer) platform(n config.Node) {
	p := n.Platform
	if p == (config.Platform{}) {
		return
	}
	w.line("")
	w.line("platform:")
	if p.PauseSet || p.PauseBound != 0 {
		w.line("  pause_bound: %s        # how long a hypervisor may stop this machine", short(p.PauseBound))
	}
	if p.Emulated {
		w.line("  emulated: true         # a power emulator plays firmware and watchdogs")
	}
	w.maybe("  emulator: %s", p.Emulator)
	w.maybe("  holder: %s", p.Holder)
}

func (w *writer) controllers(n config.Node) {
	if len(n.Controllers) == 0 {
		return
	}
	w.line("")
	w.line("# The power switches of the other nodes.")
	w.line("controllers:")
	for _, name := range slices.Sorted(maps.Keys(n.Controllers)) {
		c := n.Controllers[name]
		w.line("  %s:", quote(name))
		w.line("    url: %s", quote(c.URL))
		w.maybe("    password_file: %s", c.PasswordFile)
		for i, g := range c.GUIDs {
			if i == 0 {
				w.line("    guid:")
			}
			w.line("      - %q", g)
		}
	}
}

func (w *writer) dirs(n config.Node) {
	def := config.UsualDirs(n.Name)
	d := n.Dirs
	if d.Run == def.Run {
		d.Run = ""
	}
	if d.State == def.State {
		d.State = ""
	}
	if d == (config.Dirs{}) {
		return
	}
	w.line("")
	w.line("directories:")
	w.maybe("  run: %s", d.Run)
	w.maybe("  state: %s", d.State)
	w.maybe("  cgroup: %s", d.Cgroup)
}

// quote writes a text so that YAML reads the same text back.
func quote(s string) string {
	plain := s != ""
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/' || c == '_') {
			plain = false
		}
	}
	if plain && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// short writes a duration as a person would: 1h instead of 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
