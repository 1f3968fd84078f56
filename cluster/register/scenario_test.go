package register_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// The scenarios below are the runs of the register's model as readable stories.
// Nothing in them is random: an operation in flight does nothing until the story
// says so.

// only makes requests of n to some disks complete, until nothing is left to do
// there. The others hang.
func (w *world) only(n *node, disks ...int) {
	w.t.Helper()
	for range 200 {
		i := slices.IndexFunc(n.fly, func(f flight) bool { return slices.Contains(disks, f.op.Disk) })
		if i < 0 {
			return
		}
		w.finish(n, i)
	}
	w.t.Fatalf("node %d never comes to rest", n.id)
}

func (w *world) all(n *node) {
	w.t.Helper()
	for d := range w.disks {
		w.only(n, d)
	}
	w.only(n, w.everyDisk()...)
}

func (w *world) everyDisk() []int {
	var list []int
	for d := range w.disks {
		list = append(list, d)
	}
	return list
}

// begin proposes one more version, and does nothing else.
func (w *world) begin(n *node) {
	n.outs = nil
	n.m.Propose(w.now, func(base val, ver uint64) (val, bool) {
		w.nextID++
		return val{id: w.nextID, base: base.id, ver: ver + 1}, true
	})
	w.collect(n)
}

func (n *node) got(kind register.OutcomeKind) *register.Outcome[val] {
	for i := range n.outs {
		if n.outs[i].Kind == kind {
			return &n.outs[i]
		}
	}
	return nil
}

// commit proposes and completes until it is committed.
func (w *world) commit(n *node) val {
	w.t.Helper()
	for range 10 {
		if !n.m.Ready() {
			w.all(n)
		}
		w.begin(n)
		w.all(n)
		if o := n.got(register.Committed); o != nil {
			return o.Value
		}
	}
	w.t.Fatalf("node %d does not commit", n.id)
	return val{}
}

// drop ends n's life: what is in flight is lost.
func (w *world) drop(n *node) {
	n.fly = nil
	w.start(n)
}

// quiet is a world of nodes that have all read their rings.
func quiet(t *testing.T, nodes, disks int) (*world, *node, *node) {
	t.Helper()
	w := newWorld(t, 1, nodes, disks)
	for _, n := range w.nodes {
		w.all(n)
	}
	return w, w.nodes[0], w.nodes[1]
}

func eachDisks(t *testing.T, story func(t *testing.T, disks int)) {
	for _, disks := range []int{1, 3} {
		t.Run(fmt.Sprintf("disks=%d", disks), func(t *testing.T) { story(t, disks) })
	}
}

func TestLateWriteOfAFormerLifeHidesNothing(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		w.commit(a)
		w.begin(a) // phase 2 of version 2 is on its way
		var ghosts []flight
		ghosts = append(ghosts, a.fly...)
		w.drop(a)
		w.all(a)
		second := w.commit(a)
		for _, g := range ghosts {
			w.disks[g.op.Disk].land(cell{g.op.Header, g.op.Value})
		}
		if third := w.commit(b); third.base != second.id {
			t.Errorf("b built on %d, a had committed %d", third.base, second.id)
		}
	})
}

// TestCrashBetweenThePhases: what had landed when the proposer died decides
// whether its value is adopted, and a committed one is never lost.
func TestCrashBetweenThePhases(t *testing.T) {
	cases := []struct {
		name    string
		landed  []int // of three disks
		seen    []int // by the next proposer
		adopted bool
	}{
		{"nowhere", nil, []int{0, 1, 2}, false},
		{"on one disk that the next proposer sees", []int{0}, []int{0, 1}, true},
		{"on one disk that the next proposer does not see", []int{0}, []int{1, 2}, false},
		{"on a majority", []int{0, 2}, []int{0, 1}, true},
		{"on a majority, of which one disk is seen", []int{0, 2}, []int{1, 2}, true},
		{"everywhere", []int{0, 1, 2}, []int{0, 1, 2}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := quiet(t, 2, 3)
			first := w.commit(a)
			w.begin(a)
			unfinished := a.fly[0].op.Value
			for _, f := range a.fly {
				if slices.Contains(c.landed, f.op.Disk) {
					w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
				}
			}
			w.drop(a)
			w.begin(b)
			w.only(b, c.seen...)
			o := b.got(register.Committed)
			if o == nil {
				t.Fatal("b did not commit")
			}
			want := first.id
			if c.adopted {
				want = unfinished.id
			}
			if o.Value.base != want {
				t.Errorf("b built on %d, want %d (adopted: %v)", o.Value.base, want, c.adopted)
			}
			w.all(a)
			w.all(b)
			if next := w.commit(a); next.base != o.Value.id {
				t.Errorf("a, restarted, built on %d and not on %d", next.base, o.Value.id)
			}
		})
	}
}

