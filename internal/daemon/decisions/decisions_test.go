package decisions

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// keeper runs the log of one node over all lives of its daemon.
type keeper struct {
	t     *testing.T
	state string
	log   *Log
	out   *compressed
	most  Limits
	blind bool // without the memory of the core: only its actions are kept
}

// begin ends the life before and begins the next.
func (k *keeper) begin(now ident.Instant, set core.Settings, c any) {
	k.t.Helper()
	k.end()
	var err error
	start := time.Unix(1_700_000_000, 0)
	if k.log, err = Open(k.state, zerolog.New(zerolog.TestWriter{T: k.t}), func() time.Time { return start.Add(time.Duration(now)) }); err != nil {
		k.t.Fatal(err)
	}
	k.log.Limit(k.most)
	k.out = k.log.writer()
	if k.blind {
		c = nil
	}
	k.log.Begin(now, set, c)
}

func (k *keeper) end() {
	if k.out == nil {
		return
	}
	k.write()
	if err := k.out.close(); err != nil {
		k.t.Error(err)
	}
}

// write is the task that writes, in virtual time.
func (k *keeper) write() {
	if err := k.out.pass(k.log.items.Drain()); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeper) files() []decisions.File {
	k.t.Helper()
	files, err := decisions.Files(filepath.Join(k.state, decisions.Folder))
	if err != nil {
		k.t.Fatal(err)
	}
	return files
}

// record tells a story with a failover, a move, a restart of beta's daemon and a
// reset of beta, and keeps what beta decided in files of so many bytes.
func record(t *testing.T, k *keeper) {
	t.Helper()
	k.t, k.state = t, t.TempDir()
	var pending *core.Settings
	w := clustertest.New(t, clustertest.Options{
		Seed: 7, Nodes: 3, Disks: 3,
		Services: []cluster.Service{{Name: "orders", Prefer: []string{"alpha"}}, {Name: "web", After: []string{"orders"}}},
		Begin: func(n *clustertest.Node, set core.Settings) {
			if n.Name == "beta" {
				pending = &set
			}
		},
		Record: func(n *clustertest.Node, now ident.Instant, ev cluster.Event, actions []cluster.Action) {
			if n.Name != "beta" {
				return
			}
			if pending != nil {
				k.begin(now, *pending, n.Core())
				pending = nil
			}
			k.log.Step(now, ev, actions)
			k.write()
		},
	})
	w.Boot()
	w.Run(15 * time.Second)
	w.Node("beta").Ask(cluster.MoveService{Service: "web", To: "gamma"})
	w.Run(5 * time.Second)
	w.Node("beta").KillDaemon()
	w.Node("beta").StartDaemon()
	w.Run(5 * time.Second)
	w.Node("alpha").PowerOff()
	w.Run(20 * time.Second)
	w.Node("beta").PowerOff()
	w.Run(5 * time.Second)
	w.Node("beta").PowerOn()
	w.Run(30 * time.Second)
	k.end()
}

func fresh(s core.Settings) decisions.Core { return core.New(s) }

// TestReplay: a recorded life of a node with three lives of its daemon, in many
// files, gives the same actions and the same memory; from the first file and from
// any other.
func TestReplay(t *testing.T) {
	k := &keeper{most: Limits{File: 8 << 10, All: 1 << 30, Files: 1000}}
	record(t, k)
	files := k.files()
	if len(files) < 5 {
		t.Fatalf("%d files: nothing was rotated; does a part of the core hold a function between two steps? See package memory", len(files))
	}
	p := decisions.Replay{Fresh: fresh}
	if err := p.ReadFiles(files); err != nil {
		t.Fatal(err)
	}
	all := p.Done
	t.Logf("%d files: %+v", len(files), all)
	if all.Lives != 3 || all.Steps < 2000 || all.Marks < 12 || all.Skip > 0 || len(all.Notes) > 0 {
		t.Errorf("replayed %+v", all)
	}
	resumed := 0
	for i := range files {
		p := decisions.Replay{Fresh: fresh}
		if err := p.ReadFiles(files[i:]); err != nil {
			t.Fatalf("from file %d: %v", i+1, err)
		}
		if p.Done.Skip > 0 || p.Done.Steps == 0 {
			t.Errorf("from file %d: %+v", i+1, p.Done)
		}
		resumed += p.Done.Resume
	}
	if resumed == 0 {
		t.Error("no replay went on from a memory")
	}
}

