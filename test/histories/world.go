package histories

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// world is the system of one history.
type world struct {
	Config
	rng    *rand.Rand
	now    ident.Instant
	tick   int64 // one per thing that happened: the time of the linearizability check
	disks  []*disk
	nodes  []*node
	oracle oracle
	result Result
	calm   bool // everything is healed
	depth  int  // requests that are being carried out
	stage  *Stage
}

// node is one proposer.
type node struct {
	id     ident.NodeID
	life   uint64
	m      *register.Machine[*cluster.State]
	vols   []*volume.Volume      // by the machine's disk
	hands  []*storagetest.Handle // the same
	fly    []*flight
	busy   bool                      // it is inside of a request: others act meanwhile
	wrote  []bool                    // this life has completed a write on that disk
	call   *call                     // the proposal under way
	early  map[int][]register.Header // what EarlyRead has read, by disk
	former []uint64                  // by disk: the last generation of former lives
	last   map[int]register.Header   // acknowledged last, by disk
	onDisk func(int) *disk
}

// flight is an operation of a machine: carried out at one time, reported at
// another.
type flight struct {
	op     register.Op[*cluster.State]
	done   bool
	ok     bool
	all    []register.Header
	state  *cluster.State
	failed error
}

func (w *world) boot() {
	w.now = 1
	for i := range w.Config.Disks {
		w.disks = append(w.disks, w.newDisk(i))
		w.disks[i].mem.SetBefore(w.meanwhile)
	}
	for i := range w.Config.Nodes {
		n := &node{id: ident.NodeID(i + 1)}
		w.nodes = append(w.nodes, n)
		w.start(n)
	}
}

// start begins a life: new handles, new volumes, a machine that knows nothing.
func (w *world) start(n *node) {
	n.life++
	cfg := register.Config{Self: n.id, Life: n.life, Disks: w.Config.Disks}
	n.onDisk = func(d int) *disk { return w.disks[d] }
	switch w.Broken {
	case ReusedBallot:
		cfg.Life = 1
	case AnyDiskDecides:
		cfg.Disks = 1
		n.onDisk = func(int) *disk { return w.disks[(int(n.id)+int(n.life))%w.Config.Disks] }
	}
	n.vols, n.hands, n.wrote = make([]*volume.Volume, cfg.Disks), make([]*storagetest.Handle, cfg.Disks), make([]bool, cfg.Disks)
	n.early, n.last = map[int][]register.Header{}, map[int]register.Header{}
	n.fly, n.call, n.former = nil, nil, make([]uint64, cfg.Disks)
	for d := range n.former {
		for slot := range uint8(quorumdisk.Ring) {
			n.former[d] = max(n.former[d], n.onDisk(d).place[place{n.id, slot}])
		}
	}
	n.m = register.New[*cluster.State](cfg)
	n.m.Tick(w.now)
	w.collect(n)
}

// crash ends a life and begins the next. What the kernel still had of the former
// process has landed or never will: its slot is free only then. What was
// reported as failed may still be underway in an array, but not from two lives
// ago, nor from one that never completed a write on that disk: see
// register's recovery.
func (w *world) crash(n *node) {
	w.log("node %d crashes in life %d", n.id, n.life)
	w.oracle.lost(w, n)
	for _, f := range n.fly {
		if f.op.Kind == register.Write && !f.done && w.rng.IntN(2) == 0 {
			w.carryOut(n, f)
		}
		if f.op.Kind == register.Write && f.ok {
			w.result.Unknown++ // nobody was told of its success
			w.result.Landed++
		}
	}
	for d := range n.hands {
		p := n.onDisk(d)
		p.settleKernel(w, n.id)
		p.drop(func(l *late) bool { return l.node == n.id && (l.life < n.life || !n.wrote[d]) })
	}
	w.start(n)
}

// collect takes what the machine wants done and what it says.
func (w *world) collect(n *node) {
	ops, outs := n.m.Take()
	for _, op := range ops {
		if slices.ContainsFunc(n.fly, func(f *flight) bool { return f.op.Disk == op.Disk }) {
			w.violated("node %d: two operations in flight on disk %d", n.id, op.Disk)
		}
		n.fly = append(n.fly, &flight{op: op})
		if op.Kind == register.Write {
			w.issued(n, op)
		}
	}
	for i := range outs {
		w.log("node %d: outcome %d version %d proposal %v", n.id, outs[i].Kind, outs[i].Ver, outs[i].Proposal)
		w.oracle.heard(w, n, &outs[i])
		if outs[i].Kind == register.Committed && w.Broken == ClearedBlock {
			for d := range n.hands {
				n.onDisk(d).clear(n.id)
			}
		}
	}
}

// issued notes which generation was given which place, and reads too early where
// that is what is broken.
func (w *world) issued(n *node, op register.Op[*cluster.State]) {
	n.onDisk(op.Disk).place[place{n.id, op.Header.Slot}] = op.Header.Gen
	if w.Broken == EarlyRead {
		if v := w.volume(n, op.Disk); v != nil {
			n.busy = true
			all, _ := v.ReadHeaders(patience)
			n.busy = false
			n.early[op.Disk] = all.Valid
		}
	}
}

// step does one random thing.
func (w *world) step() {
	w.tick++
	w.now = w.now.Add(time.Duration(w.rng.IntN(30e6)))
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if n.busy {
		return
	}
	switch r := w.rng.IntN(100); {
	case r < 66 && len(n.fly) > 0:
		w.finish(n, w.rng.IntN(len(n.fly)))
	case r < 72 && len(n.fly) > 0: // carried out, and nobody told
		w.carryOut(n, n.fly[w.rng.IntN(len(n.fly))])
	case r < 78:
		w.disks[w.rng.IntN(len(w.disks))].stir(w)
	case r < 78+w.Crashes && w.depth == 0:
		w.crash(n)
	case r < 92 && n.m.Ready():
		w.propose(n)
	case r < 95:
		n.m.Learn(w.now, w.nodes[w.rng.IntN(len(w.nodes))].m.Claim())
		w.collect(n)
	default:
		n.m.Tick(w.now)
		w.collect(n)
	}
}

// meanwhile lets other nodes act before a request of one of them is carried out:
// between a body and its header, say.
func (w *world) meanwhile(storagetest.Request) {
	if w.calm || w.depth > 2 || w.rng.IntN(8) > 0 {
		return
	}
	w.depth++
	for range 1 + w.rng.IntN(6) {
		w.step()
	}
	w.depth--
}

// finish reports an operation to its machine.
func (w *world) finish(n *node, i int) {
	f := n.fly[i]
	if !w.carryOut(n, f) {
		return
	}
	n.fly = slices.Delete(n.fly, i, i+1)
	switch f.op.Kind {
	case register.Write:
		n.m.Wrote(w.now, f.op.Disk, f.op.Seq, f.ok)
	case register.ReadHeaders:
		n.m.Headers(w.now, f.op.Disk, f.op.Seq, f.all, f.ok)
	case register.ReadBody:
		n.m.Body(w.now, f.op.Disk, f.op.Seq, f.state, f.ok)
	}
	w.collect(n)
}

// settle heals everything and demands progress from every node.
func (w *world) settle() {
	w.log("healed")
	w.calm = true
	for _, p := range w.disks {
		p.heal(w)
	}
	for _, n := range w.nodes {
		before := w.result.Commits
		for i := 0; w.result.Commits == before; i++ {
			if i > 3000 {
				w.violated("node %d cannot commit although everything is healed", n.id)
			}
			w.tick++
			w.now = w.now.Add(200 * time.Millisecond)
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
