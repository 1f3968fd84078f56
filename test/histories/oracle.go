package histories

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

// value is what a proposal puts into the state: who it is, and what it was built
// on. It stands in the configuration, which the register carries byte for byte.
type value struct {
	id, base, ver uint64
}

const valueSize = 24

// state makes a state of a value. Its noise does not compress, so that all
// bodies have one length and an old one can be taken for a new one.
func (v value) state() *cluster.State {
	b := make([]byte, valueSize, valueSize+sha256.Size)
	binary.LittleEndian.PutUint64(b, v.id)
	binary.LittleEndian.PutUint64(b[8:], v.base)
	binary.LittleEndian.PutUint64(b[16:], v.ver)
	sum := sha256.Sum256(b)
	return &cluster.State{Ver: v.ver, Cluster: ident.UUID{0xc1}, Config: append(b, sum[:]...)}
}

func valueOf(s *cluster.State) value {
	if s == nil || len(s.Config) < valueSize {
		return value{}
	}
	return value{
		binary.LittleEndian.Uint64(s.Config), binary.LittleEndian.Uint64(s.Config[8:]), binary.LittleEndian.Uint64(s.Config[16:]),
	}
}

// call is one proposal, as its proposer saw it.
type call struct {
	from, to int64 // ticks; to is 0 while nobody knows how it ended
	put      value // what it proposed, if it came to that
	got      value // the base that it found unchanged, if that is how it ended
	kind     register.OutcomeKind
}

// oracle knows what was chosen.
type oracle struct {
	chosen map[uint64]value // by version
	calls  []*call
	lastID uint64
}

// body gives a state's body. Histories propose the same values again and again:
// each is encoded once.
func (s *Stage) body(state *cluster.State) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := valueOf(state)
	if b, ok := s.bodies[v]; ok {
		return b, nil
	}
	b, err := statecodec.Encode(state)
	if err == nil {
		s.bodies[v] = b
	}
	return b, err
}

// propose begins a proposal; one of ten only looks.
func (w *world) propose(n *node) {
	c := &call{from: w.tick}
	n.call = c
	w.oracle.calls = append(w.oracle.calls, c)
	looks := w.rng.IntN(10) == 0 && !w.calm
	n.m.Propose(w.now, func(base *cluster.State, ver uint64) (*cluster.State, bool) {
		if looks {
			return nil, false
		}
		w.oracle.lastID++
		c.put = value{id: w.oracle.lastID, base: valueOf(base).id, ver: ver + 1}
		return c.put.state(), true
	})
	w.collect(n)
}

// lost is told of a crash: how the proposal under way ended is unknown.
func (o *oracle) lost(_ *world, n *node) { n.call = nil }

// heard judges what a machine says.
func (o *oracle) heard(w *world, n *node, out *register.Outcome[*cluster.State]) {
	switch out.Kind {
	case register.Committed:
		w.result.Commits++
		o.choose(w, valueOf(out.Value), out.Ver)
	case register.Learned:
		o.choose(w, valueOf(out.Value), out.Ver)
	case register.Unchanged:
		if out.Ver > 0 {
			o.choose(w, valueOf(out.Value), out.Ver)
		}
	case register.Halted:
		w.violated("node %d halted on disks of which a majority was never rolled back", n.id)
	}
	if c := n.call; out.Proposal && c != nil {
		if n.call = nil; out.Kind != register.Aborted {
			c.to, c.kind, c.got = w.tick, out.Kind, valueOf(out.Value)
		}
	}
}

// choose checks that a version has one value, made for it and built on the one
// before.
func (o *oracle) choose(w *world, v value, ver uint64) {
	if o.chosen == nil {
		o.chosen = map[uint64]value{}
	}
	if v.ver != ver {
		w.violated("version %d holds a state made for version %d", ver, v.ver)
	}
	if old, ok := o.chosen[ver]; ok && old != v {
		w.violated("version %d chosen twice: %+v and %+v", ver, old, v)
	}
	if before, ok := o.chosen[ver-1]; ok && before.id != v.base {
		w.violated("version %d was built on %d, but %d was chosen: an acknowledged commit is lost", ver, v.base, before.id)
	}
	if next, ok := o.chosen[ver+1]; ok && next.base != v.id {
		w.violated("version %d is %d, but the next one was built on %d", ver, v.id, next.base)
	}
	o.chosen[ver] = v
}
