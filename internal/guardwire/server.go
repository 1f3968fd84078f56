package guardwire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendBuffer is asked of the kernel for what the guard has sent and the daemon
// not yet read, bytes. Tables may fill half of it; the rest is for echoes.
const sendBuffer = 1 << 20

// ErrStuck says that the daemon did not read, so that the connection was ended.
var ErrStuck = errors.New("the daemon does not read what the guard tells it")

// Listener is the guard's socket.
type Listener struct {
	l    *net.UnixListener
	last uint64
}

// Listen makes the socket at path, for its owner only, in place of whatever a
// dead guard left there. The caller holds the guard's lock. Its connections are
// numbered from first+1 on; a random first keeps a guard from repeating its
// predecessor's numbers.
func Listen(path string, first uint64) (*Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("guard socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("guard socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("guard socket: %w", err), l.Close())
	}
	return &Listener{l: l, last: first}, nil
}

// Accept waits for the next connection.
func (l *Listener) Accept() (*Conn, error) {
	u, err := l.l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("guard socket: %w", err)
	}
	c := &Conn{conn: u, in: make([]byte, MaxPacket), out: writer{make([]byte, 0, MaxPacket)}}
	if c.raw, err = u.SyscallConn(); err == nil {
		err = c.raw.Control(c.enlarge)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("guard socket: %w", err), u.Close())
	}
	l.last++
	c.ID, c.write = l.last, c.writeOnce
	return c, nil
}

// enlarge asks for sendBuffer and notes what it got: a smaller one only drops
// tables earlier.
func (c *Conn) enlarge(fd uintptr) {
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	c.buffer, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
}

// Close ends the listening and removes the socket.
func (l *Listener) Close() error { return l.l.Close() }

// Conn is the guard's end of one connection. Receive is called by one goroutine;
// the others may be called by any. Nothing but Receive ever waits.
type Conn struct {
	ID     uint64
	conn   *net.UnixConn
	raw    syscall.RawConn
	in     []byte
	buffer int // bytes that the kernel keeps for us

	mu    sync.Mutex
	out   writer                // under mu
	cycle uint64                // under mu: number of the last table
	write func(fd uintptr) bool // writeOnce, bound once so that sending allocates nothing
	half  bool                  // under mu: refuse to send while half of the buffer is full
	err   error                 // under mu: of writeOnce
}

// Receive waits for the next order. It returns io.EOF when the daemon has ended
// the connection and everything it sent was read.
func (c *Conn) Receive() (Header, Order, error) {
	n, err := c.conn.Read(c.in)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return Header{}, nil, io.EOF
		}
		return Header{}, nil, fmt.Errorf("read an order: %w", err)
	}
	return DecodeOrder(c.in[:n])
}

// Deliver sends a message that must not be lost. If it cannot be sent at once
// the connection is ended and the error is ErrStuck or the kernel's: a daemon
// that misses an echo must not go on as if nothing was said.
func (c *Conn) Deliver(seq uint64, m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.b = c.out.b[:0]
	c.out.packet(c.ID, seq, m)
	if err := c.send(false); err != nil {
		// Closing wakes Receive; its own error adds nothing.
		_ = c.conn.Close()
		return err
	}
	return nil
}

// Offer sends a table in as many parts as it needs. It is dropped, wholly or in
// part, and Offer says false, when the daemon does not read fast enough. The
// table is not kept.
func (c *Conn) Offer(t *Table) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cycle++
	t.cycle = c.cycle
	for t.offset = 0; ; t.offset += MaxChunk {
		c.out.b = c.out.b[:0]
		c.out.packet(c.ID, 0, t)
		if err := c.send(true); err != nil {
			return false
		}
		if int(t.offset)+MaxChunk >= len(t.Bytes) {
			return true
		}
	}
}

// Close ends the connection. Orders that were not read yet are discarded.
func (c *Conn) Close() error { return c.conn.Close() }

// send passes the packet to the kernel without waiting. With spare it leaves half of
// the buffer free.
func (c *Conn) send(spare bool) error {
	c.half, c.err = spare, nil
	if err := c.raw.Write(c.write); err != nil {
		return err
	}
	return c.err
}

// writeOnce always says that it is done: a connection that is not ready must not
// make the guard wait.
func (c *Conn) writeOnce(fd uintptr) bool {
	if c.half {
		if queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil || queued > c.buffer/2 {
			c.err = ErrStuck
			return true
		}
	}
	_, err := unix.SendmsgN(int(fd), c.out.b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) {
		err = ErrStuck
	}
	c.err = err
	return true
}
