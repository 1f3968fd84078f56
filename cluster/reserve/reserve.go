// Package reserve decides about this node's persistent reservations: when it
// registers its key on the LUNs below guarded services, when it takes the keys of
// others away, and what that proves.
//
// # Registering is a handshake
//
// A REGISTER that is on its way can arrive after somebody has found all keys of
// this node gone. So a node (1) publishes in its beat that a key may be on its
// way and waits for a majority of the quorum disks, (2) reads the register on a
// majority, from then on, and never registers again in this incarnation if it
// finds itself fenced, (3) registers, and (4) publishes that nothing is on its
// way once every REGISTER has returned. Who takes the keys away has the fencing
// chosen first, then reads the beat again on a majority: either it sees (1), and
// then it proves nothing, or the reading of (2) shows the fencing to the node.
//
// # What taking the keys proves
//
// Once every key of a fenced incarnation was preempted, its commands were
// aborted, and keys and reservation were read back clean on every LUN below a
// service, that node can change nothing of that storage any more. It may still
// run: the proof is for the storage alone. A target that forgets its keys when it
// loses power would let it write again: there the proof is one only of a node whose
// watchdogs end it. The next owner does the same once more
// before it starts anything.
//
// The package is pure: it is told what happened and says what is to be done.
package reserve

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/landing"
)

const (
	// registerWithin and takeWithin bound one attempt; an array may need seconds
	// when two initiators register at once, or to abort what it has queued.
	registerWithin = 20 * time.Second
	takeWithin     = 10 * time.Second
	// checkEvery is the time between two looks at a registration: a path that came
	// back, or a target that forgot its keys, has to be noticed before it is needed.
	checkEvery = 15 * time.Second
	// firstRetry doubles with each attempt in a row that failed, up to lastRetry.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	// giveUpAfter is for how long this node tries to get the storage of a service
	// that it owns for itself, before another one may try.
	giveUpAfter = 15 * time.Second
)

// Env is this node at one instant. State is not nil.
type Env struct {
	Now     ident.Instant
	State   *cluster.State // the newest committed one
	Self    ident.NodeID
	Inc     ident.Incarnation // bound
	Cluster ident.UUID
	Member  bool            // a member that holds its lease, and is not about to stop
	Tz      time.Duration   // how long writes that were on their way may take to land
	Stalls  *landing.Stalls // of this node's requests; nil: none
	Disks   Disks
	Open    ident.Instant // when the guard took note that a key may be on its way; 0: it has not
	Issued  ident.Instant // a majority of the disks holds an own beat that was issued no earlier
	Fencing Fencing
	Sights  Sights
}

// Sights is what was seen of other nodes.
type Sights interface {
	// Watchdogs says what would end a node, by its latest beat; none where it has none.
	Watchdogs(ident.NodeID) cluster.WatchdogClass
}

// Disks are the quorum disks that count.
type Disks interface {
	// Met says that a majority of them, of every set that counts, is so.
	Met(is func(disk int) bool) bool
}

// Fencing is what this node does to others beside its reservations.
type Fencing interface {
	// Reserves says whether this node may take the storage of a node that is being
	// fenced from it now, and since when it knows of the fencing.
	Reserves(ident.NodeID, ident.Incarnation) (since ident.Instant, ok bool)
}

// handshake is how far a registration is.
type handshake uint8

const (
	shut        handshake = iota
	opening               // "a key may be on its way" has to reach a majority of the disks
	reading               // the register has to be read on a majority
	registering           // until every REGISTER has returned
)

// Set is the reservations of this node. It is used by one goroutine.
type Set struct {
	env    Env `memory:"-"` // of the call under way
	ops    uint64
	out    []cluster.Action
	stage  handshake
	since  ident.Instant // of the stage
	flying []uint64      // ops whose REGISTERs have not all returned
	orphan bool          // a former life of the daemon may still have one on its way
	burned ident.Incarnation
	luns   []*storage // by service
	beats  sightings
}

