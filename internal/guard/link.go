package guard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// Why an order is refused by what the guard itself knows; the lease has reasons
// of its own.
var (
	errDead     = errors.New("this node is being reset")
	errConn     = errors.New("the order was meant for another connection, or came twice")
	errForeign  = errors.New("the incarnation belongs to another boot")
	errNoDog    = errors.New("no watchdog is fed: nothing would end this node, so its beat must not promise that")
	errPeriods  = errors.New("the promise counts fewer watchdog periods than these devices and their holder need")
	errTMax     = errors.New("the promise is shorter than the timeout of the shortest watchdog")
	errCadence  = errors.New("the periods of the disk cycle or of the feeding are missing, or too long for the lease or the watchdogs")
	errUpgrade  = errors.New("this guard cannot replace itself")
	errIdentity = errors.New("not the device that was formatted, but perhaps a clone or a snapshot of it")
	errGreeting = errors.New("the first order was no hello")
)

// acceptRetry is the pause after a failure to accept, such as too many open files.
const acceptRetry = time.Second

// link is the guard's end of the socket. It obeys one connection: a new one is
// answered only when the task that obeys the old one has read it to its end or
// discarded it. Otherwise a retire from a dead daemon's life could free a guard
// that a new life believes to be bound.
type link struct {
	g        *Guard
	listener *guardwire.Listener
	wake     chan struct{}
	orders   sync.Mutex // held while an order is obeyed, and when the guard ends

	mu      sync.Mutex
	waiting *guardwire.Conn // accepted, not obeyed yet; under mu
	current *guardwire.Conn // obeyed; under mu
	greeted *guardwire.Conn // current, once it has its snapshot; under mu
}

// listen makes the socket.
func (l *link) listen() error {
	var first [8]byte
	_, _ = rand.Read(first[:]) // never fails
	var err error
	l.listener, err = guardwire.Listen(filepath.Join(l.g.deps.Run, socketFile), binary.BigEndian.Uint64(first[:]))
	return err
}

// accept takes connections; the newest supersedes all others.
func (l *link) accept(ctx context.Context) {
	defer context.AfterFunc(ctx, l.close)()
	for {
		c, err := l.listener.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// A guard that cannot take connections still has to feed.
			l.g.deps.Log.Error().Err(err).Msg("a connection was not accepted")
			select {
			case <-ctx.Done():
			case <-time.After(acceptRetry):
			}
			continue
		}
		l.mu.Lock()
		hangUp(l.waiting)
		hangUp(l.current)
		l.waiting = c
		l.mu.Unlock()
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// close ends the listening and the connections, so that their readers return.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close() // the socket may be gone already
	hangUp(l.waiting)
	hangUp(l.current)
}

func hangUp(c *guardwire.Conn) {
	if c != nil {
		_ = c.Close() // closing twice is harmless, and nothing depends on it
	}
}

// serve obeys one connection after the other.
func (l *link) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.mu.Lock()
		c := l.waiting
		l.waiting, l.current = nil, c
		l.mu.Unlock()
		if c == nil {
			continue
		}
		err := l.obeyAll(c)
		hangUp(c)
		l.mu.Lock()
		l.current, l.greeted = nil, nil
		l.mu.Unlock()
		l.g.deps.Log.Info().Err(err).Uint64("connection", c.ID).Msg("the daemon's connection has ended")
	}
}

// obeyAll reads a connection to its end.
func (l *link) obeyAll(c *guardwire.Conn) error {
	var last uint64
	for {
		h, o, err := c.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, hello := o.(*guardwire.Hello); hello {
			err = l.greet(c, h)
		} else if last == 0 {
			err = errGreeting
		} else {
			err = l.answer(c, h, o, h.Conn == c.ID && h.Seq > last)
		}
		if err != nil {
			return err
		}
		last = h.Seq
	}
}

