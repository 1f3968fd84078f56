// Package journal is what a node keeps of the story on its own disk: the events,
// the last committed state and every configuration. Nothing is decided by it.
package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
)

// The events are kept in one file and a few older ones, in memory the newest.
const (
	eventFile   = "events.jsonl"
	eventSize   = 16 << 20 // bytes, of one file
	eventFiles  = 4        // older ones: events.jsonl.1 is the newest of them
	eventRecent = 4096     // in memory
	eventLine   = 64 << 10 // bytes, the longest line that is read
	eventText   = 4 << 10  // bytes of text in it
)

// KindBegan is the kind of the event that begins a life of the daemon; instants
// before it may be of another boot and are not compared with those after it.
const KindBegan = "daemon"

// Story is the events of this node as files and as lines in the log. Events get
// their numbers and the wall clock's time when they are added; nothing is ever
// decided by either.
type Story struct {
	dir   string
	log   zerolog.Logger
	clock func() time.Time
	lines *queue.Queue[[]byte]

	mu      sync.Mutex
	last    uint64        // under mu: the newest number
	recent  []api.Event   // under mu: the newest ones, oldest first
	changed chan struct{} // under mu: closed and replaced when one is added
}

// OpenStory reads the newest events of the store in dir.
func OpenStory(dir string, log zerolog.Logger, clock func() time.Time) (*Story, error) {
	e := &Story{dir: dir, log: log, clock: clock, lines: queue.New[[]byte](), changed: make(chan struct{})}
	for _, name := range []string{eventFile + ".1", eventFile} {
		err := eachLine(filepath.Join(dir, name), func(ev api.Event) error { e.remember(ev); return nil })
		if err != nil {
			return nil, fmt.Errorf("event store: %w", err)
		}
	}
	return e, nil
}

// remember is called under mu, or before anybody else knows of e.
func (e *Story) remember(ev api.Event) {
	e.last = max(e.last, ev.ID)
	if len(e.recent) >= 2*eventRecent {
		e.recent = slices.Clone(e.recent[eventRecent:])
	}
	e.recent = append(e.recent, ev)
}

// Note adds a line of the core's story; s gives the nodes' names and may be nil.
func (e *Story) Note(n cluster.Note, s *cluster.State) {
	ev := api.Event{At: int64(n.At), Kind: string(n.Kind), Level: levelOf(n.Kind), Service: n.Service, Term: n.Term, State: n.Ver, Text: n.Text}
	if n.Node != 0 {
		ev.Node = s.NameOf(n.Node)
	}
	if !n.Inc.IsZero() {
		ev.Incarnation = n.Inc.String()
	}
	if n.Proof != cluster.NoProof {
		ev.Proof = n.Proof.String()
	}
	if n.Way != "" {
		ev.Way, ev.Outcome, ev.Took = n.Way, n.Outcome.String(), api.Maybe(n.Took)
	}
	if ev.Text == "" {
		ev.Text = string(n.Kind)
	}
	e.Add(ev)
}

// levelOf says how loud a kind of note is.
func levelOf(k cluster.NoteKind) string {
	switch k {
	case cluster.NoteAlarm, cluster.NoteFailed:
		return "error"
	case cluster.NoteSuspected, cluster.NoteFencing, cluster.NoteLease, cluster.NoteLastBeat:
		return "warn"
	}
	return "info"
}

// Add numbers an event, logs it and has it written. It never waits for a file.
func (e *Story) Add(ev api.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.ID, ev.Time = e.last+1, e.clock().UTC()
	ev.Text = ev.Text[:min(len(ev.Text), eventText)]
	e.remember(ev)
	close(e.changed)
	e.changed = make(chan struct{})
	if line, err := json.Marshal(ev); err == nil {
		e.lines.Put(append(line, '\n'))
	}
	level, _ := zerolog.ParseLevel(ev.Level)
	l := e.log.WithLevel(level).Str("kind", ev.Kind).Uint64("event", ev.ID)
	if ev.Service != "" {
		l = l.Str("service", ev.Service).Uint64("term", ev.Term)
	}
	if ev.Node != "" {
		l = l.Str("about", ev.Node)
	}
	if ev.Proof != "" {
		l = l.Str("proof", ev.Proof)
	}
	l.Msg(ev.Text)
}

// Run is the task that writes, until ctx ends. At the end everything that was added is written.
func (e *Story) Run(ctx context.Context) error {
	out := rotated{dir: e.dir, name: eventFile, size: eventSize, keep: eventFiles}
	defer out.close()
	for {
		line, ok := e.lines.Take(ctx)
		for _, l := range append([][]byte{line}, e.lines.Drain()...) {
			if err := out.write(l); err != nil {
				e.log.Error().Err(err).Msg("the event store cannot be written; events are only in the log")
			}
		}
		if !ok {
			return nil
		}
	}
}

