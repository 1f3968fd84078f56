package daemon

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/journal"
)

// TestRolledBackWhileOff: the quorum disk shows less than this node has seen
// committed in a former life, as after the restore of a snapshot. The node binds
// nothing and says why. What another cluster has left in the directory is no
// reason.
func TestRolledBackWhileOff(t *testing.T) {
	for what, c := range map[string]struct {
		of   ident.UUID
		runs bool
	}{"this cluster": {uuid(0xc0), false}, "another cluster": {uuid(0xc1), true}} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			must(t, journal.Put(r.node.Dirs.State, &cluster.State{Ver: 900, Cluster: c.of, Config: []byte(firstConfig), ConfigRev: 1}))
			r.guard()
			l := r.begin()
			if c.runs {
				l.runs(t)
				return
			}
			waitFor(t, "the node to say that the disks were rolled back", func() bool {
				s, err := l.Status(t.Context())
				must(t, err)
				return strings.Contains(s.Self.Waiting, "rolled back")
			})
			if s, err := l.Status(t.Context()); err != nil || s.Self.Incarnation != "" || r.runner.count("start orders") != 0 {
				t.Errorf("it went on: %+v, %v", s.Self, err)
			}
		})
	}
}