// storage is what is below one guarded service.
type storage struct {
	name   string
	op     uint64 // under way; 0: none
	kind   cluster.ReserveKind
	began  ident.Instant
	have   ident.Incarnation // whose key is registered on every path
	next   ident.Instant     // when to try, or to look, again
	failed int               // registrations in a row that failed
	last   cluster.ReserveDone
	at     ident.Instant // when last ended; 0: never
	take   taking
	asked  asked
}

// New returns the reservations of a daemon that has just started. orphan says
// that a task of a former life may still have a REGISTER on its way: then this
// node publishes so for as long as this daemon lives.
func New(orphan bool) *Set { return &Set{orphan: orphan} }

// Open says that a key of this node may be on its way, which its beat has to say.
func (s *Set) Open() bool { return s.orphan || s.stage != shut || len(s.flying) > 0 }

// Take returns what is to be done since the last call: Reserves, and Notes whose
// instant is the caller's to fill in.
func (s *Set) Take() []cluster.Action {
	out := s.out
	s.out = nil
	return out
}

func (s *Set) emit(a cluster.Action) { s.out = append(s.out, a) }

func (s *Set) note(n cluster.Note) {
	n.Kind = cluster.NoteWay
	n.Text = cluster.Limit("reservation: "+n.Text, 400)
	s.emit(n)
}

// Manage takes every reservation one step, if one is due.
func (s *Set) Manage(env Env) {
	s.env = env
	if s.follow(); len(s.luns) == 0 && s.stage == shut {
		return
	}
	s.shake()
	for _, l := range s.luns {
		if l.op == 0 && s.fit() && l.have == env.Inc {
			s.work(l)
		}
	}
}

// fit says that this node may hold and use its key: it is a member and, as far
// as it knows, nobody fences it.
func (s *Set) fit() bool {
	n := s.env.State.Node(s.env.Self)
	if n == nil || n.Fencing == s.env.Inc || n.Dead >= s.env.Inc.N {
		s.burned = s.env.Inc
	}
	return s.env.Member && !s.env.Inc.IsZero() && s.burned != s.env.Inc && n.Inc == s.env.Inc
}

