package cluster

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// Event is something that happened: the only way into the core. The set is sealed.
type Event interface{ event() }

// Tick says that NextDeadline has passed, and nothing else.
type Tick struct{}

// Started is the first event of a daemon's life: what the guard holds, and what
// of a former life was found running.
type Started struct {
	Bound  ident.Incarnation // the guard's incarnation; zero if FREE
	Killed bool              // the guard obeys a kill record
	Frozen bool              // stopping was said by a former life
	// LeaseStart is what the bound incarnation's lease counts from.
	LeaseStart ident.Instant
	Floor      uint64 // the highest version that a former life of this node knew to be committed
	// F and G are what the bound incarnation lives by, and Grace is until when
	// every other member has consented to it. Says is what its beats promise, since
	// Since: it may be more.
	F, G  time.Duration
	Says  Lease
	Since ident.Instant
	Grace ident.Instant
	// Registering says that a task of a former life may still have a REGISTER of a
	// reservation key on its way.
	Registering bool
	Adopted     []Adopted // after every orphaned operation was emptied
}

// Adopted is a service that a former daemon life left behind.
type Adopted struct {
	Service string
	Term    uint64
	Running bool   // wholly: every member answers; else it must be stopped
	Stuck   string // an operation of it cannot be killed: a stop has failed
}

// Table is one read of one disk's beat table by the guard.
type Table struct {
	Disk       int
	Wrote      bool // a beat of Inc was written, and completed, before the read
	Inc        ident.Incarnation
	Issued     ident.Instant
	ReadIssued ident.Instant
	Completed  ident.Instant
	Err        string // why there is no table; the two above are of the request that failed, 0 if it was not answered
	Beats      []SeenBeat
}

// Echoed says that the guard took, or refused, an order.
type Echoed struct {
	Order OrderKind
	Seq   uint64
	Err   string // empty: obeyed
}

// Noticed is what the guard says of its own accord.
type Noticed struct {
	Killed bool // a kill record names this incarnation
	Leave  bool // the node is asked to leave
	Text   string
}

// RegisterWrote completes a register write.
type RegisterWrote struct {
	Disk int
	Seq  uint64
	OK   bool
}

// RegisterHeaders completes a read of all register headers.
type RegisterHeaders struct {
	Disk int
	Seq  uint64
	All  []register.Header
	OK   bool
}

// RegisterBody completes a read of one state; Value.Conf is parsed.
type RegisterBody struct {
	Disk  int
	Seq   uint64
	Value *State
	OK    bool
}

// BlobWrote completes the write of the own status blob.
type BlobWrote struct {
	Disk int
	Gen  uint64
	OK   bool
}

// BlobRead completes the read of a peer's status blob; Blob is nil if it failed.
type BlobRead struct {
	Disk int
	Node ident.NodeID
	Blob *Blob
}

// Received is a network beat that arrived, authenticated and not seen before. Msg is nil
// if this version cannot read it: then Unread says why, and From whose it is.
type Received struct {
	Link   int
	Msg    *Message
	From   ident.NodeID
	Unread string
}

// RunDone is the result of a Run.
type RunDone struct {
	Op      uint64
	Outcome Outcome
	Text    string // what failed and why, for people
	Member  int    // the place in the stack of what failed, from 1 on; 0: none, or not known
	// Stall is what stalled on this node meanwhile, so that an answer which did not
	// come in time says nothing of the service; empty: nothing did.
	Stall string
	// Severity says how far a failure reaches.
	Severity Severity
}

// Stirred says that a member of a service that runs here may have stopped working: the
// kernel, or the service manager, has said so. It is a reason to check at once.
type Stirred struct {
	Service string
	Text    string // what was seen, for people
}

// Severity is how far a failure reaches, beyond that it happened.
type Severity uint8

// A Soft failure may be over at the next try; a Hard one will not on that node, for
// something is missing there; a Fatal one nowhere: the member's own settings are wrong.
const (
	Soft Severity = iota
	Hard
	Fatal
)

// Outcome is how an operation ended. Unknown is a value of its own.
type Outcome uint8

// A start that is Unknown may have started something; a stop that is anything
// but OK has not released anything.
const (
	OK Outcome = iota
	Failed
	Unknown
)

// String is the word used in timelines.
func (o Outcome) String() string { return [...]string{"ok", "failed", "unknown", "?"}[o&3] }

// Asked is an administrator's request; it is answered by a Reply with its ID.
type Asked struct {
	ID      uint64
	Request Request
}

func (Tick) event()            {}
func (Started) event()         {}
func (Table) event()           {}
func (Echoed) event()          {}
func (Noticed) event()         {}
func (RegisterWrote) event()   {}
func (RegisterHeaders) event() {}
func (RegisterBody) event()    {}
func (BlobWrote) event()       {}
func (BlobRead) event()        {}
func (Received) event()        {}
func (RunDone) event()         {}
func (Stirred) event()         {}
func (Asked) event()           {}

// Action is something to be done by the shell. The set is sealed. Every action
// that can fail has a result event.
type Action interface{ action() }

// OrderKind is what the guard is told.
type OrderKind uint8

