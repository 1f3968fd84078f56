// Package decisions writes the decision log of a life of the daemon. What stands
// in it, and how it is read and replayed, is package internal/decisions.
package decisions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/internal/decisions"
	"github.com/holdfast-ha/holdfast/internal/decisions/memory"
)

// Limits bound the log.
type Limits struct {
	File  int64         // bytes of one file, compressed, after which the next one begins
	All   int64         // bytes of all files
	Files int           // how many files at most
	Flush time.Duration // what the death of the daemon may lose of the quiet hours
}

// mostQueued is how many records may wait for a slow disk.
const mostQueued = 10_000

// usual are the limits of a daemon.
func usual() Limits { return Limits{File: 16 << 20, All: 128 << 20, Files: 64, Flush: 2 * time.Second} }

// item is what the loop hands to the task that writes.
type item struct {
	lines   []byte
	decided bool            // something was decided: it has to survive a reset
	head    *decisions.Head // begin the next file with it
}

// Log is the log of one life of the daemon. Begin, Step and Looked are called by
// one goroutine; none of them waits for a file.
type Log struct {
	dir   string
	log   zerolog.Logger
	wall  func() time.Time
	most  Limits
	items *queue.Queue[item]
	full  atomic.Bool // the file has reached its size: the next one may begin
	mind  mind
}

// mind is what the loop alone knows of the log.
type mind struct {
	set   core.Settings
	core  any    // what is recorded; nil: its memory is not kept
	steps uint64 // of this life
	lost  int    // records dropped since the last one that was queued
	blind bool   // records were lost, and no memory was written since
}

// Open makes the folder of the log in the state directory.
func Open(state string, log zerolog.Logger, wall func() time.Time) (*Log, error) {
	d := &Log{dir: filepath.Join(state, decisions.Folder), log: log, wall: wall, most: usual(), items: queue.New[item]()}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	return d, nil
}

// Limit changes what the log may take; before Run.
func (d *Log) Limit(l Limits) { d.most = l }

// Begin writes the settings of this life, which begins a file. c points to the
// core, whose memory is written whenever a file begins later on.
func (d *Log) Begin(now ident.Instant, set core.Settings, c any) {
	d.mind = mind{set: set, core: c}
	if b, err := (&decisions.Record{Settings: &set}).Line(); err == nil {
		d.items.Put(item{lines: b, head: d.head(now), decided: true})
	}
}

// Held begins a life that is not to be replayed: what answers is not the core.
func (d *Log) Held(now ident.Instant, set core.Settings) {
	d.mind = mind{set: set}
	if b, err := (&decisions.Record{Gap: 1}).Line(); err == nil {
		d.items.Put(item{lines: b, head: d.head(now), decided: true})
	}
}

func (d *Log) head(now ident.Instant) *decisions.Head {
	return &decisions.Head{Format: decisions.Format, Build: build.Version(), Node: d.mind.set.Name, Wall: d.wall().UTC(), Now: now}
}

// Step records one step. When the disk is too slow records are left out, and the
// gap is recorded.
func (d *Log) Step(now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	d.mind.steps++
	r, err := decisions.Step(now, ev, actions)
	if err != nil {
		d.failed(err)
		return
	}
	if d.mind.core != nil && decisions.Mark(d.mind.steps, actions) {
		if sum, err := decisions.Kinds().Digest(d.mind.core); err == nil {
			r.Digest = sum[:]
		}
	}
	d.put(r, decisions.Decides(actions))
	if d.full.Load() || d.mind.blind && d.mind.lost == 0 {
		d.remember(now)
	}
}

// Looked records that the core was asked for its view.
func (d *Log) Looked(now ident.Instant) { d.put(&decisions.Record{Now: now, View: true}, false) }

func (d *Log) failed(err error) {
	d.log.Error().Err(err).Msg("a decision was not recorded")
	d.mind.lost++
	d.mind.blind = true
}

func (d *Log) put(r *decisions.Record, decided bool) {
	b, err := r.Line()
	if err != nil {
		d.failed(err)
		return
	}
	if d.mind.lost > 0 {
		gap, _ := (&decisions.Record{Gap: d.mind.lost}).Line()
		b = append(gap, b...)
	}
	d.mind.lost++
	if d.items.Put(item{lines: b, decided: decided}) < mostQueued {
		d.mind.lost = 0
		return
	}
	d.items.Drain()
	d.mind.lost += mostQueued
	d.mind.blind = true
}

