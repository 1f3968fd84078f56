package held_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/held"
)

func TestTwoPanicsOnOneVersionHold(t *testing.T) {
	dir := t.TempDir()
	note := func(build string, ver uint64) held.Record {
		t.Helper()
		r, err := held.Note(dir, build, ver, "index out of range\n\tgoroutine 7")
		if err != nil || held.Load(dir) != r {
			t.Fatalf("%+v became %+v, %v", r, held.Load(dir), err)
		}
		return r
	}
	if r := note("1.0", 7); r.Holds("1.0") {
		t.Error("held after one panic")
	}
	if r := note("1.0", 8); r.Holds("1.0") {
		t.Error("held after one panic on each of two versions")
	}
	if r := note("1.0", 8); !r.Holds("1.0") || r.Holds("1.1") || r.Text != "index out of range goroutine 7" {
		t.Errorf("after two panics on version 8: %+v", r)
	}
	if r := note("1.1", 8); r.Holds("1.1") {
		t.Error("another program was held for the panics of the former")
	}
	if err := held.Forget(dir); err != nil || held.Load(dir) != (held.Record{}) || held.Forget(dir) != nil {
		t.Errorf("not forgotten: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "panics"), []byte("version x\ncount 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := held.Load(dir); r != (held.Record{}) {
		t.Errorf("a damaged record holds: %+v", r)
	}
}

// TestHeldCore renews the permission, refuses, lets nobody be started or stopped,
// and ends when a newer version is committed.
func TestHeldCore(t *testing.T) {
	inc := ident.Incarnation{N: 3, Boot: ident.BootID{1}}
	c := held.New(held.Record{Ver: 8, Count: 2, Text: "boom"}, 2)
	now := ident.Instant(1e9)
	c.Step(now, cluster.Started{Bound: inc, Adopted: []cluster.Adopted{{Service: "orders", Term: 4, Running: true}}})
	permits, beat := 0, &cluster.Beat{}
	beat.Payload.Committed.Ver = 8
	for range 600 { // a minute
		now = now.Add(100 * time.Millisecond)
		for _, ev := range []cluster.Event{cluster.Tick{}, cluster.Asked{ID: 5, Request: cluster.StopService{Service: "orders"}}, cluster.Table{Beats: []cluster.SeenBeat{{Beat: beat}}}} {
			for _, a := range c.Step(now, ev) {
				switch a := a.(type) {
				case cluster.Order:
					if a.Kind != cluster.OrderPermit || a.Inc != inc || a.Until < now.Add(10*time.Second) {
						t.Fatalf("ordered %+v", a)
					}
					permits++
				case cluster.Reply:
					if !strings.Contains(a.Err, "panicked 2 times on version 8") {
						t.Fatalf("replied %+v", a)
					}
				default:
					t.Fatalf("a held daemon wants %#v", a)
				}
			}
		}
	}
	if permits < 55 {
		t.Errorf("%d permissions in a minute", permits)
	}
	if v := c.View(now); v.Stage != "held" || len(v.Warnings) != 1 || v.Inc != inc {
		t.Errorf("view %+v", v)
	}
	beat.Payload.Committed.Ver = 9
	ended := false
	for _, a := range c.Step(now, cluster.Table{Beats: []cluster.SeenBeat{{Beat: beat}}}) {
		if x, ok := a.(cluster.Exit); ok {
			ended = x.Again
		}
	}
	if !ended {
		t.Error("a newer version did not end it")
	}
}
