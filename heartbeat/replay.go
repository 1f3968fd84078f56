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

// line is one boot of a sender: its latest life, and which counters of that were seen
// on each link.
type line struct {
	boot  ident.BootID
	life  uint64
	links []window
}

// past is what is known of one sender's boots and lives.
type past struct {
	known   bool
	line           // the boot that is listened to
	highest uint32 // incarnation number
	retired []line // boots that another one has taken the place of
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
	i := p.former(h.boot)
	return i < 0 || h.life >= p.retired[i].life
}

// former is the place of a boot among the retired; -1 if it is not there.
func (p *past) former(boot ident.BootID) int {
	return slices.IndexFunc(p.retired, func(l line) bool { return l.boot == boot })
}

// accept judges an authentic packet, notes it, and says whether it begins a new
// life of its sender. With silent, nothing has come from the current boot for
// long: then a former one may come back, which is the other of two machines with
// one identity. Its counters are noted all the time, so that what was seen of it
// once, and recorded, is never a sign of life.
func (p *past) accept(h header, inc uint32, silent bool) (ok, fresh bool) {
	if !p.plausible(h) || int(h.link) >= len(p.links) {
		return false, false
	}
	same, back := p.known && h.boot == p.boot, p.former(h.boot)
	switch {
	case same:
	case back >= 0:
		if unseen := p.retired[back].accept(h); !unseen || !silent {
			return false, false
		}
		p.line, p.retired[back] = p.retired[back], p.line
		return true, true
	case p.known && inc != 0 && inc < p.highest:
		return false, false
	case p.known:
		p.retired = append(p.retired, p.line)
		p.retired = p.retired[max(0, len(p.retired)-mostRetired):]
		p.line = line{boot: h.boot, life: h.life, links: make([]window, len(p.links))}
	default:
		p.known, p.boot, p.life = true, h.boot, h.life
	}
	fresh = !same || h.life > p.life
	p.highest = max(p.highest, inc)
	return p.line.accept(h), fresh
}

// accept notes a counter, and says whether it is new.
func (l *line) accept(h header) bool {
	if h.life > l.life {
		l.life = h.life
		clear(l.links)
	}
	return l.links[h.link].accept(h.counter)
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