// TestUnfinishedProposalIsCommittedBeforeAnythingIsBuiltOnIt: it is not known
// whether it was chosen, so it is chosen now, and told of first.
func TestUnfinishedProposalIsCommittedBeforeAnythingIsBuiltOnIt(t *testing.T) {
	w, a, b := quiet(t, 2, 3)
	w.commit(a)
	w.begin(a)
	f := a.fly[0]
	w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
	w.drop(a)
	b.outs = nil
	b.m.Propose(w.now, func(base val, ver uint64) (val, bool) {
		if base.id == f.op.Value.id && b.got(register.Learned) == nil {
			// Outcomes are collected with the ops: look at what was written instead.
			n := 0
			for _, p := range w.disks {
				if slices.ContainsFunc(p.headers(), func(h register.Header) bool { return h.Node == b.id && h.Ver == ver && h.Bal == h.Mbal }) {
					n++
				}
			}
			if n < 2 {
				t.Errorf("built on version %d when %d disks held it under the new ballot", ver, n)
			}
		}
		w.nextID++
		return val{id: w.nextID, base: base.id, ver: ver + 1}, true
	})
	w.collect(b)
	w.all(b)
	l, c := b.got(register.Learned), b.got(register.Committed)
	if l == nil || c == nil || l.Value != f.op.Value || c.Value.base != l.Value.id {
		t.Errorf("learned %+v, then committed %+v", l, c)
	}
}

func TestOfTwoProposersTheLowerIsRefused(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		w.commit(a)
		w.begin(a) // phase 2 as the leader, nothing landed
		w.begin(b) // a higher ballot
		w.all(b)
		if b.got(register.Committed) == nil {
			t.Fatal("b, with the higher ballot, was refused")
		}
		w.all(a)
		o := a.got(register.Aborted)
		if o == nil || o.Seen.Node != b.id {
			t.Fatalf("a was not refused by b's ballot: %+v", a.outs)
		}
		w.commit(a)
	})
}

// TestDuel: proposers that interrupt each other phase by phase lose nothing,
// and the first that is left alone gets through.
func TestDuel(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		w.commit(a)
		refused := 0
		for range 20 {
			for _, n := range []*node{a, b} {
				if n.m.Ready() {
					w.begin(n)
				}
				for range disks { // the write, not the read after it
					w.finish(n, 0)
				}
				if n.got(register.Aborted) != nil {
					refused++
				}
			}
		}
		if refused == 0 {
			t.Error("nobody was refused: this was no duel")
		}
		w.all(a)
		w.all(b)
		w.commit(a)
		w.commit(b)
	})
}

func TestRingWraps(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		var last val
		for i := range 3*register.Generations + 5 {
			last = w.commit(a)
			if i%7 == 0 {
				b.m.Learn(w.now, a.m.Claim())
				w.collect(b)
				w.all(b)
				if v, ver, _ := b.m.Committed(); v != last || ver != last.ver {
					t.Fatalf("b learned version %d, a had committed %d", ver, last.ver)
				}
			}
		}
		for d := range w.disks {
			for _, h := range w.disks[d].headers() {
				if h.Slot == register.Generations-1 {
					t.Errorf("a block stands in the place of the tickets: %+v", h)
				}
			}
		}
		if next := w.commit(b); next.base != last.id {
			t.Errorf("b built on %d, want %d", next.base, last.id)
		}
	})
}

// TestGhostOfAnOldGenerationHidesNothing: a write that was reported as failed
// may land at any time; its place is left alone until it cannot any more.
func TestGhostOfAnOldGenerationHidesNothing(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		w.commit(a)
		w.begin(a)
		ghost := a.fly[0]
		a.fly = a.fly[1:]
		a.m.Wrote(w.now, ghost.op.Disk, ghost.op.Seq, false) // it is repeated, and that succeeds
		w.now = w.now.Add(200 * time.Millisecond)
		a.m.Tick(w.now)
		w.collect(a)
		w.all(a)
		var last val
		for range 3 * register.Generations {
			last = w.commit(a)
		}
		before := w.disks[ghost.op.Disk].headers()
		w.disks[ghost.op.Disk].land(cell{ghost.op.Header, ghost.op.Value})
		for _, h := range before {
			if h.Node == a.id && h.Slot == ghost.op.Header.Slot && h.Gen != ghost.op.Header.Gen {
				t.Errorf("generation %d was written into the place of the ghost of generation %d", h.Gen, ghost.op.Header.Gen)
			}
		}
		if next := w.commit(b); next.base != last.id {
			t.Errorf("b built on %d, want %d: the ghost has hidden it", next.base, last.id)
		}
	})
}

