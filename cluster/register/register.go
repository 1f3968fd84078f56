// Package register is the consensus machine of the cluster's state: a
// multi-version Disk Paxos register over one or three disks (Gafni and Lamport,
// "Disk Paxos", 2003, with the block of a node kept in a ring of generations).
//
// A node owns one block on every disk: the highest ballot it entered (Mbal) and
// the value it accepted last (Bal, Ver and the value). To change the value it
// writes its block and then, on the same disk and only after the write
// completed, reads everybody's headers; a phase is over when a majority of the
// disks did both and nobody entered a higher ballot. Phase 1 learns the value
// to build on, phase 2 makes the next one chosen. A node that stays unopposed
// skips phase 1. Nothing here needs a clock to be safe, any late write may land
// at any time, and a stale proposer is harmless: its next phase fails.
//
// The machine does no I/O: it returns Ops, and is told of their completion.
package register

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// Generations is the length of a node's ring: the block of a node on a disk is
// its valid header with the highest (life, generation), so a write that
// lands late falls into its own place and hides nothing newer. The last place is
// for tickets (see shared.go).
const Generations = 16

// quarantine is how long the place of a write whose outcome is unknown is left
// alone; maxUnknown bounds how many of them a disk may have, so that a restarted
// machine knows how many generations to leave out; retry is the pause after a
// failed operation.
const (
	quarantine = 60 * time.Second
	maxUnknown = 4
	retry      = 100 * time.Millisecond
)

// Header describes one generation of a node's block on one disk.
type Header struct {
	Node ident.NodeID
	Slot uint8  // place in the ring: Gen modulo Generations
	Inc  uint32 // which life of the proposer wrote it: one more than any seen at its start
	Gen  uint64
	Mbal ident.Ballot // highest ballot entered
	Bal  ident.Ballot // ballot of the accepted value; zero: none
	Ver  uint64       // version of the accepted value; 0: none
	Len  uint32       // bytes of the stored body
	Sum  [32]byte     // SHA-256 of the stored body
}

// Newer says that h replaces o as the block of their node: a later life (Life
// tells two apart that could not see each other), a later generation of it.
func (h *Header) Newer(o *Header) bool {
	if h.Inc != o.Inc {
		return h.Inc > o.Inc
	}
	if h.Mbal.Life != o.Mbal.Life {
		return h.Mbal.Life > o.Mbal.Life
	}
	return h.Gen > o.Gen
}

// accepted orders values: by ballot, then by version.
func (h *Header) accepted(bal ident.Ballot, ver uint64) int {
	if c := h.Bal.Compare(bal); c != 0 {
		return c
	}
	switch {
	case h.Ver < ver:
		return -1
	case h.Ver > ver:
		return 1
	}
	return 0
}

// OpKind is what an Op asks of a disk.
type OpKind uint8

// The operations. A disk has at most one of them in flight.
const (
	Write       OpKind = iota + 1 // the block: body first, then header, each completed
	ReadHeaders                   // every node's ring of headers
	ReadBody                      // the body that Header describes, checked against its sum
)

// Op is one piece of work for one disk. Its completion is reported with Wrote,
// Headers or Body and the same Seq.
type Op[V any] struct {
	Kind   OpKind
	Disk   int
	Seq    uint64
	Header Header // to write (Len and Sum are the shell's to fill in), or whose body to read
	Value  V      // to write; the zero value where Header.Ver is 0
}

// Outcome is what became of a proposal, or what was learned.
type Outcome[V any] struct {
	Kind  OutcomeKind
	Ver   uint64
	Value V
	Claim Claim // for Committed and Learned: where it stands
	Seen  ident.Ballot
	Disk  int // for Ejected
	// Proposal is true where the outcome ends the proposal under way.
	Proposal bool
}

// OutcomeKind tells outcomes apart.
type OutcomeKind uint8

// Every proposal ends in Committed, Unchanged, Aborted, Moved, Halted or Shared.
const (
	Committed OutcomeKind = iota + 1 // this version is chosen, by us
	Learned                          // this version was chosen by somebody
	Unchanged                        // the proposal had nothing to change; its base is committed
	Aborted                          // somebody entered the higher ballot Seen, or a body was gone: try again
	Halted                           // a majority shows less than was committed: the disks were rolled back
	Recovered                        // the own ring was read on a majority; proposals are possible
	Moved                            // Value, which may not be chosen yet, asks for other disks: call Change and propose again
	Ejected                          // Disk has forgotten what it acknowledged; it counts as failed from now on
	Shared                           // somebody else has written this node's block: what is known of it is read again
)

// Claim says where a committed value stands.
type Claim struct {
	Ver    uint64
	Ballot ident.Ballot
	Node   ident.NodeID
	Gen    uint64
}

