package register

import (
	"math/bits"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// A ring has one writer, and everything here rests on that: a block that its
// writer relies on must not be overwritten by somebody who has not read it. But
// two machines may have one node's identity (a cloned system disk, a virtual
// machine that was started twice), and either may stop at any point, and go on
// with a write that it was about to issue. The slot tells such machines apart
// while one of them beats in it; the rest is done here, disk by disk:
//
// One place of the ring is for tickets, and nothing that anybody relies on ever
// stands there. A life that cannot be sure to be the only one reads the ring,
// writes its ticket, which names the five places that it will begin with and those
// that it leaves out, and waits. If the ticket still stands, and the ring is as it was, it begins. Whoever
// took longer than Prompt from reading to having written does not, and as Prompt is
// less than standing, no two begin from the same ring: the later one has read the
// ticket of the earlier one. The earlier one finds the ticket of the later with its
// next read, and stops. What it may have issued until then are five generations at
// the most. The later one leaves them out: those after the newest block that stands,
// or, where nothing of the earlier one is to be seen yet, those that its ticket
// names, too. So a block may be late by as long as it takes the ring to come round,
// which does not happen before nothing may land any more; and a ticket by any time.
// But a ticket that is late may have taken the place of another, which then
// nobody can read: its writer waits until everything has settled.
//
// A life whose guard has an incarnation bound takes no ticket at first: the slot
// is its own, and a second machine takes its ticket only while that stands still.
// But on a disk that was added, where its node has written nothing yet, a ticket
// tells the next life where it began: no block may be there to tell.

// ticketSlot is the place of the tickets. Old versions wrote blocks there too.
const ticketSlot = Generations - 1

// standing is how long a ticket has to stand: longer than Prompt, by more than two clocks
// differ in that time.
const standing = time.Second

// Prompt is how long reading the ring and writing the ticket may take together, and
// how old what was read of a disk may be when a block is written: where a read takes
// longer, nothing can be decided.
const Prompt = 900 * time.Millisecond

// life tells the blocks of this life from those of others.
type life struct {
	inc     uint32   // see Header.Inc
	all     []uint64 // every Ballot.Life of this process
	tickets bool     // it takes tickets: it wants to write, and is not sure to be the only one
	entered bool     // a majority of the disks has its ticket
}

type entryStep uint8

const (
	outside entryStep = iota
	looked            // the ring was read, the ticket is to be written
	waits             // the ticket is written, and has to stand
	inside
)

// entry is how far a life has come on a disk by its ticket.
type entry struct {
	step   entryStep
	asked  ident.Instant // when the ring was read
	until  ident.Instant // before that it may have hidden a ticket by a late one of its own
	before Header        // what stood in the place of tickets
	newest uint64        // the newest generation that stood
	avoid  places        // those with which another life may begin
	left   places        // all that it leaves out
	stuck  bool          // there was too little room, so everything has to settle first
	first  bool          // the disk was added: a ticket tells the next life where this one began
	slow   bool          // the latest read took long, as one does for which the disk was opened
	tries  uint64
}

// places is a set of places in a ring.
type places uint16

func (p places) has(gen uint64) bool { return p>>(gen%Generations)&1 == 1 }

// after returns the places of the next generations after gen that are in none of p,
// so many of them as a life may have used beyond the newest one that it was shown.
func (p places) after(gen uint64) (next places) {
	for end, n := gen+2*Generations, 0; gen < end && n < maxUnknown+1; {
		if gen++; gen%Generations != ticketSlot && !p.has(gen) && !next.has(gen) {
			next |= 1 << (gen % Generations)
			n++
		}
	}
	return next
}

// few says that too little of a ring is left to begin in.
func (p places) few() bool { return Generations-1-bits.OnesCount16(uint16(p)) < maxUnknown+1 }

// pending is where the life that wrote the newest block may write yet: into the
// next places, or beyond those that it leaves out itself. Its ticket names these;
// where it took none they are among those in which it has written nothing.
func (m *Machine[V]) pending(all []Header, s *sight) places {
	skips := places(1<<ticketSlot - 1)
	for _, h := range all {
		if h.Node == m.cfg.Self && h.Inc == s.newest.Inc && h.Mbal.Life == s.newest.Mbal.Life {
			skips &^= 1 << (h.Gen % Generations)
		}
	}
	if s.ticket.IsTicket() && s.ticket.Mbal.Life == s.newest.Mbal.Life {
		skips, _ = s.ticket.names()
	} else if bits.OnesCount16(uint16(skips)) >= 2*(maxUnknown+1) {
		skips = 0 // it has not come round its ring: the next five are before what it leaves out
	}
	// It goes on after its own newest block. A higher one of an older life may have
	// landed since it began, and another machine may go on after that.
	next := places(0).after(s.gen) | skips.after(s.gen)
	return next | places(0).after(s.newest.Gen) | skips.after(s.newest.Gen)
}

// names returns what a ticket says: the places that its life leaves out, and those
// that it begins with.
func (h *Header) names() (left, first places) {
	return places(h.Mbal.Inc), places(h.Mbal.Inc >> 16)
}

// IsTicket says that h is a ticket: it holds no promise and no value.
func (h *Header) IsTicket() bool { return h.Slot == ticketSlot && h.Mbal.Round == 0 }

// same says that two headers are of one write.
func (h *Header) same(o *Header) bool {
	return h.Inc == o.Inc && h.Gen == o.Gen && h.Mbal == o.Mbal && h.Bal == o.Bal && h.Ver == o.Ver
}

// feedRing reads the ring, and takes a ticket before if it needs one.
func (m *Machine[V]) feedRing(now ident.Instant, d int) {
	k := &m.disks[d]
	e := &k.ring.entry
	switch {
	case (m.life.tickets || e.first) && e.step == outside && now < e.until:
		k.notBefore = e.until
		return
	case (m.life.tickets || e.first) && e.step == looked && now.Sub(e.asked) <= Prompt:
		m.issue(d, Op[V]{Kind: Write, Header: k.ring.ticket})
		return
	case e.step == looked || e.step == outside:
		e.step, e.asked = outside, now
	}
	m.issue(d, Op[V]{Kind: ReadHeaders})
}

// readRing takes a read of the ring: it begins with it, or goes on to its ticket.
func (m *Machine[V]) readRing(now ident.Instant, d int, all []Header) {
	k := &m.disks[d]
	seen := m.see(all)
	switch e := &k.ring.entry; {
	case e.step == inside || !m.life.tickets && !(e.first && (seen.empty() || e.step == waits)):
		m.recoverRing(now, d, all)
	case e.step == waits && seen.ticket.same(&k.ring.ticket) && seen.gen == e.newest:
		e.step = inside
		m.recoverRing(now, d, all)
	case e.step == waits && seen.ticket != (Header{}) && !seen.ticket.same(&k.ring.ticket) && !seen.ticket.same(&e.before):
		m.shared()
	case e.step == waits: // the disk does not have it, or a block has landed meanwhile
		e.step, k.notBefore = outside, now.Add(retry)
	case seen.gen != 0 && seen.newest.Slot == ticketSlot:
		// An old version's newest block: it is not overwritten, and this life goes
		// without a ticket. The next one finds the place free.
		e.step, e.left = inside, seen.next
		m.recoverRing(now, d, all)
	default:
		m.look(now, k, seen)
	}
}

// sight is what a ring shows.
type sight struct {
	ticket Header // what stands in the place of tickets; zero: nothing
	newest Header // the newest block
	gen    uint64 // the highest generation of a block
	next   places // where the writer of the newest block may write yet
}

func (m *Machine[V]) see(all []Header) (s sight) {
	for _, h := range all {
		if h.Node != m.cfg.Self {
			continue
		}
		if h.Slot == ticketSlot {
			s.ticket = h
		}
		if h.IsTicket() {
			continue
		}
		if s.gen = max(s.gen, h.Gen); h.Newer(&s.newest) {
			s.newest = h
		}
	}
	s.next = m.pending(all, &s)
	return s
}

// begun says that the holder of the ticket may have begun, and nothing of it is to be seen.
func (s *sight) begun() bool { return s.ticket.IsTicket() && s.ticket.Inc > s.newest.Inc }

// empty says that this node has written nothing here yet.
func (s *sight) empty() bool { return s.gen == 0 && s.ticket == (Header{}) }

// look makes the ticket from what the ring shows, and from where somebody may write yet.
func (m *Machine[V]) look(now ident.Instant, k *disk, seen sight) {
	e := &k.ring.entry
	if e.slow = !e.slow && now.Sub(e.asked) > Prompt/3; e.slow {
		return // too little time is left for the ticket, and one that is late costs a minute: once more
	}
	open := seen.begun()
	settled := e.stuck && seen.ticket.same(&e.before) && seen.gen == e.newest
	switch {
	case settled:
		seen.next, e.avoid = 0, 0
	case open && slices.Contains(m.life.all, seen.ticket.Mbal.Life): // nobody has taken one since
	case open:
		_, e.avoid = seen.ticket.names()
	default:
		e.avoid = 0
	}
	e.before, e.newest, e.stuck = seen.ticket, seen.gen, false
	if e.left = seen.next | e.avoid; e.left.few() {
		e.stuck, e.until = true, now.Add(quarantine)
		return
	}
	e.step = looked
	e.tries++
	m.life.inc = max(m.life.inc, seen.newest.Inc+1, seen.ticket.Inc+1)
	k.ring.ticket = Header{
		Node: m.cfg.Self, Slot: ticketSlot, Inc: m.life.inc, Gen: e.tries*Generations + ticketSlot,
		Mbal: ident.Ballot{Node: m.cfg.Self, Inc: uint32(e.left) | uint32(e.left.after(seen.gen))<<16, Life: m.cfg.Life},
	}
}

// wroteTicket reports the completion of a ticket's write.
func (m *Machine[V]) wroteTicket(now ident.Instant, k *disk, ok bool) {
	e := &k.ring.entry
	ok = ok && now.Sub(e.asked) <= Prompt
	if !ok {
		e.until = now.Add(quarantine)
	}
	if e.step != looked || !k.header.same(&k.ring.ticket) {
		return // of a former attempt
	}
	if e.step = outside; ok {
		e.step, k.notBefore = waits, now.Add(standing)
	}
}

// foreign says that the headers hold a block of this node which is newer than
// what the life began with, and which this process has not written, or that the
// ticket was exchanged.
func (m *Machine[V]) foreign(k *disk, all []Header) bool {
	if k.ring.read || k.ring.entry.step == inside {
		if seen := m.see(all); !seen.ticket.same(&k.ring.ticket) {
			return true
		}
	}
	return k.ring.read && slices.ContainsFunc(all, func(h Header) bool {
		return h.Node == m.cfg.Self && h.Newer(&k.ring.own) && !slices.Contains(m.life.all, h.Mbal.Life)
	})
}

// shared begins anew, from reading the own ring: it was written by somebody else,
// so nothing that is known of it counts any more.
func (m *Machine[V]) shared() {
	if m.phase == halted {
		return
	}
	o := Outcome[V]{Kind: Shared, Proposal: m.propose != nil}
	m.propose, m.cfg.Ticket = nil, true
	m.again(false)
	m.give.outcomes = append(m.give.outcomes, o)
}

// again has the own ring read anew, with a ticket if it is to be written, and then
// the proposal go on.
func (m *Machine[V]) again(tickets bool) {
	m.phase, m.leader, m.own = recovering, false, value[V]{}
	m.life.tickets, m.life.entered = tickets, false
	m.adopting.best, m.adopting.sources = value[V]{}, nil
	for d := range m.disks {
		k := &m.disks[d]
		e := k.ring.entry
		e.step, e.asked, k.notBefore = outside, ident.LongAgo, 0
		k.ring, k.memory.block = ring{entry: e}, Header{}
		delete(k.memory.top, m.cfg.Self)
	}
}
