package clustertest

import (
	"encoding/binary"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/agenda"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/controller"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/drive"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/faults"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/story"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
)

// Node is one simulated machine: a clock of its own, a guard with watchdogs, a
// daemon with the real core, and the services that run.
type Node struct {
	ID   ident.NodeID
	Name string
	faults.Faults
	// Resets counts how often its watchdogs or its guard have ended it.
	Resets int
	// Protocol is what its daemon speaks from its next life on; zero: the latest.
	Protocol cluster.Protocol

	host    ident.UUID
	body    ident.NodeID // its number to the oracle: its own, but for a twin
	w       *World
	machine machine
	guard   guard
	daemon  daemon
	running map[string]*process
	orphans agenda.Pending // operations that are under way

	attempts []*controller.Attempt // to fence others
	cutAt    time.Duration         // when it lost its power last, in true time
}

// machine is the hardware and the kernel.
type machine struct {
	up      bool
	epoch   int // of everything scheduled: a reset makes it stale
	boot    ident.BootID
	clock   agenda.Clock
	backlog []func()
	hung    [][]func() // per disk: requests that do not complete
	flying  int        // REGISTERs that have not returned
	deep    bool       // suspended with its watchdogs
	asleep  bool       // suspended, and since when
	slept   time.Duration
	disks   nodeDisks
}

// process is a service that runs, or may.
type process struct {
	term  uint64
	half  bool // only its storage is, or was, started
	whole bool // its start has ended well
	// writes are on their way to its LUNs; a stop waits for them.
	writes *int
	// interrupt ends the start that is under way; nil if none is
	interrupt func()
}

func newNode(w *World, id ident.NodeID) *Node {
	return &Node{
		ID: id, Name: story.Name(id), host: ident.UUID{byte(id)}, body: id, w: w, running: map[string]*process{},
		Faults:  faults.New(mostDisks),
		machine: machine{clock: agenda.Clock{Rate: 1 + (w.rng.Float64()-0.5)*0.0098}},
	}
}

func (n *Node) clock() ident.Instant {
	return n.machine.clock.At(n.w.Now)
}

// True is the time since the world began, by a clock that is never wrong.
func (n *Node) True() time.Duration { return n.w.Now }

// moment is now, on both clocks.
func (n *Node) moment() oracle.Moment { return oracle.Moment{True: n.w.Now, Own: n.clock()} }

// Slew makes the node's clock go at another rate: 1 is right.
func (n *Node) Slew(rate float64) {
	n.machine.clock = agenda.Clock{Base: n.w.Now, Own: n.clock(), Rate: rate}
}

// Up says that the node is powered on.
func (n *Node) Up() bool { return n.machine.up }

// OffFor is how long the node has been off; zero while it is on.
func (n *Node) OffFor() time.Duration {
	if n.machine.up {
		return 0
	}
	return n.w.Now - n.cutAt
}

// SpareBlade puts the node's disk into another machine: off and on again, with
// another identity. OwnBlade puts it back.
func (n *Node) SpareBlade() { n.blade(ident.UUID{byte(n.ID), 1}) }

// OwnBlade ends a SpareBlade.
func (n *Node) OwnBlade() { n.blade(ident.UUID{byte(n.ID)}) }

func (n *Node) blade(host ident.UUID) {
	if n.host != host {
		n.PowerOff()
		n.host = host
	}
}

// after schedules f on this node; a reset or power off forgets it, a freeze
// delays it.
func (n *Node) after(d time.Duration, f func()) {
	epoch := n.machine.epoch
	n.w.After(d, func() {
		switch {
		case epoch != n.machine.epoch || !n.machine.up:
		case n.Frozen:
			n.machine.backlog = append(n.machine.backlog, f)
		default:
			f()
		}
	})
}

// request is one request to a shared disk: land is what it does there, done is
// told of its completion. What was issued lands whatever becomes of the node,
// but after a reset it may be lost or torn, and it lands within the drain time.
func (n *Node) request(d int, latency time.Duration, land drive.Landing, done func(ok bool)) {
	if n.DiskCut[d] || n.w.Disks[d].Gone || n.clones(d) {
		n.after(latency, func() { done(false) })
		return
	}
	epoch, k := n.machine.epoch, n.w.Disks[d]
	tell := func() { n.after(n.w.Jitter(100*time.Microsecond, time.Millisecond), func() { done(true) }) }
	finish := func() {
		land(false)
		tell()
	}
	var carry func()
	carry = func() {
		switch {
		case k.Array.Waits(carry):
		case epoch != n.machine.epoch:
			n.ghost(land)
		case n.DiskHang[d] && n.w.rng.IntN(2) == 0: // carried out, but nobody is told
			land(false)
			n.machine.hung[d] = append(n.machine.hung[d], tell)
		case n.DiskHang[d]:
			n.machine.hung[d] = append(n.machine.hung[d], finish)
		case k.Errors > 0 && n.w.rng.Float64() < k.Errors:
			if n.w.rng.IntN(2) == 0 {
				land(n.w.rng.IntN(4) == 0)
			}
			n.after(n.w.Jitter(100*time.Microsecond, time.Second), func() { done(false) })
		default:
			finish()
		}
	}
	n.w.After(n.DiskLag+time.Duration(float64(latency)*max(1, k.Slow)), carry)
}

