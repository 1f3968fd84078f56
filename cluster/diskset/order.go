package diskset

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// again is the pause before an order that was refused is repeated.
const again = time.Second

// Order is what the guard was told of the disks, and what it has answered.
type Order struct {
	told   []cluster.DiskUse
	gen    uint32
	seq    uint64
	obeyed bool
	repeat ident.Instant  // when an order that was refused is repeated; 0: it was not
	hint   *cluster.State // says where disks are
	asked  bool           // since the latest order was made
	why    string         // why the latest one was refused, as told
}

// Ask takes the state that the order follows: the committed one or, for a node
// that knows none yet, what it has found.
func (o *Order) Ask(committed, found *cluster.State) {
	o.asked = true
	if o.hint = committed; committed == nil {
		o.hint = found
	}
}

// Next is the order that has to be given now, if one has.
func (o *Order) Next(now ident.Instant, w *Watch, committed *cluster.State) ([]cluster.DiskUse, uint32, bool) {
	if o.hint == nil || !o.asked && (o.obeyed || now < o.repeat || o.repeat == 0) {
		return nil, 0, false
	}
	o.asked = false
	uses, gen := w.Uses(o.path), uint32(0)
	if committed != nil {
		gen = committed.DiskGen
	}
	same := o.seq != 0 && o.gen == gen && slices.Equal(o.told, uses)
	if same && (o.obeyed || now < o.repeat || o.repeat == 0) {
		return nil, 0, false
	}
	o.told, o.gen, o.obeyed, o.repeat = uses, gen, false, 0
	return uses, gen, true
}

// Sent notes the number of the order.
func (o *Order) Sent(seq uint64) { o.seq = seq }

// Echoed takes the answer, and returns why it was refused where that is news.
func (o *Order) Echoed(now ident.Instant, e cluster.Echoed) string {
	switch {
	case e.Seq != o.seq:
		return ""
	case e.Err == "":
		o.obeyed, o.why = true, ""
		return ""
	}
	o.repeat = now.Add(again)
	if o.why == e.Err {
		return ""
	}
	o.why = e.Err
	return "the guard does not take the set of quorum disks yet: " + e.Err
}

// Obeyed says that the guard's lease counts by the disks that it was told of.
func (o *Order) Obeyed() bool { return o.obeyed }

// Why is ": " and why it does not; empty where it has only not answered.
func (o *Order) Why() string {
	if o.why == "" {
		return ""
	}
	return ": " + o.why
}

// Gen is the generation by which this node's lease counts; 0 where that is not
// known.
func (o *Order) Gen() uint32 {
	if !o.obeyed {
		return 0
	}
	return o.gen
}

// path is where somebody has found a disk; empty: that is not known.
func (o *Order) path(id ident.UUID) string {
	s := o.hint
	newest, older := s.Disks, s.Change.Disks
	if s.Change.Stage == cluster.DisksOffered {
		newest, older = older, newest
	}
	for _, l := range []struct {
		disks []ident.UUID
		paths []string
	}{{newest, s.Change.Paths}, {older, s.Change.Was}} {
		if i := slices.Index(l.disks, id); i >= 0 && i < len(l.paths) {
			return l.paths[i]
		}
	}
	return ""
}

// Meets says that a beat of generation gen counted by a set that every majority
// meets by which a node at state s counts: the same or, while two count together,
// the older of them, by which a node counts that has not taken up the newer yet.
func Meets(s *cluster.State, gen uint32) bool {
	return gen == s.DiskGen || s.Change.Stage == cluster.DisksJoint && gen+1 == s.DiskGen
}

// Forgot is why a disk was ejected.
const Forgot = "ejected: it shows an older state than it has acknowledged (a snapshot restored, a replica activated, a write cache lost); it counts as failed until it is replaced: holdfast disk replace"

// CheckEvery is how often the register's headers are looked at where nothing
// looked wrong: beats are written so often that they soon hide a rollback.
const CheckEvery = time.Minute
