package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/orders"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// How long to wait before the guard's socket is tried again, at first and at most.
const (
	redialFirst = 100 * time.Millisecond
	redialMost  = 2 * time.Second
)

// errGuardRestarted ends the daemon: its successor begins with what the guard
// says now, which is the same as any restart of the daemon.
var errGuardRestarted = errors.New("the guard is not the one, or not in the state, that this daemon knew; the daemon must begin anew")

// guardLink is the daemon's side of the guard: it turns the core's orders into
// the guard's, and what the guard says into events. One task sends, one receives
// and dials again.
type guardLink struct {
	dial   func() (Guard, error)
	open   func(guardwire.Table) cluster.Table
	orders *queue.Queue[cluster.Order]
	log    zerolog.Logger
	ears

	mu      sync.Mutex
	client  Guard                    // under mu; nil: no connection
	last    *guardwire.Snapshot      // under mu: of the latest connection
	waiting map[uint64]cluster.Order // under mu: sent, not echoed, by the number on the wire
	bound   ident.Incarnation        // under mu: as the guard has echoed
	killed  bool                     // under mu
	problem string                   // under mu: why there is no connection
	payload []byte                   // under mu: of the payload order sent last

	next successor               // under mu, but for its channel
	keys map[uint64]chan<- error // under mu: who waits for the guard to use other keys, by the number on the wire
}

// ears are who is told what the guard says.
type ears struct {
	events chan<- cluster.Event
	mail   func(text string) bool // takes mail that is an order of a drill; nil: nobody does
}

func newGuardLink(dial func() (Guard, error), first Guard, log zerolog.Logger) *guardLink {
	g := &guardLink{dial: dial, client: first, orders: queue.New[cluster.Order](), waiting: map[uint64]cluster.Order{}, keys: map[uint64]chan<- error{}, next: successor{newer: make(chan struct{}, 1)}, log: log}
	s := first.Snapshot()
	g.last, g.bound, g.killed = s, s.Lease.Inc, s.Lease.Killed
	return g
}

// send is the task that passes orders on, in sequence.
func (g *guardLink) send(ctx context.Context) error {
	for {
		o, ok := g.orders.Take(ctx)
		if !ok {
			return nil
		}
		if err := g.transmit(o); err != nil {
			post[cluster.Event](ctx, g.events, cluster.Echoed{Order: o.Kind, Seq: o.Seq, Err: err.Error()})
		}
	}
}

// transmit sends one order. The lock is held over the sending, so that the echo
// finds the order in the list.
func (g *guardLink) transmit(o cluster.Order) error {
	wire, err := orders.Wire(o)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client == nil {
		return fmt.Errorf("there is no connection to the guard: %s", g.problem)
	}
	if p, ok := wire.(*guardwire.Payload); ok {
		g.payload = p.Bytes
	}
	seq, err := g.client.Send(wire)
	switch {
	case err != nil && seq == 0:
		return err
	case err != nil:
		// Whether it arrived is not known: the receiving task finds out.
		g.log.Warn().Err(err).Msg("an order to the guard")
		_ = g.client.Close()
	}
	g.waiting[seq] = o
	return nil
}

// receive is the task that listens to the guard.
func (g *guardLink) receive(ctx context.Context) error {
	defer context.AfterFunc(ctx, g.close)()
	for {
		g.mu.Lock()
		client := g.client
		g.mu.Unlock()
		m, err := client.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err := g.reconnect(ctx, err); err != nil || ctx.Err() != nil {
				return err
			}
		default:
			for _, ev := range g.translate(m) {
				post(ctx, g.events, ev)
			}
		}
	}
}

func (g *guardLink) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		_ = g.client.Close() // the guard goes on by its last permission
	}
}

// translate translates what the guard says.
func (g *guardLink) translate(m guardwire.Message) []cluster.Event {
	switch m := m.(type) {
	case *guardwire.Table:
		return []cluster.Event{g.open(*m)}
	case *guardwire.Echo:
		return g.echoed(m)
	case *guardwire.Notice:
		return g.noticed(m)
	}
	return nil // a snapshot that nobody asked for says nothing new
}

