package lease_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"pgregory.net/rapid"
)

// sent is a beat with what it carries.
type sent struct {
	disk   int
	issued ident.Instant
	says   lease.Params
	done   bool
}

// history drives a lease whose promise changes while beats are in flight, and
// knows only what an observer can know: every beat, and what it says.
type history struct {
	l       *lease.Lease
	draw    func(n int) int
	disks   int
	now     ident.Instant
	claimed lease.Params
	beats   []sent
	asked   ident.Instant // when the members were asked for the latest grace
}

const claimedAt = 1000 * sec

func newHistory(draw func(int) int) *history {
	h := &history{draw: draw, disks: 1 + 2*draw(2), now: claimedAt, asked: ident.LongAgo}
	h.l = lease.New(h.disks)
	h.claimed = h.promise()
	if err := h.l.Claim(h.now, k7, ident.Never, h.claimed); err != nil {
		panic(err)
	}
	return h
}

func (h *history) promise() lease.Params {
	f := time.Duration(2+3*h.draw(4)) * time.Second
	return lease.Params{F: f, G: f * time.Duration(1+h.draw(4))}
}

func (h *history) step() {
	switch v := h.l.View(); h.draw(7) {
	case 0, 1:
		h.now += ident.Instant(1+h.draw(5)) * sec / 2
	case 2:
		h.beats = append(h.beats, sent{disk: h.draw(h.disks), issued: h.now, says: v.Carry.New})
	case 3, 4:
		h.complete()
	case 5:
		_ = h.l.Change(h.now, k7, h.promise())
	default:
		// The members were asked some time ago; that is what their consent counts from.
		ask := h.now - ident.Instant(h.draw(3))*sec/2
		if until := ask.Add(v.Params.F); until > v.Grace && ask >= claimedAt {
			_ = h.l.Grace(k7, until)
			h.asked = ask
		}
	}
}

// complete ends a request that is in flight; each disk does one after the other.
func (h *history) complete() {
	d := h.draw(h.disks)
	for i := range h.beats {
		if b := &h.beats[i]; b.disk == d && !b.done {
			b.done = true
			h.l.CycleCompleted(d, k7, b.issued)
			return
		}
	}
}

// safe says that no proof of death can stand by now: whoever reads a majority of
// the disks reads, on one of those behind the lease, the beat that it rests on
// or a later one, not before it was issued, and waits for what that one says.
func (h *history) safe(grace bool) bool {
	good := 0
	for d := range h.disks {
		rests := ident.Instant(claimedAt)
		for _, b := range h.beats {
			if b.disk == d && b.done {
				rests = max(rests, b.issued)
			}
		}
		if h.bears(d, rests, grace) {
			good++
		}
	}
	return good >= h.disks/2+1
}

func (h *history) bears(d int, rests ident.Instant, grace bool) bool {
	ok := func(at ident.Instant, p lease.Params) bool {
		if !grace {
			return h.now <= at.Add(p.F)
		}
		return h.now <= at.Add(p.G) && h.now <= max(at, h.asked).Add(p.F)
	}
	if rests == claimedAt && !ok(claimedAt, h.claimed) {
		return false
	}
	for _, b := range h.beats {
		if b.disk == d && b.issued >= rests && !ok(b.issued, b.says) {
			return false
		}
	}
	return true
}

// wrong says what is wrong by this rule of what may be lived by; empty: nothing.
func (h *history) wrong(by func(lease.View) lease.Params) string {
	v := h.l.View()
	p := by(v)
	switch byDisk := h.now <= v.Start.Add(p.F); {
	case byDisk && !h.safe(false):
		return "it may feed, and an observer may have called it dead"
	case !byDisk && h.now <= v.Grace && h.now <= v.Start.Add(p.G) && !h.safe(true):
		return "it may feed by grace, and an observer may have called it dead"
	}
	return ""
}

func used(v lease.View) lease.Params { return v.Params }

// TestChangeAgainstObservers: whatever changes while whatever is in flight, who
// feeds is not dead to anybody; and a change is taken up in the end.
func TestChangeAgainstObservers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step()
			v := h.l.View()
			if what := h.wrong(used); what != "" {
				t.Fatalf("at %v: %s: %+v, beats %+v", h.now, what, v, h.beats)
			}
			if v.Params.F > v.Carry.New.F || v.Params.G > v.Carry.New.G {
				t.Fatalf("it lives by more than its beats say: %+v", v)
			}
			if v.Start > v.Carry.Since && v.Params != v.Carry.New {
				t.Fatalf("the lease rests on nothing but the new promise and does not live by it: %+v", v)
			}
			if h.l.MayFeed(h.now) != (h.now <= h.l.End()) {
				t.Fatal("permission plays no part here")
			}
		}
	})
}

// TestWrongChangesAreFound: rules that look as good are found out by the same
// histories.
func TestWrongChangesAreFound(t *testing.T) {
	larger := func(v lease.View) lease.Params {
		c := v.Carry
		if v.Start > c.Since {
			return c.New
		}
		return lease.Params{F: c.New.F + 3*time.Second, G: c.New.G + 3*time.Second} // as if lowered by that much
	}
	early := func(v lease.View) lease.Params {
		v.Carry.Since -= sec
		v.Carry.Settle(v.Start)
		return v.Carry.Used
	}
	for name, by := range map[string]func(lease.View) lease.Params{
		"raised as soon as the beats carry it":            func(v lease.View) lease.Params { return v.Carry.New },
		"lowered only when every beat behind it says so":  larger,
		"raised when the beat before the change is there": early,
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			for range 20000 {
				h := newHistory(rng.IntN)
				for range 40 {
					if h.step(); h.wrong(by) != "" {
						return
					}
				}
			}
			t.Error("no history shows what is wrong with it")
		})
	}
}

