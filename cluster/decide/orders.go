package decide

import (
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// StandingOrders says why this node does not come in although it could.
func StandingOrders(s *cluster.State, spoken cluster.Protocol) string {
	switch {
	case s.Life.Stop.On:
		text := "the cluster is stopped"
		if by := s.Life.Stop.By; by != "" {
			text += " (by " + by + ")"
		}
		return text + ", and nothing begins by itself: holdfast cluster start"
	case s.Life.Protocol > spoken:
		return TooNew(s.Life.Protocol, spoken)
	}
	return ""
}

// JoinWaits says what a node that is coming in waits for; admitted: the state
// names its incarnation.
func JoinWaits(s *cluster.State, admitted bool) string {
	switch {
	case !admitted:
		return "the coordinator has to admit this node"
	case s.Conf != nil && s.Conf.Evict:
		return "every member has to learn that this node is joining, and to hear it and be heard over the network (partition: evict)"
	}
	return "every member has to learn that this node is joining"
}

// TooNew says that a cluster uses a later protocol than a node speaks.
func TooNew(used, spoken cluster.Protocol) string {
	return fmt.Sprintf("the cluster uses protocol %d, this holdfastd speaks up to %d: upgrade holdfast on this node", used, spoken)
}

// Fenced is a fencing that a draft has chosen.
type Fenced struct {
	Node ident.NodeID
	Inc  ident.Incarnation
	By   string // the way to begin with, if an administrator named one
}

// Fenced lists the fencings of the draft, with what was asked.
func (d *Draft) Fenced(asked []Question) []Fenced {
	var list []Fenced
	for _, n := range d.Notes {
		if n.Kind != cluster.NoteFencing {
			continue
		}
		f := Fenced{Node: n.Node, Inc: n.Inc}
		for _, q := range asked {
			if r, ok := q.Request.(cluster.FenceNode); ok && r.Node == d.State.NameOf(n.Node) {
				f.By = r.By
			}
		}
		list = append(list, f)
	}
	return list
}

// SaidOff says that an operator has confirmed here that the node of this name is
// off, which nobody has decided on yet.
func SaidOff(asked []Question, name string) bool {
	return slices.ContainsFunc(asked, func(q Question) bool {
		w, ok := q.Request.(cluster.ConfirmOff)
		return ok && w.Node == name
	})
}
