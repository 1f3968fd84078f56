// Package revise puts another configuration into a state: what the services that run
// may still use, and what is forgotten of their failures. Applying a configuration
// does that, and so does whoever looks ahead.
package revise

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
)

// TakenOut is the text of the note on a service that is configured no more.
const TakenOut = "taken out of the configuration"

// Apply puts a configuration, and the text that it was read from, into a state that
// may be changed. What it returns is to be noted: each service that is configured no
// more, and the version.
func Apply(s *cluster.State, text []byte, next *cluster.Config) []cluster.Note {
	var notes []cluster.Note
	if s.Conf != nil {
		for i := range s.Conf.Services {
			if name := s.Conf.Services[i].Name; !has(next, name) {
				notes = append(notes, cluster.Note{Kind: cluster.NoteAdmin, Service: name, Text: TakenOut})
			}
		}
	}
	taken(s, next)
	mended(s, next)
	s.Config, s.Conf = bytes.Clone(text), next
	s.ConfigRev++
	return append(notes, cluster.Note{Kind: cluster.NoteAdmin, Text: fmt.Sprintf("configuration version %d", s.ConfigRev)})
}

func has(c *cluster.Config, service string) bool {
	_, is := c.Service(service)
	return is
}

// taken notes what a new configuration takes from services that somebody owns: the
// owner may use it until its term is over, whatever the configuration says, and
// nobody else may before. The term after that begins on the same node, if that may
// have it then.
func taken(s *cluster.State, next *cluster.Config) {
	for i := range s.Services {
		g := &s.Services[i]
		old, ok := s.Conf.Service(g.Service)
		if g.Owner == 0 && len(g.Pending) == 0 || !ok && s.Conf != nil {
			continue // what is not configured now was noted when it was removed
		}
		if !ok {
			g.Uses = []string{cluster.AnySole}
			continue
		}
		var keeps []string
		now, stays := next.Service(g.Service)
		if stays {
			keeps = now.Soles()
		}
		for _, x := range old.Soles() {
			if !slices.Contains(keeps, x) && !slices.Contains(g.Uses, x) {
				g.Uses = append(g.Uses, x)
			}
		}
		if len(g.Uses) > 0 && stays && g.Owner != 0 && g.Want == 0 {
			g.Want, g.Why = g.Owner, cluster.Limit("started again: the configuration has taken "+g.Uses[0]+" from it", 200)
		}
	}
}

// mended forgets the failures of services whose stack is another from now on: what
// was wrong with it may be right.
func mended(s *cluster.State, next *cluster.Config) {
	same := func(a, b cluster.Member) bool {
		return a.ID == b.ID && a.Kind == b.Kind && bytes.Equal(a.Spec, b.Spec)
	}
	for i := range s.Services {
		old, was := s.Conf.Service(s.Services[i].Service)
		svc, is := next.Service(s.Services[i].Service)
		if was && is && !slices.EqualFunc(old.Stack, svc.Stack, same) {
			s.Services[i].Fails = nil
		}
	}
}
