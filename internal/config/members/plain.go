package members

import (
	"net/netip"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// commandOf is a command: a line for the shell, or a list of arguments.
func commandOf(doc, example string) form.Shape {
	line := form.Raw(doc, example)
	argv := form.List("The program and its arguments", form.Raw("", ""))
	line.Or = &argv
	return line
}

func execShape() form.Shape {
	return form.Object("A program: either `run`, which stays, or `start` and `stop`, which return",
		form.Optional("run", commandOf("A program that stays in the foreground", "[/usr/bin/caddy, run]")),
		form.Optional("start", commandOf("A command that starts something and returns", "/srv/app/up")),
		form.Optional("stop", commandOf("A command that stops it and returns", "/srv/app/down")),
		form.Optional("check", commandOf("Exits with 0 when all is well, with 7 when it does not run", "/srv/app/ok")),
		form.Optional("env", form.Table("Environment of the commands", form.Like(`^[A-Za-z_][A-Za-z0-9_]*$`, "is no name of an environment variable"), form.Raw("", ""))),
		form.Optional("dir", form.Text("Working directory", "/srv/app", form.Absolute)),
		form.Optional("grace", form.Span("From SIGTERM to SIGKILL", "10s", 0, time.Hour)),
		form.Optional("settle", form.Span("How long a `run` program must have stayed up for the start to count", "300ms", 0, time.Hour)),
	)
}

func checkExec(r *form.Reader, v *form.Value, where string) {
	run, start, stop := v.Get("run"), v.Get("start"), v.Get("stop")
	switch {
	case run == nil && start == nil:
		r.Add(v.Node, where+": nothing to run", "add run: (a program that stays) or start: (a command that returns)")
	case run != nil && start != nil:
		r.Add(start.Node, where+": both run and start are given", "keep run for a program that stays, or start and stop for commands that return")
	case run != nil && stop != nil:
		r.Add(stop.Node, where+": run has no stop command", "remove stop: the program gets SIGTERM, and SIGKILL after the grace")
	case start != nil && stop == nil && v.Get("check") != nil:
		r.Add(v.Node, where+": start and check without stop", "add stop: ending its processes says nothing about what the check looks at")
	}
}

func filesystemShape() form.Shape {
	return form.Object("A file system on a shared disk",
		form.Required("device", form.Text("The block device, by a name that is the same on all nodes; or server:/path, with its type", "/dev/disk/by-id/wwn-0x600", deviceOrServer)),
		form.Required("at", form.Text("Where it is mounted", "/srv/orders", mountPoint)),
		form.Optional("type", form.Text("Type of the file system; without it, as found on the device", "xfs", form.Like(`^[a-z][a-z0-9._-]{0,31}$`, "is no type of a file system"))),
		form.Optional("options", form.Text("Mount options, as in fstab", "noatime,nodev", nil)),
		form.Optional("fsck", form.OneOf("auto (default): ext file systems are checked before the mount as far as they need it; force: in full; never: not at all", "auto", "never", "force")),
		form.Optional("create_mountpoint", form.Truth("Make the mount point if it is missing; default true")),
		form.Optional("kill_holders", form.Truth("End the processes that keep it busy at a stop; default true")),
		form.Optional("grace", form.Span("From SIGTERM to SIGKILL for such processes", "2s", 0, time.Hour)),
		form.Optional("guard", guardShape()),
		form.Optional("write_test", form.Truth("The check writes, syncs and removes a small file")),
	)
}

func deviceOrServer(s string) string {
	if host, path, ok := strings.Cut(s, ":/"); ok && host != "" && !strings.Contains(host, "/") {
		return form.Absolute("/" + path)
	}
	return form.Absolute(s)
}

func checkFilesystem(r *form.Reader, v *form.Value, where string) {
	device := v.Get("device")
	if device == nil || strings.HasPrefix(device.Text, "/") {
		return
	}
	if v.Get("type") == nil {
		r.Add(device.Node, where+": the file system of a server without its type", "add type: nfs")
	}
	if g := v.Get("guard"); g != nil {
		r.Add(g.Node, where+": a server's file system has no LUNs to reserve", "remove guard")
	}
}

func mountPoint(s string) string {
	if s == "/" {
		return "is the root"
	}
	return form.Absolute(s)
}

func ipShape() form.Shape {
	return form.Object("An address that moves with the service",
		form.Required("address", form.Text("Address and prefix length", "192.0.2.10/24", form.IPPrefix)),
		form.Optional("interface", form.Text("Network interface; without it, the one that has the network", "eth0", form.Like(`^[^\s/:]{1,15}$`, "is no name of a network interface"))),
		form.Optional("reach", form.Text("An address that must answer, as part of the check", "192.0.2.1", form.IPAddress)),
		form.Optional("arp", form.Number("How often the new place is announced, default 3", 1, 20)),
		form.Optional("duplicate_check", form.Truth("Ask before the start whether somebody else has the address; default true")),
	)
}

func checkIP(r *form.Reader, v *form.Value, where string) {
	address, err := netip.ParsePrefix(v.Str("address"))
	reach := v.Get("reach")
	if err != nil || reach == nil {
		return
	}
	switch to, _ := netip.ParseAddr(reach.Text); {
	case to == address.Addr():
		r.Add(reach.Node, where+".reach: is the address itself, which always answers", "name the gateway")
	case to.Is4() != address.Addr().Is4():
		r.Add(reach.Node, where+".reach: is of another family than the address", "name a neighbour of the same family")
	}
}
