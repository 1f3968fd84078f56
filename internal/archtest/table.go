package archtest

import "strings"

// A row says what the packages of one tree may import of this module. Patterns are folders below the module root: "a/b" is
// that folder alone, "a/b/..." is that folder and everything below, "..." is everything.
type row struct {
	tree string   // the packages that the row is about; of several matching rows the longest pattern holds
	may  []string // what they may import
	not  []string // what they may not import although may allows it
	why  string   // the reason, printed with a violation
}

// importTable is the table "Who may import whom" of docs/ARCHITECTURE.md. It is about code outside tests; tests and *test
// packages may import more.
func importTable() []row {
	var rows []row
	rows = append(rows, coreRows()...)
	rows = append(rows, formatRows()...)
	rows = append(rows, partRows()...)
	rows = append(rows, deviceRows()...)
	rows = append(rows, internalRows()...)
	rows = append(rows, guardRows()...)
	rows = append(rows, processRows()...)
	rows = append(append(rows, ctlRows()...), planRows()...)
	rows = append(rows, machineRows()...)
	return append(append(rows, outerRows()...), worldRows()...)
}

func coreRows() []row {
	return []row{
		{
			tree: "cluster", may: []string{"cluster/ident", "cluster/register", "cluster/timing"},
			why: "the words of the core are what everybody imports: they decide nothing and act on nothing",
		},
		{
			tree: "cluster/ident",
			why:  "identifiers are below everything and import nothing",
		},
		{
			tree: "cluster/...", may: []string{"cluster/ident", "cluster/quorum"},
			why: "the parts of the core stand beside each other and share only identifiers and what a majority is, so that each can be proved alone",
		},
		{
			tree: "cluster/advice", may: []string{"cluster"},
			why: "advice is read from a view of the cluster, and changes nothing",
		},
		{
			tree: "cluster/core", may: []string{"cluster/..."},
			why: "the core joins the parts, and nothing that acts",
		},
	}
}

// formatRows are about what stands on the disks and on the network.
func formatRows() []row {
	return []row{
		{
			tree: "heartbeat", may: []string{"cluster", "cluster/ident"},
			why: "the network carries identifiers; it decides nothing and reads no disk",
		},
		{
			tree: "quorumdisk", may: []string{"cluster/...", "storage", "quorumdisk/wire"},
			why: "codecs over a disk: what is written is the core's, how it is written is storage's",
		},
		{
			tree: "quorumdisk/wire", may: []string{"cluster/ident"},
			why: "how values are written one after the other is below what they mean",
		},
		{
			tree: "quorumdisk/statecodec", may: []string{"cluster", "cluster/ident", "quorumdisk", "quorumdisk/wire"},
			why: "a body is bytes from values: it knows what fits on the disk and never reads one",
		},
		{
			tree: "quorumdisk/...", may: []string{"cluster/...", "storage", "quorumdisk", "quorumdisk/wire", "quorumdisk/statecodec"},
			why: "what works on a whole quorum disk stands on its codecs, not beside them",
		},
		{
			tree: "quorumdisk/place", may: []string{"storage"},
			why: "everybody who opens a quorum disk looks where it stands, the guard too: it knows partition tables and nothing of the cluster",
		},
		{
			tree: "quorumdisk/label", may: []string{"storage", "quorumdisk", "quorumdisk/volume", "quorumdisk/place"},
			why: "a partition table is made once around a quorum disk; it knows how to recognise one and nothing else of the cluster",
		},
		{
			tree: "sbd", may: []string{"cluster/...", "storage"},
			why: "codecs over a disk: what is written is the core's, how it is written is storage's",
		},
	}
}

