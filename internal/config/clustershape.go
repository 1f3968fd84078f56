package config

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config/form"
	"github.com/holdfast-ha/holdfast/internal/config/members"
	"github.com/holdfast-ha/holdfast/internal/config/phrase"
)

// clusterShape is the table of the cluster's configuration.
func clusterShape() *form.Shape {
	s := form.Object("The configuration of a Holdfast cluster",
		form.Required("cluster", form.Object("The cluster as a whole",
			form.Required("name", form.Text("Name of the cluster", "hospital", nodeName)),
			form.Required("failover_within", form.Span("From a fault to the permission to start elsewhere; every timeout is derived from it", "10s", time.Second, 10*time.Minute)),
			form.Optional("on_disk_loss", form.OneOf("What happens to running services while the quorum disks are gone and all members still talk; "+
				"the default is keep where every node under fencing has a way to cut its power, else stop", "keep", "stop")),
			form.Optional("grace_period", form.Span("With on_disk_loss: stop, how long services go on without the quorum disks while all members consent; 120s unless given. "+
				"A node that starts while another is absent and cannot be switched off waits this much longer", "120s", 30*time.Second, time.Hour)),
			form.Optional("partition", form.OneOf("What happens when nodes see the quorum disks but not each other; tolerate (default): nothing; "+
				"evict: the largest group that is fully connected stays, the others are fenced", "tolerate", "evict")),
			form.Optional("quarantine", form.Text("How often a node may crash or be fenced before it runs no services for a while; the default is 3 in 15m for 1h", "3 in 15m for 1h",
				form.Parsed(phrase.Quarantine, "is neither off nor COUNT in DURATION for DURATION"))),
		)),
		form.Optional("services", form.Table("The services, by name", serviceName, serviceShape())),
		form.Optional("fencing", form.Object("How nodes are fenced, beside the time proof that always runs",
			form.Required("ways", form.Table("The ways of each node, tried together; the first proof wins", nodeName, form.List("Ways to fence this node", wayShape()))),
			form.Optional("power_on", form.Truth("A node that was fenced by its power gets it back; default false")),
		)),
		form.Optional("nodes", form.Table("What the nodes have for services", nodeName, form.Object("A node",
			form.Required("offers", form.Table("How much it has of what services need; what is not named here it has none of", amountName, form.Raw("", "64G")))))),
		form.Optional("drills", form.Text("How often each kind of drill is wanted: holdfast status reminds of those that are overdue. A day is 24 hours", "every 90d",
			form.Parsed(phrase.Every, "is neither off nor every DURATION, of a day or more"))),
		form.Optional("alerts", form.List("Who is told", alertShape())),
	)
	return &s
}

func serviceShape() form.Shape {
	names := func(doc, example string, check func(string) string) form.Shape {
		return form.List(doc, form.Text("", example, check))
	}
	return form.Object("An ordered stack of resources, and the rules that say where it may run",
		form.Optional("prefer", names("Nodes in order of preference; others may run it too unless `only` is given", "alpha", nodeName)),
		form.Optional("only", names("Nothing else may run it", "alpha", nodeName)),
		form.Optional("never", names("These nodes never run it", "gamma", nodeName)),
		form.Optional("failback", form.Text("Whether it returns to a more preferred node: manual (default), automatic, automatic after 10m", "automatic after 10m",
			form.Parsed(phrase.Failback, "is none of: manual, automatic, automatic after DURATION"))),
		form.Optional("priority", form.Number("Higher is placed first", 0, 1000)),
		form.Optional("after", names("Services that must run first", "storage", serviceName)),
		form.Optional("with", names("Always on the same node as these services", "storage", serviceName)),
		form.Optional("apart_from", names("Never on the same node as these services", "reports", serviceName)),
		form.Optional("restarts", form.Text("Failures on a node before it moves; without it, it moves at the first", "3 in 15m",
			form.Parsed(phrase.Budget, "is not COUNT in DURATION"))),
		form.Optional("checks", form.Text("How many of the latest checks have to fail before something is done; the default is 1 of 1", "2 of 3",
			form.Parsed(phrase.Checks, "is not COUNT of COUNT, at most 32"))),
		form.Optional("stop_grace", form.Span("How long a stop that failed is tried again before the node is fenced; without it, it is fenced at once", "30s", 0, time.Hour)),
		form.Optional("needs", form.Table("What it needs of what nodes offer", amountName, form.Raw("", "8G"))),
		form.Optional("copies", form.Number("On how many nodes it runs at once, as NAME@1, NAME@2 and so on", 1, cluster.MostCopies)),
		form.Optional("everywhere", form.Truth("It runs on every node that may run it, as NAME@1, NAME@2 and so on")),
		form.Optional("quick-stop", form.OneOf("early: begin the emergency stop while the lease is merely overdue", "early")),
		form.Required("stack", form.List("Started top to bottom, stopped bottom to top", memberShape())),
	)
}

func wayShape() form.Shape {
	way := form.OneOf("disk: kill record and watchdog; reservation: SCSI-3 persistent reservations; bmc: power off over Redfish or IPMI", "disk", "reservation", "bmc")
	part := form.OneOf("bmc: power off over Redfish or IPMI", "bmc")
	agent := form.Object("A fence agent", agentKeys()...)
	part.Or = &agent
	object := form.Object("An external fence agent, or all of several power switches", append(agentKeys(),
		form.Optional("all", form.List("Power switches that feed the node together, as two outlets: only all of them off proves anything", part)))...)
	way.Or = &object
	return way
}

func agentKeys() []form.Key {
	return []form.Key{
		form.Optional("agent", form.Text("Name of the program", "fence_vmware_rest", form.Like(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`,
			"is no name of a fence agent; it is looked for where fence agents are installed"))),
		form.Optional("with", form.Table("Its parameters", form.Like(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`,
			"is no name of a parameter: letters, digits, hyphens and underscores"), form.Raw("", ""))),
	}
}

// memberShape has a key for every kind of resource, of which a member has
// exactly one, and the options that stand beside it.
func memberShape() form.Shape {
	s := form.Object("One resource: its kind with its specification, and options beside it",
		form.Optional("start", form.Object("Limits of its start", form.Required("timeout", form.Span("", "60s", time.Second, time.Hour)))),
		form.Optional("stop", form.Object("Limits of its stop", form.Required("timeout", form.Span("", "60s", time.Second, time.Hour)))),
		form.Optional("check", form.Object("Limits of its check",
			form.Optional("every", form.Span("Period", "10s", 500*time.Millisecond, time.Hour)),
			form.Optional("timeout", form.Span("", "20s", 100*time.Millisecond, time.Hour)))),
		form.Optional("with", form.Table("Parameters of an agent that is not Holdfast's own", form.Like(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`,
			"is no name of a parameter: letters, digits and underscores"), form.Raw("", ""))),
	)
	for _, k := range members.All() {
		s.Keys = append(s.Keys, form.Optional(k.Name, k.Shape))
	}
	return s
}

func amountName(s string) string {
	return form.Like(`^[a-z][a-z0-9_-]{0,31}$`, "is no name of something to count, such as memory: small letters, digits, hyphens and underscores")(s)
}

func serviceName(s string) string {
	return form.Like(`^[a-z0-9-]{1,63}$`, "is no service name: 1 to 63 small letters, digits and hyphens")(s)
}

func nodeName(s string) string {
	return form.Like(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`,
		"is no name: 1 to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit")(s)
}
