package guard

import (
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// state is what the guard's tasks share. Its lock is held for a few
// instructions, never across I/O, so that the feeding thread never waits for a
// disk or for the daemon.
type state struct {
	node ident.NodeID
	host ident.UUID

	mu       sync.Mutex
	all      quorum.Set // every disk that counts
	lease    *lease.Lease
	params   guardwire.Params
	payload  [guardwire.MaxPayload]byte
	length   int
	seq      uint64 // of the order that set payload
	killed   guardwire.Killed
	latency  [quorumdisk.MaxDisks]time.Duration
	farewell quorumdisk.BeatHeader // of the incarnation that retired last
	owed     quorum.Set            // disks that farewell was not written to yet
	own      ownBeats
}

// ownBeats is what this node's slot said before this guard wrote to it.
type ownBeats struct {
	seq     uint64 // newest beat of this boot
	bound   bool   // it had not retired
	claimed bool   // this guard has claimed since, so that old beats mean nothing
}

func newState(node ident.NodeID, host ident.UUID, disks int, sets ...quorum.Set) *state {
	if len(sets) == 0 {
		sets = []quorum.Set{quorum.All(disks)}
	}
	s := &state{node: node, host: host, all: quorum.All(disks), lease: lease.New(maxSlots, sets...)}
	for d := range s.latency {
		s.latency[d] = -1
	}
	return s
}

// verdict answers the feeding thread.
type verdict struct {
	bound  bool
	feed   bool          // the watchdogs may be fed
	reset  bool          // a kill record's time is up
	slept  bool          // the machine was suspended while it was bound
	period time.Duration // of the feeding loop; 0: the guard's own
	until  ident.Instant // the lease's end; 0: nothing is bound
}

// judge asks the lease; slept is for how long the machine was suspended since it
// was asked last.
func (s *state) judge(now ident.Instant, slept time.Duration) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := verdict{
		bound:  s.lease.State() == lease.Bound,
		feed:   s.lease.MayFeed(now),
		reset:  s.lease.ResetDue(now),
		slept:  s.lease.OverAfter(slept),
		period: s.params.PetPeriod,
	}
	if v.bound {
		v.until = s.lease.End()
	}
	return v
}

// bound is the bound incarnation; zero if FREE.
func (s *state) bound() ident.Incarnation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease.View().Inc
}

// pace is the period of the disk cycle and the longest useful wait for one
// request: a cycle that took longer than F renews nothing.
func (s *state) pace() (period, patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease.State() == lease.Free {
		return freePeriod, freePatience
	}
	return s.params.H, s.params.Lease.F
}

// beat fills h and payload with what a beat issued at now has to say and returns
// the payload's length; false if nothing may be written to this disk.
func (s *state) beat(disk int, now ident.Instant, h *quorumdisk.BeatHeader, payload []byte) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lease.MayBeat(now):
		*h = s.header()
	case s.lease.State() == lease.Free && s.owed.Has(disk):
		*h = s.farewell
	default:
		return 0, false
	}
	h.Seq, h.Latency = uint64(now), s.latency
	return copy(payload, s.payload[:s.length]), true
}

// header is the front of a beat of the bound incarnation, under mu.
func (s *state) header() quorumdisk.BeatHeader {
	v, said := s.lease.View(), cluster.GuardBound
	if v.Frozen {
		said = cluster.GuardStopping
	}
	if v.Killed {
		said = cluster.GuardFencing
	}
	return quorumdisk.BeatHeader{
		Node: s.node, Host: s.host, State: said, Inc: v.Inc,
		Lease: s.params.Lease, DiskGen: s.params.DiskGen,
	}
}

// completed notes a whole cycle: written, read back, superblock in place.
func (s *state) completed(disk int, h *quorumdisk.BeatHeader, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if disk < len(s.latency) {
		s.latency[disk] = took
	}
	if h.State == cluster.GuardRetired {
		if h.Inc == s.farewell.Inc {
			s.owed &^= 1 << disk
		}
		return
	}
	s.lease.CycleCompleted(disk, h.Inc, ident.Instant(h.Seq))
}

// kill obeys a kill record and says whether that is news.
func (s *state) kill(inc ident.Incarnation, k guardwire.Killed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lease.Kill(inc) {
		return false
	}
	s.killed = k
	return true
}

// look notes this node's beat as it was before this guard claimed anything, and
// says whether an incarnation of this boot is bound by it.
func (s *state) look(boot ident.BootID, h quorumdisk.BeatHeader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Inc.Boot == boot && h.Seq > s.own.seq {
		s.own.seq, s.own.bound = h.Seq, h.State != cluster.GuardRetired
	}
	return s.own.bound && !s.own.claimed
}

// setPayload keeps the daemon's part of the beat; the decoder bounded its length.
func (s *state) setPayload(b []byte, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.length, s.seq = copy(s.payload[:], b), seq
}

// claim binds an incarnation, with its first payload.
func (s *state) claim(now ident.Instant, o *guardwire.Claim, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lease.Claim(now, o.Inc, o.Until, lease.Params{F: o.Params.Lease.F, G: o.Params.Lease.G}); err != nil {
		return err
	}
	s.length, s.seq = copy(s.payload[:], o.Payload), seq
	s.params, s.killed, s.owed, s.own.claimed = o.Params, guardwire.Killed{}, 0, true
	return nil
}

// change has the beats carry another promise, if check does not refuse it. The clock
// is read under the lock: no beat that was stamped later carries the former one.
func (s *state) change(o *guardwire.Promise, now func() (ident.Instant, error), check func(ident.Incarnation, *guardwire.Params) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.params
	p.Lease.F, p.Lease.G, p.H = o.F, o.G, o.H
	at, err := now()
	if err == nil {
		err = check(o.Inc, &p)
	}
	if err == nil {
		err = s.lease.Change(at, o.Inc, lease.Params{F: o.F, G: o.G})
	}
	if err == nil {
		s.params = p
	}
	return err
}

// retire ends the bound incarnation. What its beats say last is written when the
// disks allow: nobody waits for it.
func (s *state) retire(inc ident.Incarnation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.header()
	if err := s.lease.Retire(inc); err != nil {
		return err
	}
	h.State = cluster.GuardRetired
	s.farewell, s.owed, s.params = h, s.all, guardwire.Params{}
	return nil
}

// useSets has the lease count by other sets of disks, of generation gen.
func (s *state) useSets(now ident.Instant, gen uint32, sets []quorum.Set) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lease.ChangeSets(now, sets...); err != nil {
		return err
	}
	if s.all = quorum.Sets(sets).All(); s.lease.State() == lease.Bound {
		s.params.DiskGen = gen
	}
	s.owed &= s.all
	return nil
}

// with runs f on the lease, under the lock.
func (s *state) with(f func(*lease.Lease) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(s.lease)
}

// snapshot is the part of a Snapshot that the state knows.
func (s *state) snapshot() *guardwire.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &guardwire.Snapshot{
		Lease: s.lease.View(), Params: s.params, Host: s.host,
		Payload: append([]byte(nil), s.payload[:s.length]...), Seq: s.seq, Killed: s.killed,
	}
}
