// Package incidents tells what happened to a cluster from what its nodes have noted:
// the events of several nodes in one order (Merge), and out of these each incident
// from the last sign of life to the end of what it has cost (Find).
//
// It is pure, and knows only events: whoever has the files of a cluster that is gone
// learns the same as who asks one that runs.
package incidents

import (
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Source is what one node has noted.
type Source struct {
	Node   string
	Offset time.Duration // its wall clock less the reader's, as far as that is known
	Events []api.Event   // oldest first
}

// Told is an event in the order of the cluster.
type Told struct {
	api.Event
	By string    `json:"told_by"` // the node that has noted it
	On time.Time `json:"on"`      // when it happened, by the reader's wall clock
}

// Merge brings the events of several nodes into one order. Those of one node keep
// theirs; of different nodes the one goes first that rests on the older state of the
// register, where both tell on which one they rest, and else the one that was earlier
// by the wall clocks.
func Merge(sources []Source) []Told {
	heads := make([][]Told, 0, len(sources))
	n := 0
	for _, s := range sources {
		heads = append(heads, times(&s))
		n += len(s.Events)
	}
	out := make([]Told, 0, n)
	for len(out) < n {
		best := -1
		for i := range heads {
			if len(heads[i]) > 0 && (best < 0 || before(&heads[i][0], &heads[best][0])) {
				best = i
			}
		}
		out = append(out, heads[best][0])
		heads[best] = heads[best][1:]
	}
	return out
}

// before says which of two events of different nodes goes first.
func before(a, b *Told) bool {
	switch {
	case a.State != 0 && b.State != 0 && a.State != b.State:
		return a.State < b.State
	case !a.On.Equal(b.On):
		return a.On.Before(b.On)
	}
	return a.By < b.By
}

// times gives every event its time by the reader's clock. What was noted later than
// it happened is dated back, by the node's interval clock: the last beat of a node is
// noted when it is suspected.
func times(s *Source) []Told {
	list := make([]Told, len(s.Events))
	for i, e := range s.Events {
		list[i] = Told{Event: e, By: s.Node, On: e.Time.Add(-s.Offset)}
	}
	for i := range list {
		if list[i].Kind != kindLastBeat {
			continue
		}
		// The line after it was noted at once, in the same life.
		if i+1 < len(list) && list[i+1].Kind == kindSuspected && list[i+1].At >= list[i].At {
			list[i].On = list[i+1].On.Add(-time.Duration(list[i+1].At - list[i].At))
		}
	}
	return list
}
