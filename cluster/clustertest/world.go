// Package clustertest runs whole clusters of the pure core in virtual time: the
// real core, lease, register and codecs over simulated disks, links, guards,
// watchdogs and services, with faults that a test switches on and off. Every
// step is judged by package oracle from what truly happens.
package clustertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/agenda"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/drive"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/faults"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/luns"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/media"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/story"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/wire"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// T is what the world needs of a test.
type T = story.T

// Broken are deliberate mistakes; see package faults.
type Broken = faults.Broken

// Options describe the cluster at the start.
type Options struct {
	Seed     uint64
	Nodes    int
	Disks    int
	Within   time.Duration // failover_within; zero: 10 s
	Grace    time.Duration // on_disk_loss: stop after this; zero: no grace
	Keep     bool          // on_disk_loss: keep
	Services []cluster.Service
	Fencing  []cluster.Ways // how each node may be fenced, beside the time proof
	PowerOn  bool           // a node that was fenced by its power gets it back
	Timing   func(*timing.Input)
	// Configure changes the first configuration.
	Configure func(*cluster.Config)
	Pause     time.Duration // how long a hypervisor may stop a node, watchdogs and all
	Broken    Broken
	// Record is told of every step of every node, and with a nil event of every view
	// of it, which may change what its core remembers.
	Record func(n *Node, now ident.Instant, ev cluster.Event, actions []cluster.Action)
	// Begin is told of every new life of a daemon.
	Begin func(n *Node, set core.Settings)
}

// World is one simulated cluster. It is used by one goroutine.
type World struct {
	T     T
	Now   time.Duration // true time
	Nodes []*Node       // index 0 is node 1
	Disks []*Disk
	story.Story
	// Links makes the links of a life of a node's daemon in a boot, to so many
	// nodes; nil: messages are carried as they are.
	Links func(self ident.NodeID, boot ident.BootID, nodes int, now func() ident.Instant) (wire.Links, error)
	// Held makes what stands in for the core of a node that has panicked so often on
	// a version of the register; nil: a core is tried again and again.
	Held  func(self ident.NodeID, ver uint64, count int) Decider
	Tally tally.Tally
	wire.Net
	opt   Options
	rng   *rand.Rand
	time  agenda.Agenda
	judge *oracle.Judge
	bytes written
	blind map[ident.NodeID]bool // cannot parse the configuration
}

// written is what the disks hold, beside their content.
type written struct {
	format *media.Format
	told   map[uint64][32]byte // versions that the oracle knows, with the sum of their bodies
	luns   *luns.Store
	confs  map[string]*cluster.Config // every text that was applied, parsed
}

// drain is the time within which the last writes of a dead host land, at most.
const drain = time.Second

// Disk is one shared quorum disk.
type Disk = drive.Disk

// Snapshot is what a disk held at an instant.
type Snapshot = drive.Snapshot

// New returns a formatted cluster whose nodes are all switched off.
func New(t T, opt Options) *World {
	if opt.Within == 0 {
		opt.Within = 10 * time.Second
	}
	w := &World{
		T: t, opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 42)),
		blind: map[ident.NodeID]bool{}, bytes: written{told: map[uint64][32]byte{}},
	}
	w.judge = oracle.New(oracle.Limits{Nodes: opt.Nodes, Disks: opt.Disks, Rho: 0.005, Drain: drain}, func(v oracle.Violation) {
		w.Tally.Broke = v.Kind
		w.Fail("%v", v)
	})
	w.bytes.luns = luns.New(luns.Watch{
		Key:    func(id ident.NodeID, lun string, on bool) { w.judge.Keyed(id, lun, on, w.Now) },
		Loose:  func(id ident.NodeID, lun string) { w.judge.Loose(id, lun, w.Now) },
		Landed: w.judge.Lands,
	})
	for i := range opt.Services {
		w.judge.Beside(opt.Services[i].Name, opt.Services[i].With, opt.Services[i].ApartFrom)
	}
	var err error
	if w.bytes.format, err = media.New(opt.Nodes); err != nil {
		t.Fatalf("%v", err)
	}
	slices.SortFunc(opt.Services, func(a, b cluster.Service) int {
		return strings.Compare(a.Name, b.Name)
	})
	conf := &cluster.Config{
		Name: "test", FailoverWithin: opt.Within, Services: opt.Services, Fencing: opt.Fencing, PowerOn: opt.PowerOn,
		Grace: opt.Grace, KeepOnDiskLoss: opt.Keep,
	}
	if opt.Configure != nil {
		opt.Configure(conf)
	}
	w.bytes.confs = map[string]*cluster.Config{"": conf}
	first := &cluster.State{Ver: 1, ConfigRev: 1, Conf: conf, View: 1, DiskGen: 1}
	for i := range opt.Nodes {
		id := ident.NodeID(i + 1)
		first.Nodes = append(first.Nodes, cluster.NodeState{ID: id, Name: story.Name(id)})
		w.Nodes = append(w.Nodes, newNode(w, id))
	}
	for range opt.Disks {
		first.Disks = append(first.Disks, w.AddDisk().UUID)
	}
	b := ident.Ballot{Round: 1, Node: 1, Inc: 1}
	block, err := w.bytes.format.Block(register.Header{Node: 1, Inc: 1, Gen: 1, Mbal: b, Bal: b, Ver: 1}, first)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, k := range w.Disks {
		k.On.PutBody(block, false)
		k.On.PutHeader(block, false)
	}
	return w
}

