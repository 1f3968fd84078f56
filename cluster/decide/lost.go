package decide

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Lost keeps the draft of a proposal that another node's ballot has ended. That
// node adopts what it finds on the disks, so the draft may still be chosen, by
// somebody who does not know why it was made: its story is ours to tell.
type Lost struct{ draft *Draft }

// Keep takes a draft whose proposal was overtaken; nil is none.
func (l *Lost) Keep(d *Draft) {
	if d != nil && d.Changed() {
		l.draft = d
	}
}

// Found returns the draft that others have chosen, once: s is what was learned.
func (l *Lost) Found(s *cluster.State) *Draft {
	d := l.draft
	if d == nil || s.Ver < d.State.Ver {
		return nil
	}
	l.draft = nil
	if s.Ver != d.State.Ver || !same(d.State, s) {
		return nil
	}
	return d
}

// same compares what was proposed with what was read, all of it: what is left out
// here is answered as done although it was lost. The body on the disk keeps
// everything but the parsed configuration.
func same(a, b *cluster.State) bool {
	x, y := *a, *b
	x.Conf, y.Conf = nil, nil
	return fmt.Sprint(x) == fmt.Sprint(y)
}
