package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/held"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
)

// eventBuffer is how many events may wait for the loop before who brings them
// has to wait.
const eventBuffer = 256

// errLeft ends the daemon after a clean leave.
var errLeft = errors.New("this node has left the cluster")

// errAgain ends the daemon so that its supervisor starts it anew.
var errAgain = errors.New("a new life begins")

// errEnded is the answer to those who still wait when the daemon ends.
var errEnded = errors.New("holdfastd is ending")

// loop owns the core: it alone steps it, and does or passes on what the core
// wants done. It never waits for anything but the next event.
type loop struct {
	core   Core
	watch  *watch
	events chan cluster.Event
	calls  chan func() // what needs the core between two steps
	act    func(cluster.Action) error
	record Recorder
	told   func(*cluster.View) // there is a newer committed state
	// panicked writes a panic of the core down.
	panicked func(ver uint64, what string)

	life  uint64 // when this life began
	last  ident.Instant
	state *cluster.State // the newest committed one
}

// run is the loop's task. first is the core's first event.
func (l *loop) run(ctx context.Context, first cluster.Event) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := l.step(first); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case ev := <-l.events:
			err = l.step(ev)
		case f := <-l.calls:
			f()
		case <-timer.C:
			err = l.step(cluster.Tick{})
		}
		if err != nil {
			return err
		}
		timer.Reset(max(0, l.core.NextDeadline().Sub(l.last)))
	}
}

// step gives the core one event, with the time at which it is given.
func (l *loop) step(ev cluster.Event) error {
	now, err := l.watch.step(l.last)
	if err != nil {
		return err
	}
	l.last = now
	actions := l.decide(now, ev)
	l.record.Step(now, ev, actions)
	switch ev.(type) {
	case cluster.RegisterWrote, cluster.RegisterHeaders, cluster.RegisterBody:
		l.learn(now) // first, for the actions may speak of new nodes
	}
	for _, a := range actions {
		err = errors.Join(err, l.act(a))
	}
	return err
}

// decide steps the core. A panic is written down with the version that it was at,
// before it ends the process: see package held.
func (l *loop) decide(now ident.Instant, ev cluster.Event) []cluster.Action {
	defer func() {
		if what := recover(); what != nil {
			l.panicked(l.version(ev), fmt.Sprint(what))
			panic(what)
		}
	}()
	return l.core.Step(now, ev)
}

// version is the highest of the register that was known, or was just read.
func (l *loop) version(ev cluster.Event) uint64 {
	var ver uint64
	if l.state != nil {
		ver = l.state.Ver
	}
	if b, ok := ev.(cluster.RegisterBody); ok && b.OK && b.Value != nil {
		ver = max(ver, b.Value.Ver)
	}
	return ver
}

// learn notices a newer committed state: only the register's events bring one.
func (l *loop) learn(now ident.Instant) {
	if v := l.look(now); v.State != nil && v.State != l.state {
		l.state = v.State
		l.told(&v)
	}
}

// look asks the core what it knows. That is recorded too: the core brings itself
// up to date for it, and a replayed one has to do the same.
func (l *loop) look(now ident.Instant) cluster.View {
	l.record.Looked(now)
	return l.core.View(now)
}

// view asks the core from outside the loop.
func (l *loop) view(ctx context.Context) (cluster.View, error) {
	answer := make(chan cluster.View, 1)
	call := func() { answer <- l.look(max(l.last, l.watch.instant())) }
	if !post(ctx, l.calls, call) {
		return cluster.View{}, errEnded
	}
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return cluster.View{}, errEnded
	}
}

// act does one action of the core, or passes it on. It is called by the loop and
// does not wait.
func (d *Daemon) act(ctx context.Context) func(cluster.Action) error {
	kernel := operations.Kernel(d.watch.instant)
	return func(a cluster.Action) error {
		switch a := a.(type) {
		case cluster.Order:
			if a.Kind == cluster.OrderDisks {
				d.useDisks(ctx, a)
			} else {
				d.guard.orders.Put(a)
			}
		case cluster.RegisterOp:
			d.disks.at(a.Op.Disk).register(ctx, a.Op)
		case cluster.WriteBlob:
			d.disks.at(a.Disk).writeBlob(ctx, a)
		case cluster.ReadBlob:
			d.disks.at(a.Disk).readBlob(ctx, a)
		case cluster.Send:
			if err := d.links.Send(a.To, a.Msg); err != nil {
				d.deps.Log.Debug().Err(err).Msg("a network beat was not sent")
			}
		case cluster.Run:
			d.tasks.Go(func() error { // task "run N": ends with its operation
				post[cluster.Event](ctx, d.loop.events, operations.CarryOut(ctx, d.deps.Runner, kernel, a))
				return nil
			})
		case cluster.Fence:
			carry := d.ways.Begin(ctx, a)
			d.tasks.Go(func() error { // task "fence N": ends with its attempt
				post[cluster.Event](ctx, d.loop.events, carry())
				return nil
			})
		case cluster.Reserve:
			d.tasks.Go(func() error { // task "reserve N": ends with its work
				d.ways.keys.CarryOut(ctx, a, func(e cluster.ReserveDone) { post[cluster.Event](ctx, d.loop.events, e) })
				return nil
			})
		case cluster.FenceStop:
			d.ways.Stop(a.Op)
		case cluster.Reply:
			d.requests.Reply(a)
		case cluster.Note:
			d.events.Note(a, d.loop.state)
		case cluster.Exit:
			if a.Again {
				return errors.Join(errAgain, held.Forget(d.deps.Node.Dirs.State))
			}
			d.events.Add(api.Event{At: int64(d.loop.last), Kind: string(cluster.NoteLeft), Level: "info", Node: d.deps.Node.Name, Text: a.Text})
			return errLeft
		default:
			return fmt.Errorf("the core wants %T done, which this daemon does not know", a)
		}
		return nil
	}
}

// told spreads a newer committed state: to the cache, the links and the waits for
// the disks.
func (d *Daemon) told(v *cluster.View) {
	d.cache.Keep(v.State)
	d.figures.Committed(v.State.Ver)
	d.links.SetPeers(heartbeat.PeersOf(v.State, d.deps.Node.ID))
	d.shared.patience.Store(int64(v.Timing.F / 2))
}
