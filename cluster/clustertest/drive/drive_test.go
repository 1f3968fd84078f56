package drive_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/drive"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/media"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// TestForgetful: a disk goes back to what it was, and one that was wiped is not the
// one that was opened, or holds nothing.
func TestForgetful(t *testing.T) {
	f, err := media.New(2)
	if err != nil {
		t.Fatal(err)
	}
	k := &drive.Disk{UUID: ident.UUID{7}}
	if k.On, err = f.NewDisk(k.UUID); err != nil {
		t.Fatal(err)
	}
	before := k.Snapshot()
	b, err := f.Block(register.Header{Node: 1, Inc: 1, Gen: 3, Mbal: ident.Ballot{Round: 1, Node: 1, Inc: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.On.PutHeader(b, false)
	if n := len(k.On.Headers()); n != 1 || k.On.StillThere() != nil {
		t.Fatalf("%d headers", n)
	}
	if k.On.Opens(k.UUID) != nil || k.On.Opens(ident.UUID{8}) == nil {
		t.Error("it is opened on its own device, and on no other")
	}
	after := k.Snapshot()
	if k.Restore(before); len(k.On.Headers()) != 0 || k.On.StillThere() != nil {
		t.Error("it has not gone back, or is another disk now")
	}
	k.Restore(after)
	if k.Wipe(true); len(k.On.Headers()) != 0 || k.On.StillThere() != nil {
		t.Error("formatted anew it holds nothing")
	}
	if k.Wipe(false); k.On.StillThere() == nil || k.On.Opens(k.UUID) == nil {
		t.Error("overwritten with zeros it is no quorum disk")
	}
}
