package register

import "github.com/holdfast-ha/holdfast/cluster/ident"

// disk is the pipeline of one quorum disk: one operation in flight, each disk
// at its own pace, none waiting for another.
type disk struct {
	busy     OpKind // 0: none
	seq      uint64
	header   Header // of the write or body read in flight
	learning bool   // the operation in flight serves Learn
	sought   uint64 // the latest version looked for on this disk
	written  uint64 // the step whose block was written and completed
	finished uint64 // the step whose headers were read after that
	ring     ring
	shown    uint64 // newest generation that the disk has shown; at first the last one left out
	issued
	before    issued // what this process had issued here under its former name
	redo      Header // the write that failed last, if it is to be repeated
	notBefore ident.Instant
	memory    memory
}

// ring is what the life knows of its own ring on a disk.
type ring struct {
	known   bool
	settled bool         // it is read again, and nothing may land in it any more
	read    bool         // it was read: what is newer than own is another machine's
	own     Header       // newest at recovery
	had     Header       // the one with the highest accepted value
	mbal    ident.Ballot // the highest one entered
	ticket  Header       // what has to stand in the place of tickets
	entry   entry
	asked   ident.Instant // when the latest read of the headers was issued
	looked  ident.Instant // the same of the latest that has come back
}

// issued is what was issued to a disk, and may not have landed yet.
type issued struct {
	gen     uint64                     // generation written last
	unknown [Generations]ident.Instant // when a write into that place failed; 0: none did; ident.Never in before: it is in flight
	orphan  [Generations]ident.Instant // when a write of a former life into that place became possible
}

// memory is what a disk must not forget.
type memory struct {
	ejected bool                    // it has forgotten what it acknowledged
	check   bool                    // its headers are to be looked at
	block   Header                  // the write of this life that completed last: the disk has to show it
	top     map[ident.NodeID]Header // the newest block of each node that it has shown
}

// Tick starts whatever the disks can do now.
func (m *Machine[V]) Tick(now ident.Instant) {
	for d := range m.disks {
		if k := &m.disks[d]; k.busy == 0 && now >= k.notBefore {
			if m.feed(now, d); k.busy == ReadHeaders {
				k.ring.asked = now
			}
		}
	}
}

// NextDeadline is when Tick has something to retry; ident.Never if nothing.
func (m *Machine[V]) NextDeadline() ident.Instant {
	next := ident.Never
	for d := range m.disks {
		if k := &m.disks[d]; k.busy == 0 && k.notBefore > 0 && k.notBefore < next {
			next = k.notBefore
		}
	}
	return next
}

// feed gives an idle disk its next operation, if it has one.
func (m *Machine[V]) feed(now ident.Instant, d int) {
	k := &m.disks[d]
	switch {
	case m.phase == halted || k.memory.ejected || !m.cfg.Sets.All().Has(d):
	case !k.ring.known:
		m.feedRing(now, d)
	case m.phase == recovering:
		m.feedRecovery(d)
	case m.phase == fetching:
		m.feedFetch(d)
	case (m.phase == phase1 || m.phase == phase2) && k.written < m.step && now.Sub(k.ring.looked) > Prompt:
		m.issue(d, Op[V]{Kind: ReadHeaders}) // somebody else may have begun since
	case (m.phase == phase1 || m.phase == phase2) && k.written < m.step:
		m.write(now, d)
	case (m.phase == phase1 || m.phase == phase2) && k.finished < m.step:
		m.issue(d, Op[V]{Kind: ReadHeaders})
	case m.learn.Ver > m.committed.ver && k.sought < m.learn.Ver:
		// Every disk is asked, each at its own pace: one may hang, another may
		// never have seen the write.
		m.issue(d, Op[V]{Kind: ReadHeaders})
		k.learning, k.sought = true, m.learn.Ver
	case k.memory.check:
		m.issue(d, Op[V]{Kind: ReadHeaders})
	}
}

func (m *Machine[V]) issue(d int, op Op[V]) {
	k := &m.disks[d]
	m.give.seq++
	op.Disk, op.Seq = d, m.give.seq
	k.busy, k.seq, k.header, k.learning, k.notBefore = op.Kind, op.Seq, op.Header, false, 0
	m.give.ops = append(m.give.ops, op)
}