func TestRestartRecoversTheOwnBlock(t *testing.T) {
	w, a, _ := quiet(t, 2, 3)
	w.commit(a)
	w.begin(a)
	f := a.fly[1]
	w.disks[f.op.Disk].land(cell{f.op.Header, f.op.Value})
	w.drop(a)
	w.only(a, 0, 1)
	w.begin(a)
	for _, g := range a.fly {
		h := g.op.Header
		if g.op.Kind != register.Write {
			continue
		}
		if h.Bal != f.op.Header.Bal || h.Ver != f.op.Header.Ver || g.op.Value != f.op.Value {
			t.Errorf("a enters its new ballot with %v version %d, it had accepted %v version %d", h.Bal, h.Ver, f.op.Header.Bal, f.op.Header.Ver)
		}
		if h.Mbal.Compare(f.op.Header.Mbal) <= 0 || h.Gen <= f.op.Header.Gen || h.Inc <= f.op.Header.Inc {
			t.Errorf("the new life writes %+v after %+v", h, f.op.Header)
		}
	}
}

// TestRollbackHalts: the disks were restored from a snapshot. Who knows of a
// version that they have forgotten decides nothing more on them.
func TestRollbackHalts(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 3, disks)
		c := w.nodes[2]
		w.commit(a)
		old := make([]platter, disks)
		for d, p := range w.disks {
			old[d].ring = map[ident.NodeID]*[register.Generations]cell{}
			for id, r := range p.ring {
				kept := *r
				old[d].ring[id] = &kept
			}
		}
		w.commit(b)
		c.m.Learn(w.now, b.m.Claim())
		w.collect(c)
		w.all(c)
		for d := range w.disks {
			w.disks[d].ring = old[d].ring
		}
		w.t = recorder{t}
		defer func() {
			if _, ok := recover().(noticed); !ok || !c.m.IsHalted() {
				t.Error("c proposes on, on disks that have forgotten what it knows to be committed")
			}
		}()
		for range 3 {
			w.begin(c)
			w.all(c)
		}
	})
}

func TestBodyGoneWhileReading(t *testing.T) {
	w, a, b := quiet(t, 2, 1)
	w.commit(a)
	w.begin(b)
	w.finish(b, 0) // the write
	w.finish(b, 0) // the headers: a's value has to be fetched
	if len(b.fly) != 1 || b.fly[0].op.Kind != register.ReadBody {
		t.Fatalf("b does not fetch: %+v", b.fly)
	}
	f := b.fly[0]
	b.fly = nil
	b.m.Body(w.now, f.op.Disk, f.op.Seq, val{}, false)
	w.collect(b)
	if b.got(register.Aborted) == nil {
		t.Fatal("b goes on without the value to build on")
	}
	w.commit(b)
}

// TestHungDiskDelaysNobody: one of three disks never answers, from the first
// moment on, to anybody and in any phase.
func TestHungDiskDelaysNobody(t *testing.T) {
	for hung := range 3 {
		t.Run(fmt.Sprintf("disk=%d", hung), func(t *testing.T) {
			w := newWorld(t, 1, 2, 3)
			rest := slices.DeleteFunc([]int{0, 1, 2}, func(d int) bool { return d == hung })
			for range 2 * register.Generations {
				for _, n := range w.nodes {
					n.outs = nil
					w.only(n, rest...)
					for tries := 0; tries < 3 && n.got(register.Committed) == nil; tries++ {
						w.begin(n) // the other has entered a higher ballot since
						w.only(n, rest...)
					}
					if n.got(register.Committed) == nil {
						t.Fatalf("node %d does not commit: %+v", n.id, n.outs)
					}
				}
				a, b := w.nodes[0], w.nodes[1]
				a.m.Learn(w.now, b.m.Claim())
				w.collect(a)
				w.only(a, rest...)
				if _, ver, _ := a.m.Committed(); ver != b.m.Claim().Ver {
					t.Fatalf("a knows version %d, b has committed %d", ver, b.m.Claim().Ver)
				}
			}
		})
	}
}

