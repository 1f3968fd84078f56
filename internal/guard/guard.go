// Package guard is the process that owns a node's time. It alone writes the
// node's beat to the quorum disks and reads the beat table back; it keeps the
// lease, feeds the watchdogs while the lease and the daemon allow it, and resets
// the node when they must not be fed any more. What services run and who may
// own them is the daemon's business; the two talk over package guardwire.
//
// The tasks: one feeding thread (feeder.go); per quorum disk one worker
// (worker.go), because a disk that hangs must delay neither the feeding nor the
// other disks; one that obeys the daemon (orders.go); one that passes on what happened. They share state.go, whose lock is never held
// across I/O. Whether the watchdogs may be fed is decided by cluster/lease.
//
// The guard takes what it needs when it starts: memory, priority, descriptors.
// After that its loops allocate nothing, log through a buffer that drops rather
// than blocks, and never touch the root file system, which may hang.
//
// A guard that was killed while bound must not be replaced by one that feeds:
// the new one finds the mark of the old and resets the node (package mark).
package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guard/arming"
	"github.com/holdfast-ha/holdfast/internal/guard/cut"
	"github.com/holdfast-ha/holdfast/internal/guard/handover"
	"github.com/holdfast-ha/holdfast/internal/guard/mark"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/internal/guardwire/gauge"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

const (
	freePeriod   = 500 * time.Millisecond // of the disk cycle while FREE
	freePatience = 2 * time.Second        // for one disk request while FREE
	firstLook    = 2 * time.Second        // for the own beats, before the watchdogs are opened
	leastPeriod  = 100 * time.Millisecond // of the feeding loop
	perTimeout   = 20                     // feeding rounds per watchdog timeout, at least
	maxNotices   = 64                     // waiting to be passed on; more are dropped
)

// Deps is everything that a guard touches: Main makes it from the settings, a
// test from fakes.
type Deps struct {
	Platform Platform
	Node     ident.NodeID
	Run      string        // directory of socket and mark
	Drain    time.Duration // how long writes of a dead host may still land
	Pause    time.Duration // how long a hypervisor may stop this node
	Mail     MailRules
	Disks    []DiskPort
	Set      DiskSet
	Codec    func() (*quorumdisk.Codec, error)
	Arm      func() arming.Armed                        // opens the watchdogs; called once, after the first look at the disks
	Signals  <-chan os.Signal                           // the wish to end
	Upgrade  func(path string, h handover.Bundle) error // replaces this program; nil: it cannot
	Restored *handover.Bundle                           // what the program had that this one replaced; nil after an ordinary start
	RealTime string                                     // what the kernel refused
	Log      zerolog.Logger
}

// MailRules say whose mailbox is this node's, and how far its mail reaches.
type MailRules struct {
	Name     string // of the node, whose SBD slot carries it
	PowerOff bool   // "off" powers this node off at its next boot, instead of only keeping it out
}

// Platform is the node's clock, identity and reset line; both platforms of
// package clock are one.
type Platform interface {
	clock.Platform
	clock.Sampler
}

// DiskSet is by which of the disks the lease counts, and how it may change.
type DiskSet struct {
	Sets []quorum.Set                              // of Disks; nil: all of them are one
	Port func(path string, id ident.UUID) DiskPort // a disk that joins later; nil: none does
}

// DiskPort is one quorum disk: Open may be called again after a failure.
type DiskPort struct {
	Path  string
	UUID  ident.UUID
	Epoch uint32
	Open  func(sector int) (storage.Disk, error) // with sectors of so many bytes
}

// Guard is the process. New makes it, Run runs it.
type Guard struct {
	deps  Deps
	id    clock.Identity
	state *state
	tasks *errgroup.Group // of Run, with ctx
	ctx   context.Context
	disks
	feeder  *feeder
	server  *guardwire.Server
	orders  sync.Mutex // held while an order is obeyed, and when the guard ends
	armed   arming.Armed
	notices chan guardwire.Notice
	cycles  sync.RWMutex // read-held by a worker in a cycle; an upgrade takes it whole
	reading atomic.Bool  // key files, which may hang with their file system
	fate
}

// fate is how far the guard has come with its own beginning and end.
type fate struct {
	dead    atomic.Bool   // the node is to be reset: nothing is fed or written any more
	saying  atomic.Bool   // and every worker leaves a last word
	said    chan struct{} // a worker has left it
	settled atomic.Bool   // the first look is over
	ending  atomic.Bool   // the feeding ends: everything is about to be disarmed
	cut     cut.Cut       // a drill has every disk request fail
}

// disks are the workers.
type disks struct {
	list    sync.RWMutex
	workers []*worker // under list: of the disks in use
	leaving []*worker // under list: given up, and perhaps not ended
}

// New makes a guard; it opens nothing yet.
func New(d Deps) (*Guard, error) {
	g := &Guard{deps: d, id: d.Platform.Identity(), notices: make(chan guardwire.Notice, maxNotices), fate: fate{said: make(chan struct{}, maxSlots)}}
	g.server = guardwire.NewServer(g)
	g.state = newState(d.Node, g.id.Host, len(d.Disks), d.Set.Sets...)
	for i, p := range d.Disks {
		w, err := newWorker(g, i, p)
		if err != nil {
			return nil, err
		}
		g.workers = append(g.workers, w)
	}
	if d.Restored != nil {
		if err := g.state.restore(d.Restored); err != nil {
			return nil, fmt.Errorf("take over from the guard before: %w", err)
		}
	}
	return g, nil
}

