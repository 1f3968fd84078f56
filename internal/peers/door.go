package peers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	sortWithin = 5 * time.Second  // for the first bytes of whoever comes
	again      = 5 * time.Second  // until an address is tried anew that could not be listened on
	idle       = 2 * time.Minute  // of a peer's connection
	mostSorted = 64               // connections that have said nothing yet, on one address
	last       = 2 * time.Second  // for answers under way when the door closes, and for addresses when it opens
	headers    = 10 * time.Second // of a peer's request
)

// Door listens on this node's link addresses and leads nodes to one handler and
// strangers to whoever waits for them, if anybody does.
type Door struct {
	addresses []netip.AddrPort
	id        *Identity
	log       zerolog.Logger
	nodes     *room

	mu        sync.Mutex
	open      map[netip.AddrPort]net.Listener // under mu
	strangers map[netip.AddrPort]*room        // under mu
	opened    chan struct{}                   // under mu: closed and replaced when an address is listened on
}

// NewDoor makes a door that is closed; Run opens it.
func NewDoor(addresses []netip.AddrPort, id *Identity, log zerolog.Logger) *Door {
	return &Door{
		addresses: addresses, id: id, log: log, nodes: newRoom(nil, nil),
		open: map[netip.AddrPort]net.Listener{}, strangers: map[netip.AddrPort]*room{}, opened: make(chan struct{}),
	}
}

// Run is the task that listens and has nodes answered by h, until ctx ends. An
// address that is not there is tried again.
func (d *Door) Run(ctx context.Context, h http.Handler) error {
	server := &http.Server{
		Handler: d.id.guarded(h), ReadHeaderTimeout: headers, IdleTimeout: idle, ErrorLog: log.New(d.log, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var tasks sync.WaitGroup
	for _, a := range d.addresses {
		tasks.Go(func() { d.listen(ctx, a) }) // task "door": ends with ctx
	}
	stop := context.AfterFunc(ctx, func() {
		_ = d.nodes.Close() // never fails
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
		defer cancel()
		if server.Shutdown(late) != nil {
			_ = server.Close() // nothing is left to be told
		}
	})
	defer stop()
	_ = server.Serve(tls.NewListener(d.nodes, d.id.config())) // its error is that the room was closed
	tasks.Wait()
	return nil
}

// listen keeps one address open.
func (d *Door) listen(ctx context.Context, a netip.AddrPort) {
	said := false
	for ctx.Err() == nil {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.String())
		if err != nil {
			if !said && ctx.Err() == nil {
				d.log.Warn().Err(err).Msg("other nodes cannot ask this one by this link; it is tried again")
			}
			said = true
			select {
			case <-ctx.Done():
			case <-time.After(again):
			}
			continue
		}
		d.mu.Lock()
		d.open[a] = l
		close(d.opened)
		d.opened = make(chan struct{})
		d.mu.Unlock()
		stop := context.AfterFunc(ctx, func() { _ = l.Close() })
		d.accept(l, a)
		stop()
		d.mu.Lock()
		delete(d.open, a)
		d.mu.Unlock()
		_ = l.Close() // it may be closed already
	}
}

// accept sorts who comes until the listener is closed.
func (d *Door) accept(l net.Listener, a netip.AddrPort) {
	var sorting sync.WaitGroup
	defer sorting.Wait()
	places := make(chan struct{}, mostSorted)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // as too many open files: it passes
			<-time.After(100 * time.Millisecond)
			continue
		}
		select {
		case places <- struct{}{}:
			sorting.Go(func() { // ends after sortWithin
				d.sort(c, a)
				<-places
			})
		default:
			_ = c.Close() // whoever asks so much at once asks again
		}
	}
}

// sort leads one connection on by its first bytes.
func (d *Door) sort(c net.Conn, a netip.AddrPort) {
	_ = c.SetReadDeadline(time.Now().Add(sortWithin))
	r := bufio.NewReaderSize(c, 4096)
	first, err := r.Peek(1)
	if err == nil && first[0] == preface[0] {
		begin := make([]byte, len(preface))
		for i := range begin {
			if begin[i], err = r.ReadByte(); err != nil {
				break
			}
		}
		if err == nil && string(begin) != preface {
			err = errors.New("another protocol")
		}
	}
	_ = c.SetReadDeadline(time.Time{})
	if err != nil {
		_ = c.Close() // nobody to tell
		return
	}
	to := d.nodes
	if first[0] != preface[0] {
		d.mu.Lock()
		to = d.strangers[a]
		d.mu.Unlock()
	}
	if to == nil || !to.enter(&begun{c, r}) {
		_ = c.Close()
	}
}

// awaitOpen waits until an address is listened on, for a moment.
func (d *Door) awaitOpen(a netip.AddrPort) {
	late := time.NewTimer(last)
	defer late.Stop()
	for {
		d.mu.Lock()
		_, listens := d.open[a]
		opened := d.opened
		d.mu.Unlock()
		if listens {
			return
		}
		select {
		case <-opened:
		case <-late.C:
			return
		}
	}
}

// Strangers gives a listener for those who come to an address without being nodes;
// there is one at a time, until it is closed. It fails where the door does not
// listen; a daemon that has just begun is given a moment for it.
func (d *Door) Strangers(a netip.AddrPort) (net.Listener, error) {
	d.awaitOpen(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	l, listens := d.open[a]
	switch {
	case !listens:
		return nil, fmt.Errorf("listen on %v: the address is not there, or something else has its TCP port", a)
	case d.strangers[a] != nil:
		return nil, fmt.Errorf("listen on %v: somebody waits for strangers already", a)
	}
	r := newRoom(l.Addr(), nil)
	r.left = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.strangers[a] == r {
			delete(d.strangers, a)
		}
	}
	d.strangers[a] = r
	return r, nil
}

// begun is a connection of which some bytes were read already.
type begun struct {
	net.Conn
	r *bufio.Reader
}

// Read reads what was read before, and then from the connection.
func (b *begun) Read(p []byte) (int, error) { return b.r.Read(p) }

// room is a listener whose connections were accepted by the door.
type room struct {
	at    net.Addr
	left  func()
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newRoom(at net.Addr, left func()) *room {
	return &room{at: at, left: left, conns: make(chan net.Conn), done: make(chan struct{})}
}

// enter hands over a connection; false: nobody takes it.
func (r *room) enter(c net.Conn) bool {
	wait := time.NewTimer(sortWithin)
	defer wait.Stop()
	select {
	case r.conns <- c:
		return true
	case <-r.done:
	case <-wait.C:
	}
	return false
}

// Accept implements net.Listener.
func (r *room) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (r *room) Close() error {
	r.once.Do(func() {
		close(r.done)
		if r.left != nil {
			r.left()
		}
	})
	return nil
}

// Addr implements net.Listener.
func (r *room) Addr() net.Addr {
	if r.at == nil {
		return &net.TCPAddr{}
	}
	return r.at
}
