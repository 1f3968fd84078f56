package liveness_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/liveness"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

const wait = 9 * time.Second

func at(s float64) ident.Instant { return ident.Instant(s * 1e9) }

func inc(n uint32) ident.Incarnation { return ident.Incarnation{N: n, Boot: ident.BootID{1}} }

// saw is a read that began a moment before it ended.
func saw(p *liveness.Peer, disk int, s float64, beat string, n uint32) {
	p.Saw(disk, at(s)-1e6, at(s), []byte(beat), inc(n))
}

func TestProofNeedsAReadAfterTheVerdict(t *testing.T) {
	p := liveness.NewPeer(1)
	saw(p, 0, 100, "last", 3)
	saw(p, 0, 108, "last", 3)
	if _, ok := p.Judge(at(108.9), wait); ok || p.Waiting() {
		t.Error("proven before the wait was over")
	}
	if _, ok := p.Judge(at(109), wait); ok || !p.Waiting() {
		t.Error("proven without a read issued after the verdict, or no round begun")
	}
	p.Saw(0, at(108.999), at(109.2), []byte("last"), inc(3)) // issued before the verdict
	if _, ok := p.Judge(at(109.2), wait); ok {
		t.Error("a read that was issued before the verdict has confirmed it")
	}
	saw(p, 0, 109.3, "last", 3)
	if got, ok := p.Judge(at(109.3), wait); !ok || got != inc(3) {
		t.Errorf("not proven: %v %v", got, ok)
	}
}

func TestAnyChangeEndsTheRound(t *testing.T) {
	p := liveness.NewPeer(1)
	saw(p, 0, 100, "last", 3)
	p.Judge(at(110), wait)
	p.Saw(0, at(110.1), at(110.2), []byte("garbage"), ident.Incarnation{}) // does not even decode
	if _, ok := p.Judge(at(110.3), wait); ok || p.Waiting() {
		t.Error("a changed byte is a sign of life, whatever it says")
	}
}

// TestVerdictsOfOneInstant: each of two disks stands still for long enough, one
// after the other, but never both at one instant.
func TestVerdictsOfOneInstant(t *testing.T) {
	p := liveness.NewPeer(3)
	for d := range 3 {
		saw(p, d, 100, "first", 3)
	}
	saw(p, 1, 105, "second", 3)
	saw(p, 2, 105, "second", 3)
	p.Judge(at(109.5), wait) // disk 0 alone
	saw(p, 0, 109.6, "third", 3)
	p.Judge(at(114.5), wait) // disks 1 and 2
	saw(p, 1, 114.6, "second", 3)
	if _, ok := p.Judge(at(114.7), wait); ok {
		t.Error("proven with one confirmed disk of three")
	}
	saw(p, 2, 114.8, "second", 3)
	if _, ok := p.Judge(at(114.9), wait); !ok {
		t.Error("two disks stood still at one instant and were read after it: that is a proof")
	}
}

// TestDiskWithAnOlderIncarnation: the peer could not write to disk 2 any more
// when its last incarnation began.
func TestDiskWithAnOlderIncarnation(t *testing.T) {
	for _, old := range []int{0, 1, 2} {
		p := liveness.NewPeer(3)
		show := func(s float64) {
			for d := range 3 {
				n := uint32(4)
				if d == old {
					n = 3
				}
				saw(p, d, s, "last", n)
			}
		}
		show(100)
		p.Judge(at(110), wait)
		show(110.1)
		if got, ok := p.Judge(at(110.2), wait); !ok || got != inc(4) {
			t.Errorf("an older incarnation on disk %d stands in the way: %v %v", old, got, ok)
		}
	}
}

func TestHungDiskDoesNotHoldTheProofUp(t *testing.T) {
	p := liveness.NewPeer(3)
	for d := range 3 {
		saw(p, d, 100, "last", 3)
	}
	p.Judge(at(110), wait)
	saw(p, 0, 110.1, "last", 3)
	saw(p, 2, 110.1, "last", 3)
	if _, ok := p.Judge(at(110.2), wait); !ok {
		t.Error("a disk that does not answer holds up the other two")
	}
}

func TestAgeNeedsAMajority(t *testing.T) {
	p := liveness.NewPeer(3)
	saw(p, 0, 100, "x", 3)
	if _, ok := p.Age(at(101)); ok {
		t.Error("an age from one disk of three")
	}
	if q, ok := p.Quiet(at(101)); !ok || q != time.Second {
		t.Errorf("quiet for %v %v", q, ok)
	}
	saw(p, 1, 103, "x", 3)
	if age, ok := p.Age(at(104)); !ok || age != 4*time.Second {
		t.Errorf("age %v %v: the disk that completes the majority counts", age, ok)
	}
	if p.Deadline(wait) != at(109) {
		t.Errorf("deadline %v", p.Deadline(wait))
	}
}

