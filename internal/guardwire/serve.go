package guardwire

import (
	"context"
	"errors"
	"sync"
	"time"
)

// acceptRetry is the pause after a failure to accept, such as too many open files.
const acceptRetry = time.Second

// errConn refuses an order.
var errConn = errors.New("the order was meant for another connection, or came twice")

// Handler is the guard behind a Server. Its methods are called by one goroutine.
type Handler interface {
	// Snapshot answers a Hello.
	Snapshot() (*Snapshot, error)
	// Obey carries an order out; its error goes into the echo.
	Obey(seq uint64, o Order) error
	// Hear is told what went wrong with a connection, or how it ended.
	Hear(conn uint64, err error)
}

// Server obeys one connection at a time: the newest supersedes all others, and
// is answered only when the goroutine that obeys the old one has read it to its
// end or discarded it. Otherwise a retire from a dead daemon's life could free a
// guard that a new life believes to be bound.
type Server struct {
	handler Handler
	wake    chan struct{}

	mu       sync.Mutex
	listener *Listener // under mu
	waiting  *Conn     // accepted, not obeyed yet; under mu
	current  *Conn     // obeyed; under mu
	greeted  *Conn     // current, once it has its snapshot; under mu
}

// NewServer makes a server that has no socket yet: Offer and Deliver find nobody.
func NewServer(h Handler) *Server { return &Server{handler: h, wake: make(chan struct{}, 1)} }

// Serve obeys the connections of l, which it closes, until ctx ends.
func (s *Server) Serve(ctx context.Context, l *Listener) {
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.close)()
	var accepting sync.WaitGroup
	accepting.Go(func() { s.accept(ctx, l) })
	defer accepting.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if c := s.next(); c != nil {
			err := s.obeyAll(c)
			hangUp(c)
			s.handler.Hear(c.ID, err)
		}
	}
}

// accept takes connections and discards all but the newest.
func (s *Server) accept(ctx context.Context, l *Listener) {
	for ctx.Err() == nil {
		c, err := l.Accept()
		if err != nil {
			// A guard that cannot take connections still has to feed.
			if ctx.Err() == nil {
				s.handler.Hear(0, err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(acceptRetry):
			}
			continue
		}
		s.mu.Lock()
		hangUp(s.waiting)
		hangUp(s.current)
		s.waiting = c
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	s.close() // also what was accepted in the very end
}

// close ends the listening and the connections, so that their readers return.
func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close() // the socket may be gone already
	hangUp(s.waiting)
	hangUp(s.current)
}

func hangUp(c *Conn) {
	if c != nil {
		_ = c.Close() // closing twice is harmless, and nothing depends on it
	}
}

// next makes the waiting connection the current one.
func (s *Server) next() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.waiting, s.greeted = s.waiting, nil, nil
	return s.current
}

// obeyAll reads a connection to its end. An order before the hello has a wrong
// connection number and is refused.
func (s *Server) obeyAll(c *Conn) error {
	var last uint64
	for {
		h, o, err := c.Receive()
		if err != nil {
			return err
		}
		if _, hello := o.(*Hello); hello {
			err = s.greet(c, h)
		} else {
			err = s.answer(c, h, o, h.Conn == c.ID && h.Seq > last)
		}
		if err != nil {
			return err
		}
		last = h.Seq
	}
}

func (s *Server) greet(c *Conn, h Header) error {
	snap, err := s.handler.Snapshot()
	if err == nil {
		err = c.Deliver(h.Seq, snap)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeted = c
	return nil
}

func (s *Server) answer(c *Conn, h Header, o Order, ours bool) error {
	err := errConn
	if ours {
		err = s.handler.Obey(h.Seq, o)
	}
	e := &Echo{Order: h.Kind, OK: err == nil}
	if err != nil {
		e.Err = err.Error()
	}
	return c.Deliver(h.Seq, e)
}

// peer is the daemon that has its snapshot; nil if there is none.
func (s *Server) peer() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.greeted
}

// Offer gives a table to the daemon if there is one; it never waits.
func (s *Server) Offer(t *Table) {
	if c := s.peer(); c != nil {
		c.Offer(t)
	}
}

// Deliver tells the daemon something, if there is one; it never waits, and ends
// the connection of a daemon that does not read.
func (s *Server) Deliver(m Message) {
	if c := s.peer(); c != nil {
		_ = c.Deliver(0, m) // the reader notices that the connection has ended
	}
}
