package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Verify is what a client is told, on its standard input, to end with a verdict.
const Verify = "verify"

// Record is one line that a client prints: an answer, a failure, or at the end
// the verdict.
type Record struct {
	At      int64    `json:"at_ns"`             // CLOCK_MONOTONIC of this machine, when the answer came
	Began   int64    `json:"began_ns"`          // and when it was asked for
	Seq     int      `json:"seq"`               // number of the write, from 1
	Node    string   `json:"node,omitempty"`    // that answered
	Err     string   `json:"error,omitempty"`   // not acknowledged: it may be written or not
	Verdict *Verdict `json:"verdict,omitempty"` // the last line only
}

// Verdict is what reading everything back has shown.
type Verdict struct {
	Acknowledged int    `json:"acknowledged"`
	Read         int    `json:"read"`              // distinct lines of this client that are there
	Missing      []int  `json:"missing,omitempty"` // acknowledged and not there
	Doubled      []int  `json:"doubled,omitempty"` // there more than once
	Node         string `json:"node"`              // that answered
	Err          string `json:"error,omitempty"`   // it could not be read back
}

// Good says that every acknowledged write was read back.
func (v *Verdict) Good() bool {
	return v != nil && v.Err == "" && len(v.Missing) == 0 && v.Acknowledged > 0
}

// shelf is what a client writes to.
type shelf interface {
	// append has a line written, and says which node has acknowledged that.
	append(line string) (node string, err error)
	// read returns all lines.
	read(ctx context.Context) (text, node string, err error)
}

// client writes and remembers.
type client struct {
	name   string // distinguishes the lines of this client
	shelf  shelf
	out    *json.Encoder
	acks   []int
	writes int
}

// ClientMain runs the recording client: it writes to the service, one line after
// another, until it reads "verify" from standard input, or the end of it; then
// it reads everything back. It prints a Record for every write and the verdict,
// and fails if that is not good.
//
//	-url URL        of the service, as http://10.0.0.10:80 or postgres://user:password@10.0.0.10:5432/database
//	-every TIME     between two writes, default 50ms
//	-patience TIME  with one write, default 500ms
//	-record FILE    append the records to a file as well
//	-name NAME      distinguishes its lines from those of others
func ClientMain(args []string) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	url := flags.String("url", "", "URL of the service")
	every := flags.Duration("every", 50*time.Millisecond, "time between two writes")
	patience := flags.Duration("patience", 500*time.Millisecond, "time for one write")
	record := flags.String("record", "", "file for the records")
	name := flags.String("name", "client", "what the lines begin with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" || flags.NArg() > 0 {
		return errors.New("client: want -url URL and no arguments")
	}
	var out io.Writer = os.Stdout
	if *record != "" {
		f, err := os.OpenFile(*record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		out = io.MultiWriter(os.Stdout, f)
	}
	c := &client{name: *name, out: json.NewEncoder(out)}
	var err error
	if c.shelf, err = newShelf(*url, *patience); err != nil {
		return err
	}
	told := make(chan struct{})
	go func() { // ends with standard input, or the process
		for line := range lineReader(os.Stdin) {
			if line == Verify {
				break
			}
		}
		close(told)
	}()
	tick := time.NewTicker(*every)
	defer tick.Stop()
	for {
		select {
		case <-told:
			return c.finish()
		case <-tick.C:
			if err := c.write(); err != nil {
				return err
			}
		}
	}
}

// write writes one line. Only a failure to print is an error.
func (c *client) write() error {
	c.writes++
	r := Record{Seq: c.writes, Began: Now()}
	node, err := c.shelf.append(c.line(r.Seq))
	r.At, r.Node = Now(), node
	if err != nil {
		r.Err = err.Error()
	} else {
		c.acks = append(c.acks, r.Seq)
	}
	return c.out.Encode(r)
}

func (c *client) line(seq int) string { return fmt.Sprintf("%s %d", c.name, seq) }

// finish reads everything back, patiently, and says what is missing.
func (c *client) finish() error {
	v := &Verdict{Acknowledged: len(c.acks)}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	text, node, err := c.read(ctx)
	if err != nil {
		v.Err = err.Error()
	}
	v.Node = node
	there := map[string]int{}
	for line := range strings.Lines(text) {
		there[strings.TrimSuffix(line, "\n")]++
	}
	for seq := 1; seq <= c.writes; seq++ {
		switch n := there[c.line(seq)]; {
		case n > 1:
			v.Doubled = append(v.Doubled, seq)
			fallthrough
		case n == 1:
			v.Read++
		}
	}
	for _, seq := range c.acks {
		if there[c.line(seq)] == 0 {
			v.Missing = append(v.Missing, seq)
		}
	}
	if err := c.out.Encode(Record{At: Now(), Verdict: v}); err != nil {
		return err
	}
	if !v.Good() {
		return fmt.Errorf("client: of %d acknowledged writes %d are missing; %s", v.Acknowledged, len(v.Missing), v.Err)
	}
	return nil
}

// read asks for everything until there is an answer.
func (c *client) read(ctx context.Context) (text, node string, err error) {
	for {
		if text, node, err = c.shelf.read(ctx); err == nil {
			return text, node, nil
		}
		select {
		case <-ctx.Done():
			return "", "", err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Now is CLOCK_MONOTONIC in nanoseconds: the clock of the records, of the power
// emulator's events, and of whoever compares them.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("ledger: this kernel has no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

// lineReader yields the lines of r until its end.
func lineReader(r io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if !yield(strings.TrimSpace(lines.Text())) {
				return
			}
		}
	}
}
