package decisions

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// The three sets are sealed by marker methods: every type with one must be known
// here, or a decision with it could not be replayed.
func TestEveryTypeIsKnown(t *testing.T) {
	var known, source []string
	for _, v := range sealed() {
		known = append(known, reflect.TypeOf(v).Name())
	}
	files, err := filepath.Glob("../../../cluster/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the sources of the core's words: %v, %v", files, err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if ok && m.Recv != nil && slices.Contains([]string{"event", "action", "request"}, m.Name.Name) {
				source = append(source, m.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(known)
	slices.Sort(source)
	if !slices.Equal(known, source) {
		t.Errorf("known here: %v\nin the source: %v", known, source)
	}
}

func TestValuesComeBack(t *testing.T) {
	state := &cluster.State{Ver: 3, Config: []byte("a: b\n"), Conf: &cluster.Config{Name: "x", Services: []cluster.Service{{Name: "s"}}}}
	for _, v := range []any{
		cluster.Tick{},
		cluster.LeaveCluster{},
		cluster.Started{Bound: ident.Incarnation{N: 7, Boot: ident.BootID{1, 2}}, Adopted: []cluster.Adopted{{Service: "s", Term: 1 << 60}}},
		cluster.Table{Disk: 1, Beats: []cluster.SeenBeat{{Node: 2, Sector: []byte{0, 255}, Beat: &cluster.Beat{Seq: 1<<63 + 5}}, {Node: 3, Err: "torn"}}},
		cluster.RegisterHeaders{All: []register.Header{{Node: 1, Gen: 9, Sum: [32]byte{31: 1}}}, OK: true},
		cluster.RegisterBody{Value: state, OK: true},
		cluster.RegisterOp{Op: register.Op[*cluster.State]{Kind: register.Write, Seq: 4, Value: state}},
		cluster.Asked{ID: 4, Request: cluster.ApplyConfig{Config: []byte("x"), Conf: state.Conf, Expect: 2}},
		cluster.Asked{ID: 5, Request: cluster.LeaveCluster{}},
		cluster.Received{Link: 1, Msg: &cluster.Message{From: 2, Released: []cluster.Released{{Service: "s", Term: 2}}}},
	} {
		written, err := tag(v)
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		back, err := written.untag()
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%T: %+v, %v, want %+v", v, back, err, v)
		}
	}
	for _, wrong := range []tagged{{Is: "Explode"}, {Is: "Asked", Of: []byte(`{"ID":1,"Request":{"is":"Tick"}}`)}} {
		if v, err := wrong.untag(); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v, %v", wrong.Is, v, err)
		}
	}
}

// echo answers every tick with a note of how many there were.
type echo struct{ n uint64 }

func (e *echo) Step(now ident.Instant, _ cluster.Event) []cluster.Action {
	e.n++
	return []cluster.Action{cluster.Note{At: now, Term: e.n}}
}

// recorded runs a log over lives of so many steps each and returns its bytes.
func recorded(t *testing.T, lives, steps int) []byte {
	t.Helper()
	state := t.TempDir()
	for range lives {
		l, err := Open(state, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		l.Begin(core.Settings{Name: "alpha"})
		e := &echo{}
		for i := range steps {
			now := ident.Instant(i)
			l.Step(now, cluster.Tick{}, e.Step(now, cluster.Tick{}))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	names, err := fileNames(filepath.Join(state, folder))
	if err != nil || len(names) != lives {
		t.Fatalf("files %v, %v: want one for each life", names, err)
	}
	var all []byte
	for _, n := range names {
		f, err := os.ReadFile(filepath.Join(state, folder, n))
		if err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewReader(bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		z.Close()
		all = append(all, plain...)
	}
	return all
}

func fresh(core.Settings) Core { return &echo{} }

func TestReplay(t *testing.T) {
	all := recorded(t, 2, 20)
	if r, err := Replay(bytes.NewReader(all), fresh); err != nil || r != (Replayed{Lives: 2, Steps: 40}) {
		t.Errorf("replayed %+v, %v", r, err)
	}
	// The end of a life that crashed is cut off anywhere.
	if r, err := Replay(bytes.NewReader(all[:len(all)-7]), fresh); err != nil || r.Steps != 39 {
		t.Errorf("cut off: %+v, %v", r, err)
	}
	for what, change := range map[string][2]string{
		"another answer":    {`"Term":7,`, `"Term":8,`},
		"another action":    {`"is":"Note"`, `"is":"Exit"`},
		"a missing action":  {`,"actions":[{`, `,"actions":[{"is":"Tick"},{`},
		"an unknown action": {`"actions":[`, `"none":[`},
	} {
		wrong := bytes.Replace(all, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(wrong, all) {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := Replay(bytes.NewReader(wrong), fresh); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Records that were left out make the rest of that life worthless, and of no
// other.
func TestReplayPassesOverGaps(t *testing.T) {
	l := &Log{log: zerolog.Nop(), lines: newLines()}
	e := &echo{}
	step := func(n int) {
		for i := range n {
			l.Step(ident.Instant(i), cluster.Tick{}, e.Step(ident.Instant(i), cluster.Tick{}))
		}
	}
	l.Begin(core.Settings{})
	step(mostQueued + 10) // nobody writes: the queue overflows
	l.Begin(core.Settings{})
	e.n = 0
	step(5)
	r, err := Replay(bytes.NewReader(bytes.Join(l.lines.Drain(), nil)), fresh)
	if err != nil || r.Lives != 1 || r.Steps != 5 {
		t.Errorf("replayed %+v, %v", r, err)
	}
	if l.lost != 0 {
		t.Errorf("%d records still count as lost after the gap was recorded", l.lost)
	}
}

func TestOldFilesGo(t *testing.T) {
	c := &compressed{dir: t.TempDir()}
	for range mostFiles + 4 {
		if err := c.write([]byte("{}\n")); err != nil {
			t.Fatal(err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := fileNames(c.dir)
	if err != nil || len(names) != mostFiles || names[mostFiles-1] != "00000012"+ending {
		t.Errorf("files %v, %v", names, err)
	}
}