func (g *guardLink) echoed(m *guardwire.Echo) []cluster.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next.asked != nil && m.Seq == g.next.order && !m.OK {
		g.answered(errors.New(m.Err))
	}
	if asked := g.keys[m.Seq]; asked != nil {
		delete(g.keys, m.Seq)
		asked <- m.Failed()
	}
	o, ok := g.waiting[m.Seq]
	if !ok {
		return nil
	}
	delete(g.waiting, m.Seq)
	ev := cluster.Echoed{Order: o.Kind, Seq: o.Seq, Err: m.Err}
	if err := m.Failed(); err != nil {
		ev.Err = err.Error()
	}
	switch {
	case !m.OK:
	case o.Kind == cluster.OrderClaim:
		g.bound, g.killed = o.Inc, false
	case o.Kind == cluster.OrderRetire:
		g.bound = ident.Incarnation{}
	}
	return []cluster.Event{ev}
}

func (g *guardLink) noticed(m *guardwire.Notice) []cluster.Event {
	ev := cluster.Noticed{Killed: m.What == guardwire.NoticeKilled, Leave: m.What == guardwire.NoticeLeave}
	switch {
	case ev.Killed:
		g.mu.Lock()
		g.killed = true
		g.mu.Unlock()
	case m.What == guardwire.NoticeMail && g.mail != nil && g.mail(m.Text):
		return nil
	case !ev.Leave:
		ev.Text = "the guard: " + m.Text
	}
	g.log.Info().Stringer("what", m.What).Str("text", m.Text).Msg("the guard says")
	return []cluster.Event{ev}
}

// reconnect dials until the guard answers. If it is the same guard in the same
// state, the core is told what became of the orders that were not echoed. An
// order that changes the state and was not echoed, or a guard that has restarted,
// ends the daemon.
func (g *guardLink) reconnect(ctx context.Context, why error) error {
	g.mu.Lock()
	_ = g.client.Close()
	g.client, g.problem = nil, why.Error()
	lost := g.waiting
	g.waiting = map[uint64]cluster.Order{}
	for _, asked := range g.keys {
		asked <- why
	}
	clear(g.keys)
	g.mu.Unlock()
	g.log.Warn().Err(why).Msg("the connection to the guard is lost; connecting again")
	client, err := g.redial(ctx)
	if err != nil {
		return nil // the daemon ends
	}
	s := client.Snapshot()
	g.mu.Lock()
	if err := g.compare(s, lost); err != nil {
		g.mu.Unlock()
		return errors.Join(err, client.Close())
	}
	news := s.Lease.Killed && !g.killed
	same := bytes.Equal(s.Payload, g.payload)
	g.client, g.last, g.killed, g.problem = client, s, s.Lease.Killed, ""
	g.answered(nil)
	g.mu.Unlock()
	for _, o := range lost {
		ev := cluster.Echoed{Order: o.Kind, Seq: o.Seq}
		// The guard keeps the payload: it has obeyed if that is what it carries.
		if o.Kind != cluster.OrderPayload || !same {
			ev.Err = "the connection to the guard was lost before it answered"
		}
		post[cluster.Event](ctx, g.events, ev)
	}
	if news {
		post[cluster.Event](ctx, g.events, cluster.Noticed{Killed: true})
	}
	g.log.Info().Msg("connected to the guard again")
	return nil
}

// compare is called under mu.
func (g *guardLink) compare(s *guardwire.Snapshot, lost map[uint64]cluster.Order) error {
	if s.Lease.Inc != g.bound {
		return fmt.Errorf("%w: incarnation %v was bound, now it is %v", errGuardRestarted, g.bound, s.Lease.Inc)
	}
	for _, o := range lost {
		switch o.Kind {
		case cluster.OrderClaim, cluster.OrderStopping, cluster.OrderRetire:
			return fmt.Errorf("%w: the connection was lost before it answered an order that matters", errGuardRestarted)
		}
	}
	return nil
}

// redial fails only when ctx ends.
func (g *guardLink) redial(ctx context.Context) (Guard, error) {
	for pause := redialFirst; ; pause = min(2*pause, redialMost) {
		client, err := g.dial()
		if err == nil {
			return client, nil
		}
		g.mu.Lock()
		g.problem = err.Error()
		g.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connected is the connection that there is; nil: none.
func (g *guardLink) connected() Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.client
}

// state is "connected", or why not.
func (g *guardLink) state() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client == nil {
		return g.problem
	}
	return "connected"
}

// snapshot is what the guard said at the latest connection.
func (g *guardLink) snapshot() *guardwire.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}
