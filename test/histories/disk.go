package histories

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// nmax is how many nodes the disks have room for.
const nmax = 5

// drain is how long a write of unknown outcome may still land: less than the
// register leaves its place alone.
const drain = 55 * time.Second

// place is where a generation of a node's block stands.
type place struct {
	node ident.NodeID
	slot uint8
}

// disk is one quorum disk and what is underway to it.
type disk struct {
	index  int
	mem    *storagetest.Memory
	layout quorumdisk.Layout
	codec  *quorumdisk.Codec
	lies   Liar
	out    bool             // answers nobody for a while
	gone   bool             // lost, or taken out of use
	place  map[place]uint64 // generation that was issued last
	late   map[int]*late    // by the id of the pending request
}

// late is a write that the disk still has.
type late struct {
	node   ident.NodeID
	slot   uint8
	gen    uint64
	life   uint64
	ghost  bool // it was acknowledged, and has landed before
	hung   bool // the kernel waits for it
	counts bool // its landing is that of a write of unknown outcome
	until  ident.Instant
}

func keys() quorumdisk.Keys {
	return quorumdisk.Keys{Current: quorumdisk.Key(bytes.Repeat([]byte{7}, quorumdisk.KeySize))}
}

func clusterID() ident.UUID { return ident.UUID{0xc1} }

func name(id ident.NodeID) string { return string(rune('a' - 1 + id)) }

func identity(index int) storage.Identity {
	return storage.Identity{Kind: "naa", Value: fmt.Sprintf("60000000000000000000000000000d%02x", index)}
}

// Stage keeps formatted disks: every history starts on copies of them.
type Stage struct {
	mu     sync.Mutex
	blank  map[[2]int]*storagetest.Memory // by index and sector size, under mu
	bodies map[value][]byte               // encoded states, under mu
}

// NewStage returns a stage. It may be used from several goroutines.
func NewStage() *Stage {
	return &Stage{blank: map[[2]int]*storagetest.Memory{}, bodies: map[value][]byte{}}
}

func (s *Stage) disk(index, sector int) (*storagetest.Memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.blank[[2]int{index, sector}]
	if m == nil {
		l := quorumdisk.Layout{SectorSize: sector, Nmax: nmax}
		m = storagetest.NewMemory(l.MinSize(), sector)
		m.SetIdentity("disk", identity(index))
		_, err := volume.Create(m.Open("init"), volume.Options{
			Keys: keys(), Cluster: clusterID(), Disk: ident.UUID{0xd1, byte(index)}, Index: uint8(index), DiskGen: 1,
			Nmax: nmax, Created: time.Unix(1763800000, 0), Timeout: patience,
		})
		if err != nil {
			return nil, err
		}
		s.blank[[2]int{index, sector}] = m
	}
	return m.Clone(identity(index)), nil
}

func (w *world) newDisk(index int) *disk {
	m, err := w.stage.disk(index, w.Sector)
	if err != nil {
		w.violated("a disk in memory cannot be formatted: %v", err)
	}
	p := &disk{index: index, mem: m, layout: quorumdisk.Layout{SectorSize: w.Sector, Nmax: nmax}, place: map[place]uint64{}, late: map[int]*late{}}
	if p.codec, err = quorumdisk.NewCodec(keys(), clusterID(), p.layout); err != nil {
		w.violated("no codec: %v", err)
	}
	if index == w.Config.Disks-1 {
		p.lies = w.Liar
	}
	return p
}

// shows says that the header stands on the disk.
func (p *disk) shows(h register.Header) bool {
	slot := uint8(h.Gen % quorumdisk.Ring)
	got, ok, err := p.codec.OpenHeader(p.mem.Peek(p.layout.HeaderOffset(h.Node, slot), p.layout.SectorSize), h.Node, slot)
	return err == nil && ok && got.Gen == h.Gen && got.Mbal == h.Mbal && got.Bal == h.Bal && got.Ver == h.Ver
}

// adopt notes whose the requests are that the write of h left behind.
func (p *disk) adopt(w *world, n *node, h register.Header, counts, hung bool) {
	for _, q := range p.mem.Pending() {
		if p.late[q.ID] != nil || q.Node != name(n.id) || q.Op != storagetest.Writes {
			continue
		}
		p.late[q.ID] = &late{
			node: n.id, slot: uint8(h.Gen % quorumdisk.Ring), gen: h.Gen, life: n.life,
			ghost: q.Landed && !hung, hung: hung, until: w.now.Add(drain),
			counts: counts && !q.Landed && q.Off < quorumdisk.BodiesOffset,
		}
	}
}

