package config

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config/phrase"
)

// clusterShape is the table of the cluster's configuration.
func clusterShape() *shape {
	s := objectOf("The configuration of a Holdfast cluster",
		required("cluster", objectOf("The cluster as a whole",
			required("name", textOf("Name of the cluster", "hospital", nodeName)),
			required("failover_within", spanOf("From a fault to the permission to start elsewhere; every timeout is derived from it", "10s", time.Second, 10*time.Minute)),
			optional("on_disk_loss", oneOf("What happens to running services while the quorum disks are gone and all members still talk; "+
				"the default is keep where every node under fencing has a way to cut its power, else stop", "keep", "stop")),
			optional("grace_period", spanOf("With on_disk_loss: stop, how long services go on without the quorum disks while all members consent; 120s unless given. "+
				"A node that starts while another is absent and cannot be switched off waits this much longer", "120s", 30*time.Second, time.Hour)),
			optional("partition", oneOf("What happens when nodes see the quorum disks but not each other; tolerate (default): nothing; "+
				"evict: the largest group that is fully connected stays, the others are fenced", "tolerate", "evict")),
			optional("quarantine", textOf("How often a node may crash or be fenced before it runs no services for a while; the default is 3 in 15m for 1h", "3 in 15m for 1h",
				parsed(phrase.Quarantine, "is neither off nor COUNT in DURATION for DURATION"))),
		)),
		optional("services", tableOf("The services, by name", serviceName, serviceShape())),
		optional("fencing", objectOf("How nodes are fenced, beside the time proof that always runs",
			required("ways", tableOf("The ways of each node, tried together; the first proof wins", nodeName, listOf("Ways to fence this node", wayShape()))),
			optional("power_on", truthOf("A node that was fenced by its power gets it back; default false")),
		)),
		optional("alerts", listOf("Who is told", alertShape())),
	)
	return &s
}

func serviceShape() shape {
	names := func(doc, example string, check func(string) string) shape {
		return listOf(doc, textOf("", example, check))
	}
	return objectOf("An ordered stack of resources, and the rules that say where it may run",
		optional("prefer", names("Nodes in order of preference; others may run it too unless `only` is given", "alpha", nodeName)),
		optional("only", names("Nothing else may run it", "alpha", nodeName)),
		optional("never", names("These nodes never run it", "gamma", nodeName)),
		optional("failback", textOf("Whether it returns to a more preferred node: manual (default), automatic, automatic after 10m", "automatic after 10m",
			parsed(phrase.Failback, "is none of: manual, automatic, automatic after DURATION"))),
		optional("priority", numberOf("Higher is placed first", 0, 1000)),
		optional("after", names("Services that must run first", "storage", serviceName)),
		optional("with", names("Always on the same node as these services", "storage", serviceName)),
		optional("apart_from", names("Never on the same node as these services", "reports", serviceName)),
		optional("restarts", textOf("Failures on a node before it moves; without it, it moves at the first", "3 in 15m",
			parsed(phrase.Budget, "is not COUNT in DURATION"))),
		optional("quick-stop", oneOf("early: begin the emergency stop while the lease is merely overdue", "early")),
		required("stack", listOf("Started top to bottom, stopped bottom to top", memberShape())),
	)
}

func wayShape() shape {
	way := oneOf("disk: kill record and watchdog; reservation: SCSI-3 persistent reservations; bmc: power off over Redfish or IPMI", "disk", "reservation", "bmc")
	agent := objectOf("An external fence agent",
		required("agent", textOf("Name of the program", "fence_vmware_rest", like(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`,
			"is no name of a fence agent; it is looked for where fence agents are installed"))),
		optional("with", tableOf("Its parameters", like(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`,
			"is no name of a parameter: letters, digits, hyphens and underscores"), rawOf("", ""))),
	)
	way.or = &agent
	return way
}

func alertShape() shape {
	return objectOf("One receiver",
		optional("script", textOf("A program, called with the event on its standard input", "/usr/local/bin/notify", absolute)),
		optional("mail", textOf("An address for the machine's own mail system", "ops@example.org", like(`^[^@\s,]+@[^@\s,]+$`, "is no mail address"))),
		optional("webhook", textOf("A URL that gets the event as JSON", "https://example.org/hook", like(`^https?://[^/\s]+`, "is no http or https URL"))),
	)
}

// memberShape has a key for every kind of resource, of which a member has
// exactly one, and the options that stand beside it.
func memberShape() shape {
	s := objectOf("One resource: its kind with its specification, and options beside it",
		optional("start", objectOf("Limits of its start", required("timeout", spanOf("", "60s", time.Second, time.Hour)))),
		optional("stop", objectOf("Limits of its stop", required("timeout", spanOf("", "60s", time.Second, time.Hour)))),
		optional("check", objectOf("Limits of its check",
			optional("every", spanOf("Period", "10s", 500*time.Millisecond, time.Hour)),
			optional("timeout", spanOf("", "20s", 100*time.Millisecond, time.Hour)))),
	)
	for _, k := range memberKinds() {
		s.keys = append(s.keys, optional(k.name, k.shape))
	}
	for _, name := range []string{"iscsi", "lvm", "systemd", "ocf", "container", "vm", "export", "multipath"} {
		s.keys = append(s.keys, key{name: name, refused: fmt.Sprintf("this version has no resources of the kind %s; it has %s", name, kindNames())})
	}
	return s
}

func kindNames() string {
	var names []string
	for _, k := range memberKinds() {
		names = append(names, k.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// like makes a check of a text: it returns what is wrong, "" if nothing is.
func like(pattern, wrong string) func(string) string {
	re := regexp.MustCompile(pattern)
	return func(s string) string {
		if re.MatchString(s) {
			return ""
		}
		return wrong
	}
}

func serviceName(s string) string {
	return like(`^[a-z0-9-]{1,63}$`, "is no service name: 1 to 63 small letters, digits and hyphens")(s)
}

func nodeName(s string) string {
	return like(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`,
		"is no name: 1 to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit")(s)
}

func absolute(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "is no absolute path"
	case s != path.Clean(s):
		return "is not written in its shortest form, " + path.Clean(s)
	}
	return ""
}

func ipAddress(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return "is no IP address of a machine"
	}
	return ""
}

func ipPrefix(s string) string {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return "is no address with its prefix length"
	case ipAddress(p.Addr().String()) != "":
		return "cannot be the address of a service"
	case p.Addr().BitLen()-p.Bits() > 1 && p.Masked().Addr() == p.Addr():
		return "is the address of the network itself"
	}
	return ""
}

// parsed makes a check of what a function reads.
func parsed[T any](read func(string) (T, bool), wrong string) func(string) string {
	return func(s string) string {
		if _, ok := read(s); ok {
			return ""
		}
		return wrong
	}
}