// TestChangedRule: a core that follows another rule is found out, with the record
// where it first decides otherwise.
func TestChangedRule(t *testing.T) {
	k := &keeper{most: Limits{File: 8 << 10, All: 1 << 30, Files: 1000}, blind: true}
	record(t, k)
	impatient := func(s core.Settings) decisions.Core {
		s.WaitLess = 500 * time.Millisecond
		return core.New(s)
	}
	p := decisions.Replay{Fresh: impatient}
	err := p.ReadFiles(k.files())
	if !errors.Is(err, decisions.ErrDiffers) {
		t.Fatalf("nothing was noticed: %+v, %v", p.Done, err)
	}
	if !strings.Contains(err.Error(), "action") || !strings.Contains(err.Error(), "record") {
		t.Errorf("the record that differs is not named: %v", err)
	}
	t.Log(err)
}

// TestTornTail: what a reset leaves of a file is read as far as it goes, wherever
// it was cut off and whatever follows.
func TestTornTail(t *testing.T) {
	k := &keeper{most: Limits{File: 1 << 30, All: 1 << 31, Files: 1000}}
	record(t, k)
	files := k.files()
	last := files[len(files)-1]
	whole, err := os.ReadFile(last.Path)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for i := range 20 {
		cut := len(whole) * i / 20
		torn := whole[:cut:cut]
		if i%2 == 1 {
			torn = append(torn, make([]byte, 512)...) // a sector that was allocated and never written
		}
		if err := os.WriteFile(last.Path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		p := decisions.Replay{Fresh: fresh}
		if err := p.ReadFiles([]decisions.File{last}); err != nil {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		if p.Done.Steps < steps {
			t.Errorf("cut at %d: %d steps, fewer than in a shorter file", cut, p.Done.Steps)
		}
		steps = p.Done.Steps
	}
	if steps == 0 {
		t.Error("nothing of a torn file was read")
	}
}

// TestGap: records that were left out make the core unknown until its memory is
// written, at once, and no longer.
func TestGap(t *testing.T) {
	state := t.TempDir()
	l, err := Open(state, zerolog.Nop(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	set := core.Settings{Self: 1, Name: "alpha", Disks: make([]ident.UUID, 1)}
	c := core.New(set)
	step := func(n int) {
		for i := range n {
			now := ident.Instant(i + 1)
			l.Step(now, cluster.Tick{}, c.Step(now, cluster.Tick{}))
		}
	}
	l.Begin(1, set, c)
	step(mostQueued + 10) // nobody writes: the queue overflows
	step(5)
	var all bytes.Buffer
	for _, i := range l.items.Drain() {
		all.Write(i.lines)
	}
	p := decisions.Replay{Fresh: fresh}
	if err := p.Read("log", &all); err != nil || p.Done.Lives != 0 || p.Done.Resume != 1 || p.Done.Steps < 5 {
		t.Errorf("replayed %+v, %v", p.Done, err)
	}
	if l.mind.lost != 0 || l.mind.blind {
		t.Error("records still count as lost after the memory was written")
	}
}

// TestBounds: old files go, by number and by size, and never the newest.
func TestBounds(t *testing.T) {
	for _, most := range []Limits{{File: 1 << 20, All: 1 << 40, Files: 8}, {File: 10, All: 8*16 + 10, Files: 1000}} {
		c := &compressed{dir: t.TempDir(), most: most}
		for range 20 {
			if err := c.write(item{lines: []byte("{}\n")}); err != nil {
				t.Fatal(err)
			}
			if err := c.close(); err != nil {
				t.Fatal(err)
			}
		}
		files, err := decisions.Files(c.dir)
		if err != nil || len(files) > 10 || len(files) < 2 || files[len(files)-1].Number != 20 {
			t.Errorf("%+v: files %+v, %v", most, files, err)
		}
	}
}
