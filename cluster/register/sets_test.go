package register_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// Sets of the disks 0 to 2.
const (
	disk0 quorum.Set = 0b001
	three quorum.Set = 0b111
)

// grow gives the world one more disk, which no machine works on yet.
func (w *world) grow() {
	w.disks = append(w.disks, &platter{ring: map[ident.NodeID]*[register.Generations]cell{}})
	for _, n := range w.nodes {
		n.wrote = append(n.wrote, false)
	}
}

// change makes a node work on other sets. What it has in flight completes: a shell
// does not take a request back.
func (w *world) change(n *node, sets ...quorum.Set) {
	w.t.Helper()
	n.outs = nil
	n.life++
	n.m.Change(n.life, len(w.disks), sets)
	w.collect(n)
	n.m.Tick(w.now)
	w.collect(n)
}

// stand completes what n has asked of some disks, for as long as its tickets on those
// that were added have to stand.
func (w *world) stand(n *node, disks ...int) {
	w.t.Helper()
	for range 15 {
		w.only(n, disks...)
		w.now = w.now.Add(100 * time.Millisecond)
		n.m.Tick(w.now)
		w.collect(n)
	}
}

// TestChangeNeedsAMajorityOfEachSet: one disk grows to three. While both sets count,
// nothing is chosen without the old disk, and nothing without two of the new set.
func TestChangeNeedsAMajorityOfEachSet(t *testing.T) {
	for name, c := range map[string]struct {
		answer  []int
		chooses bool
	}{
		"the old disk alone":            {[]int{0}, false},
		"two new ones":                  {[]int{1, 2}, false},
		"the old one and one new one":   {[]int{0, 2}, true},
		"the old one and both new ones": {[]int{0, 1, 2}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := quiet(t, 2, 1)
			before := w.commit(a)
			w.grow()
			w.grow()
			w.change(b, disk0, three)
			for range 3 {
				w.stand(b, c.answer...)
				if b.m.Ready() {
					w.begin(b)
					w.only(b, c.answer...)
				}
			}
			o := b.got(register.Committed)
			if (o != nil) != c.chooses {
				t.Fatalf("chosen: %v, want %v (%+v)", o != nil, c.chooses, b.outs)
			}
			if o != nil && o.Value.base < before.id {
				t.Errorf("it was built on %d, and %d was chosen before the change", o.Value.base, before.id)
			}
		})
	}
}

// TestChangeEndsTheProposal: what was under way is aborted, and completions of what
// it had asked for change nothing any more.
func TestChangeEndsTheProposal(t *testing.T) {
	w, a, b := quiet(t, 2, 1)
	w.commit(a)
	w.begin(a)
	late := a.fly
	a.fly = nil
	w.grow()
	w.grow()
	w.change(a, disk0, three)
	if a.got(register.Aborted) == nil {
		t.Fatalf("the proposal goes on: %+v", a.outs)
	}
	if a.m.Ready() {
		t.Error("it proposes before it has read its ring on the new sets")
	}
	for _, f := range late { // they have taken effect, and are reported now
		w.disks[0].land(cell{f.op.Header, f.op.Value})
		a.m.Wrote(w.now, f.op.Disk, f.op.Seq, true)
	}
	w.collect(a)
	if o := a.got(register.Committed); o != nil {
		t.Fatalf("a request of before the change commits %+v", o)
	}
	third := w.decide(a)
	w.change(b, disk0, three)
	if fourth := w.decide(b); fourth.base != third.id {
		t.Errorf("b builds on %d, a has committed %d", fourth.base, third.id)
	}
}

// TestChangeToTheNewSetAlone: the old disk may go. What was chosen by both sets is
// found on the new one.
func TestChangeToTheNewSetAlone(t *testing.T) {
	w, a, b := quiet(t, 2, 1)
	w.commit(a)
	w.grow()
	w.grow()
	w.change(a, disk0, three)
	joint := w.decide(a)
	w.change(a, three)
	w.change(b, three)
	w.disks[0] = &platter{ring: map[ident.NodeID]*[register.Generations]cell{}}
	var o *register.Outcome[val]
	for i := 0; i < 3 && o == nil; i++ {
		w.stand(b, 1, 2)
		if b.m.Ready() {
			w.begin(b)
			w.only(b, 1, 2)
		}
		o = b.got(register.Committed)
	}
	if o == nil || o.Value.base != joint.id {
		t.Errorf("b commits %+v, to be built on %d", o, joint.id)
	}
}

