package statecodec

import (
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// minSwitch is the least that one takes: the node, and a text that is not empty.
const minSwitch = 1 + 4 + 1

// putSwitches writes where the nodes' power switches are, behind everything else:
// a count and, by node, its number and the text. Where no node has said so, nothing
// is written, so that there is one form for every state.
func putSwitches(w *wire.Writer, s *cluster.State) {
	n := 0
	for i := range s.Nodes {
		if s.Nodes[i].Switch != "" {
			n++
		}
	}
	if n == 0 {
		return
	}
	w.Count(n)
	for i := range s.Nodes {
		if s.Nodes[i].Switch != "" {
			w.U8(uint8(s.Nodes[i].ID))
			w.Text(s.Nodes[i].Switch)
		}
	}
}

// takeSwitches reads what putSwitches has written, and takes no other form of it.
func takeSwitches(r *wire.Reader, s *cluster.State) {
	if !r.More() {
		return
	}
	last := ident.NodeID(0)
	n := r.Count(minSwitch)
	for range n {
		id, text := ident.NodeID(r.U8()), r.Text()
		node := s.Node(id)
		if node == nil || text == "" || id <= last {
			r.Fail(wire.ErrValue, "a power switch of node %d: not a node, not in order, or empty", id)
			return
		}
		node.Switch, last = text, id
	}
	if n == 0 {
		r.Fail(wire.ErrValue, "a list of no power switches")
	}
}
