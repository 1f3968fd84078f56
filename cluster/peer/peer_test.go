package peer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/peer"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

const start = ident.Instant(time.Hour)

func inc(n uint32) ident.Incarnation { return ident.Incarnation{N: n, Boot: ident.BootID{byte(n)}} }

func node() *peer.Peer { return peer.New(2, 1, quorum.Sets{quorum.All(1)}) }

// TestClaimsLease: a node that says over the network that it holds a lease, now and on
// these very disks, is not dead, whatever the disks show. Everything else says nothing.
func TestClaimsLease(t *testing.T) {
	const f = 5 * time.Second
	disks := cluster.Digest{7}
	for _, c := range []struct {
		name   string
		change func(m *cluster.Message)
		after  time.Duration
		want   bool
	}{
		{"it holds a lease", func(*cluster.Message) {}, 0, true},
		{"as old as can be", func(m *cluster.Message) { m.LeaseAge = f - 1 }, f - 1, true},
		{"its lease is over", func(m *cluster.Message) { m.LeaseAge = f }, 0, false},
		{"it has none", func(m *cluster.Message) { m.LeaseAge = -1 }, 0, false},
		{"it said so long ago", func(*cluster.Message) {}, f, false},
		{"on other disks", func(m *cluster.Message) { m.Disks[0]++ }, 0, false},
		{"under another incarnation", func(m *cluster.Message) { m.Inc = inc(4) }, 0, false},
		{"after another boot", func(m *cluster.Message) { m.Inc.Boot[1]++ }, 0, false},
	} {
		m := &cluster.Message{From: 2, Inc: inc(5), Disks: disks}
		c.change(m)
		p := node()
		if p.ClaimsLease(start, inc(5), disks, f) {
			t.Fatal("a node that was never heard claims a lease")
		}
		p.Hear(start, m, time.Second)
		if got := p.ClaimsLease(start.Add(c.after), inc(5), disks, f); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestHear: of two machines with one identity the later incarnation is listened to,
// for as long as it is heard.
func TestHear(t *testing.T) {
	p := node()
	say := func(n uint32, after time.Duration) bool {
		return p.Hear(start.Add(after), &cluster.Message{From: 2, Inc: inc(n)}, 3*time.Second)
	}
	for i, c := range []struct {
		inc   uint32
		after time.Duration
		want  bool
	}{{5, 0, true}, {6, time.Second, true}, {5, 2 * time.Second, false}, {5, 3900 * time.Millisecond, false}, {5, 4 * time.Second, true}, {6, 5 * time.Second, true}, {5, 6 * time.Second, false}} {
		if got := say(c.inc, c.after); got != c.want {
			t.Errorf("%d: a beat of incarnation %d counts: %v", i, c.inc, got)
		}
	}
}

// TestHasRetired: the word counts once what was on its way has had its time, from when
// it was read first.
func TestHasRetired(t *testing.T) {
	const tz = time.Second
	p := node()
	if p.HasRetired(start, inc(5), nil, tz) {
		t.Error("nobody has said anything")
	}
	p.Hear(start, &cluster.Message{From: 2, Inc: inc(5), Marks: cluster.Marks{Ack: true}}, time.Second)
	p.Hear(start.Add(tz/2), &cluster.Message{From: 2, Inc: inc(5), Marks: cluster.Marks{Ack: true}}, time.Second)
	for _, c := range []struct {
		inc   uint32
		after time.Duration
		want  bool
	}{{5, tz - 1, false}, {5, tz, true}, {6, tz, false}, {4, tz, false}} {
		if got := p.HasRetired(start.Add(c.after), inc(c.inc), nil, tz); got != c.want {
			t.Errorf("incarnation %d after %s: %v", c.inc, c.after, got)
		}
	}
	if !p.Over(inc(5)) || !p.Over(inc(4)) || p.Over(inc(6)) {
		t.Error("by its word 5 is over, and what was before it, and nothing else")
	}
	q := node()
	beat := &cluster.Beat{Node: 2, Inc: inc(5), State: cluster.GuardStopping}
	see := func(at ident.Instant, b byte) {
		q.See(&cluster.Table{ReadIssued: at, Completed: at}, &cluster.SeenBeat{Node: 2, Sector: []byte{b}, Beat: beat})
	}
	if see(start, 1); q.HasRetired(start.Add(time.Hour), inc(5), nil, tz) {
		t.Error("stopping is not retired")
	}
	retired := *beat
	retired.State = cluster.GuardRetired
	beat = &retired
	see(start.Add(time.Hour), 2)
	if q.HasRetired(start.Add(time.Hour), inc(5), nil, tz) || !q.HasRetired(start.Add(time.Hour+tz), inc(5), nil, tz) {
		t.Error("a retirement on the disk counts as one that is heard")
	}
}

// TestWait: whoever demands more, and for an outsider the grace.
func TestWait(t *testing.T) {
	ours := timing.Lease{F: 2 * time.Second, G: 2 * time.Second, TMax: time.Second, M: 1}
	site := timing.Site{Tz: time.Second, Rho: 0.005}
	p := node()
	if got, want := p.Wait(ours, false, site), timing.Wait(ours, ours, site); got != want {
		t.Errorf("without a beat: %s, want %s", got, want)
	}
	theirs := cluster.Lease{F: 4 * time.Second, G: 60 * time.Second, TMax: time.Second, M: 2}
	p.See(&cluster.Table{ReadIssued: start, Completed: start}, &cluster.SeenBeat{Node: 2, Sector: []byte{1}, Beat: &cluster.Beat{Node: 2, Inc: inc(5), Lease: theirs}})
	if got, want := p.Wait(ours, false, site), timing.Wait(theirs.Timing(), ours, site); got != want {
		t.Errorf("by its beat: %s, want %s", got, want)
	}
	if got, want := p.Wait(ours, true, site), timing.WaitOutsider(theirs.Timing(), ours, site); got != want {
		t.Errorf("as an outsider: %s, want %s", got, want)
	}
}

// TestProblem: what cannot be read of a node is said for as long as it is so.
func TestProblem(t *testing.T) {
	p := node()
	problem := func(after time.Duration) string { return p.Problem(start.Add(after), time.Minute) }
	if p.Odd.Conflict = true; !strings.Contains(problem(0), "copy of a quorum disk") {
		t.Errorf("a conflict: %q", problem(0))
	}
	p.Odd.Conflict = false
	if !p.Unread(start, "version 9") || p.Unread(start.Add(time.Second), "version 9") {
		t.Error("it is news once")
	}
	if !strings.Contains(problem(2*time.Second), "version 9") || problem(2*time.Minute) != "" {
		t.Errorf("a beat that cannot be read: %q, and later %q", problem(2*time.Second), problem(2*time.Minute))
	}
	if p.Hear(start.Add(3*time.Second), &cluster.Message{From: 2, Inc: inc(5)}, time.Second); problem(4*time.Second) != "" {
		t.Errorf("once it is heard: %q", problem(4*time.Second))
	}
	p.See(&cluster.Table{ReadIssued: start, Completed: start}, &cluster.SeenBeat{Node: 2, Sector: []byte{1}, Err: "format 7"})
	if !strings.Contains(problem(5*time.Second), "format 7") {
		t.Errorf("a sector that cannot be read: %q", problem(5*time.Second))
	}
	p.See(&cluster.Table{ReadIssued: start, Completed: start}, &cluster.SeenBeat{Node: 2, Sector: []byte{2}, Beat: &cluster.Beat{Node: 2, Inc: inc(5)}})
	if problem(6*time.Second) != "" {
		t.Errorf("one that can: %q", problem(6*time.Second))
	}
}

// TestMute: what a later incarnation says is no word of the registered one, and a beat
// of that one is, even where it does not count.
func TestMute(t *testing.T) {
	p := node()
	p.Joined.Inc = inc(4)
	hear := func(n uint32, after time.Duration) {
		p.Hear(start.Add(after), &cluster.Message{From: 2, Inc: inc(n)}, 3*time.Second)
	}
	if hear(4, 0); p.Mute(start.Add(time.Minute)) != 0 {
		t.Error("mute although no later incarnation is heard")
	}
	if hear(5, time.Second); p.Mute(start.Add(10*time.Second)) != 10*time.Second {
		t.Errorf("mute for %v, want the time since incarnation 4 spoke", p.Mute(start.Add(10*time.Second)))
	}
	if hear(4, 2*time.Second); p.Mute(start.Add(10*time.Second)) != 8*time.Second {
		t.Errorf("mute for %v, want the time since it spoke beside the later one", p.Mute(start.Add(10*time.Second)))
	}
}
