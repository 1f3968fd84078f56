package decisions

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Core is what is replayed; core.Core is one.
type Core interface {
	// Step takes one event and returns what is to be done.
	Step(now ident.Instant, ev cluster.Event) []cluster.Action
	// View is what the core knows.
	View(now ident.Instant) cluster.View
}

// Replay plays records into cores. The zero value with Fresh set is ready.
type Replay struct {
	Fresh func(core.Settings) Core // makes the core of a life
	// Noted is told of every note that was recorded; nil: nobody is.
	Noted func(wall time.Time, now ident.Instant, n *cluster.Note)
	Done  Replayed
	Core  Core          // of the life that was read last; nil: none, or after a gap
	Now   ident.Instant // of the last record
	head  Head
}

// Replayed says what a replay found.
type Replayed struct {
	Lives  int // begun in what was read
	Resume int // gone on with from the memory of a core
	Steps  int // compared
	Skip   int // steps without a core to play them into
	Marks  int // digests of the core's whole memory that were compared
	// Notes is what else is to be known: files that end early, memory of another program.
	Notes []string
}

// ErrDiffers says that a replayed core answered otherwise than the recorded one.
var ErrDiffers = errors.New("the core decided otherwise when it was replayed")

// Read plays the records of r, which is called name in errors: lines of JSON, and
// compares every action. Records without a core - before the first settings or
// memory, and after a gap - are passed over. What is torn off at the end is not
// missed. The error wraps ErrDiffers and names the step, or says what is wrong
// with the record.
func (p *Replay) Read(name string, r io.Reader) error {
	in := json.NewDecoder(r)
	for n := 1; ; n++ {
		var rec Record
		switch err := in.Decode(&rec); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil: // a reset tears the end off, or leaves rubbish there
			p.Done.Notes = append(p.Done.Notes, fmt.Sprintf("%s ends early, in record %d: %v", name, n, err))
			return nil
		}
		if err := p.take(&rec); err != nil {
			return fmt.Errorf("%s, record %d: %w", name, n, err)
		}
	}
}

func (p *Replay) take(rec *Record) error {
	switch {
	case rec.Head != nil:
		p.head = *rec.Head
		if p.head.Format != Format {
			return fmt.Errorf("decision log of format %d, this program reads %d: use the holdfast that wrote it (%s)", p.head.Format, Format, p.head.Build)
		}
	case rec.Settings != nil:
		return p.begin(rec)
	case rec.Gap > 0:
		p.Core = nil
	case p.Core == nil:
		p.Done.Skip++
	case rec.View:
		p.Core.View(rec.Now)
	case rec.Event != nil:
		p.Done.Steps++
		p.Now = rec.Now
		if err := p.step(rec); err != nil {
			return fmt.Errorf("%s at %s (%s): %w", rec.Event.Is, p.Wall(rec.Now).Format(time.DateTime), time.Duration(rec.Now), err)
		}
	}
	if p.Noted != nil && rec.Event != nil {
		return p.note(rec)
	}
	return nil
}

// Wall is the wall clock's time of an instant, by the head of the file.
func (p *Replay) Wall(now ident.Instant) time.Time { return p.head.Wall.Add(now.Sub(p.head.Now)) }

func (p *Replay) begin(rec *Record) error {
	if len(rec.Memory) == 0 {
		p.Core = p.Fresh(*rec.Settings)
		p.Done.Lives++
		return nil
	}
	if p.Core != nil { // it was played up to here: its memory has to be the same
		return p.compareMemory(rec)
	}
	c, k := p.Fresh(*rec.Settings), Kinds()
	if types := k.Types(c); !bytes.Equal(rec.Types, types[:]) {
		p.Done.Notes = append(p.Done.Notes, fmt.Sprintf("the memory of the core was written by another version of holdfast (%s): the records up to the next start of the daemon are not replayed", p.head.Build))
		return nil
	}
	if err := k.Load(rec.Memory, c); err != nil {
		return fmt.Errorf("the memory of the core: %w", err)
	}
	p.Core = c
	p.Done.Resume++
	return nil
}

// compareMemory holds the replayed core against the memory of the recorded one.
func (p *Replay) compareMemory(rec *Record) error {
	k := Kinds()
	other := p.Fresh(*rec.Settings)
	if types := k.Types(other); !bytes.Equal(rec.Types, types[:]) {
		return nil
	}
	if err := k.Load(rec.Memory, other); err != nil {
		return fmt.Errorf("the memory of the core: %w", err)
	}
	want, err := k.Digest(other)
	if err != nil {
		return err
	}
	have, err := k.Digest(p.Core)
	if err != nil || have != want {
		return fmt.Errorf("%w: it remembers other things than the recorded one (%w)", ErrDiffers, err)
	}
	return nil
}

func (p *Replay) step(rec *Record) error {
	ev, err := rec.What()
	if err != nil {
		return err
	}
	actions := p.Core.Step(rec.Now, ev)
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
	return p.compareDigest(rec)
}

func (p *Replay) compareDigest(rec *Record) error {
	if len(rec.Digest) == 0 {
		return nil
	}
	have, err := Kinds().Digest(p.Core)
	if err != nil {
		return err
	}
	p.Done.Marks++
	if !bytes.Equal(have[:], rec.Digest) {
		return fmt.Errorf("%w: the actions are the same, but what it remembers is not (%s, was %s)", ErrDiffers, hex.EncodeToString(have[:]), hex.EncodeToString(rec.Digest))
	}
	return nil
}

func (p *Replay) note(rec *Record) error {
	for i := range rec.Actions {
		if rec.Actions[i].Is != "Note" {
			continue
		}
		v, err := rec.Actions[i].untag()
		if err != nil {
			return err
		}
		if n, ok := v.(cluster.Note); ok {
			p.Noted(p.Wall(rec.Now), rec.Now, &n)
		}
	}
	return nil
}
