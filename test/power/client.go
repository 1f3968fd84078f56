package power

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// controlPatience bounds an order: a power loss waits for every process to end.
const controlPatience = 30 * time.Second

// Control is a connection that registers nodes and has a hand on their power
// buttons. Its methods may be called from several goroutines; they take turns.
type Control struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// DialControl connects to the emulator at the Unix socket path.
func DialControl(path string) (*Control, error) {
	conn, err := dial(path)
	if err != nil {
		return nil, err
	}
	c := &Control{conn: conn}
	if _, err := c.order(request{Role: "control"}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func dial(path string) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("power emulator: %w", err)
	}
	return conn, nil
}

func (c *Control) order(q request) (reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var r reply
	out, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(controlPatience + time.Duration(2*biteFactor*q.Timeout))); err != nil {
		return r, err
	}
	if _, err := c.conn.Write(out); err != nil {
		return r, fmt.Errorf("power emulator: %s %s: %w", q.Op, q.Node, err)
	}
	buf := make([]byte, maxPacket)
	n, err := c.conn.Read(buf)
	if err != nil {
		return r, fmt.Errorf("power emulator: %s %s: %w", q.Op, q.Node, err)
	}
	if err := json.Unmarshal(buf[:n], &r); err != nil {
		return r, fmt.Errorf("power emulator: %s %s: %w", q.Op, q.Node, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("power emulator: %s %s: %s", q.Op, q.Node, r.Error)
	}
	return r, nil
}

// Register adds a node, which is off, or changes one. Of a node that is on only
// the Supply changes.
func (c *Control) Register(n Node) error {
	_, err := c.order(request{Op: "register", Machine: &n})
	return err
}

// PowerOn gives the node power, waits for a power loss under way before that, and
// returns the new boot identity. The caller starts the node's processes.
func (c *Control) PowerOn(node string) (ident.BootID, error) {
	r, err := c.order(request{Op: "power-on", Node: node})
	if err != nil {
		return ident.BootID{}, err
	}
	u, err := ident.ParseUUID(r.BootID)
	return ident.BootID(u), err
}

// PowerOff cuts the node's power for good, as a BMC's ForceOff does, and returns
// when the node is dark. A node that is off stays so.
func (c *Control) PowerOff(node, why string) error {
	_, err := c.order(request{Op: "power-off", Node: node, Why: why})
	return err
}

// Reset cuts the node's power, as a BMC's ForceRestart does, and returns when the
// node is dark. It is Resetting until PowerOn.
func (c *Control) Reset(node, why string) error {
	_, err := c.order(request{Op: "reset", Node: node, Why: why})
	return err
}

// Status is a node's power and identity.
type Status struct {
	State    State
	HostUUID ident.UUID
	Boot     ident.BootID // of the present life, or of the last one
}

// State returns a node's power and identity.
func (c *Control) State(node string) (Status, error) {
	r, err := c.order(request{Op: "state", Node: node})
	if err != nil {
		return Status{}, err
	}
	host, err := ident.ParseUUID(r.HostUUID)
	if err != nil {
		return Status{}, err
	}
	boot, err := ident.ParseUUID(r.BootID)
	return Status{State: r.State, HostUUID: host, Boot: ident.BootID(boot)}, err
}

// Qualify returns the qualification record of a node's device at a timeout. The
// emulator measures its chips once for each timeout, which takes that long; the
// node need not be on. Records for several devices cost one measurement.
func (c *Control) Qualify(node, device string, timeout time.Duration) (watchdog.Qualification, error) {
	r, err := c.order(request{Op: "qualify", Node: node, Device: device, Timeout: int64(timeout)})
	if err != nil {
		return watchdog.Qualification{}, err
	}
	if r.Record == nil {
		return watchdog.Qualification{}, errors.New("power emulator: qualify: no record in the answer")
	}
	return *r.Record, nil
}

// Mark makes the emulator stamp that something happens on the node now, and
// returns once it has.
func (c *Control) Mark(node, text string) error {
	_, err := c.order(request{Op: "mark", Node: node, Text: text})
	return err
}

// Close ends the connection; the nodes stay as they are.
func (c *Control) Close() error { return c.conn.Close() }

// Observer hears every event from the emulator's first, and may add marks.
type Observer struct{ conn *net.UnixConn }

// DialObserver connects to the emulator at the Unix socket path.
func DialObserver(path string) (*Observer, error) {
	conn, err := dial(path)
	if err != nil {
		return nil, err
	}
	o := &Observer{conn: conn}
	if err := o.send(request{Role: "observer"}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return o, nil
}

func (o *Observer) send(q request) error {
	out, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if _, err := o.conn.Write(out); err != nil {
		return fmt.Errorf("power emulator: %w", err)
	}
	return nil
}

// Mark makes the emulator stamp that something happens on the node now. It does
// not wait; the mark comes back as an event.
func (o *Observer) Mark(node, text string) error {
	return o.send(request{Op: "mark", Node: node, Text: text})
}

// Next returns the next event. It waits until the deadline; zero waits for ever.
func (o *Observer) Next(deadline time.Time) (Event, error) {
	var ev Event
	if err := o.conn.SetReadDeadline(deadline); err != nil {
		return ev, err
	}
	buf := make([]byte, maxPacket)
	n, err := o.conn.Read(buf)
	if err != nil {
		return ev, fmt.Errorf("power emulator: next event: %w", err)
	}
	if err := json.Unmarshal(buf[:n], &ev); err != nil {
		return ev, fmt.Errorf("power emulator: next event: %w", err)
	}
	return ev, nil
}

// Close ends the connection.
func (o *Observer) Close() error { return o.conn.Close() }