// TestBodyOnAHungDiskIsFetchedElsewhere: the disk hangs after it has shown the
// header and before it shows the body.
func TestBodyOnAHungDiskIsFetchedElsewhere(t *testing.T) {
	w, a, b := quiet(t, 2, 3)
	first := w.commit(a)
	w.begin(b)
	for d := range 3 { // the writes, then the headers of a majority
		i := slices.IndexFunc(b.fly, func(f flight) bool { return f.op.Disk == d })
		w.finish(b, i)
	}
	w.finish(b, slices.IndexFunc(b.fly, func(f flight) bool { return f.op.Disk == 0 }))
	w.only(b, 1, 2) // disk 0 hangs
	if o := b.got(register.Committed); o == nil || o.Value.base != first.id {
		t.Errorf("b waits for the disk that hangs: %+v", b.outs)
	}
}

// TestLearnFromAnyDisk: the first disk has never seen the write.
func TestLearnFromAnyDisk(t *testing.T) {
	w, a, b := quiet(t, 2, 3)
	w.commit(a)
	w.begin(a)
	w.only(a, 1, 2)
	v, _, _ := a.m.Committed()
	b.m.Learn(w.now, a.m.Claim())
	w.collect(b)
	w.all(b)
	if got, _, _ := b.m.Committed(); got != v {
		t.Errorf("b learned %+v, a committed %+v", got, v)
	}
}

// TestOvertakenIsNotRolledBack: a read of the headers that took long shows less
// than was learned meanwhile. That is no rollback.
func TestOvertakenIsNotRolledBack(t *testing.T) {
	w, a, b := quiet(t, 2, 3)
	w.commit(b)
	w.commit(a)
	w.begin(b) // phase 1
	for d := range 3 {
		w.finish(b, slices.IndexFunc(b.fly, func(f flight) bool { return f.op.Disk == d }))
	}
	for i := range b.fly { // both reads happen now, one of them is told of much later
		if b.fly[i].op.Disk != 2 {
			w.sample(b, &b.fly[i])
		}
	}
	w.finish(b, slices.IndexFunc(b.fly, func(f flight) bool { return f.op.Disk == 0 }))
	w.commit(a)
	w.commit(a)
	b.m.Learn(w.now, a.m.Claim())
	w.collect(b)
	w.only(b, 0) // learns from the disk that is done
	w.only(b, 1) // the late read: the majority of phase 1
	if b.m.IsHalted() || b.got(register.Aborted) == nil {
		t.Errorf("b: %+v", b.outs)
	}
	w.only(b, 2)
	w.commit(b)
}

// TestDiskThatForgetsItsWriteDoesNotCount: a disk acknowledges a block and does
// not have it. Nothing is chosen on its word; when it keeps what it is given,
// the same block is written again and counts.
func TestDiskThatForgetsItsWriteDoesNotCount(t *testing.T) {
	eachDisks(t, func(t *testing.T, disks int) {
		w, a, b := quiet(t, 2, disks)
		first := w.commit(a)
		w.begin(a)
		for len(a.fly) > 0 {
			f := a.fly[0]
			a.fly = a.fly[1:]
			switch f.op.Kind {
			case register.Write:
				a.m.Wrote(w.now, f.op.Disk, f.op.Seq, true)
			case register.ReadHeaders:
				a.m.Headers(w.now, f.op.Disk, f.op.Seq, w.disks[f.op.Disk].headers(), true)
			}
			w.collect(a)
		}
		if o := a.got(register.Committed); o != nil {
			t.Fatalf("%+v was committed, and stands nowhere", o.Value)
		}
		if second := w.commit(b); second.base != first.id {
			t.Errorf("b built on %d, chosen was %d", second.base, first.id)
		}
		w.now = w.now.Add(time.Minute)
		a.m.Tick(w.now)
		w.collect(a)
		w.all(a)
		w.commit(a)
	})
}

// TestCase06EveryNodeSeesOtherDisks: each of three nodes reaches another two of
// three disks, as on stretched arrays. Whoever commits builds on what was
// committed before.
func TestCase06EveryNodeSeesOtherDisks(t *testing.T) {
	w := newWorld(t, 1, 3, 3)
	sees := [][]int{{0, 1}, {1, 2}, {0, 2}}
	for i, n := range w.nodes {
		w.only(n, sees[i]...)
	}
	last := val{}
	for round := range 12 {
		n, disks := w.nodes[round%3], sees[round%3]
		for tries := 0; ; tries++ {
			if tries == 10 {
				t.Fatalf("node %d does not commit on disks %v", n.id, disks)
			}
			w.begin(n)
			w.only(n, disks...)
			if o := n.got(register.Committed); o != nil {
				if o.Value.base != last.id {
					t.Fatalf("node %d built on %d, committed was %d", n.id, o.Value.base, last.id)
				}
				last = o.Value
				break
			}
		}
	}
}
