package wire_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/wire"
)

func TestCopies(t *testing.T) {
	var n wire.Net
	low, high := func() float64 { return 0.1 }, func() float64 { return 0.9 }
	if n.Copies(1, 2, nil) != 1 {
		t.Error("a sound network delivers once, and tosses no coin")
	}
	n.Cut(1, 2, true)
	n.Lose(2, 1, 0.5)
	if n.Copies(1, 2, high) != 0 || n.Copies(2, 1, low) != 0 || n.Copies(2, 1, high) != 1 || n.Copies(1, 3, high) != 1 || n.Dropped != 2 {
		t.Errorf("one way is cut, the other loses half, the third is sound; %d were dropped", n.Dropped)
	}
	if n.Dup = 0.5; n.Copies(1, 3, low) != 2 {
		t.Error("half of them are doubled")
	}
	if n.CutAll(2, true); n.Copies(1, 2, nil) != 0 || n.Copies(2, 1, nil) != 0 {
		t.Error("all are cut")
	}
	if n.Mend(); n.Copies(1, 2, nil) != 1 || n.Copies(2, 1, nil) != 1 {
		t.Error("mended")
	}
}
