package heartbeat

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// mostRetired bounds the former boots that are remembered of a peer. Forgetting
// the oldest is safe: its incarnation number is lower than what was seen since.
const mostRetired = 32

// window remembers which of the latest 64 counters were seen (RFC 4303, 3.4.3).
type window struct {
	highest uint64
	seen    uint64 // bit i: highest-i
	total   uint64
}

// accept says whether the counter is new, and notes it.
func (w *window) accept(counter uint64) bool {
	switch {
	case counter == 0:
		return false
	case counter > w.highest:
		if shift := counter - w.highest; shift < 64 {
			w.seen = w.seen<<shift | 1
		} else {
			w.seen = 1
		}
		w.highest = counter
	case w.highest-counter >= 64 || w.seen&(1<<(w.highest-counter)) != 0:
		return false
	default:
		w.seen |= 1 << (w.highest - counter)
	}
	w.total++
	return true
}

// past is what is known of one sender's boots and lives.
type past struct {
	known   bool
	boot    ident.BootID
	life    uint64
	highest uint32 // incarnation number
	retired []ident.BootID
	links   []window
}

// plausible says, before a packet is opened, whether it can be of a current or
// newer life. It changes nothing: the packet may be forged.
func (p *past) plausible(h header) bool {
	switch {
	case !p.known:
		return true
	case h.boot == p.boot:
		return h.life >= p.life
	}
	return !slices.Contains(p.retired, h.boot)
}

// accept judges an authentic packet, notes it, and says whether it begins a new
// life of its sender.
func (p *past) accept(h header, inc uint32) (ok, fresh bool) {
	same := p.known && h.boot == p.boot
	if !p.plausible(h) || p.known && !same && inc != 0 && inc < p.highest || int(h.link) >= len(p.links) {
		return false, false
	}
	if fresh = !same || h.life > p.life; fresh {
		if p.known && !same {
			p.retired = append(p.retired, p.boot)
			p.retired = p.retired[max(0, len(p.retired)-mostRetired):]
		}
		p.known, p.boot, p.life = true, h.boot, h.life
		clear(p.links)
	}
	p.highest = max(p.highest, inc)
	return p.links[h.link].accept(h.counter), fresh
}

// assembly puts the parts of the newest message of one sender together. It holds
// one message at a time, of at most mostParts parts: an older one that is not
// complete when a newer begins is given up.
type assembly struct {
	number uint64
	parts  uint8
	have   uint64 // bit i: part i
	bytes  []byte
	last   int // length of the last part
}

// add returns the whole message with its last missing part, else nil. The bytes
// are valid until the next add.
func (a *assembly) add(p part) []byte {
	if p.number < a.number {
		return nil
	}
	if p.number > a.number {
		*a = assembly{number: p.number, parts: p.parts, bytes: a.bytes}
	}
	if p.parts != a.parts || a.have&(1<<p.part) != 0 {
		return nil
	}
	need := int(p.parts) * mostPart
	if cap(a.bytes) < need {
		a.bytes = make([]byte, need)
	}
	a.bytes = a.bytes[:need]
	copy(a.bytes[int(p.part)*mostPart:], p.bytes)
	if p.part == p.parts-1 {
		a.last = len(p.bytes)
	}
	a.have |= 1 << p.part
	if a.have != 1<<p.parts-1 {
		return nil
	}
	return a.bytes[:(int(p.parts)-1)*mostPart+a.last]
}
