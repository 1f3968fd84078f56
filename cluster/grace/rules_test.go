package grace_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/grace"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const second = ident.Instant(time.Second)

// TestRequest: only when every node has answered the same request, made under
// the same view, is there a promise, and it counts from the sending.
func TestRequest(t *testing.T) {
	var a grace.Asker
	id, alone := a.Ask(10*second, 1000, 7, []ident.NodeID{2, 255})
	if alone || id < 1000 {
		t.Fatalf("request %d, alone %v", id, alone)
	}
	second2, _ := a.Ask(11*second, 1000, 7, []ident.NodeID{2, 255})
	for what, said := range map[string]func() (ident.Instant, bool){
		"one of two":          func() (ident.Instant, bool) { return a.Promised(2, id, 7) },
		"the same again":      func() (ident.Instant, bool) { return a.Promised(2, id, 7) },
		"another view":        func() (ident.Instant, bool) { return a.Promised(255, id, 8) },
		"no such request":     func() (ident.Instant, bool) { return a.Promised(255, id+16, 7) },
		"no request":          func() (ident.Instant, bool) { return a.Promised(255, 0, 7) },
		"half of the next":    func() (ident.Instant, bool) { return a.Promised(255, second2, 7) },
		"one nobody waits on": func() (ident.Instant, bool) { return a.Promised(3, id, 7) },
	} {
		if _, all := said(); all {
			t.Errorf("%s: taken for the promise of all", what)
		}
	}
	if at, all := a.Promised(255, id, 7); !all || at != 10*second {
		t.Errorf("the promise of all counts from %d, %v, want its sending at 10 s", at, all)
	}
	if _, all := a.Promised(255, id, 7); all {
		t.Error("a promise is taken twice")
	}
	if _, alone := a.Ask(12*second, 1000, 7, nil); !alone {
		t.Error("a node that has nobody to ask is not alone")
	}
}

// TestOldRequest: a request that has fallen out of the list is never granted.
func TestOldRequest(t *testing.T) {
	var a grace.Asker
	id, _ := a.Ask(second, 5, 1, []ident.NodeID{2})
	for i := range 16 {
		a.Ask(second+ident.Instant(i), 5, 1, []ident.NodeID{2})
	}
	if _, all := a.Promised(2, id, 1); all {
		t.Error("a forgotten request is granted")
	}
}

func TestMissing(t *testing.T) {
	var a grace.Asker
	for i := range 5 {
		id, _ := a.Ask(second*ident.Instant(i), 5, 1, []ident.NodeID{2, 3, 4})
		a.Promised(3, id, 1)
	}
	if got := a.Missing(5*second, 6*time.Second); !slices.Equal(got, []ident.NodeID{2, 4}) {
		t.Errorf("missing %v, want 2 and 4", got)
	}
	if got := a.Missing(50*second, 6*time.Second); got != nil {
		t.Errorf("missing %v long after the last request", got)
	}
}

func TestPromises(t *testing.T) {
	var p grace.Promises
	p.Make(2, 10*second)
	p.Make(2, 5*second) // an older one never takes a younger one back
	if p.Last(2) != 10*second {
		t.Errorf("last promise at %d, want 10 s", p.Last(2))
	}
	p.Renew(20 * second)
	p.Make(2, 15*second)
	for id := range ident.NodeID(255) {
		if p.Last(id) != 20*second {
			t.Errorf("after the beginning of a life the promise to node %d counts from %d, want 20 s", id, p.Last(id))
		}
	}
}

func TestRefuse(t *testing.T) {
	k1, k2 := ident.Incarnation{N: 1, Boot: ident.BootID{1}}, ident.Incarnation{N: 2, Boot: ident.BootID{1}}
	clone := ident.Incarnation{N: 1, Boot: ident.BootID{9}}
	for _, c := range []struct {
		what   string
		known  grace.Known
		inc    ident.Incarnation
		refuse bool
	}{
		{"a member", grace.Known{Registered: k1}, k1, false},
		{"nobody", grace.Known{}, ident.Incarnation{}, true},
		{"one that is not registered", grace.Known{Registered: k1}, k2, true},
		{"the same number of another boot", grace.Known{Registered: k1}, clone, true},
		{"one that is being fenced", grace.Known{Registered: k1, Fencing: k1}, k1, true},
		{"one whose former life was fenced", grace.Known{Registered: k2, Fencing: k1}, k2, false},
		{"a dead one", grace.Known{Registered: k1, Dead: 1}, k1, true},
		{"one that has not released its services", grace.Known{Registered: k1, Unwanted: true}, k1, true},
	} {
		if got := c.known.Refuse(c.inc); (got != "") != c.refuse {
			t.Errorf("%s: refused with %q", c.what, got)
		}
	}
}

