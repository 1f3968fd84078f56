package decisions

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
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
	files, err := filepath.Glob("../../cluster/*.go")
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

// TestLine: a step's line is what json.Marshal makes of it.
func TestLine(t *testing.T) {
	note := cluster.Note{Kind: cluster.NoteAlarm, Text: "a <b> & \"c\"\n\u2028"}
	for _, c := range []struct {
		now     ident.Instant
		ev      cluster.Event
		actions []cluster.Action
		digest  []byte
	}{
		{0, cluster.Tick{}, nil, nil},
		{123, cluster.Tick{}, []cluster.Action{note}, []byte{1, 2, 3, 4, 5, 6, 7, 255}},
		{-5, cluster.Asked{ID: 1, Request: cluster.MoveService{Service: "s<t>", To: "beta"}}, []cluster.Action{note, cluster.Exit{}, cluster.Reply{ID: 1}}, nil},
	} {
		r, err := Step(c.now, c.ev, c.actions)
		if err != nil {
			t.Fatal(err)
		}
		r.Digest = c.digest
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Line(); err != nil || !bytes.Equal(got, append(want, '\n')) {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
