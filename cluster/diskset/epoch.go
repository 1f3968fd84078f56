package diskset

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Hear takes the generation of the set that a message was sent by, s being the
// latest state or nil. It returns false for a message of another epoch: its sender
// counts by disks that were given up, or this node does.
func (w *Watch) Hear(gen uint32, s *cluster.State) bool {
	w.heard = max(w.heard, cluster.Epoch(gen))
	return cluster.Epoch(gen) == w.epochAt(s) && cluster.Epoch(gen) == w.heard
}

// Behind says why a node at s must not go on: somebody speaks for a set of a newer
// epoch. It is empty if nobody does.
func (w *Watch) Behind(s *cluster.State) string {
	own := w.epochAt(s)
	if w.heard <= own {
		return ""
	}
	return fmt.Sprintf("the cluster was recovered onto new quorum disks (epoch %d), and this node still uses those that were given up (epoch %d): holdfast disk recover --adopt", w.heard, own)
}

func (w *Watch) epochAt(s *cluster.State) uint32 {
	if s == nil {
		return w.epoch
	}
	return max(w.epoch, cluster.Epoch(s.DiskGen))
}
