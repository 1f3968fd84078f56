package register

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// The set of disks is itself part of the value, and changes by two commits: one
// that names both sets, from which on a majority of each is needed, and one that
// names the new set alone. A proposer that was away may work on sets that are no
// longer those of the latest value. It finds out in phase 1, for the value that
// ended its set was chosen by a majority of that set: it then takes up the sets
// of what it found (Change) beside its own, and begins again. Two proposers for
// one version thus always share a set, whichever of them was away for longer.

// Fit says how the sets of disks that a value asks for, for what is built on
// it, relate to the sets that the machine works on; see Machine.SetFit.
type Fit uint8

// A value that Fits may be built on. One that is Covered asks for a part of the
// sets only: it may be chosen here, but the machine has to be told of its sets
// before anything is built on it. A Foreign one asks for disks that the machine
// does not work on.
const (
	Fits Fit = iota
	Covered
	Foreign
)

// Judge knows which disks a value asks for. It is no function, so that the memory
// of a machine can be kept and loaded again.
type Judge[V any] interface {
	// Fit says how the sets that v asks for stand to those of the machine.
	Fit(v V) Fit
}

// SetFit has every value asked for the disks that it wants to be followed by.
func (m *Machine[V]) SetFit(j Judge[V]) { m.adopting.fit = j }

func (m *Machine[V]) fits(v V) Fit {
	if m.adopting.fit == nil {
		return Fits
	}
	return m.adopting.fit.Fit(v)
}

// moved ends the proposal: v asks for other disks.
func (m *Machine[V]) moved(v value[V]) {
	m.leader = false
	m.finish(Outcome[V]{Kind: Moved, Ver: v.ver, Value: v.val})
}

// Change makes the machine work on other sets, of so many disks; a disk that
// was there keeps its index. It is as a new life of the proposer, which knows
// what is committed: it reads its own ring again, and a proposal under way is
// Aborted. What is in flight counts no more when it completes. Life is now().
func (m *Machine[V]) Change(life uint64, disks int, sets quorum.Sets) {
	if m.phase == halted {
		return
	}
	if m.propose != nil {
		m.abort(ident.Ballot{})
	}
	m.cfg.Life, m.cfg.Disks, m.cfg.Sets = max(life, m.cfg.Life+1), disks, append(quorum.Sets(nil), sets...)
	m.life.all = append(m.life.all, m.cfg.Life)
	before := m.disks
	m.disks = make([]disk, disks)
	for d := range min(len(before), disks) {
		m.disks[d].memory = before[d].memory
		m.disks[d].memory.block = Header{}
		m.disks[d].before = before[d].mayLand()
		if e := before[d].ring.entry; e.step == inside {
			m.disks[d].ring.entry, m.disks[d].ring.ticket = e, before[d].ring.ticket
		} else {
			m.disks[d].ring.entry = entry{first: e.first, until: e.until}
		}
	}
	for d := len(before); d < disks; d++ {
		m.disks[d].ring.entry.first = true
	}
	m.phase, m.leader, m.own, m.adopting = recovering, false, value[V]{}, adoption[V]{fit: m.adopting.fit}
	m.life.inc++
}

// mayLand is what may land yet of all that this process has issued to a disk.
func (k *disk) mayLand() issued {
	b := k.issued
	b.gen = max(b.gen, k.before.gen)
	if !k.ring.known {
		b.unknown, b.orphan = k.before.unknown, k.before.orphan // it has not come to write
	}
	if k.busy == Write && !k.header.IsTicket() {
		b.unknown[k.header.Slot] = ident.Never
	}
	return b
}

// resume goes on after what this process has issued under its former name. A
// life may use so many generations beyond the newest one shown, and for the next
// process these are one life.
func (k *disk) resume(now ident.Instant) {
	b := k.before
	k.before = issued{}
	if k.ring.settled {
		return
	}
	k.gen = max(k.gen, b.gen)
	for i := range Generations {
		if b.unknown[i] == ident.Never {
			b.unknown[i] = max(now, 1)
		}
		k.unknown[i] = max(k.unknown[i], b.unknown[i])
		k.orphan[i] = max(k.orphan[i], b.orphan[i])
	}
}

// Eject takes a disk for failed for good: what it says counts no more. Where no
// majority is left the machine halts.
func (m *Machine[V]) Eject(d int) {
	if d < 0 || d >= len(m.disks) || m.disks[d].memory.ejected {
		return
	}
	m.disks[d] = disk{memory: memory{ejected: true}}
	m.give.outcomes = append(m.give.outcomes, Outcome[V]{Kind: Ejected, Disk: d})
	var left quorum.Set
	for i := range m.disks {
		if !m.disks[i].memory.ejected {
			left |= 1 << i
		}
	}
	if !m.cfg.Sets.Met(left) && m.phase != halted {
		m.halt()
	}
}

// Check has the headers of a disk read, and the disk ejected if they show less
// than they did: something about it looks as if it had been rolled back.
func (m *Machine[V]) Check(d int) {
	if d >= 0 && d < len(m.disks) {
		m.disks[d].memory.check = true
	}
}

// forgotten says that a disk shows an older block of a node than it did before. A
// single write that was acknowledged and never shown is judge's. A block is never cleared and its newest header
// never overwritten, so the disk was restored, exchanged, or keeps no promise.
func (m *Machine[V]) forgotten(d int, all []Header) bool {
	k := &m.disks[d]
	seen := map[ident.NodeID]Header{}
	for i := range all {
		h := &all[i]
		if have, ok := seen[h.Node]; !h.IsTicket() && (!ok || h.Newer(&have)) {
			seen[h.Node] = *h
		}
	}
	for id, was := range k.memory.top {
		if now := seen[id]; was.Newer(&now) && !was.replaced(all) {
			return true
		}
	}
	k.memory.top = seen
	return false
}

// replaced says that something was written over h that is not older: a second
// machine with its node's identity did so, and no disk has forgotten anything.
func (h *Header) replaced(all []Header) bool {
	return slices.ContainsFunc(all, func(o Header) bool {
		return o.Node == h.Node && o.Slot == h.Slot && o.Inc >= h.Inc && o.Gen >= h.Gen
	})
}

// done says whether the disks of which is is true are a majority of every set.
func (m *Machine[V]) done(is func(*disk) bool) bool {
	var by quorum.Set
	for d := range m.disks {
		if k := &m.disks[d]; !k.memory.ejected && is(k) {
			by |= 1 << d
		}
	}
	return m.cfg.Sets.Met(by)
}