// The orders. Every one of them is echoed.
const (
	OrderPayload  OrderKind = iota + 1 // what the beat shall carry
	OrderPermit                        // go on until Until
	OrderClaim                         // become bound to Inc
	OrderStopping                      // the lease of Inc is frozen for good
	OrderRetire                        // Inc holds nothing and never will again
	OrderGrace                         // every other member has promised until Until
	OrderKick                          // run a disk cycle now
	OrderPromise                       // the beats of Inc carry F and G of Lease from now on, every H
	OrderDisks                         // these are the quorum disks, and by these sets of them the lease counts
)

// Order is one order for the guard. The shell sends orders in sequence.
type Order struct {
	Kind    OrderKind
	Seq     uint64 // number of this order in this life
	Inc     ident.Incarnation
	Until   ident.Instant
	Payload Payload       // for OrderPayload and OrderClaim
	Lease   Lease         // for OrderClaim and OrderPromise
	H       time.Duration // for OrderClaim and OrderPromise: between two beats
	Pet     time.Duration // for OrderClaim: between two feeds
	DiskGen uint32        // for OrderClaim and OrderDisks
	Disks   []DiskUse     // for OrderDisks: by place
}

// RegisterOp is work of the register for one disk.
type RegisterOp struct{ Op register.Op[*State] }

// WriteBlob writes the own status blob to a disk.
type WriteBlob struct {
	Disk int
	Blob Blob
}

// ReadBlob reads a peer's status blob.
type ReadBlob struct {
	Disk int
	Node ident.NodeID
	Gen  uint64
}

// Send sends a network beat on every link.
type Send struct {
	To  ident.NodeID
	Msg *Message
}

// RunKind is what a Run does to a service.
type RunKind uint8

// Kill is the emergency stop: processes first, no grace.
const (
	RunStart RunKind = iota + 1
	RunStop
	RunKill
	RunCheck
	RunReload // its running members take over new settings
	RunFit    // could it run here? Nothing is changed
)

// String is the word used in timelines.
func (k RunKind) String() string {
	return [...]string{"?", "start", "stop", "emergency stop", "check", "reload", "fit", "?"}[k&7]
}

// Run does one thing to a whole service, or to a part of it. It ends in RunDone.
type Run struct {
	Op      uint64
	Kind    RunKind
	Service *Service
	Term    uint64
	Storage bool     // a RunStart of the leading storage members only: more is not proven
	From    int      // a RunStop of the members from this place in the stack on, from 0 on; 0: of everything
	To      int      // a RunCheck of the members before this place; 0: of all
	Was     *Service // of a RunReload: with what it runs so far
	Handed  bool     // a RunStart of what another node has released a moment ago, by a verified stop: nobody else has its addresses
	Goal    string   // a RunStop because the service goes to this node: what can be handed to it as it runs is; empty: it goes nowhere
	Resume  bool     // a RunStart of what another node has released, by a verified stop, and may have handed to this one as it ran
	Beside  []string // of a RunFit: kinds of members that other services bring, which go with this one or before it
}

// Reply answers a request of an administrator.
type Reply struct {
	ID   uint64
	Err  string // empty: done
	Text string
	Ver  uint64 // the version that carries it
}

// Note is one line of the story that explain, events and the timeline tell.
type Note struct {
	Kind    NoteKind
	At      ident.Instant // when it happened, which may be before it was noted
	Node    ident.NodeID
	Inc     ident.Incarnation
	Service string
	Term    uint64
	Proof   ProofKind
	Ver     uint64
	Text    string
	Way     string        // of an attempt to fence that has ended: which way,
	Outcome FenceOutcome  // what it has shown,
	Took    time.Duration // and how long it took; 0: no attempt
}

// NoteKind classifies notes for readers that are programs.
type NoteKind string

// The kinds of note.
const (
	NoteLastBeat  NoteKind = "last-beat"
	NoteSuspected NoteKind = "suspected"
	NoteFencing   NoteKind = "fencing"
	NoteWay       NoteKind = "way" // an attempt to fence a node, or its end
	NoteProof     NoteKind = "proof"
	NoteGrant     NoteKind = "grant"
	NoteStarting  NoteKind = "starting"
	NoteStarted   NoteKind = "started"
	NoteReloaded  NoteKind = "reloaded"
	NoteStopping  NoteKind = "stopping"
	NoteStopped   NoteKind = "stopped"
	NoteReleased  NoteKind = "released"
	NoteFailed    NoteKind = "failed"
	NoteSlow      NoteKind = "slow" // a check gave no answer, or failed, and that is borne: it counts as no failure yet
	NoteJoined    NoteKind = "joined"
	NoteLeft      NoteKind = "left"
	NoteLease     NoteKind = "lease"
	NoteWaiting   NoteKind = "waiting"
	NoteAdmin     NoteKind = "admin"
	// NoteMaintenance: one began, is about to end, or has ended.
	NoteMaintenance NoteKind = "maintenance"
	NoteAlarm       NoteKind = "alarm"
)

// Exit says that this node has left and the daemon may end, or, with Again, that
// it shall end and be started anew.
type Exit struct {
	Text  string
	Again bool
}

func (Order) action()      {}
func (RegisterOp) action() {}
func (WriteBlob) action()  {}
func (ReadBlob) action()   {}
func (Send) action()       {}
func (Run) action()        {}
func (Reply) action()      {}
func (Note) action()       {}
func (Exit) action()       {}
