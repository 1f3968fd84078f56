package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// GuardState is what a node's guard says of itself in its beat.
type GuardState uint8

// The guard is bound to an incarnation, or on its way out of it.
const (
	GuardNone     GuardState = iota
	GuardBound               // the incarnation may hold services
	GuardStopping            // the lease is frozen for good; everything is being stopped
	GuardFencing             // obeys a kill record: stops or dies, whichever comes first
	GuardDying               // refused all further pets; the reset is on its way
	GuardRetired             // the incarnation holds nothing and never will again
)

// String is the word that status shows.
func (g GuardState) String() string {
	names := [...]string{"none", "bound", "stopping", "fencing-self", "dying", "retired"}
	if int(g) < len(names) {
		return names[g]
	}
	return "unknown"
}

// Beat is one node's decoded heartbeat sector: what the guard vouches for, and
// the daemon's payload. A sector that was never written decodes to no Beat.
type Beat struct {
	Node    ident.NodeID
	Host    ident.UUID
	Inc     ident.Incarnation
	Seq     uint64 // now() of the writer at issue, in ns: never repeats within a boot
	State   GuardState
	Lease   Lease
	DiskGen uint32
	Payload Payload
}

// WatchdogClass says how much a time proof may rest on a node's watchdogs.
type WatchdogClass uint8

// Only qualified and accepted devices carry a time proof with small margins.
const (
	WatchdogNone WatchdogClass = iota
	WatchdogUnqualified
	WatchdogQualified
	WatchdogSoftOnly     // softdog alone, not accepted: never a time proof
	WatchdogSoftAccepted // softdog alone, accepted by the admin in writing: weak
)

// String says what a proof by time rests on.
func (c WatchdogClass) String() string {
	switch c {
	case WatchdogQualified:
		return "qualified"
	case WatchdogUnqualified:
		return "unqualified"
	case WatchdogSoftAccepted:
		return "softdog, weak"
	case WatchdogSoftOnly:
		return "softdog, none"
	}
	return "NONE"
}

// CarriesTime says that a proof by time may rest on such watchdogs.
func (c WatchdogClass) CarriesTime() bool {
	return c == WatchdogQualified || c == WatchdogUnqualified || c == WatchdogSoftAccepted
}

// Lease is the promise that a beat carries: for how long after a beat's issue
// the node may go on, and how long its watchdogs take at most.
type Lease struct {
	F          time.Duration // freshness: the node feeds its watchdogs until F after the issue of its last completed cycle
	G          time.Duration // network grace; equal to F where none is used
	TMax       time.Duration // longest time from the last effective pet to the reset
	M          uint8         // whole watchdog periods that may follow the deadline
	Class      WatchdogClass
	PauseBound time.Duration // V: how long a hypervisor may stop the node
}

// Payload is what the daemon says in its node's beat. The guard carries it
// unread, except for the kill records.
type Payload struct {
	Phase       Phase
	ViewAcked   uint64
	Committed   Claim // the highest version this node knows to be committed
	Reach       [32]byte
	Score       int16
	Protocol    Protocol // that the daemon speaks; 0 stands for Protocol1
	Registering bool     // a reservation key may be on its way (pr_open)
	Released    Digest
	BlobGen     uint64 // generation of the status blob that Released sums up
	Kills       []Kill // at most MaxKills
}

// MaxKills is the number of kill records that fit in a beat.
const MaxKills = 8

// Digest is the first eight bytes of a SHA-256.
type Digest [8]byte

// DigestOf sums up what was released, for the beat: over the list as it stands in
// a status blob (its length, then of each term the length of the name, the name
// and the term; lengths of 32 and terms of 64 bits, little endian). The list is
// sorted by service and term.
func DigestOf(released []Released) Digest {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(released)))
	for _, r := range released {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Service)))
		b = append(b, r.Service...)
		b = binary.LittleEndian.AppendUint64(b, r.Term)
	}
	sum := sha256.Sum256(b)
	return Digest(sum[:8])
}