// partRows is about the parts of the core that speak its words.
func partRows() []row {
	return []row{
		{
			tree: "cluster/whatif", may: []string{"cluster/..."},
			not: []string{"cluster/clustertest/..."},
			why: "what would happen is what the core decides in a world in memory; a test's world is for tests",
		},
		{
			tree: "cluster/clustertest/members", may: []string{"cluster"},
			why: "how members of services behave in a simulated world is said in the words of the core",
		},
		{
			tree: "cluster/sight", may: []string{"cluster", "cluster/ident"},
			why: "what a node sees is words for facts; it decides nothing",
		},
		{
			tree: "cluster/allot", may: []string{"cluster", "cluster/ident", "cluster/placement", "cluster/sight"},
			why: "what there is to place is read from a state and from what is seen; it changes neither",
		},
		{
			tree: "cluster/decide", may: []string{"cluster", "cluster/allot", "cluster/diskset", "cluster/ident", "cluster/placement", "cluster/revise", "cluster/sight"},
			why: "a decision is a function from a state and what was seen to the next state; it knows no register and no clock",
		},
		{
			tree: "cluster/diskset", may: []string{"cluster", "cluster/ident", "cluster/quorum", "cluster/register"},
			why: "which disks count is told by states and counted as majorities; it proposes nothing itself",
		},
		{
			tree: "cluster/fencing", may: []string{"cluster", "cluster/ident", "cluster/landing", "cluster/timing"},
			why: "the ways to fence a node know what is decided and what was shown, and no machine",
		},
		{
			tree: "cluster/reserve", may: []string{"cluster", "cluster/ident", "cluster/landing", "cluster/quorum"},
			why: "when keys are registered and taken away rests on what is decided and on beats, and on no device",
		},
		{
			tree: "cluster/liveness", may: []string{"cluster/ident", "cluster/quorum", "cluster/timing"},
			why: "the proof by time is a rule over what was read when; it knows leases as numbers and no cluster",
		},
		{
			tree: "cluster/peer", may: []string{"cluster", "cluster/ident", "cluster/landing", "cluster/liveness", "cluster/pages", "cluster/published", "cluster/quorum", "cluster/timing"},
			why: "what is known of one peer joins what was seen of it; what follows from that is decided elsewhere",
		},
		{
			tree: "cluster/promise", may: []string{"cluster", "cluster/ident", "cluster/lease", "cluster/timing"},
			why: "what a node is to promise follows from values; who keeps it is the guard",
		},
		{
			tree: "cluster/pages", may: []string{"cluster", "cluster/ident"},
			why: "what is said in which beat is a function of what there is to say and of what was said",
		},
		{
			tree: "cluster/grace", may: []string{"cluster", "cluster/ident"},
			why: "who may outlive the quorum disks by the consent of all members is decided over messages and the register, and neither disks nor peers",
		},
		{
			tree: "cluster/published", may: []string{"cluster", "cluster/ident", "cluster/quorum"},
			why: "what a node lets others know of its services counts on a majority of the disks and knows nothing else of them",
		},
		{
			tree: "cluster/slot", may: []string{"cluster", "cluster/ident", "cluster/timing"},
			why: "whether a machine may use its node's slot is asked before it writes anything, and so of what it can read alone",
		},
		{
			tree: "cluster/services", may: []string{"cluster", "cluster/ident"},
			why: "the state machines of a node's services know what is granted, and neither disks nor peers",
		},
	}
}

func deviceRows() []row {
	const alone = "device packages know their device and nothing of the cluster, so that they can be tested and reused alone"
	return []row{
		{tree: "storage", why: alone},
		{tree: "storage/...", may: []string{"storage", "storage/program"}, why: alone},
		{tree: "bmc", why: alone},
		{tree: "bmc/...", may: []string{"bmc"}, why: alone},
		{tree: "iscsi", may: []string{"storage/program"}, why: alone},
		{tree: "sbd/watchdog", why: alone},
		{tree: "internal/daemon/pressure", why: alone},
		{tree: "sbd/watchdog/...", may: []string{"sbd/watchdog"}, why: alone},
		{
			tree: "resources", may: []string{"resources/exchange", "resources/groups", "resources/leading", "resources/secret"},
			why: "the service model starts and stops things on this node; it knows no quorum and no fencing, nor its own kinds",
		},
		{
			tree: "resources/leading",
			why:  "that a process has ended is the kernel's word; of whom it was it is told",
		},
		{
			tree: "resources/exchange",
			why:  "what passes between the daemon and an agent is bytes in descriptors; what they mean is the service model's",
		},
		{
			tree: "resources/groups",
			why:  "which processes belong together is the kernel's knowledge; what they do is none of its business",
		},
		{
			tree: "resources/...", may: []string{"cluster", "cluster/ident", "storage/...", "iscsi", "resources"},
			why: "a kind of resource implements the model of resources; kinds do not know each other",
		},
		{
			tree: "resources/kinds", may: []string{"cluster", "cluster/ident", "storage/...", "iscsi", "resources/..."},
			why: "one place lists the kinds that a build has, so that neither the model nor a kind has to",
		},
	}
}