// land lets a pending write take effect, if a disk may still do that.
func (p *disk) land(w *world, id int) {
	l := p.late[id]
	delete(p.late, id)
	fits := l.until >= w.now || l.hung
	if l.ghost { // it was complete, and comes back only while nothing newer stands in its place
		fits = fits && (p.place[place{l.node, l.slot}] == l.gen || w.Broken == GhostWraps)
	}
	if !fits {
		p.mem.Drop(id)
		return
	}
	w.log("disk %d: generation %d of node %d lands late", p.index, l.gen, l.node)
	p.mem.Land(id)
	if l.counts {
		w.result.Landed++
	}
}

// drop ends the late writes that can no longer land.
func (p *disk) drop(is func(*late) bool) {
	for _, q := range p.mem.Pending() {
		if l := p.late[q.ID]; l != nil && is(l) {
			delete(p.late, q.ID)
			p.mem.Drop(q.ID)
		}
	}
}

// settleKernel ends what a node's kernel waits for, one way or the other.
func (p *disk) settleKernel(w *world, id ident.NodeID) {
	for _, q := range p.mem.Pending() {
		switch l := p.late[q.ID]; {
		case q.Op == storagetest.Reads && q.Node == name(id):
			p.mem.Drop(q.ID)
		case l == nil || !l.hung || l.node != id:
		case w.rng.IntN(2) == 0:
			p.land(w, q.ID)
		default:
			delete(p.late, q.ID)
			p.mem.Drop(q.ID)
		}
	}
}

// clear is what no node may do to its block.
func (p *disk) clear(id ident.NodeID) {
	p.mem.Poke(p.layout.HeaderOffset(id, 0), make([]byte, quorumdisk.Ring*p.layout.SectorSize))
}

func (p *disk) heal(w *world) {
	p.lies, p.out = Honest, false
	for _, q := range p.mem.Pending() {
		if l := p.late[q.ID]; l != nil && w.rng.IntN(2) == 0 {
			p.land(w, q.ID)
		} else {
			delete(p.late, q.ID)
			p.mem.Drop(q.ID)
		}
	}
}

// stir is what happens to a disk by itself.
func (p *disk) stir(w *world) {
	list := p.mem.Pending()
	switch r := w.rng.IntN(100); {
	case w.Broken == GhostWraps:
		p.haunt(w)
	case r < 60 && len(list) > 0:
		q := list[w.rng.IntN(len(list))]
		if p.late[q.ID] != nil && w.rng.IntN(3) > 0 {
			p.land(w, q.ID)
		} else {
			delete(p.late, q.ID)
			p.mem.Drop(q.ID)
		}
	case r < 64 && w.Config.Disks == 3:
		p.out = !p.out && w.rng.IntN(2) == 0
	case r < 75 && p.lies == Wiped:
		p.wipe(w)
	case r < 70 && p.lies == Replaced:
		w.log("disk %d is taken out of use", p.index)
		p.gone = true
	case p.lies == Stale && r < 90:
		for _, n := range w.nodes {
			p.age(w, n)
		}
	}
}

// haunt lands a ghost where its node's newest block stands.
func (p *disk) haunt(w *world) {
	for _, q := range p.mem.Pending() {
		l := p.late[q.ID]
		if l == nil || !l.ghost {
			continue
		}
		newest := uint64(0)
		for slot := range uint8(quorumdisk.Ring) {
			newest = max(newest, p.place[place{l.node, slot}])
		}
		if newest != l.gen && p.place[place{l.node, l.slot}] == newest {
			p.land(w, q.ID)
			return
		}
	}
}

// age lets a node's next reads see the disk as it is now. A life's first reads
// are honest: nothing could tell a node that its own block is not the newest.
func (p *disk) age(w *world, n *node) {
	for d, h := range n.hands {
		if h != nil && n.onDisk(d) == p && n.wrote[d] && w.rng.IntN(2) == 0 {
			h.Inject(storagetest.Fault{Kind: storagetest.Stale, Skip: w.rng.IntN(2), Times: 1})
		}
	}
}

// wipe is somebody's mkfs, or a LUN that was made anew under its old name.
func (p *disk) wipe(w *world) {
	w.log("disk %d is wiped", p.index)
	if w.Broken != NoIdentity {
		p.lies = Honest
	}
	if w.rng.IntN(2) == 0 {
		p.mem.Restore(storagetest.NewMemory(p.layout.MinSize(), p.layout.SectorSize).Snapshot())
		return
	}
	p.mem.Poke(quorumdisk.SuperOffset, make([]byte, p.layout.SectorSize))
	p.mem.Poke(quorumdisk.HeadersOffset, make([]byte, p.layout.HeadersSize()))
}
