package diskset

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

func ids(names string) []ident.UUID {
	var out []ident.UUID
	for _, n := range names {
		out = append(out, ident.UUID{byte(n)})
	}
	return out
}

// TestCheck is what may become of a set, and the words for what may not.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ from, to, says string }{
		{"abc", "abd", ""},
		{"abc", "dab", ""},
		{"a", "abc", ""},
		{"a", "bcd", "keep 0 of them"},
		{"a", "b", "grow to three first"},
		{"abc", "ade", "keep 1 of them"},
		{"abc", "a", "one of three is exchanged at a time"},
		{"abc", "cba", "are the quorum disks already"},
		{"abc", "abb", "named twice"},
		{"abc", "ab\x00", "no identity"},
	} {
		why := Check(&cluster.State{Disks: ids(c.from), DiskGen: 1}, ids(c.to))
		if (why == "") != (c.says == "") || !strings.Contains(why, c.says) {
			t.Errorf("%s to %q: %q", c.from, c.to, why)
		}
	}
	joint := &cluster.State{Disks: ids("abd"), DiskGen: 2, Change: cluster.DiskChange{Stage: cluster.DisksJoint, Disks: ids("abc")}}
	if why := Check(joint, ids("abe")); !strings.Contains(why, "being changed already") {
		t.Errorf("a second change at a time: %q", why)
	}
	if why := Check(&cluster.State{Disks: ids("abc"), DiskGen: 0xffff}, ids("abd")); !strings.Contains(why, "would look like a recovery") {
		t.Errorf("a change into another epoch: %q", why)
	}
}

// TestChange takes a set through a change: at each step the sets by which a
// value may be chosen meet those of the step before and of the step after.
func TestChange(t *testing.T) {
	s := &cluster.State{Disks: ids("abc"), DiskGen: 4, Change: cluster.DiskChange{Stage: cluster.DisksOffered, Disks: ids("abd")}}
	steps := []Config{Of(s)}
	if got := Offered(s); len(got) != 1 || got[0] != ids("d")[0] {
		t.Errorf("offered %v", got)
	}
	Join(s)
	steps = append(steps, Of(s))
	if s.DiskGen != 5 || !Meets(s, 4) || !Meets(s, 5) || Meets(s, 3) {
		t.Errorf("joint: generation %d", s.DiskGen)
	}
	Settle(s)
	steps = append(steps, Of(s))
	if s.DiskGen != 5 || Meets(s, 4) || len(s.Disks) != 3 || s.Disks[2] != ids("d")[0] || s.Change.Stage != cluster.DisksSettled {
		t.Errorf("settled: %+v", s)
	}
	for i, fit := range []register.Fit{register.Foreign, register.Covered} { // what the older one's register makes of the newer value
		if got := steps[i].Fit(steps[i+1]); got != fit {
			t.Errorf("step %d to %d: %v, want %v", i, i+1, got, fit)
		}
	}
	for i := range steps[1:] {
		places, ok := Places(nil).Add(append(steps[i].Disks(), steps[i+1].Disks()...))
		if !ok || len(places) != 4 {
			t.Fatalf("places %v", places)
		}
		for by := range 16 {
			before, after := places.Sets(steps[i]), places.Sets(steps[i+1])
			rest := ^by & 15
			if before.Met(set(by)) && after.Met(set(rest)) {
				t.Errorf("step %d: %04b chooses by the older sets and %04b by the newer ones: they share no disk", i, by, rest)
			}
		}
	}
	Cancel(s, strings.Repeat("x", 300))
	if len(s.Change.Text) != 200 {
		t.Errorf("why it was withdrawn: %d bytes", len(s.Change.Text))
	}
}

