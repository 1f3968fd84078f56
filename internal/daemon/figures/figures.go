// Package figures counts, for the metrics, what passes between the core and the rest
// of the daemon: it stands before the recorder of the decision log, sees every event
// and every action with its instant, and passes them on. Nothing is decided by it.
package figures

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/internal/metrics"
)

// Recorder is who else wants to see it.
type Recorder interface {
	// Step is one step of the core.
	Step(now ident.Instant, ev cluster.Event, actions []cluster.Action)
	// Looked says that the core was asked for its view.
	Looked(now ident.Instant)
}

// Figures counts. Its methods are called by the daemon's loop alone.
type Figures struct {
	*metrics.Counted
	next Recorder

	runs   map[uint64]run
	fences map[uint64]fence
	asked  map[request]ident.Instant
	beats  map[beat]seen
	lost   map[ident.NodeID]ident.Instant // last beat of those whose end is being established
	taken  map[string]takeover            // granted, and not started yet
	ver    uint64
}

// run is an operation under way, and fence an attempt.
type run struct {
	service, kind string
	at            ident.Instant
}

type fence struct {
	way, kind string
	at        ident.Instant
}

// request is what the register asks of a disk. There is one of each at a time.
type request struct {
	disk int
	kind register.OpKind
}

// beat is where beats of a peer arrive: on a disk or a link.
type beat struct {
	node  ident.NodeID
	link  bool
	place int
}

type seen struct {
	inc ident.Incarnation
	seq uint64
	at  ident.Instant
}

// oneFault is how long after a last beat a grant still follows from that fault.
const oneFault = 10 * time.Minute

// takeover is one that was granted after a fault.
type takeover struct {
	term  uint64
	proof string
	from  ident.Instant
}

// New makes one that has seen nothing.
func New(next Recorder) *Figures {
	return &Figures{
		Counted: metrics.NewCounted(), next: next, runs: map[uint64]run{}, fences: map[uint64]fence{}, asked: map[request]ident.Instant{},
		beats: map[beat]seen{}, lost: map[ident.NodeID]ident.Instant{}, taken: map[string]takeover{},
	}
}

// Looked implements Recorder.
func (f *Figures) Looked(now ident.Instant) { f.next.Looked(now) }

// Step implements Recorder.
func (f *Figures) Step(now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	f.next.Step(now, ev, actions)
	f.event(now, ev)
	for _, a := range actions {
		f.action(now, a)
	}
}

func (f *Figures) event(now ident.Instant, ev cluster.Event) {
	switch e := ev.(type) {
	case cluster.Table:
		f.table(&e)
	case cluster.Received:
		if e.Msg != nil {
			f.heard(beat{e.Msg.From, true, e.Link}, e.Msg.Inc, 0, now)
		}
	case cluster.RegisterWrote:
		f.answered(now, e.Disk, register.Write, e.OK)
	case cluster.RegisterHeaders:
		f.answered(now, e.Disk, register.ReadHeaders, e.OK)
	case cluster.RegisterBody:
		f.answered(now, e.Disk, register.ReadBody, e.OK)
	case cluster.RunDone:
		if r, is := f.runs[e.Op]; is {
			delete(f.runs, e.Op)
			f.Operation(r.service, r.kind, e.Outcome.String(), now.Sub(r.at))
		}
	case cluster.FenceDone:
		if a, is := f.fences[e.Op]; is {
			delete(f.fences, e.Op)
			f.Attempt(a.way, a.kind, e.Outcome.String(), now.Sub(a.at))
		}
	}
}

func (f *Figures) table(t *cluster.Table) {
	switch read := t.Completed.Sub(t.ReadIssued); {
	case t.Err != "":
		f.BeatFailed(t.Disk)
		return
	case t.Wrote:
		f.Beat(t.Disk, t.Completed.Sub(t.Issued), read)
	default:
		f.Counted.Looked(t.Disk, read)
	}
	for i := range t.Beats {
		if b := t.Beats[i].Beat; b != nil && !b.Inc.IsZero() && b.Inc != t.Inc {
			f.heard(beat{t.Beats[i].Node, false, t.Disk}, b.Inc, b.Seq, t.Completed)
		}
	}
}

// heard counts the time since the beat before of the same incarnation. On a disk the
// same beat is seen more than once, and a beat is new by its number.
func (f *Figures) heard(where beat, inc ident.Incarnation, seq uint64, at ident.Instant) {
	before, is := f.beats[where]
	if is && !where.link && before.inc == inc && before.seq == seq {
		return
	}
	f.beats[where] = seen{inc, seq, at}
	if is && before.inc == inc {
		over := "disk"
		if where.link {
			over = "link"
		}
		f.Heard(fmt.Sprintf("%s %d", over, where.place+1), at.Sub(before.at))
	}
}

func (f *Figures) answered(now ident.Instant, disk int, kind register.OpKind, ok bool) {
	if at, is := f.asked[request{disk, kind}]; is {
		delete(f.asked, request{disk, kind})
		f.Register(disk, [...]string{"", "write", "headers", "body"}[kind], now.Sub(at), ok)
	}
}

func (f *Figures) action(now ident.Instant, action cluster.Action) {
	switch a := action.(type) {
	case cluster.RegisterOp:
		f.asked[request{a.Op.Disk, a.Op.Kind}] = now
	case cluster.Run:
		if a.Service != nil {
			f.runs[a.Op] = run{a.Service.Name, a.Kind.String(), now}
		}
	case cluster.Fence:
		f.fences[a.Op] = fence{a.Way.Name(), [...]string{"?", "off", "on", "check"}[a.Kind&3], now}
	case cluster.Note:
		f.note(now, &a)
	}
}

// note follows a takeover: the last beat of a node that was lost, a grant that does
// not rest on the owner's own release, the start.
func (f *Figures) note(now ident.Instant, n *cluster.Note) {
	at := n.At
	if at == 0 {
		at = now
	}
	switch n.Kind {
	case cluster.NoteLastBeat:
		f.lost[n.Node] = at
	case cluster.NoteJoined:
		delete(f.lost, n.Node)
	case cluster.NoteGrant:
		from, is := f.latest(n.Node)
		if !is || at.Sub(from) > oneFault || n.Proof == cluster.NoProof || n.Proof == cluster.ProofReleased {
			return
		}
		f.Granted(n.Proof.String(), at.Sub(from))
		f.taken[n.Service] = takeover{n.Term, n.Proof.String(), from}
	case cluster.NoteStarted:
		if t, is := f.taken[n.Service]; is && t.term == n.Term {
			delete(f.taken, n.Service)
			f.Started(t.proof, at.Sub(t.from))
		}
	}
}

// latest is the newest last beat of another node than the one that was given something.
func (f *Figures) latest(but ident.NodeID) (at ident.Instant, is bool) {
	for node, last := range f.lost {
		if node != but && (!is || last > at) {
			at, is = last, true
		}
	}
	return at, is
}

// Committed says that there is a newer committed state.
func (f *Figures) Committed(ver uint64) {
	if f.ver != 0 && ver > f.ver {
		f.Counted.Committed(ver - f.ver)
	}
	f.ver = max(f.ver, ver)
}
