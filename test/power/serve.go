package power

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// request is every packet that a client sends, but for writes to a device.
type request struct {
	Role    string `json:"role,omitempty"`
	Op      string `json:"op,omitempty"`
	Node    string `json:"node,omitempty"`
	Device  string `json:"device,omitempty"`
	Timeout int64  `json:"timeout_ns,omitempty"`
	Why     string `json:"why,omitempty"`
	Text    string `json:"text,omitempty"`
	Machine *Node  `json:"machine,omitempty"`
}

// reply is every answer, but for the events of an observer.
type reply struct {
	Error string `json:"error"`
	Busy  bool   `json:"busy,omitempty"`

	// of a watchdog
	Path     string `json:"path,omitempty"`
	Identity string `json:"identity,omitempty"`
	Timeout  int64  `json:"timeout_ns,omitempty"`
	Before   int64  `json:"pretimeout_ns,omitempty"`
	Magic    bool   `json:"magic_close,omitempty"`
	NoWayOut bool   `json:"nowayout,omitempty"`
	Software bool   `json:"software,omitempty"`

	// of a platform or of control
	BootID    string                  `json:"boot_id,omitempty"`
	HostUUID  string                  `json:"host_uuid,omitempty"`
	ClockZero int64                   `json:"clock_zero_ns,omitempty"`
	State     State                   `json:"state,omitempty"`
	Record    *watchdog.Qualification `json:"record,omitempty"`
}

// maxPacket is the largest packet, in bytes.
const maxPacket = 64 << 10

// connection is one client.
type connection struct {
	*net.UnixConn
	machine *machine // of a watchdog or a platform
	life    int      // of the machine, when the connection was made
	chip    *chip    // of a watchdog
}

func (c *connection) answer(r reply) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

func (c *connection) answerError(err error) error {
	if err != nil {
		return c.answer(reply{Error: err.Error()})
	}
	return c.answer(reply{})
}

// read returns the next packet; an error is the end of the connection.
func (c *connection) read(buf []byte) ([]byte, error) {
	n, err := c.Read(buf)
	return buf[:n], err
}

func (e *Emulator) serve(u *net.UnixConn) {
	c := &connection{UnixConn: u}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		u.Close()
		return
	}
	e.conns[c] = struct{}{}
	e.mu.Unlock()
	e.converse(c)
	e.mu.Lock()
	delete(e.conns, c)
	if c.chip != nil && e.current(c) {
		c.chip.released(e)
	}
	e.mu.Unlock()
	u.Close()
}

func (e *Emulator) converse(c *connection) {
	buf := make([]byte, maxPacket)
	b, err := c.read(buf)
	if err != nil {
		return
	}
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		c.answerError(fmt.Errorf("the first packet says who is calling: %w", err))
		return
	}
	switch q.Role {
	case "watchdog":
		e.serveWatchdog(c, q, buf)
	case "platform":
		e.servePlatform(c, q, buf)
	case "observer":
		e.serveObserver(c, buf)
	case "control":
		e.serveControl(c, buf)
	default:
		c.answerError(fmt.Errorf("unknown role %q", q.Role))
	}
}

// attach finds the machine of a node's connection. The lock is held.
func (e *Emulator) attach(c *connection, name string) error {
	m := e.machines[name]
	if m == nil {
		return fmt.Errorf("node %s is not registered", name)
	}
	if m.state != On {
		return fmt.Errorf("node %s has no power", name)
	}
	c.machine, c.life = m, m.life
	return nil
}

// current says that the connection is of the machine's present life. The lock is held.
func (e *Emulator) current(c *connection) bool {
	return c.machine.state == On && c.machine.life == c.life && !e.closed
}

func (e *Emulator) serveWatchdog(c *connection, q request, buf []byte) {
	r := e.openChip(c, q)
	if c.answer(r) != nil || r.Error != "" {
		return
	}
	for {
		b, err := c.read(buf)
		if err != nil {
			return
		}
		r, ok := e.chipPacket(c, b)
		if ok && c.answer(r) != nil {
			return
		}
	}
}

func (e *Emulator) openChip(c *connection, q request) reply {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.attach(c, q.Node); err != nil {
		return reply{Error: err.Error()}
	}
	chip := c.machine.chips[q.Device]
	if chip == nil {
		return reply{Error: fmt.Sprintf("node %s has no watchdog %s", q.Node, q.Device)}
	}
	if chip.open {
		return reply{Busy: true, Error: "another connection has it open"}
	}
	chip.open = true
	c.chip = chip
	e.journal.add(Event{What: Opened, Node: q.Node, Device: q.Device})
	if !chip.running {
		chip.start(e)
	}
	return reply{}
}

