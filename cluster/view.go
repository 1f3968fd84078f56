package cluster

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// View is the core's world at one instant, for status and explain. It shares
// nothing with the core but the committed State, which nobody changes.
type View struct {
	Now         ident.Instant
	Self        ident.NodeID
	Stage       string // "reading the quorum disk", "joining", "member" and so on
	Waiting     string // what this node waits for; empty if nothing
	Inc         ident.Incarnation
	State       *State // nil before the register was read
	Timing      timing.Table
	Lease       LeaseView
	Coordinator ident.NodeID
	Nodes       []NodeView
	Services    []ServiceView
	Disks       []DiskView
	DiskWaits   []string    // nodes that a change of the set of disks waits for
	Fencing     []Readiness // of every node for which ways are configured
	Warnings    []string
}

// LeaseView is the own lease.
type LeaseView struct {
	Held  bool
	Start ident.Instant
	Until ident.Instant
	F, G  time.Duration // by which it counts; what the beats say may be more, for a moment after a change
	Grace ident.Instant // lives by the consent of all members since then; 0: it does not
}

// NodeView is what this node knows of one node.
type NodeView struct {
	ID       ident.NodeID
	Name     string
	Phase    Phase
	Inc      ident.Incarnation
	Guard    GuardState
	DiskAge  time.Duration // since its beat changed last; <0: never seen
	NetAge   time.Duration // since it was heard last; <0: never
	Lease    Lease
	Wait     time.Duration // W for this node
	Fencing  bool
	Left     time.Duration // until a time proof can stand, while it is fenced
	Standby  bool
	Watchdog string
	NodeFate
}

// NodeFate is what is said of a node's latest end, and what it can be given now.
type NodeFate struct {
	Proof   Proof
	Why     string
	Present bool       // it shows signs of life, on the disk or the network
	Lost    bool       // and yet it can be given nothing: its beats do not arrive, or it has retired
	Lacks   []RunState // what it says that it could not run, and why
}

// View is what the agreed state says of a node; the rest is for who has seen it.
func (n *NodeState) View() NodeView {
	return NodeView{
		ID: n.ID, Name: n.Name, Phase: n.Phase, Inc: n.Inc, DiskAge: -1, NetAge: -1, Fencing: !n.Fencing.IsZero(),
		Standby: n.Standby, NodeFate: NodeFate{Proof: n.Proof, Why: n.Why},
	}
}

// NodeOf is what is known of a node; nil if the cluster has none of that number.
func (v *View) NodeOf(id ident.NodeID) *NodeView {
	for i := range v.Nodes {
		if v.Nodes[i].ID == id {
			return &v.Nodes[i]
		}
	}
	return nil
}

// Silent says that a node of the membership, another than this one, shows no sign
// of life, on the disks or the links. n may be nil: nobody is not silent.
func (v *View) Silent(n *NodeView) bool {
	late := func(age time.Duration) bool { return age < 0 || age >= v.Timing.Tsus }
	return n != nil && n.ID != v.Self && n.Phase != Out && late(n.DiskAge) && late(n.NetAge)
}

// ServiceView is one service as this node knows it.
type ServiceView struct {
	Name    string
	Owner   ident.NodeID
	Term    uint64
	State   ServiceState
	Text    string // what its owner says of it
	Why     string // why it is where it is
	Stopped bool
	Frozen  bool
	Want    ident.NodeID
	Nodes   []Candidate // every node, in the order in which they would be chosen
	Proof   Proof
}

// Candidate says whether a node may run a service, and why not.
type Candidate struct {
	Node   ident.NodeID
	Name   string
	Able   bool
	Reason string // the rule that rejects it, or what it wins or loses by
	Remedy string // a command or change that would make it able; may be empty
}

// DiskView is one quorum disk.
type DiskView struct {
	Index   int
	UUID    ident.UUID
	Age     time.Duration // since the last good read; <0: never
	Latency time.Duration // of the last beat: issue to completion
	Slow    bool          // it took as long as nothing can be decided by
	Err     string
}