func TestPatience(t *testing.T) {
	var p grace.Patience
	judge := func(at ident.Instant, lost bool) grace.Demand {
		return p.Judge(at*second, lost, 5*time.Second, 6*time.Second)
	}
	for _, c := range []struct {
		at   ident.Instant
		lost bool
		want grace.Demand
	}{
		{100, true, grace.Bear},
		{104, true, grace.Bear},
		{105, true, grace.Release},
		{106, false, grace.Bear}, // its disks are back
		{107, true, grace.Bear},
		{112, true, grace.Release},
		{117, true, grace.Release},
		{118, true, grace.Refuse},
		{119, true, grace.Refuse},
	} {
		if got := judge(c.at, c.lost); got != c.want {
			t.Errorf("at %d s: demand %d, want %d", c.at, got, c.want)
		}
	}
}

func TestEnd(t *testing.T) {
	for _, c := range []struct {
		what               string
		start, until, want ident.Instant
		g                  time.Duration
	}{
		{"no grace", 100, ident.LongAgo / second, 105, 5 * time.Second},
		{"the promise ends first", 100, 150, 150, 120 * time.Second},
		{"the bound comes first", 100, 150, 130, 30 * time.Second},
		{"a promise older than the lease", 100, 103, 105, 120 * time.Second},
		{"unlimited", 100, 5000, 5000, math.MaxInt64},
	} {
		if got := grace.End(c.start*second, c.until*second, 5*time.Second, c.g); got != c.want*second {
			t.Errorf("%s: ends at %v, want %d s", c.what, time.Duration(got), c.want)
		}
	}
	if at := grace.StopAt(120 * time.Second); at != 100*time.Second {
		t.Errorf("with a grace of 120 s everything is stopped from %v on, want 100 s", at)
	}
	if at := grace.StopAt(math.MaxInt64); at < 100*365*24*time.Hour {
		t.Errorf("with unlimited grace everything is stopped after %v", at)
	}
}

// TestWhoIsAsked: every other node of the membership that may still hold
// something, but one whose power this node itself has read as off.
func TestWhoIsAsked(t *testing.T) {
	inc := ident.Incarnation{N: 3, Boot: ident.BootID{1}}
	s := &cluster.State{View: 9, Nodes: []cluster.NodeState{
		{ID: 1, Phase: cluster.MemberPhase, Inc: inc},
		{ID: 2, Phase: cluster.MemberPhase, Inc: inc, Fencing: inc},
		{ID: 3, Phase: cluster.Joining, Inc: inc},
		{ID: 4, Phase: cluster.Out, Inc: inc, Dead: 3},
		{ID: 5, Phase: cluster.MemberPhase, Inc: inc},
		{ID: 6, Phase: cluster.Leaving, Inc: inc},
	}}
	e := grace.Env{Now: 10 * second, State: s, Self: 1, Inc: inc, Life: 1, Start: second, Needs: true, Ask: 2 * time.Second}
	var n grace.Node
	n.Begin(second, 6*time.Second, 120*time.Second, ident.LongAgo)
	ask, _, granted := n.Request(e, func(m *cluster.NodeState) bool { return m.ID == 5 })
	if ask.View != 9 || granted {
		t.Fatalf("asked under view %d, granted %v", ask.View, granted)
	}
	for i, from := range []ident.NodeID{2, 3, 6} {
		m := &cluster.Message{From: from, Inc: inc}
		m.Grace.Promise = cluster.GracePromise{To: 1, Inc: inc, ID: ask.ID, View: 9}
		other := *m
		other.Grace.Promise.Inc.Boot[0]++
		if _, granted := n.Promised(e, &other); granted {
			t.Error("a promise to another incarnation counts")
		}
		until, granted := n.Promised(e, m)
		if granted != (i == 2) {
			t.Errorf("after the promise of node %d: granted %v", from, granted)
		}
		if granted && until != 16*second {
			t.Errorf("granted until %v, want F after the request", time.Duration(until))
		}
	}
	e.Start = 9 * second
	if ask, _, _ := n.Request(e, func(*cluster.NodeState) bool { return false }); ask.ID != 0 {
		t.Error("a node whose cycles are in time asks for grace")
	}
}
