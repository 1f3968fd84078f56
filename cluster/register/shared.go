package register

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// A block has one writer, and everything here rests on that. Two machines with
// one node's identity (a cloned system disk, a virtual machine that was started
// twice) are kept apart by the slot, on which a bound node beats; but two that
// boot at the same instant see a slot that stands still. So the first block of a
// life has to stand alone for a while: it is written, and only Config.Still after
// that are the headers read. Of two that do this at once one at least finds the
// other's block, begins anew, and finds a slot on which the other beats. That
// holds as long as no machine takes longer than Still from reading its ring to
// writing into it: a ring that was read a while ago is read again first. Where a
// machine stops in between, the other finds its block with the next headers.

// life tells the blocks of this life from those of others.
type life struct {
	inc   uint32        // see Header.Inc
	alone bool          // the first block stood alone on a majority
	read  ident.Instant // when the own ring was read
	all   []uint64      // every Ballot.Life of this process
}

// hold has the first block on a disk stand for a while before it is looked at.
func (m *Machine[V]) hold(now ident.Instant, k *disk) {
	if m.life.alone || m.cfg.Still == 0 {
		return
	}
	if k.ring.still == 0 {
		k.ring.still = now.Add(m.cfg.Still)
	}
	if now < k.ring.still {
		k.notBefore = k.ring.still
	}
}

// foreign says that the headers hold a block of this node which is newer than
// what the life began with, and which this process has not written.
func (m *Machine[V]) foreign(k *disk, all []Header) bool {
	if !k.ring.known {
		return false
	}
	return slices.ContainsFunc(all, func(h Header) bool {
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
	m.propose = nil
	m.again()
	m.give.outcomes = append(m.give.outcomes, o)
}

// outdated says that the own ring was read too long ago to write the first block
// of this life into it now.
func (m *Machine[V]) outdated(now ident.Instant) bool {
	wrote := slices.ContainsFunc(m.disks, func(k disk) bool { return k.ring.still != 0 })
	return m.cfg.Still > 0 && !m.life.alone && !wrote && now.Sub(m.life.read) > m.cfg.Still/4
}

// again has the own ring read anew, and then the proposal go on.
func (m *Machine[V]) again() {
	m.phase, m.leader, m.life.alone, m.own = recovering, false, false, value[V]{}
	m.adopting.best, m.adopting.sources = value[V]{}, nil
	for d := range m.disks {
		k := &m.disks[d]
		k.ring.known, k.ring.still, k.memory.block = false, 0, Header{}
		delete(k.memory.top, m.cfg.Self)
	}
}
