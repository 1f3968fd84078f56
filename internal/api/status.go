package api

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Seconds is a duration on the wire.
type Seconds float64

// Of converts a duration.
func Of(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration converts back.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Maybe is nil for a negative duration, which stands for "not known".
func Maybe(d time.Duration) *Seconds {
	if d < 0 {
		return nil
	}
	s := Of(d)
	return &s
}

// Health sums up a status for scripts and exit codes.
type Health string

// Warning: everything runs, but something that a takeover needs is missing.
// Critical: a service that should run does not, or nothing would be taken over.
const (
	Healthy  Health = "ok"
	Warning  Health = "warning"
	Critical Health = "critical"
)

// Status is the world as one node sees it.
type Status struct {
	Version   int         `json:"version"`
	Time      time.Time   `json:"time"`
	Health    Health      `json:"health"`
	Cluster   ClusterInfo `json:"cluster"`
	Self      Self        `json:"self"`
	Nodes     []Node      `json:"nodes"`
	Services  []Service   `json:"services"`
	Disks     []Disk      `json:"disks"`
	DiskSet   DiskSet     `json:"disk_set"`
	Links     []Link      `json:"links"`
	Watchdogs []Watchdog  `json:"watchdogs"`
	Failover  Failover    `json:"failover"`
	Fencing   []Readiness `json:"fencing"` // how each node could be fenced, beside the proof by time
	Notes
}

// Notes are what an administrator should know, and do.
type Notes struct {
	Warnings []string `json:"warnings"`
	Next     []Step   `json:"next"` // what to do, the most urgent first; empty: nothing is wrong
	Drills   *Drills  `json:"drills,omitempty"`
}

// Step is one thing that is not as it should be, and what the administrator does
// about it, which may be to wait.
type Step struct {
	What    string   `json:"what"`
	Left    *Seconds `json:"left_seconds,omitempty"` // it is over by itself after this time, as far as is known
	Do      string   `json:"do"`
	Command string   `json:"command,omitempty"`
}

// ClusterInfo names the cluster and the versions of what it agreed on.
type ClusterInfo struct {
	Name          string `json:"name"`
	ID            string `json:"id"`
	State         uint64 `json:"state_version"`  // +1 per commit
	Config        uint64 `json:"config_version"` // +1 per applied configuration
	Membership    uint64 `json:"membership"`     // +1 per node that came or went
	Coordinator   string `json:"coordinator,omitempty"`
	ConfigProblem string `json:"config_problem,omitempty"` // the committed configuration cannot be read here
	Protocol      int    `json:"protocol"`                 // that the cluster uses
	Stopped       bool   `json:"stopped"`                  // by cluster stop; nothing begins by itself
	Maintenance   *Until `json:"maintenance,omitempty"`    // of the whole cluster
}

// Self is the node that answers.
type Self struct {
	Name        string   `json:"name"`
	ID          int      `json:"id"`
	Stage       string   `json:"stage"`
	Waiting     string   `json:"waiting,omitempty"` // for what
	Incarnation string   `json:"incarnation,omitempty"`
	Emulated    bool     `json:"emulated"` // a node of a power emulator: no device of this machine is armed
	Build       string   `json:"build"`
	Life        uint64   `json:"life"`                           // of the daemon: another one began anew
	Lease       *Seconds `json:"lease_seconds,omitempty"`        // how long it is still good
	LeaseLength *Seconds `json:"lease_length_seconds,omitempty"` // how long one beat makes it good
	Holder      string   `json:"second_holder"`                  // of the watchdogs' descriptors: systemd, process, none
	RealTime    string   `json:"realtime_refused,omitempty"`
	Guard       string   `json:"guard"` // "connected", or what is wrong
}

// Node is one node as the answering one knows it.
type Node struct {
	ID          int      `json:"id"`
	Name        string   `json:"name"`
	Phase       string   `json:"phase"` // out, joining, member, leaving
	Guard       string   `json:"guard"`
	Incarnation string   `json:"incarnation,omitempty"`
	DiskAge     *Seconds `json:"disk_age_seconds,omitempty"`    // since its beat changed last
	NetAge      *Seconds `json:"network_age_seconds,omitempty"` // since it was heard last
	Standby     bool     `json:"standby"`
	Fencing     bool     `json:"fencing"`
	NodeWait
	NodeCourse
	Watchdog string   `json:"watchdog"`        // what a proof by time rests on
	Proof    *Proof   `json:"proof,omitempty"` // of its latest death or leave
	Why      string   `json:"why,omitempty"`
	Services []string `json:"services"` // that it owns
}

// NodeWait is what a proof by time of a node's death takes.
type NodeWait struct {
	Remaining *Seconds `json:"remaining_seconds,omitempty"` // while it is fenced: until a proof by time can stand
	Wait      Seconds  `json:"wait_seconds"`                // silence that proves its death
}

// NodeCourse is what is remembered of a node beyond its incarnation.
type NodeCourse struct {
	Fenced      *Fenced `json:"last_fencing,omitempty"`
	Quarantine  *Until  `json:"quarantine,omitempty"`  // it runs no services
	Maintenance *Until  `json:"maintenance,omitempty"` // its services stay as they are
}

// Fenced is the latest fencing of a node, which may have come back since.
type Fenced struct {
	Incarnation string `json:"incarnation"`
	By          string `json:"by"`            // the node whose commit it was
	State       uint64 `json:"state_version"` // that chose it
	Asked       bool   `json:"asked"`         // an administrator asked for it
	Why         string `json:"why"`
	Proof       *Proof `json:"proof,omitempty"` // what its end was known by, while it is the latest
}

// Until is something that ends by itself.
type Until struct {
	Left Seconds `json:"left_seconds"` // as counted and committed: up to a minute too much
	Why  string  `json:"why,omitempty"`
	By   string  `json:"by,omitempty"` // who asked for it
}

// Proof says why something was known to have ended.
type Proof struct {
	Kind        string `json:"kind"` // "E3 time" and so on
	Node        string `json:"node"`
	Incarnation string `json:"incarnation,omitempty"`
	By          string `json:"by,omitempty"`
	Text        string `json:"text,omitempty"`
}

// Service is one service.
type Service struct {
	Name    string `json:"name"`
	State   string `json:"state"` // stopped, starting, running, partly running, stopping, broken, wrong settings; unknown: its node is silent
	Node    string `json:"node,omitempty"`
	Term    uint64 `json:"term"`
	Text    string `json:"text,omitempty"` // what its owner says of it
	Why     string `json:"why,omitempty"`  // why it is where it is
	Stopped bool   `json:"stopped"`        // by the admin's word
	Frozen  bool   `json:"frozen"`
	Wanted  string `json:"wanted,omitempty"` // the node that it is to move to
	// Maintenance is the service's own; its node's and the cluster's stand there.
	Maintenance *Until `json:"maintenance,omitempty"`
}

// Disk is one quorum disk.
type Disk struct {
	Index   int      `json:"index"`
	ID      string   `json:"id"`
	Path    string   `json:"path"`
	Age     *Seconds `json:"age_seconds,omitempty"` // since the last good read
	Latency Seconds  `json:"latency_seconds"`       // of the last beat
	Error   string   `json:"error,omitempty"`
}

// The stages of a change of the set of quorum disks.
const (
	DisksSettled = "settled"
	DisksOffered = "offered" // every member opens the new disks
	DisksJoint   = "joint"   // the older and the newer set count together
)

// DiskSet is the set of quorum disks as a whole.
type DiskSet struct {
	Generation uint32   `json:"generation"` // +1 with every change
	Stage      string   `json:"stage"`
	Waits      []string `json:"waits_for,omitempty"` // nodes that have not taken the next step
	Text       string   `json:"text,omitempty"`      // why the latest offer was withdrawn
}

// Link is one heartbeat link to one peer.
type Link struct {
	Index  int      `json:"index"`
	Peer   string   `json:"peer"`
	Local  string   `json:"local"`
	Remote string   `json:"remote"`
	Age    *Seconds `json:"age_seconds,omitempty"` // since something arrived
	Up     bool     `json:"up"`
	Error  string   `json:"error,omitempty"`
	Traffic
}

// Traffic counts messages on one link, of the peer's present life.
type Traffic struct {
	Received uint64 `json:"received"`
	Missed   uint64 `json:"missed"` // that the peer has sent, and that did not arrive
	Unsent   uint64 `json:"unsent"` // that this node could not send
}

// Watchdog is one device that the guard has armed and feeds.
type Watchdog struct {
	Path     string  `json:"path"`
	Identity string  `json:"identity"`
	Driver   string  `json:"driver"`
	Timeout  Seconds `json:"timeout_seconds"` // as read back
	TMax     Seconds `json:"reset_seconds"`   // at most, from the last feed
	Class    string  `json:"class"`           // qualified, unqualified, soft only, soft accepted
	Software bool    `json:"software"`
	Emulated bool    `json:"emulated"`
	Why      string  `json:"why,omitempty"` // why it is not qualified
}

// Failover is what a takeover takes: as promised, predicted and measured.
type Failover struct {
	Within   Seconds    `json:"failover_within_seconds"`
	Expected []Expected `json:"expected"`
	Last     *Measured  `json:"last,omitempty"`
	Problem  string     `json:"problem,omitempty"` // why no takeover by time is possible
}

// Expected is the prediction for one kind of proof, from the fault to the
// permission to start elsewhere.
type Expected struct {
	Proof   string  `json:"proof"`
	Known   bool    `json:"known"`
	Typical Seconds `json:"typical_seconds,omitempty"`
	Worst   Seconds `json:"worst_seconds,omitempty"`
	Why     string  `json:"why"`
}

// Readiness is how the ways to fence one node are doing, as the answering node
// has checked them.
type Readiness struct {
	Node string `json:"node"`
	Ways []Way  `json:"ways"`
}

// Way is one way to fence a node.
type Way struct {
	Way   string   `json:"way"`
	State string   `json:"state"` // works, failed, unknown, not checked yet, always there
	Text  string   `json:"text,omitempty"`
	Age   *Seconds `json:"age_seconds,omitempty"`  // since the latest check
	Stale bool     `json:"stale,omitempty"`        // that is so long ago that it says nothing any more
	Took  *Seconds `json:"took_seconds,omitempty"` // the latest check or attempt
	Tried *Tally   `json:"attempts,omitempty"`     // of the answering node, since its daemon began; absent: none
}

// Tally counts attempts to fence by what they have shown.
type Tally struct {
	Proven  uint32 `json:"proven"`
	Failed  uint32 `json:"failed"`
	Unknown uint32 `json:"unknown"`
}

// Measured is a takeover that happened: from the last beat of the node that was
// lost to the service's start being finished elsewhere.
type Measured struct {
	Service string    `json:"service"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Proof   string    `json:"proof"`
	Granted Seconds   `json:"granted_seconds"`           // last beat to the permission to start
	Started Seconds   `json:"started_seconds,omitempty"` // last beat to started; absent where another node knows it
	Time    time.Time `json:"time"`
}

// Timing is the table of derived timeouts.
type Timing struct {
	Version  int        `json:"version"`
	Within   Seconds    `json:"failover_within_seconds"`
	Rows     []Row      `json:"rows"`
	Expected []Expected `json:"expected"`
	Failures []Failure  `json:"failures,omitempty"`
	Problem  string     `json:"problem,omitempty"`
}

// Failure is a kind of failure and the time from it to the permission to start
// elsewhere, by the proof that comes first; no proof where nothing is taken over.
type Failure struct {
	What    string  `json:"what"`
	Proof   string  `json:"proof,omitempty"`
	Typical Seconds `json:"typical_seconds,omitempty"`
	Worst   Seconds `json:"worst_seconds,omitempty"`
	Why     string  `json:"why,omitempty"`
}

// Failures are the kinds of failure that a table of timeouts predicts something for.
func Failures(list []timing.Failure) []Failure {
	var out []Failure
	for _, f := range list {
		out = append(out, Failure{What: f.What, Proof: f.Proof, Typical: Of(f.Typ), Worst: Of(f.Worst), Why: f.Why})
	}
	return out
}

// Row is one value and the reason for it.
type Row struct {
	Name  string  `json:"name"`
	Value Seconds `json:"value_seconds"`
	Why   string  `json:"why"`
}

// Explanation answers "why".
type Explanation struct {
	Version    int         `json:"version"`
	Subject    string      `json:"subject"` // "service orders", "node beta", "event 12"
	Text       []string    `json:"text"`    // the answer in sentences
	Service    *Service    `json:"service,omitempty"`
	Node       *Node       `json:"node,omitempty"`
	Proof      *Proof      `json:"proof,omitempty"`
	Candidates []Candidate `json:"candidates,omitempty"` // in the order in which they would be chosen
	Events     []Event     `json:"events"`               // what led there, oldest first
}

// Candidate says whether a node may run a service, and why not.
type Candidate struct {
	Node   string `json:"node"`
	Able   bool   `json:"able"`
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Unknown is what is not known of it, although it is taken to be able.
	Unknown string `json:"unknown,omitempty"`
}

// Event is one line of the story.
type Event struct {
	ID          uint64    `json:"id"`    // grows by one; of this node's store
	Time        time.Time `json:"time"`  // wall clock, when it was noted
	At          int64     `json:"at_ns"` // when it happened, on this node's interval clock
	Kind        string    `json:"kind"`
	Level       string    `json:"level"` // info, warn, error
	Node        string    `json:"node,omitempty"`
	Incarnation string    `json:"incarnation,omitempty"`
	Service     string    `json:"service,omitempty"`
	Term        uint64    `json:"term,omitempty"`
	Proof       string    `json:"proof,omitempty"`
	State       uint64    `json:"state_version,omitempty"`
	Way         string    `json:"way,omitempty"`          // to fence: of an attempt, a check or a drill
	Outcome     string    `json:"outcome,omitempty"`      // what it has shown: proven, failed, unknown
	Took        *Seconds  `json:"took_seconds,omitempty"` // how long it took
	Text        string    `json:"text"`
}
