// Package resources starts, stops and checks services on this node.
//
// A service is an ordered stack of members - a file system, an address, a
// program - started top to bottom and stopped bottom to top. What should
// happen is decided elsewhere (package cluster); this package carries it out
// and says what came of it, in one of four words: ok, not-running, failed,
// unknown. It never turns a timeout into an answer.
//
// Three things make its word worth trusting:
//
//   - Every operation on a member runs in a child process of its own, inside a
//     process group of its own that nothing can leave (a cgroup). A hung mount
//     takes no thread of the daemon with it, and what a crashed daemon left half
//     done can be found and killed by its successor before anything is probed. The
//     exception is a check that needs nothing but the kernel's table of processes:
//     hundreds of those would else be most of what the daemon costs.
//   - What a start leaves running is kept in a second group per member, so that
//     "stopped" can be verified: the group is empty, and the member itself says
//     that it is not running.
//   - A stop that cannot be verified is a failed stop, with the names of whoever
//     stands in the way.
//
// The kinds of member live in the folders below this one; package kinds lists
// them.
package resources

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Default limits of one operation, used where a Member leaves its own at zero.
const (
	DefaultStart = 60 * time.Second
	DefaultStop  = 60 * time.Second
	DefaultCheck = 20 * time.Second
)

// Member is one resource of a stack.
type Member struct {
	ID      string          // unique within its service; letters, digits and _ . @ : -
	Kind    string          // "filesystem", "ip", "exec", ...
	Spec    json.RawMessage // what the kind reads; its fields are documented there
	Storage bool            // may be started on a proof that covers only the disks
	Guarded bool            // reservations guard its disks
	// Limits of one operation; zero means the default. A probe uses Check.
	Start, Stop, Check time.Duration
}

// limit returns how long one operation on the member may take: what the member
// says, or else what its kind advises, or else the default.
func (m Member) limit(v Verb, usual Limits) time.Duration {
	switch v {
	case VerbStart:
		return cmp.Or(m.Start, usual.Start, DefaultStart)
	case VerbReload:
		return cmp.Or(m.Check, usual.Check, DefaultStart)
	case VerbStop, VerbKill:
		return cmp.Or(m.Stop, usual.Stop, DefaultStop)
	case VerbUsual:
		return DefaultCheck
	default:
		return cmp.Or(m.Check, usual.Check, DefaultCheck)
	}
}

// Service is an ordered stack: started from the first member to the last,
// stopped from the last to the first.
type Service struct {
	Name  string
	Stack []Member
}

// validate refuses what cannot be named in a process group or told apart.
func (s Service) validate() error {
	if err := checkName(s.Name); err != nil {
		return fmt.Errorf("service %q: %w", s.Name, err)
	}
	seen := make(map[string]bool, len(s.Stack))
	for _, m := range s.Stack {
		if err := checkName(m.ID); err != nil {
			return fmt.Errorf("service %s: member %q: %w", s.Name, m.ID, err)
		}
		if seen[m.ID] {
			return fmt.Errorf("service %s: member %q stands twice in the stack; give each an id of its own", s.Name, m.ID)
		}
		seen[m.ID] = true
	}
	return nil
}

// checkName keeps names usable as one component of a cgroup path: the kernel
// keeps the prefix "cgroup." for itself.
func checkName(name string) error {
	if name == "" || len(name) > 100 {
		return fmt.Errorf("a name has 1 to 100 characters, this one %d", len(name))
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if letter || i > 0 && strings.ContainsRune(".@:-", c) {
			continue
		}
		return fmt.Errorf("character %q at position %d; use letters, digits and _ . @ : - (not first)", c, i)
	}
	if strings.HasPrefix(name, "cgroup.") {
		return fmt.Errorf("names that begin with \"cgroup.\" belong to the kernel")
	}
	return nil
}

// Outcome is what is known about an operation after it. The zero value is
// Unknown: what nobody answered is not known.
type Outcome uint8

