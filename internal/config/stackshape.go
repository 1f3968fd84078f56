package config

import (
	"net/netip"
	"time"
)

// memberKind is a kind of resource: the shape of its specification, which is
// what its agent reads as JSON, key by key.
type memberKind struct {
	name    string
	storage bool // may start on a reservation proof, before its node is proven dead
	shape   shape
	check   func(r *reader, v *value, where string) // what one key cannot tell
}

// memberKinds are the kinds of this version, by name.
func memberKinds() []memberKind {
	return []memberKind{
		{name: "exec", shape: execShape(), check: checkExec},
		{name: "filesystem", storage: true, shape: filesystemShape()},
		{name: "ip", shape: ipShape(), check: checkIP},
	}
}

func kindOf(name string) (memberKind, bool) {
	for _, k := range memberKinds() {
		if k.name == name {
			return k, true
		}
	}
	return memberKind{}, false
}

// commandOf is a command: a line for the shell, or a list of arguments.
func commandOf(doc, example string) shape {
	line := rawOf(doc, example)
	argv := listOf("The program and its arguments", rawOf("", ""))
	line.or = &argv
	return line
}

func execShape() shape {
	return objectOf("A program: either `run`, which stays, or `start` and `stop`, which return",
		optional("run", commandOf("A program that stays in the foreground", "[/usr/bin/caddy, run]")),
		optional("start", commandOf("A command that starts something and returns", "/srv/app/up")),
		optional("stop", commandOf("A command that stops it and returns", "/srv/app/down")),
		optional("check", commandOf("Exits with 0 when all is well, with 7 when it does not run", "/srv/app/ok")),
		optional("env", tableOf("Environment of the commands", like(`^[A-Za-z_][A-Za-z0-9_]*$`, "is no name of an environment variable"), rawOf("", ""))),
		optional("dir", textOf("Working directory", "/srv/app", absolute)),
		optional("grace", spanOf("From SIGTERM to SIGKILL", "10s", 0, time.Hour)),
		optional("settle", spanOf("How long a `run` program must have stayed up for the start to count", "300ms", 0, time.Hour)),
	)
}

func checkExec(r *reader, v *value, where string) {
	run, start, stop := v.get("run"), v.get("start"), v.get("stop")
	switch {
	case run == nil && start == nil:
		r.add(v.node, where+": nothing to run", "add run: (a program that stays) or start: (a command that returns)")
	case run != nil && start != nil:
		r.add(start.node, where+": both run and start are given", "keep run for a program that stays, or start and stop for commands that return")
	case run != nil && stop != nil:
		r.add(stop.node, where+": run has no stop command", "remove stop: the program gets SIGTERM, and SIGKILL after the grace")
	case start != nil && stop == nil && v.get("check") != nil:
		r.add(v.node, where+": start and check without stop", "add stop: ending its processes says nothing about what the check looks at")
	}
}

func filesystemShape() shape {
	return objectOf("A file system on a shared disk",
		required("device", textOf("The block device, by a name that is the same on all nodes", "/dev/disk/by-id/wwn-0x600", absolute)),
		required("at", textOf("Where it is mounted", "/srv/orders", mountPoint)),
		optional("type", textOf("Type of the file system; without it, as found on the device", "xfs", like(`^[a-z][a-z0-9._-]{0,31}$`, "is no type of a file system"))),
		optional("options", textOf("Mount options, as in fstab", "noatime,nodev", nil)),
		optional("fsck", oneOf("auto (default): ext file systems are checked before the mount", "auto", "never")),
		optional("create_mountpoint", truthOf("Make the mount point if it is missing; default true")),
		optional("kill_holders", truthOf("End the processes that keep it busy at a stop; default true")),
		optional("grace", spanOf("From SIGTERM to SIGKILL for such processes", "2s", 0, time.Hour)),
		optional("guard", oneOf("reservation: every LUN below the service's storage lets only the owner write", "reservation")),
		optional("write_test", truthOf("The check writes, syncs and removes a small file")),
	)
}

func mountPoint(s string) string {
	if s == "/" {
		return "is the root"
	}
	return absolute(s)
}

func ipShape() shape {
	return objectOf("An address that moves with the service",
		required("address", textOf("Address and prefix length", "192.0.2.10/24", ipPrefix)),
		optional("interface", textOf("Network interface; without it, the one that has the network", "eth0", like(`^[^\s/:]{1,15}$`, "is no name of a network interface"))),
		optional("reach", textOf("An address that must answer, as part of the check", "192.0.2.1", ipAddress)),
		optional("arp", numberOf("How often the new place is announced, default 3", 1, 20)),
		optional("duplicate_check", truthOf("Ask before the start whether somebody else has the address; default true")),
	)
}

func checkIP(r *reader, v *value, where string) {
	address, err := netip.ParsePrefix(v.str("address"))
	reach := v.get("reach")
	if err != nil || reach == nil {
		return
	}
	switch to, _ := netip.ParseAddr(reach.text); {
	case to == address.Addr():
		r.add(reach.node, where+".reach: is the address itself, which always answers", "name the gateway")
	case to.Is4() != address.Addr().Is4():
		r.add(reach.node, where+".reach: is of another family than the address", "name a neighbour of the same family")
	}
}
