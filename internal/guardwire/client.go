package guardwire

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what a client waits for a guard that does not read or answer.
const patience = 5 * time.Second

// ErrClosed says that the guard closed the connection: it ended, it obeys a
// newer connection, or it could not deliver an echo.
var ErrClosed = errors.New("the guard closed the connection")

// Client is the daemon's end of the guard's socket. Send may be called from
// several goroutines, Receive from one at a time.
type Client struct {
	conn  *net.UnixConn
	id    uint64
	first *Snapshot
	in    []byte
	parts map[int]*Table // tables that are not whole yet, by disk

	mu  sync.Mutex
	out []byte // under mu
	seq uint64 // under mu
}

// Dial connects to the guard that listens at path and waits for its snapshot.
// The guard drops the connection that it obeyed before.
func Dial(path string) (*Client, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	c := &Client{conn: conn, in: make([]byte, MaxPacket), parts: map[int]*Table{}}
	if err := c.greet(); err != nil {
		return nil, errors.Join(fmt.Errorf("guard %s: %w", path, err), conn.Close())
	}
	return c, nil
}

func (c *Client) greet() error {
	if _, err := c.Send(&Hello{}); err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for c.first == nil {
		m, err := c.Receive()
		if err != nil {
			return fmt.Errorf("wait for its snapshot: %w", err)
		}
		c.first, _ = m.(*Snapshot)
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// Snapshot is what the guard said when the connection was made.
func (c *Client) Snapshot() *Snapshot { return c.first }

// Send sends an order and returns its sequence number, which the echo repeats.
// It fails when the guard does not read for five seconds; whether the order was
// obeyed is then unknown, and the connection is of no more use.
func (c *Client) Send(o Order) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.out, err = AppendOrder(c.out[:0], c.id, c.seq+1, o); err != nil {
		return 0, fmt.Errorf("order %s: %w", o.Kind(), err)
	}
	c.seq++
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return c.seq, fmt.Errorf("order %s: %w", o.Kind(), err)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return c.seq, fmt.Errorf("order %s: %w", o.Kind(), err)
	}
	return c.seq, nil
}

// Receive waits for the guard's next message. An Echo has
// the order's sequence number in Seq; tables come whole or not at all. The
// error is ErrClosed when the guard ended the connection.
func (c *Client) Receive() (Message, error) {
	for {
		n, err := c.conn.Read(c.in)
		if n == 0 {
			return nil, errors.Join(ErrClosed, err)
		}
		if err != nil {
			return nil, fmt.Errorf("guard: %w", err)
		}
		h, m, err := DecodeMessage(c.in[:n])
		if err != nil {
			return nil, fmt.Errorf("guard: %w", err)
		}
		switch m := m.(type) {
		case *Snapshot:
			c.mu.Lock()
			c.id = h.Conn
			c.mu.Unlock()
		case *Echo:
			m.Seq = h.Seq
		case *Table:
			if !c.assemble(m) {
				continue
			}
		}
		return m, nil
	}
}

// assemble adds one part and says whether m is now the whole table. A part that
// does not follow its predecessor ends the table: parts may be dropped.
func (c *Client) assemble(m *Table) bool {
	if m.offset == 0 && uint32(len(m.Bytes)) == m.total {
		return true
	}
	have := c.parts[m.Disk]
	if have == nil {
		have = &Table{}
		c.parts[m.Disk] = have
	}
	if m.offset == 0 {
		have.cycle, have.Bytes = m.cycle, have.Bytes[:0]
	}
	if m.cycle != have.cycle || int(m.offset) != len(have.Bytes) {
		return false
	}
	have.Bytes = append(have.Bytes, m.Bytes...)
	if uint32(len(have.Bytes)) < m.total {
		return false
	}
	m.Bytes = append([]byte(nil), have.Bytes...)
	return true
}

// PID is the guard's process, as the kernel says.
func (c *Client) PID() (int, error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("guard: who it is: %w", err)
	}
	return int(cred.Pid), nil
}

// Close ends the connection; a Receive that waits returns. The guard goes on
// until the daemon's last permission ends.
func (c *Client) Close() error { return c.conn.Close() }
