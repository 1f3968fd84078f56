package doctor

import (
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage/kind"
)

// Facts are what was gathered on one machine. A part that was not looked at is
// its zero value, and the checks then say nothing of it, or that it is not known.
type Facts struct {
	Node    Node
	Kernel  Kernel
	Dogs    []Dog
	Manager Manager
	Disks   []Disk // quorum disks
	Paths   Multipath
	LUNs    []LUN    // of services that are guarded by reservations
	Guards  []string // in which of them this node's failure is not proven by reservations, in words
	Power   Power
	Clock   Clock
	Sleep   Sleep
	Links   []Link
	Boot    Boot
	Space   []Space
	Cluster Cluster
}

// Node is what node.yaml says, or what init is about to write.
type Node struct {
	Name          string
	Emulated      bool // a node of a power emulator: nothing of this machine carries it
	AcceptSoftdog bool
	SingleLink    bool
	F             time.Duration // how long a node goes on without a beat; 0: not known
}

// Kernel is what this kernel is and how it is set.
type Kernel struct {
	Release      string
	Cmdline      string
	Clocksource  string
	Sysrq        bool  // the reset line is there
	Guest        bool  // a hypervisor shows itself
	Panic        int64 // kernel.panic, seconds; Known says that it was read
	PanicKnown   bool
	MinFree      int64  // vm.min_free_kbytes
	MemTotal     int64  // KiB
	CrashSize    int64  // bytes that are reserved for a crash kernel
	CrashLoaded  bool   // one is loaded
	CrashTo      string // where kdump writes: a device or path of its configuration
	StopOnReboot string // parameter of the watchdog core; empty: not there
}

// Dog is a watchdog that node.yaml names.
type Dog struct {
	Device   string // as it stands there
	Softdog  bool
	Missing  string // why it cannot be looked at
	Listed   watchdog.Listed
	Unproven string // why its reset time counts as never measured; empty: it is measured
	AtBoot   bool   // softdog: the module is loaded at boot
}

// Manager is how the service manager treats watchdogs.
type Manager struct {
	Runtime string // RuntimeWatchdogSec, in effect by the files; empty: not set
	Device  string // WatchdogDevice
	File    string // that sets Runtime
}

// Disk is a quorum disk.
type Disk struct {
	Path     string
	Missing  string // why it cannot be opened
	Kind     kind.Verdict
	Stable   bool            // its name is one that does not change
	Reads    []time.Duration // how long single reads took, each waited for
	ReadErr  string
	ReadOnly bool
	Cache    string // of the kernel's queue: "write back", "write through"
	FUA      bool   // the device takes writes that go around its cache
	WWID     string // of the multipath map; empty: it is none
	Map      string
	Queueing string // what the map does with requests when no path works
	Vendor   string // of its paths, as sysfs has it
	Model    string
	Ways     []Way
}

// Way is one path to a quorum disk.
type Way struct {
	Device   string // sdb
	Works    bool
	State    string
	FastFail string // fast_io_fail_tmo of its Fibre Channel port; empty: it has none
	Session  string // its iSCSI session, "session3"; empty: it has none
	Recovery string // recovery_tmo of that, seconds
	Target   string
	Portal   string
}

// Multipath is how multipathd looks after paths.
type Multipath struct {
	Known   bool
	Polling time.Duration // longest time between two checks of a path
	Own     string        // what stands in Holdfast's own section; empty: there is none
}

// LUN is a disk of a service that is guarded by reservations.
type LUN struct {
	Service    string
	Device     string
	Problem    string // why reservations cannot be looked at
	Persisting bool   // registrations outlive a loss of power of the array
	Held       bool
	Keys       int
	Silent     []string // paths that do not answer
}

// Power is how this machine is switched, and how it switches others.
type Power struct {
	URL     string // of its own controller; empty: none
	Problem string // why the controller is not known to be this machine's
	Session string // what a session of that kind proves of its user's privileges
	Key     string // what logind does at the power key
	KeyFile string // that sets it
}

// Clock is how the wall clock is kept.
type Clock struct {
	Known   bool
	Synced  bool
	Keeper  string  // chrony, systemd-timesyncd, ntpd; empty: none was found
	Slew    float64 // chrony: maxslewrate in ppm; 0: not chrony
	SlewDir string  // folder of chrony's files that are read in addition; empty: there is none
}

// Sleep is what can send the machine to sleep.
type Sleep struct {
	Targets []Target
}

// Target is one unit that suspends the machine.
type Target struct {
	Unit   string
	Masked bool
	Denied bool // by sleep.conf
}

// Link is one heartbeat link.
type Link struct {
	Address string
	Card    string // interface that has the address; empty: none has
	Up      bool
	MTU     int
	Subnet  string
	Leaves  []string // the cards below bonds, bridges and VLANs, sorted
	Errors  uint64   // received with errors, or dropped, since boot
	Packets uint64   // received
}

// Boot is what starts at boot.
type Boot struct {
	Fstab   string // its text
	Mounts  []Mount
	Units   []Unit // systemd units of services
	Groups  []Group
	Strange []Unit // other cluster software
	Own     Unit   // holdfast.service
	Config  string // why the services are not known; empty: they are
}

// Mount is a file system of a service.
type Mount struct{ Service, Device, At string }

// Unit is a systemd unit.
type Unit struct {
	Name    string
	Service string // that it is a member of
	Enabled string // enabled, disabled, static, ...; empty: not there
	Active  bool
}

// Group is a volume group of a service.
type Group struct {
	Name     string
	Service  string
	Problem  string // why it is not known
	Auto     bool   // activated by whoever sees it
	Excluded bool   // lvm.conf keeps it from that
}

// Space is the room on a file system that Holdfast needs.
type Space struct {
	Path        string
	Free, Total uint64 // bytes
}

// Cluster is what the daemons say.
type Cluster struct {
	Certificates []Certificate // that have an end
	Problem      string        // why there is none; empty: Status is set
	Status       *api.Status   // of this node
	Peers        []Peer        // the other nodes
	Drills       []Drill       // the latest of each kind and node
	Now          time.Time     // wall clock
	Kernel       string        // of this node
	Agents       map[string]string
}

// Peer is what another node's daemon says of itself.
type Peer struct {
	Name    string
	Problem string // why it says nothing
	Build   string
	Config  uint64 // version of the configuration
	Kernel  string
	Offset  time.Duration // its wall clock less this one
	Agents  map[string]string
	MTU     []int // of its links, in order; 0: not known
	// Multipath is what Machine has of it.
	Multipath map[string]string
	Ways      []api.Readiness
	Report    *Report // its own
}

// Drill is a drill that was run.
type Drill struct {
	Kind string // fence, kill-node, ...
	Node string
	Time time.Time
	OK   bool
}
