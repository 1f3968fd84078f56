// Package mailbox finds and reads this node's mailbox in the SBD area of one
// quorum disk. Anybody may write to a mailbox, sbd(8) and its fence agents among
// them; what the guard does about a message is not decided here.
//
// A node's slot is the one that carries its name, wherever that stands: an area
// that an SBD cluster used before keeps its slots. The slot is read again with
// every message, so that an area that somebody made anew is noticed at once.
package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

const (
	// searchEvery is how long a node without a mailbox waits until it looks for
	// one again: somebody may have allocated its slot.
	searchEvery = 10 * time.Second
	nameBytes   = 1 + sbd.MaxName // what counts of a slot's sector: in use, and the name
	piece       = 64 << 10        // bytes that a search reads at a time; a multiple of every sector
	largest     = 4096            // bytes of a sector
)

// Box is one node's mailbox on one disk. It belongs to the goroutine that owns
// the disk's handle. Everything that it needs is allocated by New, for the guard
// runs without a garbage collector.
type Box struct {
	name []byte
	open func(sector int) (storage.Disk, error)

	disk     storage.Disk // nil: not found
	own      bool         // disk is not the caller's: it is closed here
	slot     int64        // offset in bytes
	size     int          // bytes of a sector of the area
	pair     []byte       // slot and mailbox, as read last
	is       [nameBytes]byte
	scan     []byte
	searched ident.Instant
	problem  Problem
}

// Problem is why a node has no mailbox on a disk.
type Problem uint8

// What can be wrong; a disk without an SBD area has no problem, and no mailbox.
const (
	None    Problem = iota
	NoSlot          // no slot carries the node's name
	Lost            // there was one, and it is gone: somebody made the area anew
	Unknown         // a header of another version, or sectors that cannot be used here
)

// Sentence says what the problem means on a disk for a node, and what to do.
func (p Problem) Sentence(path, node string) string {
	const means = "so messages of sbd(8) and its agents do not reach it through this disk"
	switch p {
	case NoSlot:
		return fmt.Sprintf("%s has no SBD slot on %s, %s: holdfast sbd -d %s allocate %s", node, path, means, path, node)
	case Lost:
		return fmt.Sprintf("the SBD slot of %s on %s is gone (somebody made the area anew), %s: holdfast sbd -d %s allocate %s", node, path, means, path, node)
	case Unknown:
		return fmt.Sprintf("the SBD area of %s cannot be used by %s, %s: holdfast sbd -d %s dump", path, node, means, path)
	}
	return ""
}

// New makes a box for a node. open opens the disk with the sectors of the area,
// where these are not those of the handle that Read is given.
func New(node string, open func(sector int) (storage.Disk, error)) *Box {
	name := []byte(node)
	return &Box{
		name: name[:min(len(name), sbd.MaxName)], open: open, searched: ident.LongAgo,
		pair: make([]byte, 0, 2*largest), scan: make([]byte, piece),
	}
}

// Problem says why the node has no mailbox on this disk.
func (b *Box) Problem() Problem { return b.problem }

// Found says whether the mailbox is known.
func (b *Box) Found() bool { return b.disk != nil }

// Read returns the mailbox's sector, valid until the next call; nil if this node
// has none. disk is the caller's handle on the same device. Once the mailbox is
// found nothing is allocated.
func (b *Box) Read(disk storage.Disk, now ident.Instant, timeout time.Duration) ([]byte, error) {
	if b.disk == nil {
		if now.Sub(b.searched) < searchEvery {
			return nil, nil
		}
		b.searched = now
		if err := b.find(disk, timeout); err != nil || b.disk == nil {
			return nil, err
		}
	}
	if err := b.disk.Read(b.pair, b.slot, timeout); err != nil {
		if b.own {
			_ = b.Forget() // a handle with a request in flight stays
		}
		return nil, err
	}
	if !bytes.Equal(b.pair[:nameBytes], b.is[:]) {
		b.problem = Lost
		return nil, b.Forget() // and looks again at the next reading
	}
	return b.pair[b.size:], nil
}

// Clear empties the mailbox.
func (b *Box) Clear(timeout time.Duration) error {
	if b.disk == nil {
		return nil
	}
	sector := b.pair[b.size:]
	clear(sector)
	return b.disk.Write(sector, b.slot+int64(b.size), timeout)
}

// Forget gives up what was found; the caller is about to close its handle. It
// fails, and keeps everything, while a request of the box is in flight.
func (b *Box) Forget() error {
	if b.disk != nil && b.own {
		if err := b.disk.Close(); err != nil {
			return err
		}
	}
	b.disk, b.searched = nil, ident.LongAgo
	return nil
}

// find looks for the slot with the node's name. A disk without an SBD area has
// none, and nothing is wrong with that.
func (b *Box) find(disk storage.Disk, timeout time.Duration) error {
	size := disk.Info().SectorSize
	if err := disk.Read(b.scan[:size], quorumdisk.SBDOffset, timeout); err != nil {
		return err
	}
	h, err := sbd.DecodeHeader(b.scan[:size])
	if errors.Is(err, sbd.ErrMagic) {
		b.problem = None
		return nil
	}
	if err != nil {
		b.problem = Unknown
		return nil
	}
	own := h.SectorSize != size
	if own {
		if disk, err = b.open(h.SectorSize); err != nil {
			b.problem = Unknown
			return nil
		}
	}
	found, err := b.search(disk, &h, timeout)
	if found {
		b.disk, b.own, b.problem = disk, own, None
	} else if own {
		err = errors.Join(err, disk.Close())
	}
	return err
}

// search reads the slots one piece after the other.
func (b *Box) search(disk storage.Disk, h *sbd.Header, timeout time.Duration) (bool, error) {
	s := int64(h.SectorSize)
	end := h.MailOffset(int(h.Slots)-1) + s
	for from := int64(0); from < end; from += piece {
		part := b.scan[:min(piece, end-from)]
		if err := disk.Read(part, quorumdisk.SBDOffset+from, timeout); err != nil {
			return false, err
		}
		for at := int64(0); at < int64(len(part)); at += s {
			if (from/s+at/s)%2 == 1 && b.mine(part[at:]) { // slots stand in the odd sectors
				b.take(part[at:], from+at, h.SectorSize)
				return true, nil
			}
		}
	}
	if b.problem != Lost {
		b.problem = NoSlot
	}
	return false, nil
}

// mine says whether a slot's sector is in use by this node; sbd(8) compares names
// without regard to case.
func (b *Box) mine(sector []byte) bool {
	name := sector[1:nameBytes]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return sector[0] != 0 && bytes.EqualFold(name, b.name)
}

func (b *Box) take(sector []byte, offset int64, size int) {
	copy(b.is[:], sector)
	b.size, b.slot = size, quorumdisk.SBDOffset+offset
	b.pair = b.pair[:2*size]
}
