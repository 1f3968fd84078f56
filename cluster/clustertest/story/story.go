// Package story keeps what is told in a simulated cluster: the notes of its nodes,
// and what the world itself has done to them.
package story

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Told is a note with the node that told it; node 0 is the world.
type Told struct {
	At   time.Duration
	Node ident.NodeID
	cluster.Note
}

// String is a line for people.
func (t Told) String() string {
	return fmt.Sprintf("%9.3fs %-6s %-10s %-6s %s %s/%d %s %s", t.At.Seconds(), Name(t.Node), t.Kind, Name(t.Note.Node),
		t.Inc, t.Service, t.Term, t.Proof, t.Text)
}

// Story is what was told, in order.
type Story struct{ Notes []Told }

// Tell adds a note.
func (s *Story) Tell(at time.Duration, by ident.NodeID, n cluster.Note) {
	s.Notes = append(s.Notes, Told{at, by, n})
}

// Told says whether a note of this kind about this node or service was told
// since from, by anybody.
func (s *Story) Told(kind cluster.NoteKind, about string, from time.Duration) *Told {
	for i := range s.Notes {
		n := &s.Notes[i]
		if n.At >= from && n.Kind == kind && (about == "" || n.Service == about || Name(n.Note.Node) == about) {
			return n
		}
	}
	return nil
}

// Name is the name of a node by its number.
func Name(id ident.NodeID) string {
	names := []string{"", "alpha", "beta", "gamma", "delta", "epsilon"}
	if int(id) < len(names) {
		return names[id]
	}
	return fmt.Sprintf("node%d", id)
}
