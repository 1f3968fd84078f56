// Package record writes the decision logs of a simulated cluster: for every node
// what its daemon would have left in its state directory, so that holdfast explain
// and holdfast simulate can be asked about it as about a real one.
package record

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// Log writes the logs of all nodes of one world. It is used by one goroutine.
type Log struct {
	// Events has the events written as well, which a daemon keeps beside its log.
	Events bool

	dir    string
	nodes  map[*clustertest.Node]*nodeLog
	of     map[string]int // machines, by the name of their node
	names  *cluster.State // has no more than names
	failed error          // the first error
}

// nodeLog is the log of one node: one file for every life of its daemon.
type nodeLog struct {
	dir   string
	core  *core.Core
	files int
	steps uint64
	file  *os.File
	out   *bufio.Writer
	zip   *zstd.Encoder
	story *journal.Story
	now   ident.Instant
}

// New returns a log whose nodes each have a folder of their name in dir. A second
// machine with the identity of a node has one of its own: gamma-2.
func New(dir string) *Log {
	return &Log{dir: dir, nodes: map[*clustertest.Node]*nodeLog{}, of: map[string]int{}, names: &cluster.State{}}
}

// Follow makes a world tell this log what it does.
func (l *Log) Follow(o *clustertest.Options) {
	for id := range o.Nodes {
		l.names.Nodes = append(l.names.Nodes, cluster.NodeState{ID: ident.NodeID(id + 1), Name: clustertest.NodeName(id + 1)})
	}
	o.Begin, o.Record = l.begin, l.step
}

// began is the wall clock's time at which a simulated world begins.
func began() time.Time { return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) }

// Wall is what the wall clock of a node says at an instant of its interval clock, as
// far as its decision log tells.
func Wall(now ident.Instant) time.Time {
	return began().Add(time.Duration(now))
}

// Close ends all files. It fails with the first error that there was.
func (l *Log) Close() error {
	for _, n := range l.nodes {
		l.fail(n.close())
		if n.story != nil {
			ended, end := context.WithCancel(context.Background())
			end()
			l.fail(n.story.Run(ended)) // writes what was added, and ends
		}
	}
	return l.failed
}

func (l *Log) fail(err error) {
	if l.failed == nil && err != nil {
		l.failed = fmt.Errorf("decision log: %w", err)
	}
}

// begin begins a life of a daemon. The core makes no step before this returns.
func (l *Log) begin(of *clustertest.Node, set core.Settings) {
	n := l.nodes[of]
	if n == nil {
		l.of[of.Name]++
		folder := of.Name
		if k := l.of[of.Name]; k > 1 {
			folder = fmt.Sprintf("%s-%d", of.Name, k)
		}
		n = &nodeLog{dir: filepath.Join(l.dir, folder, decisions.Folder)}
		l.nodes[of] = n
		if l.Events {
			var err error
			n.story, err = journal.OpenStory(filepath.Dir(n.dir), zerolog.Nop(), func() time.Time { return began().Add(of.True()) }) // wall clocks agree
			l.fail(err)
		}
	}
	n.core, n.steps, n.now = of.Core(), 0, ident.Instant(set.Life)
	l.fail(n.next())
	l.put(n, &decisions.Record{Head: &decisions.Head{Format: decisions.Format, Build: "simulated", Node: of.Name, Wall: Wall(n.now), Now: n.now}})
	l.put(n, &decisions.Record{Settings: &set})
}

func (l *Log) step(of *clustertest.Node, now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	n := l.nodes[of]
	n.now = now
	if ev == nil {
		l.put(n, &decisions.Record{Now: now, View: true})
		return
	}
	n.steps++
	r, err := decisions.Step(now, ev, actions)
	if err != nil {
		l.fail(err)
		return
	}
	if decisions.Mark(n.steps, actions) {
		if sum, err := decisions.Kinds().Digest(n.core); err == nil { // it is busy while a proposal is under way
			r.Digest = sum[:]
		}
	}
	l.put(n, r)
	for _, a := range actions {
		if note, ok := a.(cluster.Note); ok && n.story != nil {
			n.story.Note(note, l.names)
		}
	}
}

func (l *Log) put(n *nodeLog, r *decisions.Record) {
	line, err := r.Line()
	if l.fail(err); l.failed != nil {
		return
	}
	_, err = n.out.Write(line)
	l.fail(err)
}

// next begins the next file.
func (n *nodeLog) next() error {
	if err := errors.Join(n.close(), os.MkdirAll(n.dir, 0o700)); err != nil {
		return err
	}
	n.files++
	var err error
	if n.file, err = os.Create(filepath.Join(n.dir, fmt.Sprintf("%08d%s", n.files, decisions.Ending))); err != nil {
		return err
	}
	n.zip, err = zstd.NewWriter(n.file, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	n.out = bufio.NewWriterSize(n.zip, 1<<16)
	return err
}

func (n *nodeLog) close() error {
	if n.file == nil {
		return nil
	}
	return errors.Join(n.out.Flush(), n.zip.Close(), n.file.Close())
}
