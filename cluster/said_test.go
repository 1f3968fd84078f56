package cluster_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-ha/holdfast/cluster"
)

// TestFindState: what a list says of a term is found wherever it stands, and nothing
// that is said of another term.
func TestFindState(t *testing.T) {
	sorted := []cluster.RunState{{Service: "a", Term: 1}, {Service: "b", Term: 2, Text: "well"}, {Service: "d", Term: 4}}
	mixed := []cluster.RunState{{Service: "d", Term: 4}, {Service: "b", Term: 1}, {Service: "a", Term: 1}, {Service: "b", Term: 2, Text: "well"}}
	released := []cluster.Released{{Service: "d", Term: 4}, {Service: "a", Term: 1}, {Service: "b", Term: 2}}
	for _, c := range []struct {
		grant cluster.Grant
		text  string
		there bool
	}{
		{cluster.Grant{Service: "b", Term: 2}, "well", true},
		{cluster.Grant{Service: "a", Term: 1}, "", true},
		{cluster.Grant{Service: "d", Term: 4}, "", true},
		{cluster.Grant{Service: "b", Term: 3}, "", false},
		{cluster.Grant{Service: "c", Term: 2}, "", false},
		{cluster.Grant{Service: "e", Term: 4}, "", false},
	} {
		for _, list := range [][]cluster.RunState{sorted, mixed} {
			if r, ok := cluster.FindState(list, &c.grant); ok != c.there || r.Text != c.text {
				t.Errorf("%s/%d in %v: %+v, %v", c.grant.Service, c.grant.Term, list, r, ok)
			}
		}
		if got := cluster.HasReleased(released, &c.grant); got != c.there {
			t.Errorf("%s/%d is released: %v", c.grant.Service, c.grant.Term, got)
		}
	}
	if _, ok := cluster.FindState(nil, &cluster.Grant{Service: "a", Term: 1}); ok {
		t.Error("found in nothing")
	}
}

// TestLimit: what is cut says so, ends behind a word where there is one, and is whole
// characters of no more bytes than were asked for.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"whole", 5, "whole"},
		{"silent for 2 s, by disk and network", 20, "silent for 2 s…"},
		{"silent for 2 s, by disk", 18, "silent for 2 s…"},
		{"/dev/disk/by-id/wwn-0x600", 10, "/dev/di…"},
		{"größer", 6, "gr…"},
		{"größer", 2, ""},
		{"", 0, ""},
	} {
		if got := cluster.Limit(c.text, c.n); got != c.want {
			t.Errorf("%q in %d bytes is %q, not %q", c.text, c.n, got, c.want)
		}
	}
	long := strings.Repeat("Größe, 世界 of a disk: ", 40)
	for n := range len(long) + 1 {
		got := cluster.Limit(long, n)
		if len(got) > n || !utf8.ValidString(got) {
			t.Fatalf("%d bytes: %q", n, got)
		}
		if again := cluster.Limit(got, n); again != got {
			t.Fatalf("%q is cut once more, to %q", got, again)
		}
	}
}