// TestLateWriteOfBeforeAChangeHidesNothing: a block for a disk that was added is on
// its way, or was reported as failed, when the sets change once more, or the daemon
// is started again. It lands over nothing that is written after that.
func TestLateWriteOfBeforeAChangeHidesNothing(t *testing.T) {
	for name, next := range map[string]func(*world, *node){
		"changed": func(w *world, n *node) { w.change(n, three) },
		"changed twice": func(w *world, n *node) {
			w.change(n, three)
			n.fly = nil // it has not come to look
			w.change(n, three)
		},
		"restarted": func(w *world, n *node) { w.drop(n) },
		"changed, then restarted": func(w *world, n *node) {
			w.change(n, three)
			w.until(n, func(h register.Header) bool { return true })
			w.drop(n)
		},
	} {
		for reported, how := range map[string]bool{"on its way": false, "failed": true} {
			t.Run(name+"/"+reported, func(t *testing.T) {
				w, a, _ := quiet(t, 2, 1)
				w.commit(a)
				w.grow()
				w.grow()
				w.change(a, disk0, three)
				w.stand(a, 0, 1, 2)
				w.begin(a)
				w.until(a, func(h register.Header) bool { return !h.IsTicket() }) // it looks before it writes
				var late []flight
				if how {
					late = w.failing(a, 2)
				} else {
					for _, f := range a.fly {
						if f.op.Disk == 2 {
							late = append(late, f)
						}
					}
				}
				if len(late) == 0 {
					t.Fatalf("nothing is on its way to the added disk: %+v", a.fly)
				}
				w.only(a, 0, 1)
				a.fly = nil
				next(w, a)
				w.stand(a, w.everyDisk()...)
				w.begin(a)
				for i := 0; i < 60 && len(a.fly) > 0; i++ {
					w.finish(a, 0)
					before := w.newest(a, 2)
					for _, f := range late {
						w.disks[2].land(cell{f.op.Header, f.op.Value})
					}
					if after := w.newest(a, 2); before.Newer(&after) {
						t.Fatalf("a late write hides generation %d: the disk shows %d of a former life", before.Gen, after.Gen)
					}
				}
				if a.got(register.Committed) == nil {
					t.Errorf("nothing is committed: %+v", a.outs)
				}
			})
		}
	}
}

// TestWhatIsOlderThanTheFloorIsNotLearned: a beat of before a blackout claims an older
// version than this node has known of. It may name disks that have gone since.
func TestWhatIsOlderThanTheFloorIsNotLearned(t *testing.T) {
	for floor, learns := range map[uint64]bool{2: true, 3: false} {
		w, a, b := quiet(t, 2, 1)
		w.commit(a)
		w.commit(a)
		b.fly = nil
		b.m = register.New[val](register.Config{Self: 2, Life: 9, Disks: 1, Floor: floor})
		b.m.Learn(w.now, a.m.Claim())
		w.collect(b)
		w.all(b)
		if got := b.got(register.Learned) != nil; got != learns {
			t.Errorf("floor %d, version 2 claimed: learned %v", floor, got)
		}
	}
}

// TestChangeDoesNotMendARollback: a machine that has halted does not come back by a
// change of its disks.
func TestChangeDoesNotMendARollback(t *testing.T) {
	w, a, b := quiet(t, 2, 1)
	w.commit(a)
	b.m.Learn(w.now, a.m.Claim())
	w.collect(b)
	w.all(b)
	w.disks[0].ring = map[ident.NodeID]*[register.Generations]cell{}
	w.t = recorder{t}
	func() {
		defer func() { _ = recover() }()
		for range 3 {
			w.begin(b)
			w.all(b)
		}
	}()
	w.t = t
	if !b.m.IsHalted() {
		t.Fatal("it goes on, on a disk that has forgotten what was committed")
	}
	w.grow()
	w.grow()
	w.change(b, three)
	if !b.m.IsHalted() || b.m.Ready() {
		t.Error("a change of its disks lets it go on")
	}
}