const (
	// Unknown means that no answer came: the operation may have had its effect,
	// or part of it. After a start with this outcome the member needs a stop.
	Unknown Outcome = iota
	// OK means done; for a check or a probe: running and well.
	OK
	// NotRunning means that the member is verifiably not running here.
	NotRunning
	// Failed means that it did not work and the text says why.
	Failed
)

// String is "unknown", "ok", "not-running" or "failed".
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case NotRunning:
		return "not-running"
	case Failed:
		return "failed"
	default:
		return "unknown"
	}
}

// MarshalText is String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the form of String and refuses anything else.
func (o *Outcome) UnmarshalText(text []byte) error {
	for _, known := range []Outcome{Unknown, OK, NotRunning, Failed} {
		if known.String() == string(text) {
			*o = known
			return nil
		}
	}
	return fmt.Errorf("outcome %q: want ok, not-running, failed or unknown", text)
}

// Verb is one operation.
type Verb string

const (
	// VerbStart brings a member up.
	VerbStart Verb = "start"
	// VerbStop takes it down in good order.
	VerbStop Verb = "stop"
	// VerbKill is the emergency stop of one member: no politeness, no waiting
	// for anybody, the same verification as a stop.
	VerbKill Verb = "kill"
	// VerbCheck asks whether it runs and is well.
	VerbCheck Verb = "check"
	// VerbProbe asks only whether the member runs here, for adoption and for
	// the verification of a stop.
	VerbProbe Verb = "probe"
	// VerbFit asks whether the member could run here, and changes nothing.
	VerbFit Verb = "fit"
	// VerbUsual asks how long operations usually take, of a kind whose limits are
	// known only where it is installed.
	VerbUsual Verb = "usual"
	// VerbReload has a running member take over its new settings.
	VerbReload Verb = "reload"
	// VerbSweep is carried out by the runner itself: SIGKILL to every process
	// that a member, or the whole service, left behind, and the wait until the
	// group is empty.
	VerbSweep Verb = "sweep"
)

// Step is one operation that was carried out, for time lines and texts.
type Step struct {
	Service string        `json:"service"`
	Term    uint32        `json:"term"`
	Member  string        `json:"member,omitempty"` // empty: a sweep of the whole service
	Kind    string        `json:"kind,omitempty"`
	Verb    Verb          `json:"verb"`
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"`
	Outcome Outcome       `json:"outcome"`
	Text    string        `json:"text,omitempty"`
	Holders []string      `json:"holders,omitempty"` // who stands in the way of a stop
	// Severity says how far a failure reaches.
	Severity Severity `json:"severity,omitempty"`
	// Notable says that the text is worth telling although all went well.
	Notable bool `json:"notable,omitempty"`
}

// Result is what came of an operation on a whole service.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// Stopped says that every member was verified not running and that no
	// process of the service is left: the only state in which a term may be
	// given back. A start that failed and was undone cleanly has it too.
	Stopped bool   `json:"stopped"`
	Member  string `json:"member,omitempty"` // the first member that did not do as told
	Text    string `json:"text,omitempty"`
	Steps   []Step `json:"steps,omitempty"`
	// Severity is that of the member's failure: whether another try here, or
	// anywhere, can succeed.
	Severity Severity `json:"severity,omitempty"`
}

// State is what a probe of a whole service found.
type State uint8

const (
	// StateUnknown means that at least one member gave no answer.
	StateUnknown State = iota
	// StateRunning means that every member runs.
	StateRunning
	// StatePartly means that some members run, or only processes were left.
	StatePartly
	// StateStopped means that no member runs and no process is left.
	StateStopped
)

// String is "unknown", "running", "partly" or "stopped".
func (s State) String() string {
	switch s {
	case StateRunning:
		return "running"
	case StatePartly:
		return "partly"
	case StateStopped:
		return "stopped"
	default:
		return "unknown"
	}
}