// write is request for a write; fresh says that it needs new space on a thin disk.
func (n *Node) write(d int, latency time.Duration, fresh bool, land drive.Landing, done func(ok bool)) {
	if k := n.w.Disks[d]; k.ReadOnly || n.ReadOnly[d] || k.Full && fresh {
		n.after(latency, func() { done(false) })
		return
	}
	n.request(d, latency, land, done)
}

// ghost is what becomes of a request whose host was reset meanwhile.
func (n *Node) ghost(land drive.Landing) {
	switch n.w.rng.IntN(5) {
	case 0, 1:
	case 2:
		land(true)
	default:
		n.w.After(n.w.Jitter(0, drain-100*time.Millisecond), func() { land(false) })
	}
}

// Unhang lets the hung requests of a disk complete.
func (n *Node) Unhang(d int) {
	n.DiskHang[d] = false
	if !n.machine.up {
		return
	}
	back := n.machine.hung[d]
	n.machine.hung[d] = nil
	for _, f := range back {
		f()
	}
}

// PowerOn boots the node.
func (n *Node) PowerOn() {
	if n.machine.up {
		return
	}
	m := &n.machine
	m.epoch++
	m.up, n.Frozen, m.backlog, m.asleep, m.deep = true, false, nil, false, false
	m.flying = 0
	m.hung = make([][]func(), mostDisks)
	m.clock = agenda.Clock{Base: n.w.Now, Own: ident.Instant(n.w.Jitter(0, time.Hour)), Rate: m.clock.Rate}
	binary.LittleEndian.PutUint64(m.boot[:], n.w.rng.Uint64())
	n.w.judge.Boots(n.body)
	n.powerDisks()
	n.armDogs()
	n.feed()
	n.StartDaemon()
}

// PowerOff ends the node at once.
func (n *Node) PowerOff() {
	n.machine.epoch++
	if n.machine.up {
		n.cutAt = n.w.Now
	}
	n.machine.up = false
	n.KillDaemon()
	n.running, n.orphans = map[string]*process{}, agenda.Pending{}
	n.w.judge.Ends(n.body, n.w.Now)
}

// Freeze stops everything on the node but its watchdogs; Thaw lets it go on.
func (n *Node) Freeze() { n.Frozen = true }

// Replace cuts the power of the node's machine for good and boots another one
// with the node's disk and identity.
func (n *Node) Replace() *Node {
	n.PowerOff()
	n.host[15]++
	n.PowerOn()
	return n
}

// Twin boots a second machine with the node's disk and identity beside it. The
// network reaches only the first.
func (n *Node) Twin() *Node {
	twin := newNode(n.w, n.ID)
	twin.host[15]++
	twin.machine.disks.floor = n.machine.disks.floor
	twin.body = n.w.judge.Twin(n.ID)
	twin.PowerOn()
	return twin
}

// Bound says that the node's guard is bound to an incarnation.
func (n *Node) Bound() bool { return n.guard.lease != nil && n.guard.lease.State() == lease.Bound }

// Thaw lets a frozen node go on, with everything that waited.
func (n *Node) Thaw() {
	n.Frozen = false
	back := n.machine.backlog
	n.machine.backlog = nil
	for _, f := range back {
		n.after(0, f)
	}
}

// reset is what the watchdogs, or the guard, do.
func (n *Node) reset() {
	n.Resets++
	n.w.Tally.Resets++
	n.w.happened(n, "was reset")
	n.PowerOff()
	if !n.NoReboot {
		n.w.After(n.w.Jitter(8*time.Second, 20*time.Second), n.PowerOn)
	}
}

// Core is the node's core, for its View; nil while its daemon does not run.
func (n *Node) Core() *core.Core { return n.daemon.core }

// View is what the node's core knows now.
func (n *Node) View() cluster.View {
	if n.w.opt.Record != nil && !n.Held() {
		n.w.opt.Record(n, n.clock(), nil, nil)
	}
	return n.mind().View(n.clock())
}