// write issues the block of the current step: what we entered and what we
// accepted. A block that failed before is written again into its own place: the
// same bytes may land twice. Another block takes the next generation.
func (m *Machine[V]) write(now ident.Instant, d int) {
	k := &m.disks[d]
	h := Header{Node: m.cfg.Self, Inc: m.life.inc, Mbal: m.mbal, Bal: m.own.bal, Ver: m.own.ver}
	if r := &k.redo; r.Gen != 0 && r.Mbal == h.Mbal && r.Bal == h.Bal && r.Ver == h.Ver {
		h.Gen = r.Gen
	} else if g, free := k.nextGen(now); free {
		h.Gen, k.gen = g, g
	} else if k.spent(now) {
		// Nothing that was issued may land any more: what the ring shows is all
		// that there is, and the next generation follows it.
		k.ring.known, k.ring.settled = false, true
		m.issue(d, Op[V]{Kind: ReadHeaders})
		return
	} else {
		k.notBefore = now.Add(retry)
		return
	}
	h.Slot = uint8(h.Gen % Generations)
	m.issue(d, Op[V]{Kind: Write, Value: m.own.val, Header: h})
}

// nextGen is the next generation whose place holds no write of unknown outcome
// younger than the quarantine. It is refused while maxUnknown such writes exist,
// and beyond the generations that a restarted machine leaves out: those that
// failed count there for as long as the disk has shown none after them, however
// old they are.
func (k *disk) nextGen(now ident.Instant) (uint64, bool) {
	if k.young(now) >= maxUnknown {
		return 0, false
	}
	used := k.used(now)
	for g := k.gen + 1; g <= k.gen+Generations && used <= maxUnknown; g++ {
		if g%Generations == ticketSlot || k.orphaned(now, g) {
			continue
		}
		if k.unknown[g%Generations] == 0 {
			return g, true
		}
		used++
	}
	return 0, false
}

// used counts the generations after the newest one shown that a write was, or may
// have been, issued into.
func (k *disk) used(now ident.Instant) int {
	n := 0
	for g := k.shown + 1; g <= k.gen; g++ {
		if g%Generations != ticketSlot && !k.orphaned(now, g) {
			n++
		}
	}
	return n
}

// young counts the writes of unknown outcome that may still land, and forgets
// the others.
func (k *disk) young(now ident.Instant) int {
	n := 0
	for i, f := range k.unknown {
		if f != 0 && now.Sub(f) >= quarantine {
			k.unknown[i] = 0
		} else if f != 0 {
			n++
		}
	}
	return n
}

// spent says that the generations after the newest one shown are used up, and
// that none of the writes into them may land any more.
func (k *disk) spent(now ident.Instant) bool {
	return k.used(now) > maxUnknown && k.young(now) == 0
}

func (k *disk) orphaned(now ident.Instant, gen uint64) bool {
	o := k.orphan[gen%Generations]
	return o != 0 && now.Sub(o) < quarantine
}

func (m *Machine[V]) newestGen() uint64 {
	var g uint64
	for d := range m.disks {
		g = max(g, m.disks[d].gen)
	}
	return g
}

// complete accepts a completion if it is that of the operation in flight.
func (m *Machine[V]) complete(d int, seq uint64, kind OpKind) (*disk, bool) {
	k := &m.disks[d]
	if k.busy != kind || k.seq != seq {
		return nil, false
	}
	k.busy = 0
	return k, true
}

// Wrote reports the completion of a Write. ok false means that its outcome is
// unknown: it may still land at any time.
func (m *Machine[V]) Wrote(now ident.Instant, d int, seq uint64, ok bool) {
	k, mine := m.complete(d, seq, Write)
	if !mine {
		return
	}
	if k.header.IsTicket() {
		m.wroteTicket(now, k, ok)
		m.Tick(now)
		return
	}
	if !ok {
		k.unknown[k.header.Slot] = max(now, 1)
		k.redo = k.header
		k.notBefore = now.Add(retry)
		return
	}
	if k.header.Gen == k.redo.Gen {
		// Its place stays quarantined: the attempt that failed may still land
		// there, and must then find nothing newer.
		k.redo = Header{}
	}
	if k.header.Mbal == m.mbal && k.header.Bal == m.own.bal && k.header.Ver == m.own.ver {
		k.written, k.memory.block = m.step, k.header
	}
	m.Tick(now)
}

// Headers reports the completion of a ReadHeaders: every valid header on the
// disk, in any order.
func (m *Machine[V]) Headers(now ident.Instant, d int, seq uint64, all []Header, ok bool) {
	k, mine := m.complete(d, seq, ReadHeaders)
	if !mine {
		return
	}
	if !ok {
		k.notBefore = now.Add(retry)
		return
	}
	k.ring.looked = k.ring.asked
	if k.memory.check = false; m.forgotten(d, all) {
		m.Eject(d)
		m.Tick(now)
		return
	}
	if m.foreign(k, all) {
		m.shared()
		m.Tick(now)
		return
	}
	m.noteRounds(all)
	switch {
	case !k.ring.known:
		m.readRing(now, d, all)
	case k.learning:
		m.locate(d, all)
	case (m.phase == phase1 || m.phase == phase2) && k.written == m.step && !k.shows(all):
		k.doubt(now)
		return
	case (m.phase == phase1 || m.phase == phase2) && k.written == m.step:
		k.shown = max(k.shown, k.memory.block.Gen)
		m.judge(now, d, all)
	}
	m.Tick(now)
}

