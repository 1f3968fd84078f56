package reserve

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// shake takes the handshake of registering one step.
func (s *Set) shake() {
	fit := s.fit()
	switch s.stage {
	case shut:
		if fit && s.wanting() {
			s.enter(opening)
		}
	case opening:
		switch {
		case !fit:
			s.enter(shut)
		case s.env.Open != 0 && s.env.Issued > s.env.Open:
			s.enter(reading)
		}
	case reading:
		if !fit {
			s.enter(shut)
		}
	case registering:
		if len(s.flying) == 0 {
			s.enter(shut)
		}
	}
}

func (s *Set) enter(h handshake) { s.stage, s.since = h, s.env.Now }

// wanting says that this incarnation's key is missing somewhere, and that it is
// time to register it.
func (s *Set) wanting() bool {
	for _, l := range s.luns {
		if s.wants(l) {
			return true
		}
	}
	return false
}

func (s *Set) wants(l *storage) bool {
	return l.op == 0 && l.have != s.env.Inc && (s.env.Now >= l.next || l.at == 0)
}

// WantsRead says that the register has to be read on a majority now.
func (s *Set) WantsRead() bool { return s.stage == reading }

// Read says that the register was read, by a phase 1 that began at began and
// whose outcome is State of env: a fencing of this incarnation that was chosen
// before is in it.
func (s *Set) Read(env Env, began ident.Instant) {
	s.env = env
	if s.stage != reading || began < s.since {
		return
	}
	if !s.fit() {
		s.enter(shut)
		return
	}
	s.enter(registering)
	for _, l := range s.luns {
		if s.wants(l) {
			s.begin(l, cluster.ReserveRegister, registerWithin)
		}
	}
}

// sightings are the beats of all nodes as the disks have shown them last: those
// of a node stand together, by disk.
type sightings []sighting

// sighting is one slot of one disk.
type sighting struct {
	read ident.Instant // issue of the latest read that told something; 0: there was none
	inc  ident.Incarnation
	seq  uint64
	open bool
}

// Saw takes what one read of a disk, issued then, has shown of one slot.
func (s *Set) Saw(disk int, issued ident.Instant, b *cluster.SeenBeat) {
	if b.Beat == nil && b.Err != "" {
		return // a torn or foreign sector tells nothing
	}
	v := sighting{read: issued}
	if b.Beat != nil {
		v.inc, v.seq, v.open = b.Beat.Inc, b.Beat.Seq, b.Beat.Payload.Registering
	}
	at := int(b.Node)*quorum.MaxDisks + disk
	if at >= len(s.beats) {
		s.beats = append(s.beats, make(sightings, at+1-len(s.beats))...)
	}
	s.beats[at] = v
}

// closed says that the newest beat of an incarnation, read on a majority of the
// disks by reads that were issued after since, says that no key is on its way;
// known is false while there are no such reads.
func (s *Set) closed(id ident.NodeID, inc ident.Incarnation, since ident.Instant) (closed, known bool) {
	var newest sighting
	at := func(disk int) sighting {
		if i := int(id)*quorum.MaxDisks + disk; i < len(s.beats) && s.beats[i].read > since {
			return s.beats[i]
		}
		return sighting{}
	}
	for disk := range quorum.MaxDisks {
		if v := at(disk); v.inc.N > newest.inc.N || v.inc.N == newest.inc.N && v.seq > newest.seq {
			newest = v
		}
	}
	if newest.inc.IsZero() || !s.env.Disks.Met(func(disk int) bool { return at(disk).read != 0 }) {
		return false, false
	}
	return newest.inc == inc && !newest.open, true
}