func (l *link) greet(c *guardwire.Conn, h guardwire.Header) error {
	s, err := l.g.snapshot()
	if err == nil {
		err = c.Deliver(h.Seq, s)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greeted = c
	return nil
}

func (l *link) answer(c *guardwire.Conn, h guardwire.Header, o guardwire.Order, ours bool) error {
	l.orders.Lock()
	defer l.orders.Unlock()
	err := errConn
	if ours {
		err = l.g.obey(h.Seq, o)
	}
	e := &guardwire.Echo{Order: h.Kind, OK: err == nil}
	if err != nil {
		e.Err = err.Error()
		l.g.deps.Log.Warn().Err(err).Stringer("order", h.Kind).Msg("refused an order")
	}
	return c.Deliver(h.Seq, e)
}

// offer gives a table to the daemon if there is one; it never waits.
func (l *link) offer(t *guardwire.Table) {
	l.mu.Lock()
	c := l.greeted
	l.mu.Unlock()
	if c != nil {
		c.Offer(t)
	}
}

// deliver tells the daemon something, if there is one.
func (l *link) deliver(m guardwire.Message) {
	l.mu.Lock()
	c := l.greeted
	l.mu.Unlock()
	if c != nil {
		_ = c.Deliver(0, m) // the reader notices that the connection has ended
	}
}

// obey carries out one order.
func (g *Guard) obey(seq uint64, o guardwire.Order) error {
	if g.dead.Load() || g.ending.Load() {
		return errDead
	}
	switch o := o.(type) {
	case *guardwire.Payload:
		g.state.setPayload(o.Bytes, seq)
	case *guardwire.Permission:
		return g.state.with(func(l *lease.Lease) error { return l.Permit(o.Inc, o.Until) })
	case *guardwire.Grace:
		return g.state.with(func(l *lease.Lease) error { return l.Grace(o.Inc, o.Until) })
	case *guardwire.Claim:
		return g.claim(seq, o)
	case *guardwire.Stopping:
		defer g.kick()
		return g.state.with(func(l *lease.Lease) error { return l.Stopping(o.Inc) })
	case *guardwire.Retire:
		return g.retire(o)
	case *guardwire.Kick:
		g.kick()
	case *guardwire.Reset:
		g.die("the daemon asked for it: " + o.Why)
		return errors.New("the reset was not obeyed; the watchdogs are left to bite")
	case *guardwire.Rekey:
		return g.rekeyAll()
	case *guardwire.Upgrade:
		return g.upgrade(o.Path)
	}
	return nil
}

// claim leaves the mark first: a guard that dies between the two is followed by
// one that resets the node, which is too careful but never wrong.
func (g *Guard) claim(seq uint64, o *guardwire.Claim) error {
	if !g.state.bound().IsZero() {
		return lease.ErrBound
	}
	if err := g.checkPromise(o); err != nil {
		return err
	}
	if err := writeMark(g.deps.Run, o.Inc); err != nil {
		return err
	}
	now, err := g.now()
	if err == nil {
		err = g.state.claim(now, o, seq)
	}
	if err != nil {
		return errors.Join(err, removeMark(g.deps.Run))
	}
	g.kick()
	return nil
}

// checkPromise refuses a promise that the devices do not keep. Whole watchdog
// periods that may follow the lease's end: one with two devices fed in turn, two
// with one; and one more if nobody else holds the descriptors, for the kernel
// feeds a watchdog once when the last of them is closed.
func (g *Guard) checkPromise(o *guardwire.Claim) error {
	p := &o.Params
	if o.Inc.Boot != g.id.Boot {
		return errForeign
	}
	if p.H <= 0 || p.H > p.Lease.F || p.PetPeriod <= 0 {
		return errCadence
	}
	if p.Lease.Class == cluster.WatchdogNone {
		return nil
	}
	if len(g.armed.Dogs) == 0 {
		return errNoDog
	}
	least := time.Duration(1<<63 - 1)
	for _, d := range g.armed.Dogs {
		least = min(least, d.Info().Timeout)
	}
	periods := uint8(1)
	if len(g.armed.Dogs) == 1 {
		periods++
	}
	if g.armed.Holder == guardwire.NoHolder {
		periods++
	}
	switch {
	case p.PetPeriod > least/4:
		return errCadence
	case p.Lease.M < periods:
		return fmt.Errorf("%w: it says %d, they need %d", errPeriods, p.Lease.M, periods)
	case p.Lease.TMax < least:
		return errTMax
	}
	return nil
}

func (g *Guard) retire(o *guardwire.Retire) error {
	if err := g.state.retire(o.Inc); err != nil {
		return err
	}
	g.kick()
	return removeMark(g.deps.Run)
}

// rekeyAll gives every worker a codec of the keys that are in the file now.
func (g *Guard) rekeyAll() error {
	for _, w := range g.workers {
		c, err := g.deps.Codec()
		if err != nil {
			return err
		}
		w.rekey.Store(c)
	}
	return nil
}

func (g *Guard) snapshot() (*guardwire.Snapshot, error) {
	now, err := g.now()
	if err != nil {
		return nil, err
	}
	s := g.state.snapshot()
	s.Now, s.Boot, s.Emulated = now, g.id.Boot, g.id.Emulated
	s.Holder, s.Watchdogs, s.RealTime = g.armed.Holder, g.armed.Infos, g.deps.RealTime
	for _, w := range g.workers {
		s.Disks = append(s.Disks, w.snapshot())
	}
	return s, nil
}