func internalRows() []row {
	return []row{
		{
			tree: "internal/config",
			may:  []string{"cluster/...", "internal/build", "bmc", "internal/config/form", "internal/config/members", "internal/config/phrase", "resources/secret"},
			why:  "configuration is text in, valid values out",
		},
		{
			tree: "internal/config/form",
			why:  "how a file is read knows nothing of what stands in it",
		},
		{
			tree: "internal/config/members", may: []string{"internal/config/form"},
			why: "what may stand in a stack is tables; it knows no cluster and no agent",
		},
		{
			tree: "internal/config/nodefile", may: []string{"internal/config"},
			why: "what init and join write is only text of what config reads",
		},
		{
			tree: "internal/config/phrase", may: []string{"cluster/..."},
			why: "a phrase is text in, a value out",
		},
		{
			tree: "internal/api", may: []string{"cluster/...", "internal/build"},
			why: "the local API is what daemon and command line share; it knows neither",
		},
		{
			tree: "internal/api/server", may: []string{"cluster/...", "internal/api", "internal/api/plan", "internal/api/steps", "internal/build", "internal/metrics"},
			why: "the server speaks for the daemon and reaches it only through its port",
		},
		{tree: "internal/api/steps", may: []string{"internal/api"}, why: "what to do next is read from a status, by whoever has one"},
		{
			tree: "internal/decisions", may: []string{"cluster/...", "internal/decisions/memory"},
			why: "what was decided is read and replayed with nothing but the core",
		},
		{
			tree: "internal/decisions/memory",
			why:  "memory is bytes by the types of the program; it knows none of them by name",
		},
		{
			tree: "internal/guardwire", may: []string{"cluster", "cluster/ident", "cluster/lease"},
			why: "the wire between guard and daemon is all that they share; whatever it imports, the guard imports",
		},
		{tree: "internal/guardwire/gauge", why: "the guard counts how punctual it is, and knows nobody who reads it"},
		{
			tree: "internal/daemon/tables", may: []string{"cluster", "cluster/diskset", "cluster/ident", "internal/guardwire", "quorumdisk"},
			why: "what the guard has read becomes an event of the core; nothing of it is judged here",
		},
		{
			tree: "internal/daemon/roster",
			may:  []string{"cluster", "cluster/ident", "internal/config/...", "internal/guardwire", "quorumdisk", "quorumdisk/...", "storage"},
			why:  "a node's own files name its disks, and superblocks say which is which; nothing is decided here",
		},
		{
			tree: "internal/guard/mark", may: []string{"cluster/ident"},
			why: "the mark of a bound incarnation is a file; what it means is the guard's",
		},
		{
			tree: "internal/guard/realtime",
			why:  "what a process asks of the kernel to be punctual knows nothing of what it does",
		},
		{
			tree: "internal/clock", may: []string{"cluster/ident"},
			why: "the platform port stands below everything that reads a clock",
		},
	}
}

