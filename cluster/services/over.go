package services

import "github.com/holdfast-ha/holdfast/cluster"

// over is what Released and Digest say, until a term begins or is released: every
// step asks for it.
type over struct {
	known bool
	list  []cluster.Released // never changed in place
	sum   cluster.Digest
}

// Released lists the terms that this incarnation has released, by name.
func (s *Set) Released() []cluster.Released {
	s.count()
	return s.over.list
}

// Digest sums Released up.
func (s *Set) Digest() cluster.Digest {
	s.count()
	return s.over.sum
}

func (s *Set) count() {
	if s.over.known {
		return
	}
	s.over = over{known: true}
	for _, name := range s.names() {
		if l := s.local[name]; l.released > 0 && l.released >= l.term {
			s.over.list = append(s.over.list, cluster.Released{Service: name, Term: l.released})
		}
	}
	s.over.sum = cluster.DigestOf(s.over.list)
}
