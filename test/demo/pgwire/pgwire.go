// Package pgwire is as much of PostgreSQL's frontend/backend protocol 3.0 as a test
// client needs that has to know to the millisecond which commit was acknowledged:
// a start with a password (SCRAM-SHA-256, RFC 7677), and simple queries. Every wait
// ends with the deadline of its call. It follows chapter "Frontend/Backend Protocol"
// of PostgreSQL's documentation.
package pgwire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// mostMessage bounds a message of the server, bytes.
const mostMessage = 1 << 20

// Conn is a connection to a server, for one goroutine.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Login says where and as whom to connect.
type Login struct {
	Address  string // host:port
	User     string
	Password string
	Database string
}

// Error is what the server says of a query that it refuses.
type Error struct{ Severity, Code, Message string }

// Error is the server's own line.
func (e *Error) Error() string { return e.Severity + " " + e.Code + ": " + e.Message }

// Connect opens a connection within a time.
func Connect(l Login, patience time.Duration) (*Conn, error) {
	deadline := time.Now().Add(patience)
	conn, err := net.DialTimeout("tcp", l.Address, patience)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, in: bufio.NewReader(conn)}
	if err := errors.Join(conn.SetDeadline(deadline), c.start(l)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// Close ends the connection without a farewell.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) start(l Login) error {
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, 3<<16)) // protocol 3.0
	for _, s := range []string{"user", l.User, "database", l.Database, ""} {
		b.WriteString(s + "\x00")
	}
	if err := c.send(0, b.Bytes()); err != nil {
		return err
	}
	proof := &scram{password: l.Password}
	for {
		kind, body, err := c.receive()
		switch {
		case err != nil:
			return err
		case kind == 'Z': // ready for query
			return nil
		case kind == 'R':
			answer, err := proof.next(body)
			if err == nil && answer != nil {
				err = c.send('p', answer)
			}
			if err != nil {
				return err
			}
		}
	}
}

// Query executes one statement within a time and returns its rows, NULL as empty
// text. After any error but an *Error the connection is of no use any more, and
// whether the statement was executed is not known.
func (c *Conn) Query(sql string, patience time.Duration) (rows [][]string, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := c.send('Q', append([]byte(sql), 0)); err != nil {
		return nil, err
	}
	done := false
	var refused *Error
	for {
		kind, body, err := c.receive()
		switch {
		case errors.As(err, &refused) && refused.Severity != "FATAL" && refused.Severity != "PANIC":
		case err != nil:
			return nil, err
		case kind == 'D':
			row, err := columns(body)
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		case kind == 'C':
			done = true
		case kind == 'Z' && refused != nil:
			return nil, refused
		case kind == 'Z' && !done:
			return nil, errors.New("the server is ready again, and has not said that the statement is complete")
		case kind == 'Z':
			return rows, nil
		}
	}
}

// columns are the values of a DataRow.
func columns(body []byte) ([]string, error) {
	if len(body) < 2 {
		return nil, io.ErrUnexpectedEOF
	}
	count, body := binary.BigEndian.Uint16(body), body[2:]
	row := make([]string, 0, count)
	for range count {
		if len(body) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		size := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		if int(size) > len(body) {
			return nil, io.ErrUnexpectedEOF
		}
		size = max(size, 0) // -1 is NULL
		row = append(row, string(body[:size]))
		body = body[size:]
	}
	return row, nil
}

// send writes a message; the first one has no kind.
func (c *Conn) send(kind byte, body []byte) error {
	var b []byte
	if kind != 0 {
		b = append(b, kind)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
	_, err := c.conn.Write(append(b, body...))
	return err
}

// receive reads a message; a refusal of the server is an *Error.
func (c *Conn) receive() (kind byte, body []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > mostMessage {
		return 0, nil, fmt.Errorf("the server sends a message of %d bytes", size)
	}
	body = make([]byte, size-4)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, err
	}
	if head[0] == 'E' {
		return 'E', body, refusal(body)
	}
	return head[0], body, nil
}

// refusal reads the fields of an ErrorResponse.
func refusal(body []byte) *Error {
	e := &Error{}
	for field := range bytes.SplitSeq(body, []byte{0}) {
		if len(field) == 0 {
			continue
		}
		switch text := string(field[1:]); field[0] {
		case 'V': // not translated
			e.Severity = text
		case 'C':
			e.Code = text
		case 'M':
			e.Message = text
		}
	}
	return e
}
