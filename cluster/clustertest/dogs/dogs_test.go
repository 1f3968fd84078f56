package dogs_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/dogs"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

func TestPack(t *testing.T) {
	in := dogs.Two()
	in.Devices[0], in.Devices[1] = in.Devices[1], in.Devices[0]
	longest := func(_, b time.Duration) time.Duration { return b }
	p := dogs.Arm(in.Devices, time.Second, longest)
	if len(p) != 2 || !p[0].Software || p[1].Software || p[1].Due() != 3200*time.Millisecond {
		t.Errorf("software is fed first, and each bites when it has not been: %+v", p)
	}
	if most, periods := p.Promise(true); most != 2200*time.Millisecond || periods != 1 {
		t.Errorf("a pair: %s, %d", most, periods)
	}
	if _, periods := p[:1].Promise(false); periods != 3 {
		t.Errorf("one, whose last close feeds: %d", periods)
	}
	p.Close(5 * time.Second)
	p.Sleep(time.Second)
	if p[0].Due() != 8200*time.Millisecond {
		t.Errorf("due at %s", p[0].Due())
	}
	odd := dogs.Arm([]timing.Device{{Class: timing.Unqualified, Timeout: 2 * time.Second}}, 0, longest)
	if odd[0].Most != 5*time.Second {
		t.Errorf("nobody has measured it: %s", odd[0].Most)
	}
}
