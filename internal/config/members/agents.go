package members

import (
	"time"

	"github.com/holdfast-ha/holdfast/internal/config/form"
)

func ocfShape() form.Shape {
	agent := form.Text("An OCF resource agent as provider:type; its parameters stand beside it, under with", "heartbeat:nginx",
		form.Like(`^[A-Za-z0-9_][A-Za-z0-9_.-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$`, "is no agent: provider:type"))
	return short(agent, form.Object("An OCF resource agent",
		form.Required("agent", agent),
		form.Optional("check_level", form.Number("OCF_CHECK_LEVEL of the check: 0 (default), 10 or 20, as the agent's documentation says", 0, 30)),
	))
}

func systemdShape() form.Shape {
	unit := form.Text("A unit of systemd, which must not be enabled", "postgresql@15-main.service",
		form.Like(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?$`, "is no name of a unit"))
	return short(unit, form.Object("A unit of the system's service manager", form.Required("unit", unit)))
}

func containerShape() form.Shape {
	words := func(doc, example string) form.Shape { return form.List(doc, form.Raw("", example)) }
	return form.Object("A container of podman or docker, made anew at each start",
		form.Required("image", form.Text("Its image, which must be on the node already", "registry.example/shop:7", nil)),
		form.Optional("engine", form.OneOf("Without it, the first of these that is installed", "podman", "docker")),
		form.Optional("name", form.Text("Name of the container; default holdfast-SERVICE-MEMBER", "shop", form.Like(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`, "is no name of a container"))),
		form.Optional("options", words("Options of run, each with its value as one word", "--network=host")),
		form.Optional("command", words("What runs in it; default: the image's own", "")),
		form.Optional("check", words("A command inside that exits with 0 when all is well; default: the image's health check", "")),
		form.Optional("grace", form.Span("From SIGTERM to SIGKILL; default 10s", "10s", 0, time.Hour)),
	)
}

func vmShape() form.Shape {
	return form.Object("A virtual machine of libvirt",
		form.Required("domain", form.Text("Its name in libvirt", "shop", form.Like(`^[A-Za-z0-9_+][A-Za-z0-9_.+:@ -]*$`, "is no name of a virtual machine"))),
		form.Optional("xml", form.Text("File with its definition; then libvirt forgets it with its end. Without it, it must be defined on every node", "/srv/shop/shop.xml", form.Absolute)),
		form.Optional("connect", form.Text("The hypervisor; default qemu:///system", "qemu:///system", nil)),
		form.Optional("grace", form.Span("How long the guest has to shut down; default 60s", "60s", 0, time.Hour)),
		form.Optional("migrate", migrateShape()),
	)
}

func migrateShape() form.Shape {
	address := form.Like(`^[A-Za-z][A-Za-z0-9+.-]*:[!-~]*$`, "is no address")
	return form.Object("A move hands the running guest over, paused for a moment, in place of a shutdown and a boot. Its disks must be on both nodes, and it must be the first member of its service",
		form.Required("to", form.Text("libvirt's address of the other node, which must work for root without a question; {node} is the node's name", "qemu+ssh://{node}/system",
			form.Like(`^[A-Za-z][A-Za-z0-9+.-]*:[!-~]*\{node\}[!-~]*$`, "is no address with {node} in it, such as qemu+ssh://{node}/system"))),
		form.Optional("via", form.Text("Where the guest's memory goes; default: what the other node's libvirt says", "tcp://{node}-san", address)),
		form.Optional("within", form.Span("How long it may take; then the guest is shut down. Default 2m", "2m", 5*time.Second, time.Hour)),
		form.Optional("bandwidth", form.Number("At most so many MiB/s", 1, 1000000)),
		form.Optional("throttle", form.Truth("Slow a guest down that changes its memory faster than that goes over")),
		form.Optional("tls", form.Truth("Encrypt what goes over, with libvirt's certificates")),
	)
}

