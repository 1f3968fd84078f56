package register_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// val is one proposed value: unique, and knowing what it was built on.
type val struct {
	id   uint64
	base uint64
	ver  uint64
}

// cell is one generation on a platter.
type cell struct {
	h register.Header
	v val
}

// orphan is a write that was issued, and may land until the quarantine is over.
type orphan struct {
	cell
	life  uint64
	until ident.Instant
}

// platter is one disk: rings of cells, and writes that have not landed.
type platter struct {
	ring map[ident.NodeID]*[register.Generations]cell
	late []orphan
}

// node is one proposer with its volatile state.
type node struct {
	id   ident.NodeID
	life uint64
	m    *register.Machine[val]
	fly  []flight
	outs []register.Outcome[val]
	// early is what readEarly has read, per disk
	early map[int][]register.Header
	// wrote: this life completed a write on that disk
	wrote []bool
}

type flight struct {
	op      register.Op[val]
	landed  bool              // a write: it is on the platter
	sampled bool              // a read of the headers: it was carried out
	all     []register.Header // and this is what it found
}

// tester is what the world needs of a test; *testing.T is one.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is the simulated system with the ghost of what was chosen.
type world struct {
	t        tester
	rng      *rand.Rand
	now      ident.Instant
	disks    []*platter
	nodes    []*node
	chosen   map[uint64]val
	nextID   uint64
	commits  int
	failRate int // of 100: operations that report failure
	broken   broken
}

// broken are mistakes that the oracle has to notice.
type broken struct {
	readEarly bool // the headers are read when the write is issued, not after it completed
	blind     bool // nobody sees what others have accepted
	tidy      bool // a proposer clears its block after a commit
}

func newWorld(t tester, seed uint64, nodes, disks int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: 1, chosen: map[uint64]val{}}
	for range disks {
		w.disks = append(w.disks, &platter{ring: map[ident.NodeID]*[register.Generations]cell{}})
	}
	for i := range nodes {
		w.nodes = append(w.nodes, &node{id: ident.NodeID(i + 1), wrote: make([]bool, disks), early: map[int][]register.Header{}})
		w.start(w.nodes[i])
	}
	return w
}

func (w *world) start(n *node) {
	n.life++
	n.m = register.New[val](register.Config{Self: n.id, Life: n.life, Disks: len(w.disks)})
	n.m.Tick(w.now)
	w.collect(n)
}

// crash loses the volatile state. A write in flight has landed or will not: the
// slot lock of the former life is free only when the kernel is done with its
// requests. A write that was reported as failed may still land, unless the life
// before it left some too: see recoverRing.
func (w *world) crash(n *node) {
	for _, f := range n.fly {
		if f.op.Kind == register.Write && !f.landed && w.rng.IntN(2) == 0 {
			w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
		}
	}
	n.fly = nil
	for d, p := range w.disks {
		p.drop(func(o orphan) bool { return o.h.Node == n.id && (o.life < n.life || !n.wrote[d]) })
	}
	n.wrote = make([]bool, len(w.disks))
	w.start(n)
}

func (w *world) orphan(n *node, op register.Op[val]) {
	p := w.disks[op.Disk]
	p.late = append(p.late, orphan{cell{op.Header, op.Value}, n.life, w.now.Add(55 * time.Second)})
}

func (p *platter) drop(is func(orphan) bool) {
	p.late = slices.DeleteFunc(p.late, is)
}

func (p *platter) land(c cell) {
	r := p.ring[c.h.Node]
	if r == nil {
		r = new([register.Generations]cell)
		p.ring[c.h.Node] = r
	}
	r[c.h.Slot] = c
}

// choose is the oracle: one value per version, each built on the one before.
func (w *world) choose(v val, ver uint64) {
	w.t.Helper()
	if v.ver != ver {
		w.t.Fatalf("version %d holds a value made for version %d", ver, v.ver)
	}
	if old, ok := w.chosen[ver]; ok && old != v {
		w.t.Fatalf("version %d chosen twice: %+v and %+v", ver, old, v)
	}
	if prev, ok := w.chosen[ver-1]; ok && prev.id != v.base {
		w.t.Fatalf("version %d was built on %d, but %d was chosen: an update is lost", ver, v.base, prev.id)
	}
	w.chosen[ver] = v
}

func (w *world) collect(n *node) {
	ops, outs := n.m.Take()
	for _, o := range ops {
		for _, f := range n.fly {
			if f.op.Disk == o.Disk {
				w.t.Fatalf("node %d: two operations in flight on disk %d", n.id, o.Disk)
			}
		}
		n.fly = append(n.fly, flight{op: o})
		if o.Kind == register.Write && w.broken.readEarly {
			n.early[o.Disk] = w.disks[o.Disk].headers()
		}
	}
	n.outs = append(n.outs, outs...)
	for _, o := range outs {
		switch o.Kind {
		case register.Committed:
			if o.Proposal {
				w.commits++
			}
			w.choose(o.Value, o.Ver)
			if w.broken.tidy {
				for _, p := range w.disks {
					delete(p.ring, n.id)
				}
			}
		case register.Learned:
			w.choose(o.Value, o.Ver)
		case register.Halted:
			w.t.Fatalf("node %d halted on disks that were never rolled back", n.id)
		}
	}
}

