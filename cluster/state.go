package cluster

import (
	"bytes"
	"sort"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// State is the cluster's state: the value of the register (REG). It is whole at
// every version: members, incarnations, fencing, ownership and configuration.
// A State that was handed to the core is never changed again.
type State struct {
	Ver       uint64 // +1 per commit
	Cluster   ident.UUID
	Config    []byte // the admin's YAML, byte for byte
	ConfigRev uint64
	Conf      *Config // Config parsed by the shell that decoded it; not part of the body
	View      uint64  // +1 per change of membership
	Nodes     []NodeState
	Services  []Grant // sorted by Service; one for every service of Conf, and for those still owned
	Disks     []ident.UUID
	DiskGen   uint32     // +1 with every change of the set
	Change    DiskChange // of Disks, under way
	Life      Life
}

// Phase is a node's standing in the membership.
type Phase uint8

// A node is Out, asks to come in (Joining), is a Member, or is on its way out.
const (
	Out Phase = iota
	Joining
	MemberPhase
	Leaving
)

// String is the word that status shows.
func (p Phase) String() string {
	return [...]string{"out", "joining", "member", "leaving"}[p&3]
}

// NodeState is what the register holds of one node. Sorted by ID in State.
type NodeState struct {
	ID      ident.NodeID
	Name    string
	Host    ident.UUID // host UUID that claimed the slot last
	Links   []string   // addresses (host:port) of its heartbeat links
	Phase   Phase
	Inc     ident.Incarnation // registered by the commit of Joining
	Fencing ident.Incarnation // being fenced, irrevocably; zero if none
	Why     string            // why it is being fenced, for people
	Dead    uint32            // highest dead N
	Proof   Proof             // of the latest death or leave
	Standby bool              // may run nothing, by the admin's word
	Switch  string            // where its power switch is, as it said when it joined: a reference, # and the GUID that answers there; empty: not said
	Life    NodeLife
}

// ProofKind is how a node's (or a service's former owner's) end is known.
type ProofKind uint8

// The proofs. Each is clock-free but ProofTime.
const (
	NoProof          ProofKind = iota
	ProofReleased              // E1: verified stopped and released, or left cleanly
	ProofReborn                // E2: a newer incarnation was seen, after its join barrier
	ProofTime                  // E3: lease and watchdog must have ended it
	ProofPower                 // E4: power read as off twice, and the drain time passed
	ProofReservation           // E5: its reservation keys were pre-empted
	ProofAck                   // E6: it acknowledged the kill after everything was verified stopped
	ProofOperator              // E7: the operator's word
)

// String is the name used in timelines: "E3 time" and so on.
func (k ProofKind) String() string {
	names := [...]string{"none", "E1 released", "E2 newer incarnation", "E3 time", "E4 power off", "E5 reservation", "E6 kill acknowledged", "E7 operator"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown proof"
}

// Proof says why an incarnation is known to be dead (or out), and what that
// rests on. It is a value with its evidence inside, never a boolean, and is
// checked again against the register when it is committed.
type Proof struct {
	Kind ProofKind
	Node ident.NodeID
	Inc  ident.Incarnation
	By   ident.NodeID
	// What a time proof assumed. A commit that finds a larger value refuses it.
	DiskGen uint32
	Wait    time.Duration // W that was waited for
	Silent  time.Duration // how long the node had been silent when it was made
	Text    string        // in words, at most 200 bytes
}

// Grant is the ownership of one service. Term never falls.
type Grant struct {
	Service string
	Owner   ident.NodeID // 0: free
	Inc     ident.Incarnation
	Term    uint64
	Pending []Pending // predecessors not yet dead at node level (reservation proofs)
	Want    ident.NodeID
	// Uses is what only one node may use at a time and the owner may still use in this
	// term, although the configuration has taken it from the service meanwhile.
	Uses    []string
	Yield   string // the service of higher priority for which its owner gives it up; empty: none
	Stopped bool   // the admin wants it down
	Frozen  bool   // the admin wants it left alone
	Why     string // why it is where it is, for people; at most 200 bytes
	Proof   Proof  // what ended the term before
	Fails   []Fail

	Maintenance Maintenance
}

// Pending is a former owner whose storage is fenced but which may still run.
type Pending struct {
	Node ident.NodeID
	Inc  ident.Incarnation
}

// Fail is a node's failure record for one service: it may not run there again
// until the budget's window has passed or the admin cleared it.
type Fail struct {
	Node  ident.NodeID
	Count uint32 // 0: it would fail there, for its own settings are wrong
	Text  string // what failed, at most 120 bytes
}

// Node returns the node with this id.
func (s *State) Node(id ident.NodeID) *NodeState {
	if i := int(id) - 1; i >= 0 && i < len(s.Nodes) && s.Nodes[i].ID == id {
		return &s.Nodes[i] // no slot below is free, as a rule
	}
	for i := range s.Nodes {
		if s.Nodes[i].ID == id {
			return &s.Nodes[i]
		}
	}
	return nil
}

// NodeNamed returns the node with this name.
func (s *State) NodeNamed(name string) *NodeState {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Grant returns the ownership of a service.
func (s *State) Grant(service string) *Grant {
	i, ok := sort.Find(len(s.Services), func(i int) int { return strings.Compare(service, s.Services[i].Service) })
	if !ok {
		return nil
	}
	return &s.Services[i]
}

// NameOf is the node's name, or "node N" for one that has none.
func (s *State) NameOf(id ident.NodeID) string {
	if s != nil {
		if n := s.Node(id); n != nil {
			return n.Name
		}
	}
	return "node " + itoa(uint64(id))
}

// Clone returns a copy that may be changed, for building the next version.
func (s *State) Clone() *State {
	c := *s
	c.Config = bytes.Clone(s.Config)
	c.Disks = append([]ident.UUID(nil), s.Disks...)
	c.Change.Disks = append([]ident.UUID(nil), s.Change.Disks...)
	c.Change.Paths = append([]string(nil), s.Change.Paths...)
	c.Change.Was = append([]string(nil), s.Change.Was...)
	c.Nodes = append([]NodeState(nil), s.Nodes...)
	for i := range c.Nodes {
		c.Nodes[i].Links = append([]string(nil), s.Nodes[i].Links...)
		c.Nodes[i].Life.Crashes = append([]time.Duration(nil), s.Nodes[i].Life.Crashes...)
	}
	c.Life.Removed = append([]Removed(nil), s.Life.Removed...)
	c.Services = append([]Grant(nil), s.Services...)
	for i := range c.Services {
		c.Services[i].Pending = append([]Pending(nil), s.Services[i].Pending...)
		c.Services[i].Fails = append([]Fail(nil), s.Services[i].Fails...)
		c.Services[i].Uses = append([]string(nil), s.Services[i].Uses...)
	}
	return &c
}

func itoa(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// Limit cuts text so that it has n bytes at most: behind a word, if one ends in its
// second half, and else behind a character. What was cut ends in an ellipsis.
func Limit(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return s
	}
	end := n - len(more)
	if end < 0 {
		return ""
	}
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	if word := strings.LastIndexByte(s[:end+1], ' '); word > end/2 {
		end = word
	}
	return strings.TrimRight(s[:end], " ,;:") + more
}
