package diskset

import (
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// Disk is one quorum disk as a node has seen it.
type Disk struct {
	UUID      ident.UUID
	Issued    ident.Instant // issue of the latest own beat that completed
	Completed ident.Instant // completion of the latest good read
	Latency   time.Duration // of the latest own beat: its write, and the read after it
	before    time.Duration // of the one before
	Reads     uint64
	Err       string
	Ejected   string // why it counts as failed for good; empty: it does not
	tops      map[ident.NodeID]top
}

// top is the newest beat of a node that a disk has shown.
type top struct {
	inc ident.Incarnation
	seq uint64
}

// Watch keeps what one node sees of its quorum disks, by place, and by which of
// them what counts. It is used by one goroutine.
type Watch struct {
	Disks    []Disk
	places   Places
	lease    Config // for leases and proofs: that of the committed state
	register Config // for the register: the same, or more where this node was away
	offered  []ident.UUID
	sets     quorum.Sets   // of lease
	used     quorum.Set    // of all of them
	start    ident.Instant // see LeaseStart; kept, because every step asks for it many times
	seen     ident.Instant // see Seen
	epoch    uint32        // that the node's own file names
	heard    uint32        // the highest that any message carried
}

// NewWatch returns a watch over the disks that a node's own file names, and their
// epoch.
func NewWatch(disks []ident.UUID, epoch uint32) *Watch {
	w := &Watch{epoch: epoch, heard: epoch}
	w.Take(First(disks), First(disks), nil)
	return w
}

// Take takes other sets: lease is that of the committed state, register what the
// register works on, and offered are to be opened beside them. It fails where this life
// of the process has no more numbers for disks.
func (w *Watch) Take(lease, register Config, offered []ident.UUID) bool {
	places, ok := w.places.Add(append(append(lease.Disks(), register.Disks()...), offered...))
	if !ok {
		return false
	}
	w.places, w.lease, w.register, w.offered = places, lease, register, offered
	w.sets, w.used = places.Sets(lease), places.Sets(Config{Sets: [][]ident.UUID{w.all()}})[0]
	for d := len(w.Disks); d < len(places); d++ {
		w.Disks = append(w.Disks, Disk{UUID: places[d], Issued: ident.LongAgo, Completed: ident.LongAgo})
	}
	w.count()
	return true
}

// Changed says what another state has changed.
type Changed struct {
	Lease    bool // the disks, or by which of them leases and proofs count
	Register bool // by which of them the register works
	TooMany  bool // nothing: there are no more numbers for disks
}

// Follow makes the sets those of the committed state. What the register has
// found beside it, and what may not be chosen, only adds to what the register
// works on. Both may be nil.
func (w *Watch) Follow(committed, found *cluster.State) Changed {
	lease, offered := w.lease, Offered(committed)
	if committed != nil && len(committed.Disks) > 0 {
		lease = Of(committed)
	}
	work := lease
	if found != nil && len(found.Disks) > 0 {
		work = work.With(Of(found))
		offered = append(offered, Offered(found)...)
	}
	was, before, known := w.lease, w.register, len(w.Disks)
	if !w.Take(lease, work, offered) {
		return Changed{TooMany: true}
	}
	return Changed{Lease: !was.Same(lease) || len(w.Disks) > known, Register: !before.Same(work)}
}

// Fit says how a state's sets stand to those of the register.
func (w *Watch) Fit(s *cluster.State) register.Fit {
	if s == nil || len(s.Disks) == 0 {
		return register.Fits
	}
	return w.register.Fit(Of(s))
}

// Sets are the sets by which leases and proofs count.
func (w *Watch) Sets() quorum.Sets { return w.sets }

// Register is the sets that the register works on.
func (w *Watch) Register() quorum.Sets { return w.places.Sets(w.register) }

// Used says that a disk is opened now.
func (w *Watch) Used(d int) bool {
	return w.used.Has(d)
}

// all are the disks to be opened.
func (w *Watch) all() []ident.UUID {
	return unique(append(append(w.lease.Disks(), w.register.Disks()...), w.offered...))
}

// Uses is what the guard and the daemon have to open; hint tells where.
func (w *Watch) Uses(hint func(ident.UUID) string) []cluster.DiskUse {
	var out []cluster.DiskUse
	for _, id := range w.all() {
		u := cluster.DiskUse{Place: slices.Index(w.places, id), UUID: id, Path: hint(id)}
		for i, s := range w.lease.Sets {
			if slices.Contains(s, id) {
				u.Sets |= 1 << i
			}
		}
		out = append(out, u)
	}
	return out
}

// Saw takes one read of a disk's beat table. It returns false if the table is
// none, or counts no more, and suspect where the register's headers on the disk
// should be looked at: it was away, or it shows an older beat than it did.
func (w *Watch) Saw(e *cluster.Table, self ident.Incarnation) (good, suspect bool) {
	if !w.Used(e.Disk) || w.Disks[e.Disk].Ejected != "" {
		return false, false
	}
	d := &w.Disks[e.Disk]
	if e.Err != "" {
		d.Err = e.Err
		return false, false
	}
	suspect = d.Err != "" && d.Reads > 0
	d.Err = ""
	d.Reads++
	if e.Wrote && e.Inc == self && e.Issued > d.Issued {
		d.Issued, d.Latency, d.before = e.Issued, e.Completed.Sub(e.Issued), d.Latency
	}
	d.Completed = e.Completed
	w.count()
	return true, d.wentBack(e.Beats) || suspect
}

// wentBack says that a node's beat is older than the disk has shown it. One that
// landed late looks the same, so this alone decides nothing.
func (d *Disk) wentBack(beats []cluster.SeenBeat) bool {
	back := false
	if d.tops == nil {
		d.tops = map[ident.NodeID]top{}
	}
	for i := range beats {
		b := beats[i].Beat
		if b == nil {
			continue
		}
		was := d.tops[b.Node]
		if b.Inc.N < was.inc.N || b.Inc == was.inc && b.Seq < was.seq {
			back = true
		}
		d.tops[b.Node] = top{b.Inc, b.Seq}
	}
	return back
}

// Shows lists the offered disks whose latest table shows a beat of a node's
// registered incarnation.
func (w *Watch) Shows(s *cluster.State, n *cluster.NodeState) []ident.UUID {
	var out []ident.UUID
	for _, id := range Offered(s) {
		i := slices.Index(w.places, id)
		if i < 0 || w.Disks[i].Err != "" || w.Disks[i].Reads == 0 || w.Disks[i].tops[n.ID].inc != n.Inc {
			continue
		}
		out = append(out, id)
	}
	return out
}

// Bind forgets the stamps of the incarnation before.
func (w *Watch) Bind() {
	for d := range w.Disks {
		w.Disks[d].Issued = ident.LongAgo
	}
	w.count()
}

// Eject counts a disk as failed for good.
func (w *Watch) Eject(d int, why string) {
	w.Disks[d].Ejected, w.Disks[d].Err = why, why
	w.count()
}

// LeaseStart is the issue of the latest own beat that a majority of every set
// held; LongAgo if there is none.
func (w *Watch) LeaseStart() ident.Instant { return w.start }

// Seen is the instant since which a majority of every set has been read.
func (w *Watch) Seen() ident.Instant { return w.seen }

// count brings LeaseStart and Seen up to date: the disks, or their sets, have
// changed.
func (w *Watch) count() {
	w.start = w.since(func(d *Disk) ident.Instant { return d.Issued })
	w.seen = w.since(func(d *Disk) ident.Instant { return d.Completed })
}

func (w *Watch) since(at func(*Disk) ident.Instant) ident.Instant {
	var all [MostPlaces]ident.Instant
	for d := range w.Disks {
		all[d] = ident.LongAgo
		if w.Disks[d].Ejected == "" {
			all[d] = at(&w.Disks[d])
		}
	}
	return w.sets.Since(all[:len(w.Disks)])
}

// Met says that the disks of which is is true are a majority of every set.
func (w *Watch) Met(is func(d int) bool) bool {
	var by quorum.Set
	for d := range w.Disks {
		if is(d) {
			by |= 1 << d
		}
	}
	return w.sets.Met(by)
}

// ReadTwice says that a majority of every set has been read twice.
func (w *Watch) ReadTwice() bool { return w.Met(func(d int) bool { return w.Disks[d].Reads >= 2 }) }

// Prompt says that a majority of every set takes a beat, which is a write and a read,
// in the time that the register has for a read. One that was slow may have met a stall.
func (w *Watch) Prompt() bool {
	return w.Met(func(d int) bool { return min(w.Disks[d].Latency, w.Disks[d].before) < register.Prompt })
}

// Turn is the n-th disk, in turn, of those that count.
func (w *Watch) Turn(n uint32) int {
	var used []int
	for d := range w.Disks {
		if w.sets.All().Has(d) && w.Disks[d].Ejected == "" {
			used = append(used, d)
		}
	}
	if len(used) == 0 {
		return 0
	}
	return used[int(n)%len(used)]
}

// Views are the disks that are open, for people.
func (w *Watch) Views(now ident.Instant) []cluster.DiskView {
	var out []cluster.DiskView
	for d := range w.Disks {
		k := &w.Disks[d]
		if !w.Used(d) {
			continue
		}
		v := cluster.DiskView{Index: len(out), UUID: k.UUID, Age: -1, Latency: k.Latency, Slow: k.Latency >= register.Prompt, Err: k.Err}
		if k.Completed != ident.LongAgo {
			v.Age = now.Sub(k.Completed)
		}
		out = append(out, v)
	}
	return out
}

// Usable says that a disk is open and answers.
func (w *Watch) Usable(d int) bool { return w.Used(d) && w.Disks[d].Err == "" }
