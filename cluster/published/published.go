// Package published is what a node lets the others know of its services: the
// terms that it has released and the states of those that it owns. They stand in
// its network beats, and in the status blob on the quorum disks for those that
// cannot hear it; its beat carries a digest of the released terms, so that a
// daemon which restarts knows from its guard what its former life has released.
//
// A release is published nowhere before the guard has taken note of that digest:
// otherwise a restarted daemon could start again what others believe stopped.
package published

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// period is the least time between two blobs that tell of states only.
const period = time.Second

// Blob is a node's own status blob: when it is written, and where it stands. It
// is used by one goroutine.
type Blob struct {
	dirty   bool   // a release waits to be published
	count   uint64 // of releases
	digest  cluster.Digest
	carried uint64 // the payload order that carried digest
	gen     uint64
	done    []bool // disks that hold gen
	busy    []bool
	states  []cluster.RunState // as written
	at      ident.Instant
	stable  uint64 // generation that a majority of the disks holds
}

// New returns the blob of a daemon's life, which began at life, over some disks.
func New(life uint64, disks int) *Blob {
	// Above what a former life of this boot wrote: a step is a nanosecond, and nobody writes that often.
	return &Blob{gen: life, done: make([]bool, disks), busy: make([]bool, disks)}
}

// Released says how many terms were released in this life: more than before
// means that one waits to be published.
func (b *Blob) Released(count uint64) {
	if count != b.count {
		b.count, b.dirty = count, true
	}
}

// Carry says that a payload order carries the digest of the released terms.
func (b *Blob) Carry(d cluster.Digest, order uint64) {
	if b.carried == 0 || d != b.digest {
		b.digest, b.carried = d, order
	}
}

// Echoed says that the guard, which has echoed the payload orders up to this
// one, holds this digest of all released terms.
func (b *Blob) Echoed(echoed uint64, released cluster.Digest) bool {
	return b.carried != 0 && echoed >= b.carried && b.digest == released
}

// Stable is the generation that a majority of the disks holds; 0 if none.
func (b *Blob) Stable() uint64 { return b.stable }

// Due lists the disks that the blob is to be written to now, and returns its
// generation. It begins a new one when a release waits and its digest is echoed,
// or when states have changed, at most once a second. states lists them, and usable
// says whether a disk answers.
func (b *Blob) Due(now ident.Instant, states func() []cluster.RunState, echoed bool, usable func(disk int) bool) (gen uint64, disks []int) {
	if release := b.dirty && echoed; release || now.Sub(b.at) >= period {
		if s := states(); release || !slices.Equal(s, b.states) {
			b.gen++
			b.at, b.states, b.dirty = now, s, false
			clear(b.done)
		}
	}
	if b.at == 0 {
		return 0, nil
	}
	for d := range b.done {
		if !b.done[d] && !b.busy[d] && usable(d) {
			b.busy[d] = true
			disks = append(disks, d)
		}
	}
	return b.gen, disks
}

// Grow makes room for more disks.
func (b *Blob) Grow(disks int) {
	for len(b.done) < disks {
		b.done, b.busy = append(b.done, false), append(b.busy, false)
	}
}

// Wrote takes the end of a write. met says whether the disks of which its
// argument is true are a majority.
func (b *Blob) Wrote(e cluster.BlobWrote, met func(is func(disk int) bool) bool) {
	b.busy[e.Disk] = false
	if e.Gen != b.gen || !e.OK {
		return
	}
	b.done[e.Disk] = true
	if met(func(d int) bool { return b.done[d] }) {
		b.stable = b.gen
	}
}

// Peer is what was read of another node's status blob. The zero value has read
// nothing; it is used by one goroutine.
type Peer struct {
	Blob  *cluster.Blob // nil: none was read
	asked uint32
	at    ident.Instant
}

// Wants says that a beat shows a newer blob than was read, which is to be read
// now, and how often one was asked for: a failed read is repeated elsewhere.
func (p *Peer) Wants(now ident.Instant, b *cluster.Beat) (turn uint32, ok bool) {
	if b == nil || b.Payload.BlobGen == 0 || now.Sub(p.at) < period/5 {
		return 0, false
	}
	if p.Blob != nil && p.Blob.Gen >= b.Payload.BlobGen && p.Blob.Inc == b.Inc {
		return 0, false
	}
	p.at = now
	p.asked++
	return p.asked, true
}

// Read takes what was read; nil if it failed.
func (p *Peer) Read(b *cluster.Blob) {
	if b != nil && (p.Blob == nil || b.Gen >= p.Blob.Gen || b.Inc != p.Blob.Inc) {
		p.Blob = b
	}
}
