// Package decisions is the decision log: everything that the core was told, and
// what it answered, so that every decision can be replayed through the same code
// later, on any machine. The format is described at record.
package decisions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
)

const (
	folder     = "decisions"     // in the state directory
	ending     = ".jsonl.zst"    // of NNNNNNNN.jsonl.zst: records, zstd (RFC 8878)
	mostSize   = 16 << 20        // bytes of one file, compressed
	mostFiles  = 8               // kept; a life can be replayed while its first one is
	mostQueued = 10_000          // records that may wait for a slow disk
	flushEvery = 2 * time.Second // what a crash may lose
)

// Core is what is replayed; core.Core is one.
type Core interface {
	// Step takes one event and returns what is to be done.
	Step(now ident.Instant, ev cluster.Event) []cluster.Action
}

// Log is the log of one life of the daemon.
type Log struct {
	dir   string
	log   zerolog.Logger
	lines *queue.Queue[[]byte]
	lost  int // of the loop alone: records dropped since the last one that was queued
}

// Open makes the folder of the log in the state directory.
func Open(state string, log zerolog.Logger) (*Log, error) {
	d := &Log{dir: filepath.Join(state, folder), log: log, lines: newLines()}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	return d, nil
}

func newLines() *queue.Queue[[]byte] { return queue.New[[]byte]() }

// Begin writes the settings of this life.
func (d *Log) Begin(set core.Settings) {
	if b, err := line(record{Settings: &set}); err == nil {
		d.lines.Put(b)
	}
}

// Step records one step. It is called by one goroutine and never waits for a file;
// when the disk is too slow records are left out, and the gap is recorded.
func (d *Log) Step(now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	b, err := newRecord(now, ev, actions)
	if err != nil {
		d.log.Error().Err(err).Msg("a decision was not recorded")
		d.lost++
		return
	}
	if d.lost > 0 {
		gap, _ := line(record{Gap: d.lost})
		b = append(gap, b...)
	}
	d.lost++
	if d.lines.Put(b) < mostQueued {
		d.lost = 0
		return
	}
	d.lines.Drain()
	d.lost += mostQueued
}

// Run is the task that writes, until ctx ends. Each life begins a file of its own.
func (d *Log) Run(ctx context.Context) error {
	w := &compressed{dir: d.dir}
	for {
		b, ok := d.lines.Take(ctx)
		for _, l := range append([][]byte{b}, d.lines.Drain()...) {
			if err := w.write(l); err != nil {
				d.log.Error().Err(err).Msg("the decision log cannot be written")
			}
		}
		if !ok {
			return w.close()
		}
	}
}

// compressed writes numbered files.
type compressed struct {
	dir   string
	file  *os.File
	enc   *zstd.Encoder
	flush time.Time // wall clock: when the last flush was
}

func (c *compressed) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if c.file == nil {
		if err := c.next(); err != nil {
			return err
		}
	}
	if _, err := c.enc.Write(b); err != nil {
		return errors.Join(err, c.close())
	}
	if time.Since(c.flush) < flushEvery {
		return nil
	}
	c.flush = time.Now()
	if err := c.enc.Flush(); err != nil {
		return errors.Join(err, c.close())
	}
	if at, err := c.file.Seek(0, io.SeekCurrent); err != nil || at >= mostSize {
		return errors.Join(err, c.close())
	}
	return nil
}

// next begins the file after the newest, and removes the oldest.
func (c *compressed) next() error {
	names, err := fileNames(c.dir)
	if err != nil {
		return err
	}
	number := uint64(1)
	if n := len(names); n > 0 {
		last, _ := strconv.ParseUint(strings.TrimSuffix(names[n-1], ending), 10, 64)
		number = last + 1
		for _, old := range names[:max(0, n+1-mostFiles)] {
			if err := os.Remove(filepath.Join(c.dir, old)); err != nil {
				return err
			}
		}
	}
	path := filepath.Join(c.dir, fmt.Sprintf("%08d%s", number, ending))
	if c.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	c.enc, err = zstd.NewWriter(c.file, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	return err
}

func (c *compressed) close() error {
	if c.file == nil {
		return nil
	}
	err := errors.Join(c.enc.Close(), c.file.Close())
	c.file, c.enc = nil, nil
	return err
}

func fileNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ending) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Replayed says what a replay found.
type Replayed struct {
	Lives int // begun in what was read
	Steps int
}

// ErrDiffers says that a replayed core answered otherwise than the recorded one.
var ErrDiffers = errors.New("the core decided otherwise when it was replayed")

// Replay runs the records of r, which are lines of JSON (the files of the
// decision log, decompressed and one after the other), through the cores that
// fresh makes, and compares every action. Records before the first settings
// belong to a life whose beginning is not there any more, and are passed over;
// so is the rest of a life after a gap. The error wraps ErrDiffers and names the
// step, or says what is wrong with the record.
func Replay(r io.Reader, fresh func(core.Settings) Core) (Replayed, error) {
	var out Replayed
	var c Core
	in := json.NewDecoder(r)
	for {
		var rec record
		switch err := in.Decode(&rec); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return out, nil // the end of a life that was cut off
		case err != nil:
			return out, fmt.Errorf("decision log: %w", err)
		case rec.Settings != nil:
			c = fresh(*rec.Settings)
			out.Lives++
		case rec.Gap > 0:
			c = nil
		case c != nil && rec.Event != nil:
			out.Steps++
			if err := replayStep(c, &rec); err != nil {
				return out, fmt.Errorf("decision log: life %d, step %d (%s at %d): %w", out.Lives, out.Steps, rec.Event.Is, rec.Now, err)
			}
		}
	}
}

func replayStep(c Core, rec *record) error {
	v, err := rec.Event.untag()
	if err != nil {
		return err
	}
	ev, ok := v.(cluster.Event)
	if !ok {
		return fmt.Errorf("%w: %s is no event", errRecord, rec.Event.Is)
	}
	actions := c.Step(rec.Now, ev)
	for i, a := range actions {
		have, err := tag(a)
		if err != nil {
			return err
		}
		if i >= len(rec.Actions) {
			return fmt.Errorf("%w: action %d, %s %s, was not there", ErrDiffers, i+1, have.Is, have.Of)
		}
		if want := rec.Actions[i]; have.Is != want.Is || !bytes.Equal(have.Of, want.Of) {
			return fmt.Errorf("%w: action %d is %s %s, was %s %s", ErrDiffers, i+1, have.Is, have.Of, want.Is, want.Of)
		}
	}
	if n := len(actions); n < len(rec.Actions) {
		return fmt.Errorf("%w: action %d, %s, is missing", ErrDiffers, n+1, rec.Actions[n].Is)
	}
	return nil
}
