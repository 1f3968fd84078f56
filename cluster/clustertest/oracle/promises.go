package oracle

import "github.com/holdfast-ha/holdfast/cluster/ident"

// Block is what a block of the register says to others: the highest ballot that its
// writer has entered, and what it has accepted.
type Block struct {
	Mbal, Bal ident.Ballot
	Ver       uint64
}

// raise makes b say what o says beside it, and reports whether it did not before.
func (b *Block) raise(o Block) (more bool) {
	if o.Mbal.Compare(b.Mbal) > 0 {
		b.Mbal, more = o.Mbal, true
	}
	if c := o.Bal.Compare(b.Bal); c > 0 || c == 0 && o.Ver > b.Ver {
		b.Bal, b.Ver, more = o.Bal, o.Ver, true
	}
	return more
}

// ring is a node's ring on a disk.
type ring struct {
	disk int
	node ident.NodeID
}

// phase is the block that a machine wrote last, and the disks that have shown it.
type phase struct {
	block Block
	on    []int
}

// Relies says that a machine has found on a disk the block that it had written
// there. Once it has on most of the disks, it goes by that: nobody who reads its
// node's ring on one of them may find less from then on.
func (j *Judge) Relies(id ident.NodeID, disk, disks int, b Block) {
	p := j.phases[id]
	if p == nil || p.block != b {
		p = &phase{block: b}
		j.phases[id] = p
	}
	for _, d := range p.on {
		if d == disk {
			return
		}
	}
	p.on = append(p.on, disk)
	if len(p.on) < disks/2+1 {
		return
	}
	for _, d := range p.on {
		at := ring{d, j.nodes[id].id}
		held := j.held[at]
		held.raise(b)
		j.held[at] = held
	}
}

// Replaces says what the blocks in a node's ring on a disk were before a write landed
// there, and are after it. A write takes the place of another block, and what that
// one said must be said by one that is left.
func (j *Judge) Replaces(disk int, id ident.NodeID, before, after []Block) {
	var was, is Block
	for _, b := range before {
		was.raise(b)
	}
	for _, b := range after {
		is.raise(b)
	}
	held := j.held[ring{disk, id}]
	if !was.raise(held) && is.raise(held) {
		j.say(Lost, "a write to disk %d has replaced the only block in the ring of node %d that says what was relied on: ballot %v entered, version %d accepted in %v", disk, id, held.Mbal, held.Ver, held.Bal)
	}
}