// Propose builds the next value on a committed base. It is pure, and returns
// false where nothing needs to change. The base is the zero value at version 0.
type Propose[V any] func(base V, ver uint64) (V, bool)

// Config is who proposes. Life is now() at the start of this daemon, in ns. A
// phase needs a majority of every one of the Sets of disks; without sets, of all
// Disks.
type Config struct {
	Self  ident.NodeID
	Life  uint64
	Disks int
	Sets  quorum.Sets
	// Floor is a version that is known to have been committed before this life:
	// a majority that shows less has been rolled back.
	Floor uint64
	// Ticket says that another machine may have this node's identity: before the
	// first block is written to a disk, that takes a second (see shared.go). It
	// need not be said where the node's guard has an incarnation bound.
	Ticket bool
}

type phase uint8

const (
	recovering phase = iota
	idle
	phase1
	fetching // phase 1 is over, the body of the value to adopt is being read
	phase2
	halted
)

type value[V any] struct {
	bal ident.Ballot
	ver uint64
	val V
}

type place struct {
	disk   int
	header Header
}

// Machine is one node's proposer. It is used by one goroutine.
type Machine[V any] struct {
	cfg       Config
	life      life
	phase     phase
	round     uint64       // highest round seen anywhere
	mbal      ident.Ballot // own block: entered
	own       value[V]     // own block: accepted
	committed value[V]     // highest version known to be chosen
	claim     Claim
	leader    bool // phase 1 of mbal is over and nobody has opposed it since
	propose   Propose[V]
	adopting  adoption[V]
	step      uint64 // one per phase: a disk works on the latest
	learn     Claim
	disks     []disk
	give      results[V]
}

// results is what Take has not returned yet.
type results[V any] struct {
	seq      uint64 // of the latest op
	ops      []Op[V]
	outcomes []Outcome[V]
}

// adoption is what phase 1 found to build on.
type adoption[V any] struct {
	fit       Judge[V] // says which disks a value wants to be followed by; nil: these
	best      value[V] // highest accepted value seen, without its body
	sources   []place  // where its body stands
	recommits bool     // phase 2 re-commits it before propose runs
	claimed   uint64   // version that somebody claimed to be committed before phase 1 began
	floor     uint64   // version known to be committed when phase 1 began: less than that is a rollback
}

// New returns a machine that first reads its own ring: call Tick.
func New[V any](cfg Config) *Machine[V] {
	if len(cfg.Sets) == 0 {
		cfg.Sets = quorum.Sets{quorum.All(cfg.Disks)}
	}
	return &Machine[V]{cfg: cfg, disks: make([]disk, cfg.Disks), life: life{all: []uint64{cfg.Life}}}
}

// Committed returns the highest version known to be chosen; false before one is known.
func (m *Machine[V]) Committed() (V, uint64, bool) {
	return m.committed.val, m.committed.ver, m.committed.ver > 0
}

// Claim says where the value of Committed stands; zero before one is known.
func (m *Machine[V]) Claim() Claim { return m.claim }

// Ready says that the own ring is known and no proposal is under way.
func (m *Machine[V]) Ready() bool { return m.phase == idle }

// IsHalted says that the disks were found rolled back; nothing is proposed again.
func (m *Machine[V]) IsHalted() bool { return m.phase == halted }

// Propose starts a proposal. It panics unless Ready: the caller keeps one at a time.
func (m *Machine[V]) Propose(now ident.Instant, f Propose[V]) {
	if m.phase != idle {
		panic("register: a second proposal while one is under way")
	}
	m.propose = f
	switch {
	case m.cfg.Ticket && !m.life.entered:
		m.again(true)
		m.Tick(now)
	case m.leader:
		m.extend(now)
	default:
		m.enter(now)
	}
}

// Reread makes the next proposal begin with phase 1 even if nobody has opposed
// this node since the last: its base is then what the disks show, and whatever
// somebody else proposes later will find this node's ballot.
func (m *Machine[V]) Reread() { m.leader = false }

// Learn is told of a version that somebody claims to be committed, and reads it
// from whichever disk shows it first. To be told again searches again. What is older
// than the floor is left alone: its sets of disks may be gone.
func (m *Machine[V]) Learn(now ident.Instant, c Claim) {
	if c.Ver <= m.committed.ver || c.Ver < m.learn.Ver || c.Ver < m.cfg.Floor {
		return
	}
	m.learn = c
	for d := range m.disks {
		if k := &m.disks[d]; k.sought >= c.Ver && !(k.busy != 0 && k.learning) {
			k.sought = 0
		}
	}
	m.Tick(now)
}

// Take returns what has accumulated: work for the disks, and outcomes in order.
func (m *Machine[V]) Take() ([]Op[V], []Outcome[V]) {
	ops, out := m.give.ops, m.give.outcomes
	m.give.ops, m.give.outcomes = nil, nil
	return ops, out
}

