package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// Node is what a node knows of itself before it can read the cluster's state.
type Node struct {
	Name          string
	ID            ident.NodeID
	Cluster       ClusterRef
	Disks         []QuorumDisk     // one or three
	Links         []netip.AddrPort // this node's own address on each link, two or more
	SingleLink    bool             // the admin accepted one link only
	Metrics       Metrics          // who may scrape
	Key           string           // path of the cluster key
	Watchdogs     []Watchdog       // in the order in which they are listed
	AcceptSoftdog bool             // softdog alone may carry a time proof: weak
	PowerOff      bool             // the message "off" powers the node off at the boot after, instead of only keeping it out
	Platform      Platform
	BMC           BMC
	Controllers   map[string]Controller // of the other nodes, by name
	Dirs          Dirs
}

// ClusterRef says which cluster a node belongs to.
type ClusterRef struct {
	Name  string
	ID    ident.UUID
	Epoch uint32 // of its set of quorum disks: how often it was recovered onto new ones
}

// QuorumDisk is a disk by a path that does not change, and the identity that
// its superblock must show.
type QuorumDisk struct {
	Path string
	UUID ident.UUID
}

// Watchdog is a device that the guard feeds: the kernel's softdog, or a device.
type Watchdog struct {
	Device  string        // path; "softdog"; on an emulated platform the emulator's name for it
	Timeout time.Duration // fixed by the admin; 0: derived from failover_within
	// Pretimeout is how long before its reset the device interrupts; 0: never.
	Pretimeout time.Duration
}

// Softdog is the Device that stands for the kernel's software watchdog,
// whatever path it gets.
const Softdog = "softdog"

// Platform is what kind of machine a node is.
type Platform struct {
	PauseBound time.Duration // how long a hypervisor may stop it; PauseSet tells 0 from nothing written
	PauseSet   bool
	Emulated   bool   // a node of a power emulator: no device of this machine is touched
	Emulator   string // Unix socket of the emulator
	Holder     string // Unix socket of the process that holds the watchdog descriptors as well
}

// BMC refers to the node's own management controller. The password stands in a
// file of its own.
type BMC struct {
	URL          string // redfish://user@host or ipmi://user@host; empty: none
	PasswordFile string
}

// Controller is how this node reaches the power switch of another one: a
// management controller, or whatever a fence agent reaches.
type Controller struct {
	URL          string   // as bmc.Parse reads it
	PasswordFile string   // a file of mode 0600, or credential:NAME
	GUIDs        []string // the machine that must answer; empty: the one that has claimed the node's slot
}

// Metrics is where the daemon answers scrapes, beside its socket. Without a certificate
// that is a loopback address.
type Metrics struct {
	Listen      netip.AddrPort // not valid: nowhere
	Certificate string         // PEM file, with those between it and its root; empty: no TLS
	Key         string         // PEM file of mode 0600
	Clients     string         // PEM file: only clients with a certificate of one of these are answered; empty: all are
}

// Dirs are where a node keeps things.
type Dirs struct {
	Run    string // sockets and the guard's mark, gone after a boot
	State  string // cache, dated copies of every configuration, events
	Cgroup string // cgroup v2 folder for the operations; empty: the daemon's own
}