// TestPlacesEnd: numbers are never used again, so they end; the watch says so and
// keeps what it has.
func TestPlacesEnd(t *testing.T) {
	w := NewWatch(ids("abc"), 0)
	last := byte('c')
	for {
		last++
		s := &cluster.State{Disks: []ident.UUID{{'a'}, {'b'}, {last}}}
		if w.Follow(s, nil).TooMany {
			break
		}
		if len(w.Disks) > MostPlaces {
			t.Fatal("more disks than places")
		}
	}
	if len(w.Disks) != MostPlaces || !w.Used(MostPlaces-1) || w.Used(2) {
		t.Errorf("%d disks, those in use are wrong", len(w.Disks))
	}
}

// TestOrder: an order is repeated after a refusal, not before a pause, and not
// once it was obeyed.
func TestOrder(t *testing.T) {
	s := &cluster.State{Disks: ids("abc"), DiskGen: 2, Change: cluster.DiskChange{Paths: []string{"/a", "/b", "/c"}}}
	w, o := NewWatch(ids("abc"), 0), &Order{}
	if _, _, ok := o.Next(0, w, nil); ok {
		t.Error("an order before anything is known")
	}
	o.Ask(s, nil)
	uses, gen, ok := o.Next(1, w, s)
	if !ok || gen != 2 || len(uses) != 3 || uses[1].Path != "/b" || uses[1].Sets != 1 {
		t.Fatalf("%v, %d, %v", uses, gen, ok)
	}
	o.Sent(7)
	if o.Echoed(2, cluster.Echoed{Seq: 6, Err: "of another order"}) != "" || o.Obeyed() {
		t.Error("an echo of another order counts")
	}
	if why := o.Echoed(2, cluster.Echoed{Seq: 7, Err: "too early"}); !strings.Contains(why, "too early") || o.Gen() != 0 {
		t.Errorf("refused: %q", why)
	}
	if o.Echoed(3, cluster.Echoed{Seq: 7, Err: "too early"}) != "" {
		t.Error("the same refusal is news twice")
	}
	if _, _, ok := o.Next(4, w, s); ok {
		t.Error("repeated at once")
	}
	if _, _, ok := o.Next(ident.Instant(2*again), w, s); !ok {
		t.Error("not repeated")
	}
	o.Sent(8)
	o.Echoed(9, cluster.Echoed{Seq: 8})
	o.Ask(s, nil)
	if _, _, ok := o.Next(ident.Instant(9*again), w, s); ok || !o.Obeyed() || o.Gen() != 2 || o.Why() != "" {
		t.Error("an order that was obeyed is repeated")
	}
}

// TestWatchSuspects: an older beat, or a disk that was away, has the headers
// looked at; only an ejection makes a disk count as failed.
func TestWatchSuspects(t *testing.T) {
	w := NewWatch(ids("abc"), 0)
	inc := ident.Incarnation{N: 3}
	table := func(seq uint64, err string) *cluster.Table {
		return &cluster.Table{Disk: 1, Err: err, Wrote: true, Inc: inc, Issued: ident.Instant(seq), Completed: ident.Instant(seq), Beats: []cluster.SeenBeat{
			{Beat: &cluster.Beat{Node: 2, Inc: inc, Seq: seq}},
		}}
	}
	for i, step := range []struct {
		seq           uint64
		err           string
		good, suspect bool
	}{{5, "", true, false}, {6, "", true, false}, {4, "", true, true}, {7, "gone", false, false}, {8, "", true, true}, {9, "", true, false}} {
		if good, suspect := w.Saw(table(step.seq, step.err), inc); good != step.good || suspect != step.suspect {
			t.Errorf("step %d: good %v, suspect %v", i, good, suspect)
		}
	}
	w.Eject(1, Forgot)
	if good, _ := w.Saw(table(20, ""), inc); good || w.LeaseStart() != ident.LongAgo {
		t.Error("a disk that was ejected counts")
	}
	if v := w.Views(30); len(v) != 3 || v[1].Err != Forgot {
		t.Errorf("shown: %+v", v)
	}
	if w.Turn(0) == 1 || w.Turn(1) == 1 {
		t.Error("it is read from")
	}
}

func set(by int) quorum.Set { return quorum.Set(by) }