// enter begins phase 1 with a ballot above every round seen.
func (m *Machine[V]) enter(now ident.Instant) {
	m.round++
	m.leader = false
	m.mbal = ident.Ballot{Round: m.round, Node: m.cfg.Self, Inc: m.life.inc, Life: m.cfg.Life}
	m.adopting.best = value[V]{bal: m.own.bal, ver: m.own.ver}
	m.adopting.sources = nil
	m.adopting.floor = m.committed.ver
	m.adopting.claimed = max(m.learn.Ver, m.cfg.Floor)
	m.begin(now, phase1)
}

// extend asks the proposal for the next version, built on the committed one.
func (m *Machine[V]) extend(now ident.Instant) {
	if m.committed.ver > 0 && m.fits(m.committed.val) != Fits {
		m.moved(m.committed)
		return
	}
	if m.committed.ver < m.adopting.claimed {
		m.halt()
		return
	}
	next, changed := m.propose(m.committed.val, m.committed.ver)
	if !changed {
		m.finish(Outcome[V]{Kind: Unchanged, Ver: m.committed.ver, Value: m.committed.val})
		return
	}
	m.adopting.recommits = false
	m.accept(now, value[V]{bal: m.mbal, ver: m.committed.ver + 1, val: next})
}

// accept begins phase 2 with v.
func (m *Machine[V]) accept(now ident.Instant, v value[V]) {
	m.own = v
	m.begin(now, phase2)
}

func (m *Machine[V]) begin(now ident.Instant, p phase) {
	m.phase = p
	m.step++
	m.Tick(now)
}

func (m *Machine[V]) finish(o Outcome[V]) {
	o.Proposal = true
	m.phase = idle
	m.propose = nil
	m.give.outcomes = append(m.give.outcomes, o)
}

// abort gives the proposal up: somebody entered seen, or the value to build on
// moved away while it was being read.
func (m *Machine[V]) abort(seen ident.Ballot) {
	m.leader = false
	m.finish(Outcome[V]{Kind: Aborted, Seen: seen})
}

func (m *Machine[V]) halt() {
	m.leader = false
	m.finish(Outcome[V]{Kind: Halted, Ver: m.adopting.best.ver})
	m.phase = halted
}

// choose records v as chosen.
func (m *Machine[V]) choose(v value[V], c Claim, kind OutcomeKind) {
	if v.ver <= m.committed.ver {
		return
	}
	m.committed, m.claim = v, c
	if c.Ballot.Compare(m.mbal) > 0 {
		m.leader = false
	}
	m.give.outcomes = append(m.give.outcomes, Outcome[V]{Kind: kind, Ver: v.ver, Value: v.val, Claim: c})
}

// phaseDone is called when a majority of the disks finished the current step.
func (m *Machine[V]) phaseDone(now ident.Instant) {
	switch m.phase {
	case phase1:
		m.leader = true
		m.adopt(now)
	case phase2:
		kind := Committed
		if m.adopting.recommits {
			kind = Learned
		}
		m.choose(m.own, Claim{Ver: m.own.ver, Ballot: m.own.bal, Node: m.cfg.Self, Gen: m.newestGen()}, kind)
		if m.adopting.recommits {
			m.extend(now)
			return
		}
		m.finish(Outcome[V]{Kind: Committed, Ver: m.own.ver, Value: m.own.val, Claim: m.claim})
	}
}

// adopt goes on after phase 1 with the highest accepted value that it saw.
func (m *Machine[V]) adopt(now ident.Instant) {
	switch {
	case m.adopting.best.ver < m.adopting.floor:
		m.halt()
	case m.adopting.best.ver < m.committed.ver:
		m.abort(m.committed.bal) // learned while the headers were on their way: somebody has overtaken us
	case m.adopting.best.ver == m.committed.ver:
		m.extend(now)
	case m.adopting.best.bal == m.own.bal && m.adopting.best.ver == m.own.ver:
		m.recommit(now, m.own.val)
	default:
		m.phase = fetching
		m.step++
		m.Tick(now)
	}
}

// recommit chooses an adopted value under our own ballot before building on it:
// it may or may not have been chosen before.
func (m *Machine[V]) recommit(now ident.Instant, val V) {
	if m.fits(val) == Foreign {
		m.moved(value[V]{ver: m.adopting.best.ver, val: val})
		return
	}
	if m.adopting.best.ver < m.adopting.claimed {
		m.halt() // on these very disks: had they been exchanged meanwhile, the value would say so
		return
	}
	m.adopting.recommits = true
	m.accept(now, value[V]{bal: m.mbal, ver: m.adopting.best.ver, val: val})
}
