package register

import "github.com/holdfast-ha/holdfast/cluster/ident"

// recoverRing takes the own block from one disk. The next generation leaves out
// those into which writes of the former life may still land (one in flight, and
// maxUnknown of unknown outcome, all after the newest one seen: nextGen goes no
// further than that), and their places stay empty for the quarantine. Everything else must be settled by then,
// writes before the newest seen and those of lives before that: the slot lock is
// free only when the kernel has finished the former process's requests, and a
// reboot waits for the drain time.
func (m *Machine[V]) recoverRing(now ident.Instant, d int, all []Header) {
	k := &m.disks[d]
	k.gen, k.ring.had = 0, Header{}
	seen := m.see(all)
	for i := range all {
		h := &all[i]
		if h.Node != m.cfg.Self {
			continue
		}
		if mine := k.ring.entry.step == inside && h.same(&k.ring.ticket); !mine && h.Newer(&k.ring.own) {
			k.ring.own = *h
		}
		if h.IsTicket() {
			continue
		}
		if h.accepted(k.ring.had.Bal, k.ring.had.Ver) > 0 {
			k.ring.had = *h // the newest, but for what a second machine has written
		}
		if h.Mbal.Compare(k.ring.mbal) > 0 {
			k.ring.mbal = h.Mbal
		}
		k.gen = max(k.gen, h.Gen)
	}
	m.life.inc = max(m.life.inc, k.ring.own.Inc+1)
	if seen.begun() {
		_, first := seen.ticket.names()
		seen.next |= first
	}
	k.leaveOut(now, seen.next)
	k.ring.ticket, k.ring.read = seen.ticket, true
	k.shown, k.redo = k.gen, Header{}
	k.resume(now)
	k.ring.known, k.ring.settled = true, false
	if m.phase == recovering {
		m.recoverQuorum(now)
	}
}

// leaveOut has the places left alone into which somebody else may write yet: next,
// and where this life took a ticket those of another that may have begun.
func (k *disk) leaveOut(now ident.Instant, next places) {
	k.orphan = [Generations]ident.Instant{}
	if k.ring.settled {
		return
	}
	if k.ring.entry.step == inside {
		next = k.ring.entry.left
	}
	for g := range uint64(Generations) {
		if next.has(g) {
			k.orphan[g] = max(now, 1)
		}
	}
}

// recoverQuorum goes on once a majority of the disks showed the own ring.
func (m *Machine[V]) recoverQuorum(now ident.Instant) {
	if !m.done(func(k *disk) bool { return k.ring.known }) {
		return
	}
	m.adopting.best, m.adopting.sources = value[V]{}, nil
	for d := range m.disks {
		k := &m.disks[d]
		if !k.ring.known {
			continue
		}
		if k.ring.mbal.Compare(m.mbal) > 0 {
			m.mbal = k.ring.mbal
		}
		m.consider(d, &k.ring.had)
	}
	if m.adopting.best.ver == 0 {
		m.recovered(now)
	}
}

// feedRecovery reads the body of the own accepted value.
func (m *Machine[V]) feedRecovery(d int) {
	if m.adopting.best.ver > 0 {
		m.feedFetch(d)
	}
}

func (m *Machine[V]) recoverBody(now ident.Instant, d int, val V, ok bool) {
	k := &m.disks[d]
	if !ok {
		// Read the ring again: a write of a former life may just have landed.
		k.ring.known, k.ring.read = false, false
		k.notBefore = now.Add(retry)
		m.adopting.best, m.adopting.sources = value[V]{}, nil
		m.recoverQuorum(now) // without this disk, if the others are enough
		return
	}
	m.own = value[V]{bal: k.header.Bal, ver: k.header.Ver, val: val}
	m.recovered(now)
}

func (m *Machine[V]) recovered(now ident.Instant) {
	m.phase, m.life.entered = idle, m.life.tickets
	m.give.outcomes = append(m.give.outcomes, Outcome[V]{Kind: Recovered})
	if m.propose != nil {
		m.enter(now)
	}
}
