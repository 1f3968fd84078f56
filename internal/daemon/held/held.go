// Package held keeps a daemon that cannot digest a committed version from
// resetting its node for ever. A panic of the core is written down with the
// version of the register that it was at; after the second one on the same
// version, by the same program, the daemon comes up held: it renews the guard's
// permission, answers status, says loudly why, and decides nothing. It ends being
// held when it sees that a newer version was committed, or when another version
// of the program is started. What runs on the node runs on.
package held

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// file stands in the state directory: three lines of a key, a space and a value,
// and one of text.
const file = "panics"

// most is how many panics on one version are enough.
const most = 2

// Record is what is kept of the latest panics.
type Record struct {
	Ver   uint64 // the highest version of the register that was known
	Count int    // panics on it, one after the other
	Build string // the program that panicked
	Text  string // of the last panic, one line, at most 200 bytes
}

// Holds says that a daemon of this build comes up held.
func (r *Record) Holds(build string) bool { return r.Count >= most && r.Build == build }

// Load reads the record in a state directory. One that is not there, or cannot be
// read, is the zero Record: nothing is held on a doubt.
func Load(dir string) Record {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return Record{}
	}
	var r Record
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "version":
			r.Ver, err = strconv.ParseUint(value, 10, 64)
		case "count":
			r.Count, err = strconv.Atoi(value)
		case "build":
			r.Build = value
		case "text":
			r.Text = value
		}
		if err != nil {
			return Record{}
		}
	}
	return r
}

// Note writes a panic down, durably, and returns the record as it is now. It is
// called while the process dies: it waits for nothing but the file.
func Note(dir, build string, ver uint64, text string) (Record, error) {
	r := Load(dir)
	if r.Ver != ver || r.Build != build {
		r.Count = 0
	}
	text = cluster.Limit(strings.Join(strings.Fields(text), " "), 200)
	r = Record{Ver: ver, Count: r.Count + 1, Build: build, Text: text}
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return r, fmt.Errorf("note a panic: %w", err)
	}
	_, err = fmt.Fprintf(f, "version %d\ncount %d\nbuild %s\ntext %s\n", r.Ver, r.Count, r.Build, r.Text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return r, fmt.Errorf("note a panic: %w", err)
	}
	return r, nil
}

// Forget removes the record.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the panics: %w", err)
	}
	return nil
}

// How long a permission lasts and how often it is renewed, as in the core.
const (
	permission = 30 * time.Second
	renewal    = time.Second
)

// Core stands in for the core of a held daemon. Like that, it is used by one
// goroutine.
type Core struct {
	record Record
	self   ident.NodeID
	bound  ident.Incarnation
	seq    uint64
	next   ident.Instant
	ending bool
}

// New returns the core of a held daemon of a node.
func New(r Record, self ident.NodeID) *Core { return &Core{record: r, self: self} }

// Why is the sentence that status, the events and refusals repeat.
func (c *Core) Why() string {
	return fmt.Sprintf("HELD: holdfastd panicked %d times on version %d of the register (%s): it keeps what runs, renews the guard's permission and decides nothing, "+
		"until a newer version is committed or another version of holdfast is installed here", c.record.Count, c.record.Ver, c.record.Text)
}

// Step takes one event and returns what is to be done.
func (c *Core) Step(now ident.Instant, ev cluster.Event) []cluster.Action {
	var out []cluster.Action
	switch e := ev.(type) {
	case cluster.Started:
		c.bound = e.Bound
		out = append(out, cluster.Note{Kind: cluster.NoteAlarm, At: now, Node: c.self, Inc: c.bound, Ver: c.record.Ver, Text: c.Why()})
	case cluster.Asked:
		out = append(out, cluster.Reply{ID: e.ID, Err: "nothing is decided here; ask another node. " + c.Why()})
	case cluster.Table:
		if ver := newest(e.Beats); ver > c.record.Ver && !c.ending {
			c.ending = true
			text := fmt.Sprintf("version %d of the register is committed: holdfastd is no longer held and begins anew", ver)
			out = append(out, cluster.Note{Kind: cluster.NoteAdmin, At: now, Node: c.self, Ver: ver, Text: text}, cluster.Exit{Text: text, Again: true})
		}
	}
	if !c.bound.IsZero() && now >= c.next {
		c.seq++
		c.next = now.Add(renewal)
		out = append(out, cluster.Order{Kind: cluster.OrderPermit, Seq: c.seq, Inc: c.bound, Until: now.Add(permission)})
	}
	return out
}

// newest is the highest version that the beats say is committed.
func newest(beats []cluster.SeenBeat) uint64 {
	var ver uint64
	for i := range beats {
		if b := beats[i].Beat; b != nil {
			ver = max(ver, b.Payload.Committed.Ver)
		}
	}
	return ver
}

// NextDeadline is when it wants a Tick.
func (c *Core) NextDeadline() ident.Instant {
	if c.bound.IsZero() {
		return ident.Never
	}
	return c.next
}

// View is all that a held daemon knows.
func (c *Core) View(now ident.Instant) cluster.View {
	return cluster.View{Now: now, Self: c.self, Stage: "held", Waiting: c.Why(), Inc: c.bound, Warnings: []string{c.Why()}}
}