// Events implements api.Store: from the files, then from memory as they come.
func (e *Story) Events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error {
	after := q.After
	var tail []api.Event // with a limit, the newest ones
	take := func(ev api.Event) error {
		if ev.ID <= after {
			return nil
		}
		after = ev.ID
		switch {
		case !q.Fits(&ev):
			return nil
		case q.Limit == 0:
			return each(ev)
		}
		if tail = append(tail, ev); len(tail) > q.Limit {
			tail = tail[1:]
		}
		return ctx.Err()
	}
	for i := eventFiles; i >= 0; i-- {
		if err := eachLine(numbered(filepath.Join(e.dir, eventFile), i), take); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		newer, changed := e.after(after)
		for _, ev := range newer {
			if err := take(ev); err != nil {
				return err
			}
		}
		if first {
			for _, ev := range tail {
				if err := each(ev); err != nil {
					return err
				}
			}
			q.Limit = 0 // what follows is new
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// after gives the remembered events above a number, and what is closed when
// there is another one.
func (e *Story) after(id uint64) ([]api.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.recent, id+1, func(ev api.Event, id uint64) int {
		switch {
		case ev.ID < id:
			return -1
		case ev.ID > id:
			return 1
		}
		return 0
	})
	return slices.Clone(e.recent[i:]), e.changed
}

// eachLine reads a file of events. A file that is not there has none; a line
// that is half written, as after a crash, is passed over.
func eachLine(path string, each func(api.Event) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 0, 4096), eventLine)
	for s.Scan() {
		var ev api.Event
		if json.Unmarshal(s.Bytes(), &ev) != nil || ev.ID == 0 {
			continue
		}
		if err := each(ev); err != nil {
			return err
		}
	}
	return s.Err()
}

// LastTakeover finds, in the events of this life of the daemon, the newest
// takeover that followed a fault: last beat, grant, and the start if it was here.
func (e *Story) LastTakeover() *api.Measured {
	e.mu.Lock()
	defer e.mu.Unlock()
	type key struct {
		service string
		term    uint64
	}
	started := map[key]int64{}
	var grant *api.Event
	for _, ev := range slices.Backward(e.recent) {
		switch {
		case ev.Kind == KindBegan:
			return nil
		case grant == nil && ev.Kind == string(cluster.NoteStarted):
			started[key{ev.Service, ev.Term}] = ev.At
		case grant == nil && ev.Kind == string(cluster.NoteGrant) && ev.Proof != "" && ev.Proof != cluster.ProofReleased.String():
			grant = &ev
		case grant != nil && ev.Kind == string(cluster.NoteLastBeat) && ev.Node != grant.Node:
			m := &api.Measured{
				Service: grant.Service, From: ev.Node, To: grant.Node, Proof: grant.Proof, Time: grant.Time,
				Granted: api.Of(time.Duration(grant.At - ev.At)),
			}
			if at, here := started[key{grant.Service, grant.Term}]; here {
				m.Started = api.Of(time.Duration(at - ev.At))
			}
			return m
		}
	}
	return nil
}

// Lasted finds, in the remembered events, what the latest whole start and stop of
// each service took on this node. Those of a part of it say nothing of the whole.
func (e *Story) Lasted() map[string]api.Lasted {
	e.mu.Lock()
	defer e.mu.Unlock()
	type key struct {
		service string
		term    uint64
		kind    cluster.NoteKind
	}
	out, began := map[string]api.Lasted{}, map[key]int64{}
	for i := range e.recent {
		ev := &e.recent[i]
		k := key{ev.Service, ev.Term, cluster.NoteKind(ev.Kind)}
		switch k.kind {
		case KindBegan:
			clear(began) // instants of another life, perhaps of another boot
		case cluster.NoteStarting, cluster.NoteStopping:
			delete(began, k)
			if !strings.Contains(ev.Text, " (from ") {
				began[k] = ev.At
			}
		case cluster.NoteStarted, cluster.NoteStopped:
			k.kind = map[cluster.NoteKind]cluster.NoteKind{cluster.NoteStarted: cluster.NoteStarting, cluster.NoteStopped: cluster.NoteStopping}[k.kind]
			at, known := began[k]
			if !known {
				continue
			}
			delete(began, k)
			took, l := api.Maybe(time.Duration(ev.At-at)), out[ev.Service]
			if k.kind == cluster.NoteStarting {
				l.Start = took
			} else {
				l.Stop = took
			}
			out[ev.Service] = l
		}
	}
	return out
}

// rotated is a file that is put aside when it has grown.
type rotated struct {
	dir, name string
	size      int64
	keep      int
	file      *os.File
	have      int64
}

// numbered is the path of a rotated file; 0 is the present one.
func numbered(path string, i int) string {
	if i == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, i)
}

func (r *rotated) write(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	path := filepath.Join(r.dir, r.name)
	if r.file != nil && r.have+int64(len(line)) > r.size {
		r.close()
		for i := r.keep; i > 0; i-- {
			if err := os.Rename(numbered(path, i-1), numbered(path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if r.file == nil {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
		if err != nil {
			return err
		}
		if r.have, err = f.Seek(0, io.SeekEnd); err != nil {
			return errors.Join(err, f.Close())
		}
		r.file = f
	}
	n, err := r.file.Write(line)
	r.have += int64(n)
	return err
}

func (r *rotated) close() {
	if r.file != nil {
		_ = r.file.Close() // each line was written by itself; there is nothing to lose
		r.file = nil
	}
}
