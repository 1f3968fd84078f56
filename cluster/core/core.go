// Package core is one node's mind: events in, actions out, no I/O, no clock, no
// goroutine. It gathers the evidence on the other nodes (observe.go) into a
// sight (sight.go), lets package decide make the next state of it and the
// register agree on that (decide.go), takes this node through its stages from
// boot to leave (progress.go), and runs the services that are granted to it
// (services.go). Safety never depends on which node decides, nor on a message:
// what counts is committed in the register, and a service starts only under a
// grant whose former owner is proven to have stopped or to be dead.
package core

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/fencing"
	"github.com/holdfast-ha/holdfast/cluster/grace"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
	"github.com/holdfast-ha/holdfast/cluster/pages"
	"github.com/holdfast-ha/holdfast/cluster/peer"
	"github.com/holdfast-ha/holdfast/cluster/promise"
	"github.com/holdfast-ha/holdfast/cluster/published"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/reserve"
	"github.com/holdfast-ha/holdfast/cluster/services"
	"github.com/holdfast-ha/holdfast/cluster/slot"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Settings is what does not change during a daemon's life.
type Settings struct {
	Self    ident.NodeID
	Name    string
	Cluster ident.UUID
	Host    ident.UUID
	Boot    ident.BootID
	Life    uint64 // now() at the start of this daemon, in ns
	Disks   []ident.UUID
	Digest  cluster.Digest // of Disks, as messages carry it
	Epoch   uint32         // of Disks; see package diskset
	Timing  timing.Input   // FailoverWithin is taken from the configuration
	// Protocol is what this node speaks; zero: what the program does. A test sets it to be an older node.
	Protocol cluster.Protocol
	// WaitLess shortens every wait of a time proof. It exists for the tests
	// that must see the proof fail; a daemon never sets it.
	WaitLess time.Duration
}

// stage is how far this node has come.
type stage uint8

const (
	starting stage = iota // before Started
	reading               // the quorum disk is read, nothing is written
	claiming              // the guard was asked to bind a new incarnation
	joining               // beats as "joining", until the membership has it
	member
	leaving  // its services are being moved away
	yielding // without disks: its services are being stopped, then it retires
	ending   // fenced, or the lease is lost: everything is stopped at once
	retired  // holds nothing; comes back with a new incarnation
	out      // has left; the daemon ends
)

// String is what status shows.
func (s stage) String() string {
	return [...]string{
		"starting", "reading the quorum disk", "binding the guard", "joining", "member",
		"leaving", "stopping its services", "stopping everything at once", "retired", "out",
	}[s]
}

// Core is one node's decisions. It is used by one goroutine.
type Core struct {
	set      Settings
	now      ident.Instant
	out      []cluster.Action
	t        timing.Table
	timed    bool // t is valid
	reg      registerSide
	guard    guardSide
	self     selfSide
	disks    *diskset.Watch
	peers    [ident.MaxNodes + 1]*peer.Peer // by node
	others   []*peer.Peer                   // the same without this node, in order: no decision may depend on the order of a map
	services *services.Set
	dec      decideSide
	next     clockSide
	blob     *published.Blob
}

// decideSide is what this node decides, and was asked for.
type decideSide struct {
	stalls  landing.Stalls // of this node's requests to the quorum disks: evidence of a death waits for them
	asked   []decide.Question
	mem     *decide.Memory
	sight   decide.Sight  `memory:"-"` // of the latest decision; its room is used again
	acts    bool          // it acts on the evidence now: see coordinates
	pending ident.Instant // since when a decision of the coordinator is missing; 0: none is
	ways    *fencing.Set
	keys    *reserve.Set
	reads   ident.Instant // when the proposal under way began that only reads the register again; 0: it is another
}

// registerSide is the register and what this node does with it.
type registerSide struct {
	m        *register.Machine[*cluster.State]
	state    *cluster.State // the highest committed version this node knows
	ver      uint64
	learned  bool // phase 1 was completed in this life: state is not older than that
	notUntil ident.Instant
	aborts   uint
	halted   bool
	draft    *decide.Draft // of the proposal under way, as made from its base
	lost     decide.Lost   // of one that was overtaken: the one who did it may have found and chosen it
}