// Claim says which version of the register somebody knows to be committed, and
// in which generation of whose ring it stands.
type Claim struct {
	Ver    uint64
	Ballot ident.Ballot
	Node   ident.NodeID // whose ring
	Gen    uint64       // generation in that ring
}

// Kill is a kill record: every member repeats it in its beat once the fencing
// of that incarnation is chosen. The victim obeys it only if both incarnation
// and boot are its own. That it was written, or read, is never a proof.
type Kill struct {
	Node ident.NodeID
	Inc  uint32
	Boot [8]byte // first eight bytes of the boot identity
	Ver  uint64  // register version that chose it
}

// SeenBeat is one slot of the beat table as one read showed it.
type SeenBeat struct {
	Node   ident.NodeID
	Sector []byte // the whole sector; valid during the Step only
	Beat   *Beat  // nil if the slot is empty or does not decode
	Err    string // why it does not decode
}

// Blob is a node's status blob on disk: what does not fit in its beat.
type Blob struct {
	Node     ident.NodeID
	Inc      ident.Incarnation
	Gen      uint64 // higher in every blob of an incarnation, also across lives of the daemon
	Released []Released
	Services []RunState
}

// Released says that everything of a service's term is verified stopped on its
// owner, and that the owner never starts that term again.
type Released struct {
	Service string
	Term    uint64
}

// RunState is what a node says of a service it owns. With the term 0 it says why it
// could not run a service that it does not own, or all copies of one, if it were
// given to it: something is missing there. Without a text nothing is any more. With
// the term of another owner, and Starting, it says that a service which is to come to
// it could run there.
type RunState struct {
	Service string
	Term    uint64
	State   ServiceState
	Text    string // at most 120 bytes
}

// ServiceState is where a service's state machine stands on its owner.
type ServiceState uint8

// Down is also the state of a term that was released.
const (
	Down ServiceState = iota
	Starting
	Up
	Stopping
	Broken // a stop failed or nobody knows what runs
	Partly // a part of it has failed too often, no other node can have it, and the rest is up
	Wrong  // of a term that was released: its own settings are wrong, so it would fail on every node
)

// LastState is the highest ServiceState.
const LastState = Wrong

// String is the word that status shows.
func (s ServiceState) String() string {
	names := [...]string{"stopped", "starting", "running", "stopping", "broken", "partly running", "wrong settings"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Unable is the score of a node that holds its services but cannot decide: it does
// not understand the configuration, or its disks are slow or were rolled back.
const Unable = -1

// Message is one network beat. It carries nothing that safety depends on but
// the sender's own word about itself: what it released.
type Message struct {
	From      ident.NodeID
	Inc       ident.Incarnation
	Host      ident.UUID
	Phase     Phase
	State     GuardState
	ViewAcked uint64
	Committed Claim
	LeaseAge  time.Duration // age of the sender's own lease start; <0 if it has none
	Disks     Digest        // of the disk identities the sender uses
	DiskGen   uint32        // generation of the set of disks in the sender's latest state
	Reach     [32]byte
	Released  []Released
	Services  []RunState
	Marks
	Grace GraceWords
}

// Marks are what a message says in one word.
type Marks struct {
	Protocol Protocol // that the sender speaks; 0 stands for Protocol1
	Ack      bool     // the kill is obeyed: everything was verified stopped (E6)
	Leaving  bool     // wants to leave: its services shall be moved
	Partial  bool     // Released and Services are a page of more, as package pages divides them
}

// GraceWords are what a message says of network grace.
type GraceWords struct {
	Ask     GraceAsk
	Promise GracePromise
	Release ident.Incarnation // asks that incarnation to stop its services and to retire; zero: none
}

// GraceAsk asks every member of a view not to declare the sender's incarnation
// dead: it has lost the quorum disks. ID is unlike that of every other request
// of the sender's boot; 0: nothing is asked.
type GraceAsk struct {
	ID   uint64
	View uint64
}

// GracePromise answers a GraceAsk: the sender will not prove the death of To's
// incarnation by time before its wait has passed once more. To is 0 if nothing
// is promised.
type GracePromise struct {
	To   ident.NodeID
	Inc  ident.Incarnation
	ID   uint64
	View uint64
}
