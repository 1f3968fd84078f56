package register_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// failing makes every write of n to a disk fail that it wants to issue now, and
// returns those writes: they may still land.
func (w *world) failing(n *node, disk int) (late []flight) {
	for range 20 {
		i := slices.IndexFunc(n.fly, func(f flight) bool { return f.op.Disk == disk })
		if i < 0 {
			return late
		}
		f := n.fly[i]
		if f.op.Kind != register.Write {
			w.finish(n, i)
			continue
		}
		late = append(late, f)
		n.fly = append(n.fly[:i:i], n.fly[i+1:]...)
		n.m.Wrote(w.now, disk, f.op.Seq, false)
		w.collect(n)
	}
	return late
}

func (w *world) newest(n *node, disk int) register.Header {
	var top register.Header
	for _, h := range w.disks[disk].headers() {
		if h.Node == n.id && h.Newer(&top) {
			top = h
		}
	}
	return top
}

// TestDiskThatFailedForLongHidesNothing: a disk refuses writes for minutes, which
// uses up generation after generation; the daemon is restarted, the disk works
// again, and the last of the refused writes land after all. They hide nothing
// that the new life has written.
func TestDiskThatFailedForLongHidesNothing(t *testing.T) {
	w, a, _ := quiet(t, 2, 3)
	w.commit(a)
	var late []flight
	var when []ident.Instant
	for range 12 {
		w.now = w.now.Add(16 * time.Second)
		a.m.Tick(w.now)
		w.collect(a)
		w.begin(a)
		w.until(a, func(register.Header) bool { return true }) // it looks before it writes
		for range 4 {
			w.only(a, 0, 1)
			for _, f := range w.failing(a, 2) {
				late, when = append(late, f), append(when, w.now)
			}
		}
		if a.got(register.Committed) == nil {
			t.Fatal("two disks of three are enough to commit")
		}
	}
	if len(late) < 6 {
		t.Fatalf("%d writes failed, too few to tell anything", len(late))
	}
	w.drop(a)
	w.all(a)
	for range 5 {
		w.commit(a)
		before := w.newest(a, 2)
		for i, f := range late {
			if w.now.Sub(when[i]) < 60*time.Second {
				w.disks[2].land(cell{f.op.Header, f.op.Value})
			}
		}
		if after := w.newest(a, 2); before.Newer(&after) {
			t.Fatalf("a late write hides generation %d: the disk shows %d of a former life", before.Gen, after.Gen)
		}
	}
}

// TestDiskThatWorksAgainIsUsedAgain: once nothing that was refused may land any
// more, the disk gets blocks again, in the same life.
func TestDiskThatWorksAgainIsUsedAgain(t *testing.T) {
	w, a, _ := quiet(t, 2, 3)
	w.commit(a)
	for range 8 {
		w.now = w.now.Add(16 * time.Second)
		w.begin(a)
		for range 4 {
			w.only(a, 0, 1)
			w.failing(a, 2)
		}
	}
	for range 3 {
		w.now = w.now.Add(61 * time.Second)
		a.m.Tick(w.now)
		w.collect(a)
		w.all(a)
		w.commit(a)
	}
	last := w.commit(a)
	if h := w.newest(a, 2); h.Ver != last.ver {
		t.Errorf("the disk shows version %d, want %d", h.Ver, last.ver)
	}
}