func processRows() []row {
	return []row{
		{
			tree: "internal/daemon/orders", may: []string{"cluster", "internal/guardwire", "quorumdisk"},
			why: "what the core orders becomes what the guard is told; nothing of it is judged here",
		},
		{
			tree: "internal/daemon", may: []string{"..."},
			not: []string{"internal/ctl", "internal/guard", "internal/archtest", "cmd/..."},
			why: "the daemon wires everything but the command line and the guard, which are processes of their own",
		},
		{
			tree: "internal/daemon/queue",
			why:  "a list of work knows nothing of the work",
		},
		{
			tree: "internal/daemon/process",
			why:  "what a process needs to be the only one and to be heard has nothing to do with clusters",
		},
		{
			tree: "internal/daemon/reservations", may: []string{"cluster", "cluster/ident", "internal/guarded", "storage/scsi"},
			why: "work on reservations knows LUNs and keys, and no decision",
		},
		{
			tree: "internal/daemon/sessions", may: []string{"cluster", "resources/iscsi"},
			why: "which sessions a node holds follows from its services' members; what they are is the kind's",
		},
		{
			tree: "internal/daemon/ways", may: []string{"cluster", "cluster/ident", "bmc", "internal/config"},
			why: "an attempt to fence a node knows switches, and no disk, no peer and no decision",
		},
		{
			tree: "internal/daemon/decisions", may: []string{"cluster/...", "internal/build", "internal/decisions/...", "internal/daemon/queue"},
			why: "what was decided is recorded with nothing but the core",
		},
		{
			tree: "internal/daemon/journal",
			may:  []string{"cluster/...", "quorumdisk", "quorumdisk/statecodec", "internal/api", "internal/config", "internal/daemon/queue"},
			why:  "what a node keeps on its own disk is words and states; it reaches no other node",
		},
		{
			tree: "internal/daemon/operations", may: []string{"cluster", "cluster/ident", "resources", "internal/daemon/pressure"},
			why: "what became of an operation is translated, not judged",
		},
		{
			tree: "internal/daemon/shown", may: []string{"cluster", "cluster/ident", "heartbeat", "internal/api", "internal/guardwire"},
			why: "what parts of the daemon know becomes what status shows, and nothing is decided by it",
		},
		{
			tree: "internal/daemon/examiner", may: []string{"storage/program"},
			why: "the doctor is a process of its own, which is called and not judged",
		},
		{
			tree: "internal/peers",
			why:  "who has the cluster's key may ask; what is asked and answered is above it",
		},
		{
			tree: "internal/daemon/enlist", may: []string{"cluster", "cluster/ident", "internal/api"},
			why: "the join service speaks with strangers: it reaches the node only through its port",
		},
		{
			tree: "internal/daemon/...",
			may:  []string{"cluster/...", "quorumdisk/...", "internal/api", "internal/config", "internal/daemon/..."},
			not:  []string{"internal/daemon"},
			why:  "a part of the daemon keeps or orders what the daemon gives it; it starts, fences and sends nothing",
		},
		{tree: "internal/build", why: "the version is below everything"},
		{tree: "internal/archtest", why: "the rules do not depend on what they judge"},
	}
}