// Each row is one change, and until when the lease then lasts.
func TestChange(t *testing.T) {
	long, short := lease.Params{F: 9 * time.Second, G: 40 * time.Second}, lease.Params{F: 2 * time.Second, G: 8 * time.Second}
	for name, c := range map[string]struct {
		do  func(*testing.T, *lease.Lease)
		end ident.Instant
	}{
		"raised: the old lease holds until beats carry the new": {func(t *testing.T, l *lease.Lease) {
			cycles(l, 103*sec)
			must(t, l.Change(104*sec, k7, long))
		}, 108 * sec},
		"raised: a beat of that very instant may carry the old": {func(t *testing.T, l *lease.Lease) {
			must(t, l.Change(104*sec, k7, long))
			cycles(l, 104*sec)
		}, 109 * sec},
		"raised: a minority is not enough": {func(t *testing.T, l *lease.Lease) {
			cycles(l, 103*sec)
			must(t, l.Change(104*sec, k7, long))
			l.CycleCompleted(1, k7, 106*sec)
		}, 108 * sec},
		"raised: a majority is, one disk hangs": {func(t *testing.T, l *lease.Lease) {
			must(t, l.Change(104*sec, k7, long))
			l.CycleCompleted(0, k7, 105*sec)
			l.CycleCompleted(1, k7, 106*sec)
		}, 114 * sec},
		"said twice: the instant is that of the first": {func(t *testing.T, l *lease.Lease) {
			must(t, l.Change(104*sec, k7, long))
			cycles(l, 105*sec)
			must(t, l.Change(106*sec, k7, long))
		}, 114 * sec},
		"lowered: at once": {func(t *testing.T, l *lease.Lease) {
			cycles(l, 103*sec)
			must(t, l.Change(104*sec, k7, short))
		}, 105 * sec},
		"lowered and raised before a beat": {func(t *testing.T, l *lease.Lease) {
			cycles(l, 103*sec)
			must(t, l.Change(104*sec, k7, short))
			must(t, l.Change(104*sec, k7, params))
		}, 105 * sec},
		"lowered in grace: it ends soon": {func(t *testing.T, l *lease.Lease) {
			must(t, l.Grace(k7, 112*sec))
			must(t, l.Change(108*sec, k7, lease.Params{F: short.F, G: params.G}))
		}, 110 * sec},
		"raised in grace: it ends as it was granted": {func(t *testing.T, l *lease.Lease) {
			must(t, l.Grace(k7, 112*sec))
			must(t, l.Change(108*sec, k7, long))
		}, 112 * sec},
	} {
		t.Run(name, func(t *testing.T) {
			l := bound(t)
			c.do(t, l)
			if got := l.End(); got != c.end {
				t.Errorf("the lease ends at %v, want %v: %+v", time.Duration(got), time.Duration(c.end), l.View())
			}
		})
	}
}

func TestChangeIsRefused(t *testing.T) {
	l := lease.New(3)
	if err := l.Change(0, k7, params); err != lease.ErrFree {
		t.Errorf("while free: %v", err)
	}
	l = bound(t)
	if err := l.Change(101*sec, k8, params); err != lease.ErrIncarnation {
		t.Errorf("for another incarnation: %v", err)
	}
	if err := l.Change(101*sec, k7, lease.Params{F: 2, G: 1}); err != lease.ErrParams {
		t.Errorf("G below F: %v", err)
	}
	must(t, l.Stopping(k7))
	if err := l.Change(101*sec, k7, lease.Params{F: time.Second, G: time.Second}); err != lease.ErrFrozen {
		t.Errorf("while stopping: %v", err)
	}
}

// TestSetsDoNotGoBehindAChange: a new set of disks must not take the lease back
// to beats that said less than it lives by.
func TestSetsDoNotGoBehindAChange(t *testing.T) {
	l := lease.New(4, 0b0111)
	must(t, l.Claim(100*sec, k7, 200*sec, lease.Params{F: 2 * time.Second, G: 2 * time.Second}))
	for d := range 4 {
		l.CycleCompleted(d, k7, 101*sec)
	}
	must(t, l.Change(101*sec, k7, lease.Params{F: 9 * time.Second, G: 9 * time.Second}))
	l.CycleCompleted(0, k7, 102*sec)
	l.CycleCompleted(1, k7, 102*sec)
	must(t, l.Change(103*sec, k7, lease.Params{F: 20 * time.Second, G: 20 * time.Second}))
	if v := l.View(); v.Params.F != 9*time.Second {
		t.Fatalf("%+v", v)
	}
	if err := l.ChangeSets(103*sec, 0b1100); err != lease.ErrStale {
		t.Errorf("sets whose beats say less: %v", err)
	}
	l.CycleCompleted(2, k7, 104*sec)
	l.CycleCompleted(3, k7, 104*sec)
	must(t, l.ChangeSets(104*sec, 0b1100))
	if v := l.View(); v.Params.F != 20*time.Second {
		t.Errorf("%+v", v)
	}
}