// shows says that the headers hold the block that was written last.
func (k *disk) shows(all []Header) bool {
	for i := range all {
		h, b := &all[i], &k.memory.block
		if h.Node == b.Node && h.Inc == b.Inc && h.Gen == b.Gen && h.Mbal == b.Mbal && h.Bal == b.Bal && h.Ver == b.Ver {
			return true
		}
	}
	return false
}

// doubt is about a disk that acknowledged a block and then did not show it: the
// write was lost, went elsewhere, waits in a cache, or the read was answered
// from one. It counts as a write of unknown outcome, and is repeated.
func (k *disk) doubt(now ident.Instant) {
	k.written = 0
	k.unknown[k.memory.block.Slot] = max(now, 1)
	k.redo = k.memory.block
	k.notBefore = now.Add(retry)
}

func (m *Machine[V]) noteRounds(all []Header) {
	for i := range all {
		m.round = max(m.round, all[i].Mbal.Round)
	}
}

// judge ends the current step on this disk: refused if anybody entered a higher
// ballot, else done. Every header of a ring is looked at for Mbal and for
// accepted values: an older generation never holds more than the newest.
func (m *Machine[V]) judge(now ident.Instant, d int, all []Header) {
	for i := range all {
		h := &all[i]
		if h.Node != m.cfg.Self && h.Mbal.Compare(m.mbal) > 0 {
			m.abort(h.Mbal)
			return
		}
		if m.phase == phase1 && h.Node != m.cfg.Self {
			m.consider(d, h)
		}
	}
	m.disks[d].finished = m.step
	if m.done(func(k *disk) bool { return k.finished == m.step }) {
		m.phaseDone(now)
	}
}

// consider keeps the highest accepted value seen in phase 1, and where it stands.
func (m *Machine[V]) consider(d int, h *Header) {
	switch h.accepted(m.adopting.best.bal, m.adopting.best.ver) {
	case 1:
		m.adopting.best = value[V]{bal: h.Bal, ver: h.Ver}
		m.adopting.sources = append(m.adopting.sources[:0], place{d, *h})
	case 0:
		if h.Ver > 0 && (m.adopting.best.bal != m.own.bal || m.adopting.best.ver != m.own.ver) {
			m.adopting.sources = append(m.adopting.sources, place{d, *h})
		}
	}
}

// feedFetch reads the value to adopt from every disk that showed it: the first
// answer is as good as any, and one that hangs delays nobody.
func (m *Machine[V]) feedFetch(d int) {
	for _, s := range m.adopting.sources {
		if s.disk == d {
			m.issue(d, Op[V]{Kind: ReadBody, Header: s.header})
			return
		}
	}
}

// locate finds the body of the version to learn: any header under the claimed
// ballot and version holds it, whatever it entered since.
func (m *Machine[V]) locate(d int, all []Header) {
	for i := range all {
		if h := &all[i]; h.Bal == m.learn.Ballot && h.Ver == m.learn.Ver {
			m.issue(d, Op[V]{Kind: ReadBody, Header: *h})
			m.disks[d].learning = true
			return
		}
	}
	// Not here, or gone from the ring: another disk, or a newer claim, will tell.
}

// Body reports the completion of a ReadBody; ok false also where the sum differs.
func (m *Machine[V]) Body(now ident.Instant, d int, seq uint64, val V, ok bool) {
	k, mine := m.complete(d, seq, ReadBody)
	if !mine {
		return
	}
	h := k.header
	switch {
	case k.learning:
		if c := m.learn; ok && h.Bal == c.Ballot && h.Ver == c.Ver {
			m.choose(value[V]{bal: h.Bal, ver: h.Ver, val: val}, c, Learned)
		}
	case m.phase == recovering && h.Bal == m.adopting.best.bal && h.Ver == m.adopting.best.ver:
		m.recoverBody(now, d, val, ok)
	case m.phase == fetching && h.Bal == m.adopting.best.bal && h.Ver == m.adopting.best.ver:
		m.fetched(now, k, val, ok)
	}
	m.Tick(now)
}

func (m *Machine[V]) fetched(now ident.Instant, k *disk, val V, ok bool) {
	if ok {
		m.recommit(now, val)
		return
	}
	rest := m.adopting.sources[:0]
	for _, s := range m.adopting.sources {
		if s.header.Gen != k.header.Gen || s.header.Node != k.header.Node || &m.disks[s.disk] != k {
			rest = append(rest, s)
		}
	}
	if m.adopting.sources = rest; len(rest) == 0 {
		m.abort(ident.Ballot{})
	}
}
