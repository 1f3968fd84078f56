package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Event is what QEMU tells of a machine, by its name in the QEMU Machine Protocol: RESET, WATCHDOG, STOP, RESUME, SHUTDOWN.
type Event struct {
	Name string
	At   time.Time // when it was read here
	Data string    // its data as JSON
}

// qmp is a connection to QEMU's control socket. One command is under way at a time.
type qmp struct {
	conn    net.Conn
	command sync.Mutex
	answers chan reply
	over    chan struct{} // closed when the connection is

	mu     sync.Mutex
	events []Event
	news   chan struct{} // closed and replaced with every event
}

type reply struct {
	Return json.RawMessage                    `json:"return"`
	Error  *struct{ Class, Desc string }      `json:"error"`
	Event  string                             `json:"event"`
	Data   json.RawMessage                    `json:"data"`
	QMP    *struct{ Version json.RawMessage } `json:"QMP"`
}

func newQMP(ctx context.Context, conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, answers: make(chan reply, 1), over: make(chan struct{}), news: make(chan struct{})}
	go q.read() // ends with the connection, which Kill or the end of QEMU closes
	return q, q.do(ctx, "qmp_capabilities", nil)
}

func (q *qmp) read() {
	defer close(q.over)
	in := json.NewDecoder(q.conn)
	for {
		var r reply
		if in.Decode(&r) != nil {
			return
		}
		switch {
		case r.QMP != nil:
		case r.Event != "":
			q.mu.Lock()
			q.events = append(q.events, Event{Name: r.Event, At: time.Now(), Data: string(r.Data)})
			close(q.news)
			q.news = make(chan struct{})
			q.mu.Unlock()
		default:
			q.answers <- r // nobody waits for more than one
		}
	}
}

// do carries out a command of QMP.
func (q *qmp) do(ctx context.Context, name string, args map[string]any) error {
	q.command.Lock()
	defer q.command.Unlock()
	request := map[string]any{"execute": name}
	if args != nil {
		request["arguments"] = args
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	select {
	case r := <-q.answers:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", name, r.Error.Desc)
		}
		return nil
	case <-q.over:
		if name == "quit" {
			return nil
		}
		return fmt.Errorf("%s: QEMU has ended", name)
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: no answer from QEMU: %w", name, ctx.Err()), q.conn.Close()) // a late answer would be taken for the next one's
	}
}

// await waits for the first event of a name that was read at or after an instant.
func (q *qmp) await(ctx context.Context, name string, since time.Time) (Event, error) {
	for {
		q.mu.Lock()
		news := q.news
		at := slices.IndexFunc(q.events, func(e Event) bool { return e.Name == name && !e.At.Before(since) })
		var e Event
		if at >= 0 {
			e = q.events[at]
		}
		q.mu.Unlock()
		if at >= 0 {
			return e, nil
		}
		select {
		case <-news:
		case <-q.over:
			return e, fmt.Errorf("no event %s: QEMU has ended", name)
		case <-ctx.Done():
			return e, fmt.Errorf("no event %s: %w", name, ctx.Err())
		}
	}
}

// all lists the events so far.
func (q *qmp) all() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.events)
}
