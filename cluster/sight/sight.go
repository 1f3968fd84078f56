// Package sight has the words for what one node sees at one instant: everything
// beside the agreed state that a decision may rest on. It decides nothing.
package sight

import (
	"sort"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// View is everything beside the state itself that a decision may rest on: what
// one node sees at one instant. It was gathered for one base state and is used
// for no other.
type View struct {
	Now         ident.Instant
	Self        ident.NodeID
	Host        ident.UUID
	Timed       bool // the timeouts are known: without them nothing is judged by its age
	Coordinates bool // this node acts on the evidence, not only on requests
	Fit         bool // this node is a member and not about to stop
	Settling    bool // this node came in so lately that others which boot with it may be on their way
	Nodes       []Node
	// Patience is how long a network that fell apart must stay as it is before anybody is evicted.
	Patience time.Duration
	Runs     []Run // by service name, as the base lists them
	next     int   `memory:"-"` // where find looks first
}

// Node is what is seen of one node, for the incarnation that the base names.
type Node struct {
	ID      ident.NodeID
	Present bool              // it shows signs of life, on the disk or the network
	Claims  ident.Incarnation // what its fresh beat publishes; zero: there is none
	Phase   cluster.Phase     // and the phase in that beat
	// Protocol is what the daemon that wrote the beat speaks; 0 stands for 1.
	Protocol cluster.Protocol
	Acked    uint64            // the latest view that it says it knows
	Lost     bool              // given nothing new: its beats stand still although this node's reach the disks, or it tells over the network that it has retired
	Retired  bool              // this incarnation holds nothing and never will again, by its own word
	Last     ident.Incarnation // the latest incarnation seen in its slot, however long ago
	Host     ident.UUID        // of the machine that wrote that
	Suspect  string            // why it should be fenced; empty if it should not
	Proof    cluster.Proof     // that it is dead or out; its Kind is NoProof if there is none
	Plan     string            // what fencing it would do, in words; filled in where somebody asks
	Word     cluster.Proof     // a proof that this node alone has: the operator's word, or its own readings of the power
	Said
}

// Said is the rest of what a node's latest beats say.
type Said struct {
	Reach [32]byte           // whom it hears, one bit per node
	Score int16              // how fit it holds itself
	Gen   uint32             // generation of the set of disks by which its lease counts
	Lacks []cluster.RunState // what it says that it could not run, and why
	Shows []ident.UUID       // offered disks that carry beats of the incarnation that the base names
}

// Run is what the owner of a service says of the term that the base names.
type Run struct {
	cluster.RunState
	Known    bool   // the owner says something of this term
	Released bool   // it says that the term is over
	Why      string // what made it give the service up; empty if it was asked to
	// Cleared is the proof that the owner's keys are gone from every LUN of the
	// service, found by this node; its Kind is NoProof if there is none.
	Cleared cluster.Proof
}

// Of returns what is seen of a node; nothing if it was never seen.
func (v *View) Of(id ident.NodeID) *Node {
	if i := int(id) - 1; i >= 0 && i < len(v.Nodes) && v.Nodes[i].ID == id {
		return &v.Nodes[i]
	}
	for i := range v.Nodes {
		if v.Nodes[i].ID == id {
			return &v.Nodes[i]
		}
	}
	return &Node{ID: id}
}

// Run returns what is known of the term of a grant; a draft may have begun a
// later one since the sight was gathered.
func (v *View) Run(g *cluster.Grant) Run {
	i, ok := v.find(g.Service)
	if !ok || v.Runs[i].Term != g.Term || g.Owner == 0 {
		return Run{}
	}
	return v.Runs[i]
}

// find is where a service is in Runs. Those who decide ask for one service after the
// other, in the order of Runs, which is looked at first.
func (v *View) find(service string) (int, bool) {
	for i := v.next; i < min(v.next+2, len(v.Runs)); i++ {
		if v.Runs[i].Service == service {
			v.next = i
			return i, true
		}
	}
	i, ok := sort.Find(len(v.Runs), func(i int) int { return strings.Compare(service, v.Runs[i].Service) })
	if ok {
		v.next = i
	}
	return i, ok
}
