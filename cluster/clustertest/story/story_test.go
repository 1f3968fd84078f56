package story_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/story"
)

func TestTold(t *testing.T) {
	var s story.Story
	s.Tell(time.Second, 1, cluster.Note{Kind: cluster.NoteFencing, Node: 2, Text: "silent"})
	s.Tell(2*time.Second, 3, cluster.Note{Kind: cluster.NoteStarting, Service: "orders"})
	switch n := s.Told(cluster.NoteFencing, "beta", 0); {
	case n == nil || n.At != time.Second:
		t.Errorf("the fencing of beta: %+v", n)
	case !strings.Contains(n.String(), "alpha") || !strings.Contains(n.String(), "silent"):
		t.Errorf("the line %q does not say who told what", n)
	}
	if s.Told(cluster.NoteFencing, "beta", 2*time.Second) != nil || s.Told(cluster.NoteStarting, "orders", 0) == nil || story.Name(9) != "node9" {
		t.Error("by kind, by whom it is about, and since when")
	}
}
