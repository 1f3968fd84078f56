package slot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/slot"
)

// TestBlock: what this machine reads of its slot decides whether it may write the
// node's block of the register.
func TestBlock(t *testing.T) {
	const second = time.Second
	own, other := ident.BootID{1}, ident.BootID{2}
	beat := func(host byte, boot ident.BootID) *cluster.Beat {
		return &cluster.Beat{Host: ident.UUID{host}, Inc: ident.Incarnation{N: 3, Boot: boot}, Lease: cluster.Lease{F: 5 * second, TMax: 2 * second, M: 2}}
	}
	retired := beat(9, other)
	retired.State = cluster.GuardRetired
	endless := beat(9, other)
	endless.Lease.G = 1<<63 - 1
	for _, c := range []struct {
		name string
		use  slot.Use
		why  string // "": it may
	}{
		{"nobody has beaten there", slot.Use{Read: true}, ""},
		{"the disks were not read", slot.Use{}, "read twice"},
		{"this process uses it", slot.Use{Own: true, Beat: beat(9, other)}, ""},
		{"this boot beat there just now", slot.Use{Read: true, Beat: beat(1, own)}, ""},
		{"another boot of this machine beat there just now", slot.Use{Read: true, Beat: beat(1, other), Quiet: second}, "stand still"},
		{"and a while ago", slot.Use{Read: true, Beat: beat(1, other), Quiet: 2 * second}, ""},
		{"another machine beat there a while ago", slot.Use{Read: true, Beat: beat(9, other), Quiet: 5 * second}, "confirm-off alpha"},
		{"which may go on without the disks for as long as the others consent", slot.Use{Read: true, Beat: endless, Quiet: 11 * second}, "silence never proves it"},
		{"and its lease and watchdogs have run out", slot.Use{Read: true, Beat: beat(9, other), Quiet: 11 * second}, ""},
		{"it is known to be dead", slot.Use{Read: true, Beat: beat(9, other), Quiet: 2 * second, Dead: 3}, ""},
		{"it has retired", slot.Use{Read: true, Beat: retired, Quiet: 2 * second}, ""},
		{"the operator has seen that it is off", slot.Use{Read: true, Beat: beat(9, other), Quiet: 2 * second, Said: true}, ""},
		{"the operator says so, but it beats", slot.Use{Read: true, Beat: beat(9, other), Quiet: second, Said: true}, "stand still"},
	} {
		c.use.Node, c.use.Name, c.use.Host, c.use.Boot = 1, "alpha", ident.UUID{1}, own
		why := c.use.Block()
		if (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, want %q", c.name, why, c.why)
		}
	}
}

// TestRival: two machines have claimed one number, and one of them has joined.
func TestRival(t *testing.T) {
	mine, theirs := ident.Incarnation{N: 2, Boot: ident.BootID{1}}, ident.Incarnation{N: 2, Boot: ident.BootID{2}}
	for _, c := range []struct {
		name    string
		slot    ident.Incarnation
		joined  ident.Incarnation
		said    bool
		refused bool
	}{
		{"what has joined beats there", theirs, theirs, false, false},
		{"it was overwritten by another of the same number", mine, theirs, false, true},
		{"or by one of before", ident.Incarnation{N: 1, Boot: ident.BootID{1}}, theirs, false, true},
		{"the operator has seen that it is off", mine, theirs, true, false},
		{"a later one has not joined yet", ident.Incarnation{N: 3, Boot: ident.BootID{1}}, theirs, false, false},
		{"nobody has joined, or it is dead", mine, ident.Incarnation{}, false, false},
	} {
		u := slot.Use{Node: 1, Name: "alpha", Joined: c.joined, Said: c.said, Beat: &cluster.Beat{Inc: c.slot}}
		if why := u.Rival(); (why != "") != c.refused {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}

// TestStranger: an incarnation that was never let in has beaten there, so another
// machine of the same number may yet be let in.
func TestStranger(t *testing.T) {
	const second = time.Second
	mine := ident.BootID{1}
	for _, c := range []struct {
		name   string
		stands uint32
		joined uint32
		dead   uint32
		quiet  time.Duration
		said   bool
		why    string // "": it may be claimed
	}{
		{"what has joined beats there", 3, 3, 2, 3 * second, false, ""},
		{"it is known to be dead", 3, 0, 3, 3 * second, false, ""},
		{"it was never let in", 4, 3, 2, 3 * second, false, "never let in"},
		{"and has been silent for longer than any lease and its watchdogs", 4, 3, 2, 15 * second, false, ""},
		{"the operator has seen that there is no other", 4, 3, 2, 3 * second, true, ""},
		{"the operator says so, and it beats", 4, 3, 2, second, true, "stand still"},
	} {
		u := slot.Use{
			Node: 1, Name: "alpha", Boot: mine, Joined: ident.Incarnation{N: c.joined}, Dead: c.dead, Quiet: c.quiet, Said: c.said,
			Beat: &cluster.Beat{Inc: ident.Incarnation{N: c.stands, Boot: ident.BootID{2}}, Lease: cluster.Lease{F: 5 * second, G: 1 << 62, TMax: 2 * second, M: 2}},
		}
		why := u.Taken(2 * second)
		if (c.why == "") != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, want %q", c.name, why, c.why)
		}
	}
}