func exportShape() form.Shape {
	return form.Object("A directory that NFS clients may mount",
		form.Required("path", form.Text("The directory", "/srv/orders", mountPoint)),
		form.Required("clients", form.List("Hosts, networks and netgroups as in exports(5)", form.Text("", "192.0.2.0/24",
			form.Like(`^[A-Za-z0-9*?@\[][A-Za-z0-9*?@_.:/\[\]-]*$`, "is no client")))),
		form.Optional("options", form.Text("As in exports(5), but for fsid; default rw,no_subtree_check", "rw,no_subtree_check",
			form.Like(`^[A-Za-z0-9_=,.:/@*-]*$`, "are no options of an export"))),
		form.Optional("fsid", form.Raw("Identity of the file system in file handles, a UUID or a number; default: derived from service and path", "7")),
	)
}

func lvmShape() form.Shape {
	group := form.Text("A volume group on a shared disk", "vg_orders", form.Like(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$`, "is no name of a volume group"))
	return short(group, form.Object("A volume group on a shared disk",
		form.Required("group", group),
		form.Optional("owner", form.OneOf("How its disks tell whose it is: the system ID of a machine (default), or a tag", "system-id", "tag")),
		form.Optional("devices", devicesShape()),
		form.Optional("guard", guardShape()),
	))
}

func guardShape() form.Shape {
	return form.OneOf("reservation: every LUN below the service's storage lets only the owner write", "reservation")
}

func devicesShape() form.Shape {
	return form.List("The disks below it, by names that are the same on all nodes; needed with guard: reservation",
		form.Text("", "/dev/disk/by-id/wwn-0x600", form.Absolute))
}

func iscsiShape() form.Shape {
	portal := form.Text("Address of the target, with its port unless that is 3260", "10.1.0.5", form.Like(`^[A-Za-z0-9[][A-Za-z0-9.:[\]-]*$`, "is no address"))
	return form.Object("Sessions with an iSCSI target",
		form.Required("target", form.Text("Name of the target", "iqn.2026-11.example:orders", form.Like(`^(iqn|eui|naa)\.[A-Za-z0-9.:-]+$`, "is no name of a target"))),
		form.Optional("portal", portal),
		form.Optional("portals", form.List("Several portals, for multipath, in place of portal", portal)),
		form.Optional("user", form.Text("User for CHAP", "orders", nil)),
		form.Optional("password_file", form.Text("A file of mode 0600 with the password, on every node", "/etc/holdfast/orders.chap", form.Absolute)),
		form.Optional("discover", form.Truth("Ask the portal for its targets first; default false")),
		form.Optional("devices", form.List("The disks that it brings, by names that are the same on all nodes; needed with guard: reservation where no other member names them",
			form.Text("", "/dev/disk/by-id/wwn-0x600", form.Absolute))),
		form.Optional("guard", guardShape()),
		form.Optional("recovery", form.Span("How long the kernel holds back I/O when a session is lost; default 15s, with several portals 5s", "15s", time.Second, 10*time.Minute)),
	)
}

func checkISCSI(r *form.Reader, v *form.Value, where string) {
	if v.Get("portal") == nil && v.Get("portals") == nil {
		r.Add(v.Node, where+": no portal", "add portal: (the address of the target)")
	}
	user, file := v.Get("user"), v.Get("password_file")
	switch {
	case user != nil && file == nil:
		r.Add(user.Node, where+": a user, but no password_file", "add password_file: /etc/holdfast/orders.chap")
	case user == nil && file != nil:
		r.Add(file.Node, where+": a password_file, but no user", "add user:")
	}
}

func multipathShape() form.Shape {
	name := form.Text("A multipath map: its name, or its WWID", "mpatha", form.Like(`^(/dev/mapper/)?[A-Za-z0-9_.:+#-]+$`, "is no name of a multipath map"))
	return short(name, form.Object("The paths to a disk",
		form.Required("map", name),
		form.Optional("least", form.Number("How many paths must work; default 1", 1, 64)),
	))
}