// follow keeps one entry for every guarded service that this node may run.
func (s *Set) follow() {
	conf := s.env.State.Conf
	me := s.env.State.NameOf(s.env.Self)
	var list []*storage
	for i := range services(conf) {
		svc := &conf.Services[i]
		if !svc.Guarded() || !svc.Allows(me) {
			continue
		}
		l := s.storage(svc.Name)
		if l == nil {
			l = &storage{name: svc.Name}
		}
		list = append(list, l)
	}
	for _, l := range s.luns { // what is under way ends before it is forgotten
		if l.op != 0 && !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	s.luns = list
}

func services(c *cluster.Config) []cluster.Service {
	if c == nil {
		return nil
	}
	return c.Services
}

func (s *Set) storage(name string) *storage {
	for _, l := range s.luns {
		if l.name == name {
			return l
		}
	}
	return nil
}

// work begins what is due on the storage of a service whose key this node holds.
func (s *Set) work(l *storage) {
	g := s.env.State.Grant(l.name)
	switch {
	case g != nil && s.startDue(l, g):
		l.take = taking{grant: key(g), rev: s.env.State.ConfigRev, failed: l.take.failedFor(key(g)), taken: l.take.taken}
		s.begin(l, cluster.ReserveTake, takeWithin)
	case g != nil && s.proofDue(l, g):
		l.take = taking{grant: key(g), rev: s.env.State.ConfigRev, failed: l.take.failedFor(key(g)), from: g.Owner, taken: l.take.taken}
		s.begin(l, cluster.ReserveTake, takeWithin)
	case s.env.Now >= l.next:
		s.begin(l, cluster.ReserveCheck, takeWithin)
	}
}

func (s *Set) begin(l *storage, kind cluster.ReserveKind, within time.Duration) {
	svc, ok := s.env.State.Conf.Service(l.name)
	if !ok {
		return
	}
	s.ops++
	l.op, l.kind, l.began = s.ops, kind, s.env.Now
	r := cluster.Reserve{Op: l.op, Kind: kind, Service: svc, Key: s.keyOf(s.env.Self, s.env.Inc), Within: within}
	switch kind {
	case cluster.ReserveRegister:
		s.flying = append(s.flying, l.op)
		s.note(cluster.Note{Node: s.env.Self, Inc: s.env.Inc, Service: l.name, Text: "registering " + cluster.KeyText(r.Key)})
	case cluster.ReserveTake:
		r.Keep = s.welcome(svc)
		n := cluster.Note{Node: s.env.Self, Service: l.name, Text: "taking every other key away before the start"}
		if l.take.from != 0 {
			r.Victim = s.keyOf(l.take.from, l.take.grant.inc)
			n.Node, n.Inc, n.Text = l.take.from, l.take.grant.inc, "taking its keys away, and aborting its commands"
		}
		s.note(n)
	}
	s.emit(r)
}

func (s *Set) keyOf(id ident.NodeID, inc ident.Incarnation) uint64 {
	return cluster.KeyOf(s.env.Cluster, id, inc)
}

// welcome lists the keys that may stay on the storage of a service: those of the
// other members that may run it, as they are now, that nobody is fencing and that
// are no former owner whose end is not proven. So a key of a node that may run the
// service no more goes with the next start.
func (s *Set) welcome(svc *cluster.Service) []uint64 {
	var keys []uint64
	g := s.env.State.Grant(svc.Name)
	for i := range s.env.State.Nodes {
		n := &s.env.State.Nodes[i]
		pending := g != nil && slices.ContainsFunc(g.Pending, func(p cluster.Pending) bool { return p.Node == n.ID })
		if n.ID != s.env.Self && svc.Allows(n.Name) && n.Phase == cluster.MemberPhase && n.Fencing.IsZero() && n.Dead < n.Inc.N && !pending {
			keys = append(keys, s.keyOf(n.ID, n.Inc))
		}
	}
	return keys
}

// Done takes the end of a Reserve.
func (s *Set) Done(env Env, e cluster.ReserveDone) {
	s.env = env
	if !e.InFlight {
		s.flying = slices.DeleteFunc(s.flying, func(op uint64) bool { return op == e.Op })
	}
	for _, l := range s.luns {
		if l.op == e.Op && e.Op != 0 {
			s.ended(l, e)
			return
		}
	}
}

func (s *Set) ended(l *storage, e cluster.ReserveDone) {
	if e.InFlight {
		if l.last.Op != e.Op {
			s.note(cluster.Note{Node: s.env.Self, Inc: s.env.Inc, Service: l.name, Text: "a REGISTER has not returned: " + e.Text})
		}
		l.last, l.at = e, s.env.Now
		return
	}
	before := l.last.Outcome
	l.op, l.last, l.at = 0, e, s.env.Now
	works := e.Outcome == cluster.FenceProven
	switch l.kind {
	case cluster.ReserveTake:
		s.took(l, e)
	case cluster.ReserveRegister:
		if works {
			l.have, l.failed = s.env.Inc, 0
		}
	case cluster.ReserveCheck:
		if works {
			l.failed = 0
		}
	}
	if !works && l.kind != cluster.ReserveTake {
		l.have = ident.Incarnation{}
		l.failed++
	}
	l.next = s.env.Now.Add(checkEvery)
	if l.failed > 0 && l.kind == cluster.ReserveRegister {
		l.next = s.env.Now.Add(min(firstRetry<<min(l.failed-1, 8), lastRetry))
	} else if !works {
		l.next = s.env.Now
	}
	if l.kind == cluster.ReserveRegister && (!works && l.failed == 1 || works && before != cluster.FenceProven) {
		s.note(cluster.Note{Node: s.env.Self, Inc: s.env.Inc, Service: l.name, Text: "registering: " + e.Outcome.String() + ": " + e.Text})
	}
}
