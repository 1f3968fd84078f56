package pages_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/pages"
)

func services(n int) (states []cluster.RunState, released []cluster.Released) {
	for i := range n {
		name := fmt.Sprintf("tenant-%04d", i)
		states = append(states, cluster.RunState{Service: name, Term: 3, State: cluster.Up, Text: strings.Repeat("x", i%40)})
		released = append(released, cluster.Released{Service: name, Term: 2})
	}
	return states, released
}

func TestFewServicesAreSaidInFull(t *testing.T) {
	states, released := services(100)
	var s pages.Speaker
	var m cluster.Message
	s.Fill(&m, states, released)
	if m.Partial || !reflect.DeepEqual(m.Services, states) || !reflect.DeepEqual(m.Released, released) {
		t.Errorf("%d of %d states, %d of %d released, partial %v", len(m.Services), len(states), len(m.Released), len(released), m.Partial)
	}
}

func size(m *cluster.Message) int {
	n := 0
	for _, s := range m.Services {
		n += 11 + len(s.Service) + len(s.Text)
	}
	for _, r := range m.Released {
		n += 9 + len(r.Service)
	}
	return n
}

// A hearer that loses half of the beats knows all of it soon; no beat is large;
// what changes is said in the next beat.
func TestAThousandServicesArePaged(t *testing.T) {
	states, released := services(1000)
	r := rand.New(rand.NewPCG(1, 2))
	var s pages.Speaker
	var known *cluster.Message
	complete := func() bool {
		return known != nil && reflect.DeepEqual(known.Services, states) && reflect.DeepEqual(known.Released, released)
	}
	beats := 0
	for ; !complete() && beats < 100; beats++ {
		m := &cluster.Message{From: 2, Inc: ident.Incarnation{N: 1}}
		s.Fill(m, states, released)
		if size(m) > pages.Size {
			t.Fatalf("a beat of %d bytes", size(m))
		}
		if r.IntN(2) == 0 {
			known = pages.Join(known, m)
		}
	}
	if beats == 100 {
		t.Fatalf("after %d beats %d states and %d released are known", beats, len(known.Services), len(known.Released))
	}
	states[999].State, released[500].Term = cluster.Broken, 4
	m := &cluster.Message{From: 2, Inc: ident.Incarnation{N: 1}}
	s.Fill(m, states, released)
	if known = pages.Join(known, m); !complete() {
		t.Error("a change was not in the next beat")
	}
	m = &cluster.Message{From: 2, Inc: ident.Incarnation{N: 2}, Marks: cluster.Marks{Partial: true}, Services: states[:1]}
	if known = pages.Join(known, m); len(known.Services) != 1 || len(known.Released) != 0 {
		t.Errorf("a new incarnation is told %d states and %d released of the former", len(known.Services), len(known.Released))
	}
}

// A page that was said in full after pages replaces them: what it leaves out is gone.
func TestFullReplacesPages(t *testing.T) {
	states, _ := services(1000)
	before := &cluster.Message{Marks: cluster.Marks{Partial: true}, Services: states}
	if got := pages.Join(before, &cluster.Message{Services: states[:2]}); len(got.Services) != 2 {
		t.Errorf("%d services", len(got.Services))
	}
}