// Each of two nodes may reach another two of three disks: the one that both reach
// shows the peer, the one that only the peer reaches may.
func TestSilenceLeavesOutWhatIsNotRead(t *testing.T) {
	p := liveness.NewPeer(3)
	for d := range 3 {
		saw(p, d, 100, "first", 3)
	}
	for s := 101.0; s < 120; s++ {
		saw(p, 0, s, "first", 3) // the peer does not reach this one
		saw(p, 2, s, "beat"+string(rune('a'+int(s)%20)), 3)
	}
	if age, ok := p.Age(at(120)); !ok || age < 19*time.Second {
		t.Fatalf("age %v, %v: the evidence for a proof is that of the lease", age, ok)
	}
	if silent, ok := p.Silence(at(120), 3*time.Second); !ok || silent > 2*time.Second {
		t.Errorf("silent for %v, %v: a disk that was not read accuses the peer", silent, ok)
	}
	for s := 120.0; s < 140; s++ {
		saw(p, 0, s, "first", 3)
		saw(p, 2, s, "last", 3)
	}
	if silent, ok := p.Silence(at(140), 3*time.Second); !ok || silent < 19*time.Second {
		t.Errorf("silent for %v, %v: two of three disks have stood still", silent, ok)
	}
}

// A disk that was exchanged is read no more: it says neither that a peer beats nor
// that it does not. The numbers of disks are never used twice, so that they grow.
func TestSilenceAfterExchanges(t *testing.T) {
	const three = 0b111
	for exchanged := range 7 {
		p := liveness.NewPeer(3)
		for d := range 3 {
			saw(p, d, 100, "of the first set", 3)
		}
		p.Use(3+exchanged, quorum.Sets{three << exchanged})
		for d := exchanged; d < exchanged+3; d++ {
			saw(p, d, 101, "last", 3)
		}
		for s := 102.0; s < 120; s++ {
			for d := exchanged; d < exchanged+3; d++ {
				saw(p, d, s, "last", 3)
			}
		}
		if silent, ok := p.Silence(at(120), 3*time.Second); !ok || silent < 18*time.Second {
			t.Errorf("%d disks were exchanged: silent for %v, %v: every disk that counts has stood still for 19 s", exchanged, silent, ok)
		}
	}
}

// A node was away while two of three disks were exchanged: the new ones show nothing
// of it, however often they are read, and what the third shows stands still. So
// nobody takes it for one that beats. A disk that is not read may still show it.
func TestSilenceOfOneThatWasAway(t *testing.T) {
	p := liveness.NewPeer(3)
	for d := range 3 {
		saw(p, d, 100, "last", 3)
	}
	p.Use(5, quorum.Sets{0b11100})
	saw(p, 2, 119, "last", 3)
	if silent, ok := p.Silence(at(120), 3*time.Second); !ok || silent > 0 {
		t.Errorf("silent for %v, %v: the new disks were not read", silent, ok)
	}
	p.Read(3, at(119))
	if silent, ok := p.Silence(at(120), 3*time.Second); !ok || silent < 19*time.Second {
		t.Errorf("silent for %v, %v: of the two that were read one stands still, and one shows nothing", silent, ok)
	}
	p.Read(4, at(119))
	if silent, ok := p.Silence(at(120), 3*time.Second); ok {
		t.Errorf("silent for %v: it stands on one of three disks only", silent)
	}
}

// A node may lose power in the middle of its beats to two of three disks. Nobody
// knows what the torn ones promised, so silence does not prove it dead; torn on one
// disk only, it does.
func TestTornBeatsProveNothing(t *testing.T) {
	for torn, proven := range []bool{true, true, false} {
		p := liveness.NewPeer(3)
		for d := range 3 {
			saw(p, d, 100, "last", 3)
		}
		ok := false
		for s := 101.0; s < 130; s += .5 {
			for d := range 3 {
				if d < torn {
					p.Saw(d, at(s), at(s+.001), []byte("torn"), ident.Incarnation{})
					continue
				}
				saw(p, d, s, "last", 3)
			}
			_, ok = p.Judge(at(s+.01), wait)
		}
		if ok != proven {
			t.Errorf("torn on %d disks: proven %v, want %v", torn, ok, proven)
		}
	}
}

// What never decoded has no incarnation that could be proven dead.
func TestGarbageProvesNothing(t *testing.T) {
	p := liveness.NewPeer(1)
	for s := 100.0; s < 130; s++ {
		p.Saw(0, at(s), at(s+.001), []byte("garbage"), ident.Incarnation{})
		if got, ok := p.Judge(at(s+.01), wait); ok {
			t.Fatalf("%v proven dead by a sector that nobody can read", got)
		}
	}
}