// ParseNode reads node.yaml; the file's name is for messages only. Defaults are
// filled in. The error is Problems: everything that is wrong, in the order of
// the file.
func ParseNode(file string, src []byte) (*Node, error) {
	read, v := form.Read(file, src, nodeShape())
	r := nodeReader{read}
	if v == nil {
		return nil, r.Err()
	}
	n := nodeOf(v)
	r.disks(v.Get("quorum_disks"))
	r.links(v, n)
	r.watchdogs(v, n)
	r.platform(v, n)
	r.metrics(v.Get("metrics"), &n.Metrics)
	if b := v.Get("bmc"); b != nil && strings.Contains(n.BMC.URL, "@") && n.BMC.PasswordFile == "" {
		r.Add(b.Node, "bmc: a user, but no password_file", "add password_file: /etc/holdfast/bmc.secret")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return n, nil
}

func nodeOf(v *form.Value) *Node {
	head, platform, dirs, bmc := v.Get("cluster"), v.Get("platform"), v.Get("directories"), v.Get("bmc")
	n := &Node{
		Name:    v.Str("name"),
		Cluster: ClusterRef{Name: head.Str("name")},
		Key:     v.Str("key"), SingleLink: v.Yes("single_link"),
		AcceptSoftdog: v.Get("watchdog").Yes("accept_softdog"), PowerOff: v.Get("watchdog").Str("mail_off") == "power-off",
		Platform: Platform{
			PauseBound: platform.Dur("pause_bound"), PauseSet: platform.Get("pause_bound") != nil,
			Emulated: platform.Yes("emulated"), Emulator: platform.Str("emulator"), Holder: platform.Str("holder"),
		},
		BMC:  BMC{URL: bmc.Str("url"), PasswordFile: bmc.Str("password_file")},
		Dirs: Dirs{Run: dirs.Str("run"), State: dirs.Str("state"), Cgroup: dirs.Str("cgroup")},
	}
	m := v.Get("metrics")
	n.Metrics = Metrics{Certificate: m.Str("certificate"), Key: m.Str("key"), Clients: m.Str("clients")}
	n.Metrics.Listen, _ = netip.ParseAddrPort(m.Str("listen"))
	n.Cluster.ID, _ = ident.ParseUUID(head.Str("id"))
	if e := head.Get("epoch"); e != nil {
		n.Cluster.Epoch = uint32(e.Num)
	}
	if id := v.Get("id"); id != nil {
		n.ID = ident.NodeID(id.Num)
	}
	for _, d := range v.Items("quorum_disks") {
		id, _ := ident.ParseUUID(d.Str("uuid"))
		n.Disks = append(n.Disks, QuorumDisk{Path: d.Str("path"), UUID: id})
	}
	for _, l := range v.Texts("links") {
		a, _ := netip.ParseAddrPort(l)
		n.Links = append(n.Links, a)
	}
	for _, d := range v.Items("watchdogs") {
		w := Watchdog{Device: d.Text}
		if d.IsObject() {
			w = Watchdog{Device: d.Str("device"), Timeout: d.Dur("timeout"), Pretimeout: d.Dur("pretimeout")}
		}
		n.Watchdogs = append(n.Watchdogs, w)
	}
	if all := v.Get("controllers"); all != nil {
		n.Controllers = map[string]Controller{}
		for _, e := range all.Keys {
			n.Controllers[e.Name] = Controller{URL: e.Value.Str("url"), PasswordFile: e.Value.Str("password_file"), GUIDs: e.Value.Texts("guid")}
		}
	}
	n.Dirs.defaults(n.Name)
	return n
}

// UsualDirs are where a node keeps things unless its file says otherwise.
func UsualDirs(node string) Dirs {
	var d Dirs
	d.defaults(node)
	return d
}

func (d *Dirs) defaults(node string) {
	if d.Run == "" {
		d.Run = "/run/holdfast/" + node
	}
	if d.State == "" {
		d.State = "/var/lib/holdfast"
	}
}

// nodeReader is the reader of node.yaml.
type nodeReader struct{ *form.Reader }

func (r nodeReader) disks(v *form.Value) {
	if v == nil {
		return
	}
	if n := len(v.List); n != 1 && n != 3 {
		r.Add(v.Node, fmt.Sprintf("quorum_disks: %d disks", n), "use one or three: quorum is a majority of the quorum disks")
	}
	for _, key := range []string{"path", "uuid"} {
		seen := map[string]bool{}
		for _, d := range v.List {
			text := d.Str(key)
			if seen[text] && text != "" {
				r.Add(d.Get(key).Node, "quorum_disks: two disks with the same "+key, "each entry is a disk of its own")
			}
			seen[text] = true
		}
	}
}

func (r nodeReader) links(v *form.Value, n *Node) {
	l := v.Get("links")
	if l == nil {
		return
	}
	if len(l.List) == 1 && len(l.Node.(*ast.SequenceNode).Values) == 1 && !n.SingleLink {
		r.Add(l.Node, "links: one link only", "add a second address, on another network; or accept the risk with single_link: true")
	}
	if len(l.List) > 1 && n.SingleLink {
		r.Add(v.Get("single_link").Node, fmt.Sprintf("single_link: true, but there are %d links", len(l.List)), "remove it")
	}
	seen := map[netip.Addr]bool{}
	for i, e := range l.List {
		a := n.Links[i].Addr()
		if seen[a] {
			r.Add(e.Node, "links: two links with the same address", "a second link is of use only on another network")
		}
		seen[a] = true
	}
}

// watchdogs refuses a device twice, and on an emulated platform every device of
// this machine: an emulated node must never arm a real watchdog.
func (r nodeReader) watchdogs(v *form.Value, n *Node) {
	var seen []string
	for i, e := range v.Items("watchdogs") {
		at, device := e.Node, n.Watchdogs[i].Device
		if d := e.Get("device"); d != nil {
			at = d.Node
		}
		path := strings.Contains(device, "/")
		switch {
		case device == "":
		case slices.Contains(seen, device):
			r.Add(at, "watchdogs: "+device+" is listed twice", "remove one")
		case n.Watchdogs[i].Timeout != 0 && n.Watchdogs[i].Pretimeout >= n.Watchdogs[i].Timeout:
			r.Add(at, "watchdogs: the pretimeout of "+device+" is not less than its timeout", "it is how long before the reset the device interrupts: write 1s or so")
		case n.Platform.Emulated && path:
			r.Add(at, "watchdogs: "+device+" is a device of this machine, but the platform is emulated", "write the emulator's name for it, without a slash")
		case !n.Platform.Emulated && !path && device != Softdog:
			r.Add(at, "watchdogs: "+device+" is neither softdog nor the path of a device", "write /dev/watchdog0 or the like; `holdfast watchdog list` shows them")
		}
		seen = append(seen, device)
	}
}

func (r nodeReader) platform(v *form.Value, n *Node) {
	p := v.Get("platform")
	if p == nil {
		return
	}
	if n.Platform.Emulated && n.Platform.Emulator == "" {
		r.Add(p.Node, "platform: emulated, but no emulator", "add emulator: and the path of its socket")
	}
	if !n.Platform.Emulated && n.Platform.Emulator != "" {
		r.Add(p.Get("emulator").Node, "platform: an emulator, but emulated is not true", "add emulated: true, or remove the emulator")
	}
}

// metrics refuses an address that others reach, unless what is said there is sealed.
func (r nodeReader) metrics(v *form.Value, m *Metrics) {
	switch {
	case v == nil || !m.Listen.IsValid():
	case (m.Certificate == "") != (m.Key == ""):
		r.Add(v.Node, "metrics: a certificate and its key belong together", "write both, or neither")
	case m.Certificate == "" && m.Clients != "":
		r.Add(v.Node, "metrics: clients can be known by their certificates only where there is one here", "add certificate and key")
	case m.Certificate == "" && !m.Listen.Addr().IsLoopback():
		r.Add(v.Get("listen").Node, "metrics: "+m.Listen.String()+" is no loopback address, and whoever reaches it could read it",
			"use 127.0.0.1 or [::1], or add certificate and key (and clients: who may)")
	}
}

func nodeShape() *form.Shape {
	absolutePath := func(doc, example string) form.Shape { return form.Text(doc, example, form.Absolute) }
	dog := form.Text("softdog, or on an emulated platform the emulator's name", Softdog, deviceName)
	device := form.Object("A watchdog device",
		form.Required("device", form.Text("Its path", "/dev/watchdog0", deviceName)),
		form.Optional("timeout", form.Span("Fixes its timeout, which otherwise is derived", "5s", 100*time.Millisecond, 10*time.Minute)),
		form.Optional("pretimeout", form.Span("How long before the reset it interrupts, where it can: a line in the kernel's log, or whatever its governor does", "1s", time.Second, 5*time.Minute)))
	dog.Or = &device
	s := form.Object("What a Holdfast node knows of itself",
		form.Required("name", form.Text("Name of this node", "alpha", nodeName)),
		form.Required("id", form.Number("Its slot on the quorum disks", 1, ident.MaxNodes)),
		form.Required("cluster", form.Object("The cluster it belongs to",
			form.Required("name", form.Text("", "hospital", nodeName)),
			form.Required("id", form.Text("", "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11", uuidText)),
			form.Optional("epoch", form.Number("How often it was recovered onto new quorum disks (holdfast disk recover); default 0", 0, 65535)))),
		form.Required("quorum_disks", form.List("One or three disks that all nodes can read and write", form.Object("",
			form.Required("path", absolutePath("By a name that does not change", "/dev/disk/by-id/wwn-0x600")),
			form.Required("uuid", form.Text("Identity in the disk's superblock", "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11", uuidText))))),
		form.Required("links", form.List("This node's own address on each heartbeat network", form.Text("", "10.0.0.11:7320", addrPort))),
		form.Optional("single_link", form.Truth("Accepts that there is one link only: then one broken cable silences a healthy node")),
		form.Optional("metrics", form.Object("Figures for Prometheus, beside those on the daemon's socket",
			form.Required("listen", form.Text("An address of this node, or [::] and 0.0.0.0 for all. Without TLS a loopback address: whoever reaches it may read it", "127.0.0.1:9640", listenAt)),
			form.Optional("certificate", absolutePath("TLS: the certificate, as PEM", "/etc/holdfast/metrics.crt")),
			form.Optional("key", absolutePath("Its key, of mode 0600", "/etc/holdfast/metrics.key")),
			form.Optional("clients", absolutePath("Only clients with a certificate of one of these authorities are answered", "/etc/holdfast/metrics-clients.crt")))),
		form.Required("key", absolutePath("The file with the cluster key", "/etc/holdfast/cluster.key")),
		form.Optional("watchdogs", form.List("What resets this node when it hangs", dog)),
		form.Optional("watchdog", form.Object("",
			form.Optional("accept_softdog", form.Truth("Accepts takeover by lease with softdog alone, which one locked-up CPU defeats: weak")),
			form.Optional("mail_off", form.OneOf("What the message \"off\" of sbd(8) means at the boot after the reset: stay (default) keeps the node out of the "+
				"cluster until the message is cleared, power-off switches it off as well", "stay", "power-off")))),
		form.Optional("platform", form.Object("What kind of machine this is",
			form.Optional("pause_bound", form.Span("How long a hypervisor may stop it; default 0 s, in guests 10 s", "0s", 0, 10*time.Minute)),
			form.Optional("emulated", form.Truth("A node of a power emulator (demo and tests)")),
			form.Optional("emulator", absolutePath("The emulator's socket", "/run/holdfast/power.sock")),
			form.Optional("holder", absolutePath("Socket of the second holder of the watchdog descriptors, where the service manager is none", "/run/holdfast/holder.sock")))),
		form.Optional("bmc", form.Object("This node's own management controller",
			form.Required("url", form.Text("", "redfish://user@10.0.0.11", bmcURL)),
			form.Optional("password_file", absolutePath("", "/etc/holdfast/bmc.secret")))),
		form.Optional("controllers", form.Table("The power switches of the other nodes, for the way `bmc` under fencing.ways", nodeName, form.Object("",
			form.Required("url", form.Text("", "redfish://user@10.0.0.12", bmcURL)),
			form.Optional("password_file", form.Text("A file of mode 0600, or credential:NAME of the service manager", "/etc/holdfast/bmc.secret", secretPlace)),
			form.Optional("guid", form.List("The machine that must answer, where that is not the node's own product_uuid; or the address of its controller's network card", form.Text("", "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11", guidText)))))),
		form.Optional("directories", form.Object("Where this node keeps things",
			form.Optional("run", absolutePath("Default /run/holdfast/NAME", "/run/holdfast/alpha")),
			form.Optional("state", absolutePath("Default /var/lib/holdfast", "/var/lib/holdfast")),
			form.Optional("cgroup", absolutePath("cgroup v2 folder for the services; default: the daemon's own", "/sys/fs/cgroup/holdfast.slice")))),
	)
	return &s
}

func deviceName(s string) string {
	if strings.HasPrefix(s, "/") {
		if s != path.Clean(s) {
			return "is not written in its shortest form, " + path.Clean(s)
		}
		return ""
	}
	return nodeName(s)
}

func uuidText(s string) string {
	u, err := ident.ParseUUID(s)
	switch {
	case err != nil || u.String() != strings.ToLower(s):
		return "is no identity of the form 8-4-4-4-12 hexadecimal digits"
	case u.IsZero():
		return "is the zero identity"
	}
	return ""
}

// listenAt is where to listen: all addresses of the machine will do, too.
func listenAt(s string) string {
	if a, err := netip.ParseAddrPort(s); err == nil && a.Addr().IsUnspecified() && a.Port() != 0 {
		return ""
	}
	return addrPort(s)
}

func addrPort(s string) string {
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return "is no IP address and port"
	case a.Port() == 0:
		return "has no port"
	case a.Addr().IsUnspecified() || a.Addr().IsMulticast():
		return "is no address of this node"
	}
	return ""
}

func bmcURL(s string) string { return problemOf(bmc.Parse(s)) }

func guidText(s string) string { return problemOf(bmc.ParseGUID(s)) }

// problemOf says what is wrong with a text that another package reads.
func problemOf(_ any, err error) string {
	if err != nil {
		return "cannot be used: " + err.Error()
	}
	return ""
}

func secretPlace(s string) string {
	if strings.HasPrefix(s, "credential:") {
		return ""
	}
	return form.Absolute(s)
}