// Run guards the node. It returns nil after a SIGTERM while FREE, with the
// watchdogs disarmed; and when ctx ends, as a test does it, with everything left
// as it is. A node that has to be reset and is not stays here for ever.
func (g *Guard) Run(ctx context.Context) error {
	if g.deps.Restored == nil {
		if inc, bound, err := mark.Read(g.deps.Run, g.id.Boot); err != nil {
			return err
		} else if bound {
			g.die(fmt.Sprintf("the guard of incarnation %v died while it was bound", inc))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks, ctx := errgroup.WithContext(ctx)
	g.tasks, g.ctx = tasks, ctx
	for _, w := range g.workers {
		g.begin(w)
	}
	if !g.dead.Load() {
		g.look(ctx)
	}
	if !g.dead.Load() {
		g.armed = g.deps.Arm()
	}
	g.feeder = newFeeder(g, g.armed.Dogs)
	socket, err := g.listen()
	if err != nil {
		cancel()
		return errors.Join(err, tasks.Wait())
	}
	fed := make(chan struct{})
	tasks.Go(func() error { defer close(fed); g.feeder.run(ctx); return nil })
	tasks.Go(func() error { g.server.Serve(ctx, socket); return nil })
	tasks.Go(func() error { g.tell(ctx); return nil })
	tasks.Go(func() error { gauge.Keep(ctx, g.deps.Run, &g.feeder.meter); return nil })
	tasks.Go(func() error { return g.obeySignals(ctx, fed) })
	if err := tasks.Wait(); err != nil && !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// look waits, for a short while, until every disk has shown what this node's
// slot said before. An incarnation of this boot that has not retired is bound
// still, whatever became of its guard and its mark.
func (g *Guard) look(ctx context.Context) {
	timeout := time.NewTimer(firstLook)
	defer timeout.Stop()
	for _, w := range g.workers {
		select {
		case <-w.looked:
		case <-timeout.C:
			timeout.Reset(0) // the others had their time as well
		case <-ctx.Done():
			return
		}
	}
	g.settled.Store(true)
	if g.state.look(g.id.Boot, quorumdisk.BeatHeader{}) {
		g.die("this boot has a bound incarnation on the quorum disk, and its guard is gone")
	}
}

// die ends the node. From its first instruction on nothing is fed and nothing
// written. If the platform does not obey, the watchdogs have to.
func (g *Guard) die(why string) {
	if !g.dead.Swap(true) {
		g.reset(why)
	}
}

// reset pulls the reset line of a node that is dead already. Nothing stands before
// it, neither a log line nor a sync: whatever blocks there would keep the node up.
func (g *Guard) reset(why string) {
	err := g.deps.Platform.Reset(why)
	g.deps.Log.Error().Str("why", why).Err(err).Msg("the reset was not obeyed; the watchdogs are left to bite")
}

// now is the clock; the error means that no instant may be taken.
func (g *Guard) now() (ident.Instant, error) {
	s, err := g.deps.Platform.Sample()
	return s.Now, err
}

// note queues a notice and never waits; texts of the loops are constants.
func (g *Guard) note(what guardwire.NoticeKind, node ident.NodeID, text string) {
	s, _ := g.deps.Platform.Sample() // good enough for people
	select {
	case g.notices <- guardwire.Notice{What: what, At: s.Now, Node: node, Text: text}:
	default:
	}
}

// tell passes notices on to the daemon and the log.
func (g *Guard) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-g.notices:
			g.server.Deliver(&n)
			g.deps.Log.Warn().Stringer("what", n.What).Uint8("node", uint8(n.Node)).Msg(n.Text)
		}
	}
}

// kick asks for a whole cycle of every disk at once.
func (g *Guard) kick() {
	g.each(func(w *worker) { poke(w.kick) })
}

// poke wakes whoever waits for c, now or the next time.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// errEnded ends the tasks after a clean end.
var errEnded = errors.New("ended cleanly")

// obeySignals ends the guard if it is FREE, and otherwise asks the daemon to
// leave the cluster and changes nothing.
func (g *Guard) obeySignals(ctx context.Context, fed <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.deps.Signals:
		}
		switch {
		case g.dead.Load():
		case !g.state.bound().IsZero():
			g.note(guardwire.NoticeLeave, g.deps.Node, "the guard was asked to end: leave the cluster first")
		case g.canDisarm():
			return g.end(fed)
		}
	}
}

// canDisarm says whether every device can be stopped. If one cannot, the guard
// stays and feeds: a clean stop never resets the host.
func (g *Guard) canDisarm() bool {
	for _, d := range g.armed.Dogs {
		if i := d.Info(); i.NoWayOut || !i.MagicClose {
			g.deps.Log.Warn().Str("watchdog", i.Path).Msg("it cannot be stopped: the guard stays and feeds it")
			return false
		}
	}
	return true
}

// end makes the holder give up the watchdogs, stops the feeding and disarms. It
// holds the orders' lock against a claim. A holder that does not obey keeps the
// devices open, so that they could not be stopped: the guard stays and feeds.
func (g *Guard) end(fed <-chan struct{}) error {
	g.orders.Lock()
	defer g.orders.Unlock()
	if !g.state.bound().IsZero() {
		return nil
	}
	if g.armed.Release != nil {
		if err := g.armed.Release(); err != nil {
			g.deps.Log.Warn().Err(err).Msg("the second holder keeps the watchdogs: the guard stays and feeds them")
			return nil
		}
	}
	g.ending.Store(true)
	<-fed
	for _, d := range g.armed.Dogs {
		if err := d.Disarm(); err != nil {
			return fmt.Errorf("disarm: %w", err)
		}
	}
	return errEnded
}