// chipPacket handles one packet; ok says that it has an answer.
func (e *Emulator) chipPacket(c *connection, b []byte) (r reply, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	isRequest := len(b) > 0 && b[0] == '{'
	if !e.current(c) {
		return reply{Error: "the node lost power"}, isRequest
	}
	if !isRequest {
		c.chip.written(e, b)
		return reply{}, false
	}
	var q request
	if err := json.Unmarshal(b, &q); err != nil {
		return reply{Error: err.Error()}, true
	}
	switch q.Op {
	case "info":
		return c.chip.info(e.socket), true
	case "setpretimeout":
		if err := c.chip.setPretimeout(e, time.Duration(q.Timeout)); err != nil {
			return reply{Error: err.Error()}, true
		}
		return reply{}, true
	case "settimeout":
		if err := c.chip.setTimeout(e, time.Duration(q.Timeout)); err != nil {
			return reply{Error: err.Error()}, true
		}
		e.journal.add(Event{What: TimeoutSet, Node: c.machine.spec.Name, Device: c.chip.spec.Name, Text: c.chip.timeout.String()})
		return reply{}, true
	}
	return reply{Error: fmt.Sprintf("unknown op %q", q.Op)}, true
}

func (c *chip) info(socket string) reply {
	return reply{
		Path: socket + "/" + c.node.spec.Name + "/" + c.spec.Name, Identity: c.spec.Identity,
		Timeout: int64(c.timeout), Before: int64(c.before), Magic: !c.spec.StopsOnClose, NoWayOut: c.spec.NoWayOut,
		Software: c.spec.Software,
	}
}

func (e *Emulator) servePlatform(c *connection, q request, buf []byte) {
	e.mu.Lock()
	err := e.attach(c, q.Node)
	var r reply
	if err == nil {
		m := c.machine
		r = reply{BootID: m.boot.String(), HostUUID: m.spec.HostUUID, ClockZero: m.clockZero}
	}
	e.mu.Unlock()
	if err != nil {
		c.answerError(err)
		return
	}
	if c.answer(r) != nil {
		return
	}
	for {
		b, err := c.read(buf)
		if err != nil {
			return
		}
		var q request
		err = json.Unmarshal(b, &q)
		if err == nil {
			err = e.endOwn(c, q)
		}
		if err != nil && c.answerError(err) != nil {
			return
		}
	}
}

// endOwn resets the node of a platform connection, or switches it off, if it is
// still that life. It does not wait: the answer to a reset is its absence.
func (e *Emulator) endOwn(c *connection, q request) error {
	what, after := ResetRequested, Resetting
	switch q.Op {
	case "reset":
	case "off":
		what, after = PowerOff, Off
	default:
		return fmt.Errorf("unknown op %q", q.Op)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.current(c) {
		return errors.New("the node lost power before")
	}
	e.lose(c.machine, Event{What: what, Text: q.Why}, after)
	return nil
}

// serveObserver sends every event from the first on, and takes marks.
func (e *Emulator) serveObserver(c *connection, buf []byte) {
	gone := make(chan struct{})
	e.tasks.Go(func() {
		defer close(gone)
		for {
			b, err := c.read(buf)
			if err != nil {
				return
			}
			var q request
			if json.Unmarshal(b, &q) == nil && q.Op == "mark" {
				e.journal.add(Event{What: Mark, Node: q.Node, Text: q.Text})
			}
		}
	})
	for seq := 0; ; {
		events, more := e.journal.from(seq)
		for _, ev := range events {
			b, err := json.Marshal(ev)
			if err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
		seq += len(events)
		select {
		case <-more:
		case <-gone:
			return
		}
	}
}

func (e *Emulator) serveControl(c *connection, buf []byte) {
	if c.answer(reply{}) != nil {
		return
	}
	for {
		b, err := c.read(buf)
		if err != nil {
			return
		}
		var q request
		if err := json.Unmarshal(b, &q); err != nil {
			c.answerError(err)
			return
		}
		r, err := e.control(q)
		if err != nil {
			r.Error = err.Error()
		}
		if c.answer(r) != nil {
			return
		}
	}
}

func (e *Emulator) control(q request) (reply, error) {
	switch q.Op {
	case "register":
		if q.Machine == nil {
			return reply{}, errors.New("register: no machine")
		}
		return reply{}, e.register(*q.Machine)
	case "power-on":
		boot, err := e.powerOn(q.Node)
		return reply{BootID: boot.String()}, err
	case "power-off":
		return reply{}, e.cutPower(q.Node, Event{What: PowerOff, Text: q.Why}, Off)
	case "reset":
		return reply{}, e.cutPower(q.Node, Event{What: ResetRequested, Text: q.Why}, Resetting)
	case "state":
		return e.state(q.Node)
	case "mark":
		e.journal.add(Event{What: Mark, Node: q.Node, Text: q.Text})
		return reply{}, nil
	case "qualify":
		record, err := e.qualify(q.Node, q.Device, time.Duration(q.Timeout))
		return reply{Record: record}, err
	}
	return reply{}, fmt.Errorf("unknown op %q", q.Op)
}

func (e *Emulator) state(name string) (reply, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.machines[name]
	if m == nil {
		return reply{}, fmt.Errorf("node %s is not registered", name)
	}
	return reply{State: m.state, HostUUID: m.spec.HostUUID, BootID: m.boot.String()}, nil
}
