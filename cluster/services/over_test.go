package services

import (
	"reflect"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// TestReleasedIsCountedAnew: what is kept of the released terms between two steps is
// what they are, after everything that may change them: a term begins, is released,
// begins again, is adopted by a new life of the daemon, and is forgotten with its
// incarnation.
func TestReleasedIsCountedAnew(t *testing.T) {
	inc := ident.Incarnation{N: 3}
	conf := &cluster.Config{Services: []cluster.Service{{Name: "orders"}, {Name: "web"}}}
	state := &cluster.State{Conf: conf, Services: []cluster.Grant{
		{Service: "orders", Owner: 1, Inc: inc, Term: 4}, {Service: "web", Owner: 1, Inc: inc, Term: 7},
	}}
	env := Env{Now: 1e9, State: state, Self: 1, Inc: inc, Standing: Leaving}
	s := New(nil)
	is := func(when string, want ...cluster.Released) {
		t.Helper()
		if got := s.Released(); !(len(got) == 0 && len(want) == 0) && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: released %v, want %v", when, got, want)
		}
		if s.Digest() != cluster.DigestOf(want) {
			t.Errorf("%s: the digest is not that of %v", when, want)
		}
	}
	is("at first")
	s.Manage(env) // it is leaving: what it never started is given up at once
	is("given up", cluster.Released{Service: "orders", Term: 4}, cluster.Released{Service: "web", Term: 7})
	kept := s.Released()
	state.Services[1].Term = 8
	env.Standing, env.MayStart = Member, true
	s.Manage(env)
	is("one begins again", cluster.Released{Service: "orders", Term: 4})
	if len(kept) != 2 || kept[1].Term != 7 {
		t.Errorf("a list that was given away became %v", kept)
	}
	s.Renew()
	is("a new incarnation")
	s = New(nil)
	s.Resume(env)
	s.Manage(env)
	is("a new life that finds nothing running", cluster.Released{Service: "orders", Term: 4}, cluster.Released{Service: "web", Term: 8})
}
