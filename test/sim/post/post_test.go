package post_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/test/sim/post"
)

func links(t *testing.T, id ident.NodeID, boot byte, life ident.Instant) *post.Links {
	t.Helper()
	l, err := post.New(id, ident.BootID{boot}, 2, func() ident.Instant { return life })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPost(t *testing.T) {
	a, b := links(t, 1, 1, 5), links(t, 2, 2, 5)
	m := &cluster.Message{From: 1, Inc: ident.Incarnation{N: 3, Boot: ident.BootID{1}}, ViewAcked: 9}
	packets, err := a.Seal(2, m)
	if err != nil || len(packets) != 1 {
		t.Fatalf("%d packets: %v", len(packets), err)
	}
	if got, _ := b.Open(packets[0]); got == nil || got.ViewAcked != 9 || got.Inc != m.Inc {
		t.Errorf("opened: %+v", got)
	}
	if got, replayed := b.Open(packets[0]); got != nil || !replayed {
		t.Error("a packet counts once")
	}
	old, _ := a.Seal(2, m)
	young, err := links(t, 1, 1, 6).Seal(2, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := b.Open(young[0]); got == nil {
		t.Error("what a new life of the daemon sends does not arrive")
	}
	if got, replayed := b.Open(old[0]); got != nil || !replayed {
		t.Error("what a former life of the daemon sent still counts")
	}
}
