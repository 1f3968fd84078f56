package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Client is a recording client as the process that started it sees it.
type Client struct {
	stdin io.WriteCloser
	ended chan struct{} // closed at the end of the records

	mu      sync.Mutex // guards all below
	records []Record
	verdict *Verdict
	bad     error // why the records ended before the verdict
}

// Follow reads the records of a client process from out until their end; in is
// the process's standard input. It closes out then.
func Follow(in io.WriteCloser, out io.ReadCloser) *Client {
	c := &Client{stdin: in, ended: make(chan struct{})}
	go c.follow(out) // ends with the process's standard output
	return c
}

func (c *Client) follow(out io.ReadCloser) {
	defer close(c.ended)
	defer out.Close()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Record
		err := json.Unmarshal(lines.Bytes(), &r)
		c.mu.Lock()
		switch {
		case err != nil:
			c.bad = fmt.Errorf("client says %q: %w", lines.Text(), err)
		case r.Verdict != nil:
			c.verdict = r.Verdict
		default:
			c.records = append(c.records, r)
		}
		c.mu.Unlock()
	}
}

// Records returns all records so far but for the verdict.
func (c *Client) Records() []Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.records)
}

// First returns the first acknowledged write that began at or after an instant
// and that ok accepts; nil accepts every one.
func (c *Client) First(after int64, ok func(Record) bool) (Record, bool) {
	for _, r := range c.Records() {
		if r.Err == "" && r.Began >= after && (ok == nil || ok(r)) {
			return r, true
		}
	}
	return Record{}, false
}

// Verify tells the client to read everything back and returns its verdict.
func (c *Client) Verify(patience time.Duration) (*Verdict, error) {
	_, err := io.WriteString(c.stdin, Verify+"\n")
	select {
	case <-c.ended:
	case <-time.After(patience):
		return nil, fmt.Errorf("client: no verdict within %v", patience)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdict == nil {
		return nil, errors.Join(errors.New("client: it ended without a verdict"), c.bad, err)
	}
	return c.verdict, nil
}

// Gap is a time without an acknowledged write.
type Gap struct {
	From, To int64 // CLOCK_MONOTONIC: the last answer before, the first after
	Failed   int   // writes that failed in between
}

// Length is how long it was.
func (g Gap) Length() time.Duration { return time.Duration(g.To - g.From) }

// LongestGap returns the longest time between two acknowledged writes of which
// the later one came after an instant.
func (c *Client) LongestGap(after int64) Gap {
	var longest Gap
	last, failed := int64(0), 0
	for _, r := range c.Records() {
		if r.Err != "" {
			failed++
			continue
		}
		g := Gap{From: last, To: r.At, Failed: failed}
		if last != 0 && r.At >= after && g.Length() > longest.Length() {
			longest = g
		}
		last, failed = r.At, 0
	}
	return longest
}