// remember begins a file with the memory of the core. In the middle of a proposal
// the core has none that could be written: then the next step tries again.
func (d *Log) remember(now ident.Instant) {
	if d.mind.core == nil {
		return
	}
	k := decisions.Kinds()
	b, err := k.Save(d.mind.core)
	if err != nil {
		if !errors.Is(err, memory.ErrBusy) {
			d.log.Error().Err(err).Msg("the memory of the core was not written; records after the first file of this life cannot be replayed")
			d.mind.core = nil
		}
		return
	}
	types := k.Types(d.mind.core)
	line, err := (&decisions.Record{Settings: &d.mind.set, Memory: b, Types: types[:]}).Line()
	if err != nil {
		return
	}
	d.full.Store(false)
	d.mind.blind = false
	d.items.Put(item{lines: line, head: d.head(now), decided: true})
}

// Run is the task that writes, until ctx ends. Each life begins a file of its own.
func (d *Log) Run(ctx context.Context) error {
	w := d.writer()
	for {
		first, ok := d.items.Take(ctx)
		if err := w.pass(append([]item{first}, d.items.Drain()...)); err != nil {
			d.log.Error().Err(err).Msg("the decision log cannot be written")
		}
		if !ok {
			return w.close()
		}
	}
}

func (d *Log) writer() *compressed { return &compressed{dir: d.dir, most: d.most, full: &d.full} }

// compressed writes numbered files.
type compressed struct {
	dir     string
	most    Limits
	full    *atomic.Bool
	file    *os.File
	enc     *zstd.Encoder
	flushed time.Time // wall clock: when the last flush was
	decided bool      // something that has to survive a reset is not flushed
	base    int64     // bytes of the file after its first flush: the memory it begins with does not fill it
}

// pass writes what was waiting.
func (c *compressed) pass(items []item) error {
	var err error
	for _, i := range items {
		err = errors.Join(err, c.write(i))
	}
	return errors.Join(err, c.settle())
}

func (c *compressed) write(i item) error {
	if len(i.lines) == 0 {
		return nil
	}
	if i.head != nil || c.file == nil {
		if err := c.next(i.head); err != nil {
			return err
		}
	}
	c.decided = c.decided || i.decided
	if _, err := c.enc.Write(i.lines); err != nil {
		return errors.Join(err, c.close())
	}
	return nil
}

// settle makes what was written durable: decisions at once, through a reset of
// this machine; the quiet hours every two seconds, through the death of the
// daemon.
func (c *compressed) settle() error {
	if c.file == nil || !c.decided && time.Since(c.flushed) < c.most.Flush {
		return nil
	}
	c.flushed = time.Now()
	if err := c.enc.Flush(); err != nil {
		return errors.Join(err, c.close())
	}
	if c.decided {
		c.decided = false
		if err := unix.Fdatasync(int(c.file.Fd())); err != nil {
			return errors.Join(err, c.close())
		}
	}
	at, err := c.file.Seek(0, 1)
	if err != nil {
		return errors.Join(err, c.close())
	}
	if c.base == 0 {
		c.base = at
	}
	if at-c.base >= c.most.File {
		c.full.Store(true)
	}
	if at-c.base >= 8*c.most.File { // the core has been in the middle of something for long
		return c.close()
	}
	return nil
}

// next begins the file after the newest, and removes the oldest.
func (c *compressed) next(head *decisions.Head) error {
	if err := c.close(); err != nil {
		return err
	}
	number, err := c.makeRoom()
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, fmt.Sprintf("%08d%s", number, decisions.Ending))
	if c.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	c.enc, err = zstd.NewWriter(c.file, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil || head == nil {
		return err
	}
	b, err := (&decisions.Record{Head: head}).Line()
	if err != nil {
		return err
	}
	_, err = c.enc.Write(b)
	return err
}

// makeRoom removes the oldest files, and gives the number of the next one.
func (c *compressed) makeRoom() (uint64, error) {
	files, err := decisions.Files(c.dir)
	if err != nil || len(files) == 0 {
		return 1, err
	}
	var all int64
	for i := len(files) - 1; i >= 0; i-- {
		all += files[i].Size
		if len(files)-i >= c.most.Files || all+c.most.File > c.most.All {
			if err := os.Remove(files[i].Path); err != nil {
				return 0, err
			}
		}
	}
	return files[len(files)-1].Number + 1, nil
}

func (c *compressed) close() error {
	if c.file == nil {
		return nil
	}
	err := errors.Join(c.enc.Close(), unix.Fdatasync(int(c.file.Fd())), c.file.Close())
	c.file, c.enc, c.base = nil, nil, 0
	return err
}
