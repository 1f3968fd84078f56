package config

import (
	"fmt"
	"strings"
)

// WriteNode writes node.yaml, with a comment on everything. ParseNode gives the
// same Node back, with defaults filled in.
func WriteNode(n Node) []byte {
	var w writer
	w.line("# This node only. Written by `holdfast init` or `holdfast join`; the cluster's")
	w.line("# configuration stands on the quorum disks: `holdfast config export` shows it.")
	w.line("name: %s", quote(n.Name))
	w.line("id: %d                 # its slot on the quorum disks", n.ID)
	w.line("cluster: {name: %s, id: %q}", quote(n.Cluster.Name), n.Cluster.ID)
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
	w.watchdogs(n)
	w.platform(n)
	if n.BMC.URL != "" {
		w.line("")
		w.line("# This node's own management controller, for the others to cut its power.")
		w.line("bmc:")
		w.line("  url: %s", quote(n.BMC.URL))
		w.maybe("  password_file: %s", n.BMC.PasswordFile)
	}
	w.dirs(n)
	return []byte(w.String())
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// maybe writes a line with a text, unless that is empty.
func (w *writer) maybe(format, text string) {
	if text != "" {
		w.line(format, quote(text))
	}
}

func (w *writer) watchdogs(n Node) {
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
		case d.Timeout != 0:
			w.line("  - {device: %s, timeout: %s}", quote(d.Device), short(d.Timeout))
		case strings.HasPrefix(d.Device, "/"):
			w.line("  - {device: %s}", quote(d.Device))
		default:
			w.line("  - %s", quote(d.Device))
		}
	}
	if n.AcceptSoftdog {
		w.line("watchdog:")
		w.line("  accept_softdog: true   # accepted: takeover by lease is weak with softdog alone")
	}
}

func (w *writer) platform(n Node) {
	p := n.Platform
	if p == (Platform{}) {
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

func (w *writer) dirs(n Node) {
	def := Dirs{}
	def.defaults(n.Name)
	d := n.Dirs
	if d.Run == def.Run {
		d.Run = ""
	}
	if d.State == def.State {
		d.State = ""
	}
	if d == (Dirs{}) {
		return
	}
	w.line("")
	w.line("directories:")
	w.maybe("  run: %s", d.Run)
	w.maybe("  state: %s", d.State)
	w.maybe("  cgroup: %s", d.Cgroup)
}