// guardSide is what the guard was told and what it has echoed.
type guardSide struct {
	seq     uint64
	bound   ident.Incarnation
	claim   ident.Incarnation // asked for, not echoed
	since   ident.Instant     // the lease is no older than this: the claim, or what the guard said at Started
	payload cluster.Payload   // as ordered last
	sent    uint64            // order that carried it
	open    ident.Instant     // since when the payload that it holds says that a key may be on its way; 0: it does not
	echoed  uint64            // latest payload order that was echoed
	kicked  ident.Instant
	retire  bool // asked to retire
	killed  bool
	frozen  bool
	grace   grace.Node
	promise promise.Node
	disks   diskset.Order
}

// selfSide is this node's own standing.
type selfSide struct {
	stage   stage
	inc     ident.Incarnation
	since   ident.Instant // of the stage
	waiting string
	refuse  string            // why this node does not go on
	seeing  ident.Instant     // since when this node has seen the disks and its links without a gap
	ack     ident.Incarnation // this incarnation was verified stopped after it was killed
	lost    bool              // the lease was lost in this incarnation
	leave   bool
	speaker pages.Speaker // of the network beats
}

// clockSide holds the deadlines of what is done periodically.
type clockSide struct {
	permit ident.Instant
	send   pages.Pace    // of the network beats
	proof  ident.Instant // when a proof by time may begin
	tick   ident.Instant
	check  ident.Instant // when the disks are to be checked for a rollback
}

// New returns a core that waits for Started.
func New(set Settings) *Core {
	if set.Protocol == 0 {
		set.Protocol = cluster.Spoken
	}
	return &Core{
		set: set, disks: diskset.NewWatch(set.Disks, set.Epoch), dec: decideSide{mem: decide.NewMemory(), ways: fencing.New()},
		next: clockSide{proof: ident.Never}, blob: published.New(set.Life, len(set.Disks)),
	}
}

// Step takes one event and returns what is to be done, in order. The slice is
// the caller's. now never falls.
func (c *Core) Step(now ident.Instant, ev cluster.Event) []cluster.Action {
	c.now = now
	c.out = nil
	if e, ok := ev.(cluster.RunDone); ok && c.ran(e) {
		return c.out // nothing has changed, and the next Tick is due within 50 ms
	}
	c.take(ev)
	if _, ok := ev.(cluster.Received); !ok && c.self.stage != starting {
		c.judge() // what is heard proves nothing; time is told by the other events
	}
	c.advance()
	return c.out
}

// NextDeadline is when the core wants a Tick at the latest.
func (c *Core) NextDeadline() ident.Instant { return c.next.tick }

func (c *Core) take(ev cluster.Event) {
	switch e := ev.(type) {
	case cluster.Tick:
	case cluster.Started:
		c.started(e)
	case cluster.Table:
		c.table(e)
	case cluster.Echoed:
		c.echo(e)
	case cluster.Noticed:
		c.noticed(e)
	case cluster.RegisterWrote:
		c.reg.m.Wrote(c.now, e.Disk, e.Seq, e.OK)
	case cluster.RegisterHeaders:
		c.reg.m.Headers(c.now, e.Disk, e.Seq, e.All, e.OK)
	case cluster.RegisterBody:
		c.reg.m.Body(c.now, e.Disk, e.Seq, e.Value, e.OK)
	case cluster.BlobWrote:
		c.blob.Wrote(e, c.disks.Met)
	case cluster.BlobRead:
		c.peerOf(e.Node).Blob.Read(e.Blob)
	case cluster.Received:
		c.received(e)
	case cluster.Stirred:
		c.services.Stirred(c.env(), e)
	case cluster.FenceDone:
		c.fenced(e)
	case cluster.ReserveDone:
		c.reserved(e)
	case cluster.Asked:
		c.ask(e)
	}
}

// advance does everything that the new situation allows.
func (c *Core) advance() {
	if c.self.stage == starting {
		c.next.tick = ident.Never
		return
	}
	if c.now >= c.next.check {
		c.checkDisks()
	}
	c.reg.m.Tick(c.now)
	c.register()
	c.orderDisks()
	c.orderPromise()
	c.progress()
	c.manage()
	c.fence()
	c.decide()
	c.register()
	c.publish()
	c.periodic()
}

