package sim

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// Chapter is how a night is divided: trouble first, then everything is healed and
// has to be whole again, and quiet until the chapter's end. A night without the
// healing would soon be about nodes that are off for good.
const (
	Chapter      = 20 * time.Minute
	nightTrouble = 12 * time.Minute
	mostRest     = 20 * time.Second // between two faults
)

// MakeNight makes the plan of a long night of one cluster of three nodes with three
// quorum disks and controllers: the first such that a seed from this one on makes.
// Faults strike less often than in other plans, and are of every kind that fits.
func MakeNight(seed uint64, length time.Duration) Plan {
	p := MakePlan(seed)
	for p.Nodes != 3 || p.Disks != 3 || !p.BMC {
		seed++
		p = MakePlan(seed)
	}
	p.Length, p.Strikes, p.Kinds = length, nil, nil
	rng := rand.New(rand.NewPCG(seed, 96))
	var kinds []fault
	for _, f := range all() {
		if f.apart || f.fits != nil && !f.fits(p) {
			continue
		}
		for range f.weight {
			kinds = append(kinds, f)
		}
		p.Kinds = append(p.Kinds, f.name)
	}
	for begin := time.Duration(0); begin < length; begin += Chapter {
		for at := begin + 15*time.Second; at < min(length, begin+nightTrouble); at += between(rng, 100*time.Millisecond, 2*mostRest) {
			p.Strikes = append(p.Strikes, Strike{Number: len(p.Strikes), At: at, Kind: kinds[rng.IntN(len(kinds))].name, Seed: rng.Uint64()})
		}
	}
	return p
}

// Night tells the story of a night and writes the decision log of every node, as
// its daemon would have written it, into a folder of dir that has the node's name.
func Night(p Plan, dir string) Result {
	log := &recorder{dir: dir, nodes: map[ident.NodeID]*nodeLog{}}
	res := told(p, func(t clustertest.T, show func(*clustertest.World)) {
		r := begin(t, p, func(o *clustertest.Options) {
			o.Begin, o.Record = log.begin, log.step
		})
		show(r.w)
		r.w.Boot()
		for begin := time.Duration(0); begin < p.Length; begin += Chapter {
			r.chapter(begin, min(p.Length, begin+Chapter))
		}
	})
	if err := log.close(); err != nil && res.Failed == "" {
		res.Failed, res.Text = NoLog, err.Error()
	}
	return res
}

// NoLog is what a night fails with whose log cannot be written.
const NoLog = "no decision log"

// chapter tells one chapter. A healing may take longer than it should have: then
// the next chapter begins late.
func (r *run) chapter(begin, end time.Duration) {
	r.healing = false
	for _, s := range r.plan.Strikes {
		if s.At >= begin && s.At < end {
			r.w.Run(max(0, s.At-r.w.Now))
			r.strike(s)
		}
	}
	r.w.Run(max(0, min(end, begin+nightTrouble)-r.w.Now))
	r.heal()
	r.w.Run(max(0, end-r.w.Now))
}

// recorder writes the decision logs of all nodes.
type recorder struct {
	dir    string
	nodes  map[ident.NodeID]*nodeLog
	failed error // the first error
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
}

// nightfall is the wall clock's time when a night begins.
func nightfall() time.Time { return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) }

func (c *recorder) fail(err error) {
	if c.failed == nil && err != nil {
		c.failed = fmt.Errorf("decision log: %w", err)
	}
}

// begin begins a life of a daemon. The core makes no step before this returns.
func (c *recorder) begin(n *clustertest.Node, set core.Settings) {
	l := c.nodes[n.ID]
	if l == nil {
		l = &nodeLog{dir: filepath.Join(c.dir, n.Name, decisions.Folder)}
		c.nodes[n.ID] = l
	}
	l.core, l.steps = n.Core(), 0
	c.fail(l.next())
	now := ident.Instant(set.Life)
	head := decisions.Head{Format: decisions.Format, Build: "simulated", Node: n.Name, Wall: nightfall().Add(time.Duration(now)), Now: now}
	c.put(l, &decisions.Record{Head: &head})
	c.put(l, &decisions.Record{Settings: &set})
}

func (c *recorder) step(n *clustertest.Node, now ident.Instant, ev cluster.Event, actions []cluster.Action) {
	l := c.nodes[n.ID]
	if ev == nil {
		c.put(l, &decisions.Record{Now: now, View: true})
		return
	}
	l.steps++
	r, err := decisions.Step(now, ev, actions)
	if err != nil {
		c.fail(err)
		return
	}
	if decisions.Mark(l.steps, actions) {
		if sum, err := decisions.Kinds().Digest(l.core); err == nil { // it is busy while a proposal is under way
			r.Digest = sum[:]
		}
	}
	c.put(l, r)
}

func (c *recorder) put(l *nodeLog, r *decisions.Record) {
	line, err := r.Line()
	if c.fail(err); c.failed != nil {
		return
	}
	_, err = l.out.Write(line)
	c.fail(err)
}

// next begins the next file.
func (l *nodeLog) next() error {
	if err := errors.Join(l.close(), os.MkdirAll(l.dir, 0o700)); err != nil {
		return err
	}
	l.files++
	var err error
	if l.file, err = os.Create(filepath.Join(l.dir, fmt.Sprintf("%08d%s", l.files, decisions.Ending))); err != nil {
		return err
	}
	l.zip, err = zstd.NewWriter(l.file, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	l.out = bufio.NewWriterSize(l.zip, 1<<16)
	return err
}

func (l *nodeLog) close() error {
	if l.file == nil {
		return nil
	}
	return errors.Join(l.out.Flush(), l.zip.Close(), l.file.Close())
}

func (c *recorder) close() error {
	for _, l := range c.nodes {
		c.fail(l.close())
	}
	return c.failed
}