// NodeName is the name of node id.
func NodeName(id int) string { return story.Name(ident.NodeID(id)) }

// After runs f once the true time has advanced by d.
func (w *World) After(d time.Duration, f func()) {
	w.time.Note(w.Now+d, f)
}

// Run advances the world by d.
func (w *World) Run(d time.Duration) {
	end := w.Now + d
	for {
		at, run, ok := w.time.Next(end)
		if !ok {
			break
		}
		w.Now = at
		w.Tally.Events++
		run()
	}
	w.Now = end
}

// Until runs until cond holds, at most for limit; it fails the test otherwise.
func (w *World) Until(what string, limit time.Duration, cond func() bool) time.Duration {
	w.T.Helper()
	start := w.Now
	for !cond() {
		if w.Now-start > limit {
			w.Tell()
			w.T.Fatalf("seed %d: after %s there is still not: %s", w.opt.Seed, limit, what)
		}
		w.Run(10 * time.Millisecond)
	}
	return w.Now - start
}

// Node returns a node by name.
func (w *World) Node(name string) *Node {
	for _, n := range w.Nodes {
		if n.Name == name {
			return n
		}
	}
	w.T.Fatalf("there is no node %s", name)
	return nil
}

// Boot switches all nodes on.
func (w *World) Boot() {
	for _, n := range w.Nodes {
		n.PowerOn()
	}
}

// Cut cuts (or mends) the link between two nodes, both ways.
func (w *World) Cut(a, b *Node, cut bool) {
	w.Net.Cut(a.ID, b.ID, cut)
	w.Net.Cut(b.ID, a.ID, cut)
}

// CutNetwork cuts (or mends) every link.
func (w *World) CutNetwork(cut bool) { w.CutAll(len(w.Nodes), cut) }

// Blind makes a node unable to parse the configuration (or able again).
func (w *World) Blind(n *Node, blind bool) { w.blind[n.ID] = blind }

// state is what a node's shell makes of the body that a header describes: decoded
// anew for every reader, so that nobody shares what another may change.
func (w *World) state(n *Node, k *Disk, h register.Header) (*cluster.State, bool) {
	s, ok := k.On.State(h)
	if !ok || s == nil {
		return nil, ok
	}
	if s.Conf = w.bytes.confs[string(s.Config)]; w.blind[n.ID] {
		s.Conf = nil
	}
	return s, true
}

// decided tells the oracle of a version that a node holds for decided; false if
// its body is not to be read here.
func (w *World) decided(n *Node, k *Disk, h register.Header) bool {
	if w.bytes.told[h.Ver] == h.Sum {
		return true
	}
	s, ok := k.On.State(h)
	if !ok || s == nil {
		return false
	}
	w.bytes.told[h.Ver] = h.Sum
	w.Tally.Versions++
	grants := w.Tally.Grants(s)
	for i := range s.Nodes {
		if f := &s.Nodes[i]; !f.Fencing.IsZero() {
			w.judge.Explains(n.ID, "fencing of "+f.Name, f.Why)
		}
	}
	w.judge.Decided(n.body, h.Ver, h.Sum, grants)
	return true
}

// Configure returns the request that makes a configuration the cluster's.
func (w *World) Configure(c cluster.Config) cluster.ApplyConfig {
	slices.SortFunc(c.Services, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	text := fmt.Appendf(nil, "%+v", c)
	if w.bytes.confs[string(text)] == nil {
		w.bytes.confs[string(text)] = &c
	}
	return cluster.ApplyConfig{Config: text, Conf: w.bytes.confs[string(text)]}
}

// Fail ends the test with the story so far.
func (w *World) Fail(format string, args ...any) {
	w.T.Helper()
	w.Tell()
	w.T.Fatalf("seed %d at %s: "+format, append([]any{w.opt.Seed, w.Now}, args...)...)
}

// Happened adds a line to the story.
func (w *World) Happened(text string) {
	w.Story.Tell(w.Now, 0, cluster.Note{Kind: "fault", Text: text})
}

// Running says that a service runs on one node, wholly, under its grant.
func (w *World) Running(service string) bool {
	n := w.Owner(service)
	if n == nil || n.daemon.core == nil || !n.running[service].whole {
		return false
	}
	s := n.View().State
	g := s.Grant(service)
	return g != nil && g.Owner == n.ID && g.Term == n.running[service].term
}

// happened adds a line to the story that no node tells.
func (w *World) happened(n *Node, text string) {
	w.Story.Tell(w.Now, 0, cluster.Note{Kind: "world", Node: n.ID, Inc: n.guard.inc, Text: text})
}

// Owner is the node that runs a service, or nil.
func (w *World) Owner(service string) *Node {
	for _, n := range w.Nodes {
		if n.running[service] != nil {
			return n
		}
	}
	return nil
}

// Tell prints the story so far into the test's log.
func (w *World) Tell() {
	for _, n := range w.Notes {
		w.T.Logf("%v", n)
	}
	for _, n := range w.Nodes {
		v := "off"
		if n.mind() != nil {
			s := n.View()
			v = fmt.Sprintf("%s %s (%s) coordinator %d lease %v", s.Stage, s.Inc, s.Waiting, s.Coordinator, s.Lease.Held)
		}
		w.T.Logf("%-6s %s runs %v", n.Name, v, slices.Sorted(maps.Keys(n.running)))
	}
}

// Jitter returns a random duration between a and b.
func (w *World) Jitter(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}