// register passes the register's work on and learns what it has found out.
func (c *Core) register() {
	for {
		ops, outs := c.reg.m.Take()
		if len(ops) == 0 && len(outs) == 0 {
			return
		}
		for _, op := range ops {
			c.emit(cluster.RegisterOp{Op: op})
		}
		for _, o := range outs {
			c.outcome(o)
		}
		c.reg.m.Tick(c.now)
	}
}

func (c *Core) outcome(o register.Outcome[*cluster.State]) {
	switch o.Kind {
	case register.Committed, register.Learned:
		c.learn(o.Value, o.Ver)
	case register.Aborted, register.Shared:
		c.reg.aborts++
		c.reg.notUntil = c.now.Add(decide.Backoff(c.set.Self, c.set.Life, c.reg.aborts))
		if o.Kind == register.Shared {
			c.reg.learned = c.reg.learned && !c.guard.bound.IsZero()
			c.reg.notUntil = c.now.Add(slot.Pause(c.set.Life))
			c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: slot.Twice})
		}
		c.reg.lost.Keep(c.reg.draft)
		c.reg.draft = nil
		c.dec.reads = 0
		return
	case register.Moved:
		c.follow(o.Value)
		return
	case register.Ejected:
		c.eject(o.Disk)
		return
	case register.Halted:
		c.reg.halted = true
		c.refuseAsked()
		c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: "the quorum disks show an older version than was committed: they were rolled back (a snapshot restored, a replica activated); this node decides nothing more"})
		return
	}
	if o.Proposal {
		c.reg.aborts = 0
		c.wasRead(o)
		c.answered(o)
	}
	if o.Proposal && !c.reg.learned {
		c.reg.learned = true
	}
}

// learn takes a committed version.
func (c *Core) learn(s *cluster.State, ver uint64) {
	if s == nil || ver <= c.reg.ver {
		return
	}
	c.reg.state, c.reg.ver = s, ver
	c.follow(nil)
	if d := c.reg.lost.Found(s); d != nil {
		c.tell(d)
		c.answer(d)
	}
	if s.Life.Protocol > c.set.Protocol {
		c.refuse(decide.TooNew(s.Life.Protocol, c.set.Protocol))
		return
	}
	c.retime()
}

// retime derives the timeouts from the configuration, when it is first known
// and while nothing is bound; orderPromise changes what a bound incarnation
// promises.
func (c *Core) retime() {
	if c.timed && !c.guard.bound.IsZero() {
		return
	}
	conf := c.reg.state.Conf
	if conf == nil {
		c.refuse("the configuration on the quorum disk cannot be read by this version of holdfastd: upgrade this node")
		return
	}
	in := c.set.Timing
	in.FailoverWithin, in.Grace = conf.FailoverWithin, conf.NetworkGrace()
	t, err := timing.Derive(in)
	if err != nil {
		c.refuse("failover_within does not fit this node: " + err.Error())
		return
	}
	c.t, c.timed, c.self.refuse = t, true, ""
}

func (c *Core) refuse(why string) {
	if c.self.refuse != why {
		c.self.refuse = why
		c.note(cluster.Note{Kind: cluster.NoteAlarm, Text: why})
	}
}

func (c *Core) emit(a cluster.Action) { c.out = append(c.out, a) }

// note adds a line to the story; At is now unless given.
func (c *Core) note(n cluster.Note) {
	if n.At == 0 {
		n.At = c.now
	}
	if n.Node == 0 {
		n.Node = c.set.Self
	}
	if n.Ver == 0 {
		n.Ver = c.reg.ver
	}
	c.emit(n)
}

// leaseStart is the issue of the latest beat that a majority of the disks held;
// until there is one, the claim.
func (c *Core) leaseStart() ident.Instant {
	return max(c.guard.since, c.disks.LeaseStart())
}

// ownAge is how old this node's own view of the disks is: the majority-th read.
func (c *Core) ownAge() time.Duration {
	return c.now.Sub(c.disks.Seen())
}

// peerOf returns the evidence on a node, making room for it.
func (c *Core) peerOf(id ident.NodeID) *peer.Peer {
	p := c.peers[id]
	if p == nil {
		p = peer.New(id, len(c.disks.Disks), c.disks.Sets())
		c.peers[id] = p
		c.others = c.others[:0]
		for _, o := range c.peers {
			if o != nil && o.ID != c.set.Self {
				c.others = append(c.others, o)
			}
		}
	}
	return p
}