func (w *world) propose(n *node) {
	n.m.Propose(w.now, func(base val, ver uint64) (val, bool) {
		if w.rng.IntN(20) == 0 {
			return val{}, false
		}
		w.nextID++
		return val{id: w.nextID, base: base.id, ver: ver + 1}, true
	})
	w.collect(n)
}

// finish completes one operation in flight of n.
func (w *world) finish(n *node, i int) {
	f := n.fly[i]
	n.fly = append(n.fly[:i:i], n.fly[i+1:]...)
	p := w.disks[f.op.Disk]
	fails := w.rng.IntN(100) < w.failRate
	switch f.op.Kind {
	case register.Write:
		if !f.landed && fails {
			w.orphan(n, f.op)
		} else if !f.landed {
			p.land(cell{f.op.Header, f.op.Value})
		}
		n.wrote[f.op.Disk] = n.wrote[f.op.Disk] || !fails
		n.m.Wrote(w.now, f.op.Disk, f.op.Seq, !fails)
	case register.ReadHeaders:
		w.sample(n, &f)
		n.m.Headers(w.now, f.op.Disk, f.op.Seq, f.all, !fails)
	case register.ReadBody:
		c := p.ring[f.op.Header.Node][f.op.Header.Slot]
		same := c.h.Bal == f.op.Header.Bal && c.h.Ver == f.op.Header.Ver
		n.m.Body(w.now, f.op.Disk, f.op.Seq, c.v, same && !fails)
	}
	w.collect(n)
}

// headers is what a read of all rings finds.
func (p *platter) headers() []register.Header {
	var all []register.Header
	for id := range ident.NodeID(9) { // in order, so that a seed tells the same story again
		r := p.ring[id]
		if r == nil {
			continue
		}
		for _, c := range r {
			if c.h.Gen > 0 {
				all = append(all, c.h)
			}
		}
	}
	return all
}

// sample carries a read of the headers out.
func (w *world) sample(n *node, f *flight) {
	if f.sampled {
		return
	}
	f.sampled, f.all = true, w.disks[f.op.Disk].headers()
	if early, ok := n.early[f.op.Disk]; ok && w.broken.readEarly {
		// The own block is there all the same, or the register would see that its
		// own write is missing.
		own := slices.DeleteFunc(f.all, func(h register.Header) bool { return h.Node != n.id })
		others := slices.DeleteFunc(slices.Clone(early), func(h register.Header) bool { return h.Node == n.id })
		f.all = append(own, others...)
	}
	for i := range f.all {
		if w.broken.blind && f.all[i].Node != n.id {
			f.all[i].Bal, f.all[i].Ver = ident.Ballot{}, 0
		}
	}
}

// step does one random thing.
func (w *world) step(crashes bool) {
	w.now += ident.Instant(w.rng.IntN(30e6))
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch r := w.rng.IntN(100); {
	case r < 60 && len(n.fly) > 0:
		w.finish(n, w.rng.IntN(len(n.fly)))
	case r < 65 && len(n.fly) > 0: // carried out, but the issuer is not told yet
		switch f := &n.fly[w.rng.IntN(len(n.fly))]; {
		case f.op.Kind == register.Write && !f.landed:
			f.landed = true
			w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
		case f.op.Kind == register.ReadHeaders:
			w.sample(n, f)
		}
	case r < 70:
		p := w.disks[w.rng.IntN(len(w.disks))]
		p.drop(func(o orphan) bool { return o.until < w.now })
		if len(p.late) > 0 {
			i := w.rng.IntN(len(p.late))
			p.land(p.late[i].cell)
			p.late = slices.Delete(p.late, i, i+1)
		}
	case r < 72 && crashes:
		w.crash(n)
	case r < 80 && n.m.Ready():
		w.propose(n)
	case r < 84:
		o := w.nodes[w.rng.IntN(len(w.nodes))]
		n.m.Learn(w.now, o.m.Claim())
		w.collect(n)
	default:
		n.m.Tick(w.now)
		w.collect(n)
	}
}

// settle stops the faults and demands progress from every node.
func (w *world) settle() {
	w.failRate = 0
	for _, n := range w.nodes {
		before := w.commits
		for i := 0; w.commits == before; i++ {
			if i > 10000 {
				w.t.Fatalf("node %d cannot commit although nothing fails", n.id)
			}
			w.now += 20e6
			if n.m.Ready() {
				w.propose(n)
			}
			n.m.Tick(w.now)
			w.collect(n)
			for len(n.fly) > 0 {
				w.finish(n, 0)
			}
		}
	}
}

// TestOneValuePerVersion runs proposers against disks with late, failing and
// orphaned writes, crashes between the phases and restarts within an
// incarnation: every version has one value, built on the one before.
func TestOneValuePerVersion(t *testing.T) {
	for _, disks := range []int{1, 3} {
		for _, fail := range []int{0, 5, 30} {
			t.Run(fmt.Sprintf("disks=%d/fail=%d", disks, fail), func(t *testing.T) {
				seeds := 150
				if testing.Short() {
					seeds = 40
				}
				commits := 0
				for seed := range seeds {
					w := newWorld(t, uint64(seed), 2+seed%3, disks)
					w.failRate = fail
					for range 4000 {
						w.step(true)
					}
					w.settle()
					commits += w.commits
				}
				if commits < seeds*5 {
					t.Fatalf("only %d commits in %d runs: the test tests nothing", commits, seeds)
				}
				t.Logf("%d commits in %d runs", commits, seeds)
			})
		}
	}
}