// machineRows are about the parts of the daemon that know its machine.
func machineRows() []row {
	return []row{
		{
			tree: "internal/metrics", may: []string{"internal/api", "internal/guardwire/gauge"},
			why: "what status tells people, metrics tell Prometheus, and beside it what daemon, guard and kernel count",
		},
		{
			tree: "internal/daemon/shutdown", may: []string{"cluster/ident", "internal/api"},
			why: "a shutdown is announced and nothing more: what moves the services is the stop of a unit",
		},
		{
			tree: "internal/daemon/figures", may: []string{"cluster", "cluster/ident", "cluster/register", "internal/metrics"},
			why: "what is counted is seen in what the core is told and what it wants; nobody waits for it",
		},
		{
			tree: "internal/alerts", may: []string{"cluster", "internal/api", "internal/config", "internal/incidents", "bmc", "storage/program"},
			why: "who is told what happened follows from what was noted; nothing is decided, and nothing waits for it",
		},
		{tree: "internal/scrub", why: "what is secret in a text is told by the text alone"},
		{tree: "internal/rehearsal", may: []string{"internal/api", "internal/incidents"}, why: "whether a drill may be run, and went well, follows from what was asked and noted; it breaks nothing"},
		{tree: "internal/incidents", may: []string{"internal/api"}, why: "what happened is told from what was noted, wherever that is read"},
		{
			tree: "internal/doctor", may: []string{"internal/api", "sbd/watchdog", "storage/kind"},
			why: "a check is a function from facts to findings: it looks at nothing itself",
		},
		{
			tree: "internal/doctor/gather",
			may:  []string{"cluster", "internal/doctor", "internal/config", "internal/clock", "internal/guarded", "bmc", "bmc/drivers", "quorumdisk/place", "sbd/watchdog", "storage", "storage/..."},
			why:  "what the doctor judges is read from the machine, and nothing of it is changed or judged here",
		},
		{
			tree: "internal/doctor/mend", may: []string{"internal/doctor", "storage/program"},
			why: "what a finding would have changed is done and taken back, whatever it is about",
		},
		{
			tree: "internal/daemon/machine", may: []string{"cluster", "cluster/timing", "internal/config", "internal/guardwire"},
			why: "what a machine contributes to the timeouts is read from it, and derived elsewhere",
		},
		{
			tree: "internal/daemon/agents", may: []string{"internal/config", "resources", "resources/groups", "resources/kinds", "resources/secret"},
			why: "operations of services are processes of the daemon's own program",
		},
		{
			tree: "internal/daemon/firstcheck", may: []string{"cluster/ident", "internal/api", "internal/daemon/operations", "resources"},
			why: "that a service was found well is noted where its checks are carried out; nothing is decided by it",
		},
		{
			tree: "internal/daemon/drills",
			may:  []string{"cluster", "cluster/ident", "internal/api", "internal/config", "internal/daemon/operations", "internal/guardwire", "resources", "sbd", "storage", "storage/program"},
			why:  "what a drill breaks is this node's own, or ordered by mail; whether it may is judged by who asks",
		},
		{
			tree: "internal/daemon/upgrade", may: []string{"internal/daemon/journal", "internal/guardwire"},
			why: "newer programs take over where they can, whatever the cluster does",
		},
	}
}

func outerRows() []row {
	const paragraph = "main is a paragraph around one package"
	return []row{
		{tree: "cmd/holdfast", may: []string{"internal/ctl", "internal/build"}, why: paragraph},
		{tree: "cmd/holdfastd", may: []string{"internal/daemon", "internal/build"}, why: paragraph},
		{tree: "cmd/holdfast-guard", may: []string{"internal/guard", "internal/build"}, why: paragraph},
		{tree: "packaging", why: "packaging is files, not code that runs"},
		{tree: "packaging/scripts", may: []string{"quorumdisk"}, why: "the scripts know the newest format of the quorum disks"},
		{tree: "packaging/sbom", why: "a bill of materials is made from programs, not from packages"},
		{tree: "packaging/build", may: []string{"packaging/scripts", "packaging/sbom"}, why: "what makes the packages"},
		{tree: "test/...", may: []string{"..."}, why: "drivers and simulators may import anything"},
	}
}

// A ban names what a tree must not reach, however many packages are in between.
type ban struct {
	tree  string
	local []string // patterns of folders of this module
	other []string // prefixes of other import paths
}

func banTable() []ban {
	return []ban{{
		tree:  "internal/guard",
		local: []string{"heartbeat/...", "bmc/...", "resources/...", "internal/config/...", "internal/api/...", "internal/daemon/..."},
		other: []string{"github.com/goccy/go-yaml", "gopkg.in/yaml", "go.yaml.in/yaml", "github.com/ghodss/yaml", "sigs.k8s.io/yaml"},
	}}
}

// match says whether a folder falls under a pattern.
func match(pattern, dir string) bool {
	if pattern == "..." {
		return true
	}
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return dir == tree || strings.HasPrefix(dir, tree+"/")
	}
	return dir == pattern
}

func matchAny(patterns []string, dir string) bool {
	for _, p := range patterns {
		if match(p, dir) {
			return true
		}
	}
	return false
}

// rowFor gives the row with the longest pattern that matches.
func rowFor(dir string) (row, bool) {
	var best row
	found := false
	for _, r := range importTable() {
		if match(r.tree, dir) && (!found || weight(r.tree) > weight(best.tree)) {
			best, found = r, true
		}
	}
	return best, found
}

// weight orders patterns: the longer folder first, and a folder alone before the tree of the same name.
func weight(pattern string) int {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return 2 * len(tree)
	}
	return 2*len(pattern) + 1
}
