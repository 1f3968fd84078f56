package lease_test

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

const sec = ident.Instant(time.Second)

var (
	boot   = ident.BootID{1}
	k7     = ident.Incarnation{N: 7, Boot: boot}
	k8     = ident.Incarnation{N: 8, Boot: boot}
	params = lease.Params{F: 5 * time.Second, G: 20 * time.Second}
)

// bound returns a lease over 3 disks that claimed k7 at 100 s, permitted until 130 s.
func bound(t *testing.T) *lease.Lease {
	t.Helper()
	l := lease.New(3)
	must(t, l.Claim(100*sec, k7, 130*sec, params))
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	claim := func(now ident.Instant, inc ident.Incarnation, until ident.Instant, p lease.Params) func(*lease.Lease) error {
		return func(l *lease.Lease) error { return l.Claim(now, inc, until, p) }
	}
	for name, c := range map[string]struct {
		bound bool
		do    func(*lease.Lease) error
		want  error
	}{
		"claim":                        {false, claim(0, k7, sec, params), nil},
		"claim twice":                  {true, claim(101*sec, k7, 140*sec, params), lease.ErrBound},
		"claim the next before retire": {true, claim(101*sec, k8, 140*sec, params), lease.ErrBound},
		"claim nothing":                {false, claim(0, ident.Incarnation{}, sec, params), lease.ErrZero},
		"claim without F":              {false, claim(0, k7, sec, lease.Params{G: time.Second}), lease.ErrParams},
		"claim with G below F":         {false, claim(0, k7, sec, lease.Params{F: 2, G: 1}), lease.ErrParams},
		"claim with an old permission": {false, claim(2*sec, k7, sec, params), lease.ErrLapsed},
		"permit when free":             {false, func(l *lease.Lease) error { return l.Permit(k7, sec) }, lease.ErrFree},
		"permit another":               {true, func(l *lease.Lease) error { return l.Permit(k8, sec) }, lease.ErrIncarnation},
		"permit the same number of another boot": {true, func(l *lease.Lease) error {
			return l.Permit(ident.Incarnation{N: 7, Boot: ident.BootID{2}}, sec)
		}, lease.ErrIncarnation},
		"grace when free":    {false, func(l *lease.Lease) error { return l.Grace(k7, sec) }, lease.ErrFree},
		"grace for another":  {true, func(l *lease.Lease) error { return l.Grace(k8, sec) }, lease.ErrIncarnation},
		"stopping when free": {false, func(l *lease.Lease) error { return l.Stopping(k7) }, lease.ErrFree},
		"stopping another":   {true, func(l *lease.Lease) error { return l.Stopping(k8) }, lease.ErrIncarnation},
		"retire when free":   {false, func(l *lease.Lease) error { return l.Retire(k7) }, lease.ErrFree},
		"retire another":     {true, func(l *lease.Lease) error { return l.Retire(k8) }, lease.ErrIncarnation},
		"retire":             {true, func(l *lease.Lease) error { return l.Retire(k7) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := lease.New(3)
			if c.bound {
				l = bound(t)
			}
			before := l.View()
			if err := c.do(l); err != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want != nil && l.View() != before {
				t.Errorf("a refused order changed %+v into %+v", before, l.View())
			}
		})
	}
}

func TestARetiredIncarnationIsBurned(t *testing.T) {
	l := bound(t)
	must(t, l.Retire(k7))
	if err := l.Claim(110*sec, k7, 130*sec, params); err != lease.ErrBurned {
		t.Errorf("claiming it again: %v", err)
	}
	if err := l.Claim(110*sec, ident.Incarnation{N: 6, Boot: boot}, 130*sec, params); err != lease.ErrBurned {
		t.Errorf("claiming an earlier one: %v", err)
	}
	must(t, l.Claim(110*sec, k8, 130*sec, params))
}

// Each row is one moment: may it feed, and is a reset due?
func TestMayFeed(t *testing.T) {
	type at struct {
		now   ident.Instant
		feed  bool
		reset bool
	}
	for name, c := range map[string]struct {
		do   func(*lease.Lease)
		then []at
	}{
		"just claimed: counts from the claim": {func(*lease.Lease) {}, []at{
			{100 * sec, true, false}, {105 * sec, true, false}, {105*sec + 1, false, false},
		}},
		"one disk of three is no majority": {func(l *lease.Lease) {
			l.CycleCompleted(0, k7, 104*sec)
			l.CycleCompleted(0, k7, 108*sec)
		}, []at{{105 * sec, true, false}, {106 * sec, false, false}}},
		"two disks are: the older of them counts": {func(l *lease.Lease) {
			l.CycleCompleted(0, k7, 108*sec)
			l.CycleCompleted(2, k7, 104*sec)
		}, []at{{109 * sec, true, false}, {109*sec + 1, false, false}}},
		"three disks: the second newest counts": {func(l *lease.Lease) {
			l.CycleCompleted(0, k7, 108*sec)
			l.CycleCompleted(1, k7, 102*sec)
			l.CycleCompleted(2, k7, 104*sec)
		}, []at{{109 * sec, true, false}, {109*sec + 1, false, false}}},
		"a late completion of an early issue takes nothing back": {func(l *lease.Lease) {
			l.CycleCompleted(0, k7, 108*sec)
			l.CycleCompleted(1, k7, 108*sec)
			l.CycleCompleted(1, k7, 103*sec)
		}, []at{{113 * sec, true, false}, {113*sec + 1, false, false}}},
		"a cycle issued before the claim counts for nothing": {func(l *lease.Lease) {
			l.CycleCompleted(0, k7, 99*sec)
			l.CycleCompleted(1, k7, 99*sec)
		}, []at{{105 * sec, true, false}, {105*sec + 1, false, false}}},
		"another incarnation's cycle, or no such disk": {func(l *lease.Lease) {
			l.CycleCompleted(0, k8, 104*sec)
			l.CycleCompleted(1, k8, 104*sec)
			l.CycleCompleted(3, k7, 104*sec)
			l.CycleCompleted(-1, k7, 104*sec)
		}, []at{{105*sec + 1, false, false}}},
		"no permission": {func(l *lease.Lease) { cycles(l, 128*sec) }, []at{
			{130 * sec, true, false}, {130*sec + 1, false, false},
		}},
		"permission renewed, an older order comes late": {func(l *lease.Lease) {
			cycles(l, 128*sec)
			_ = l.Permit(k7, 160*sec)
			_ = l.Permit(k7, 120*sec)
		}, []at{{133 * sec, true, false}, {133*sec + 1, false, false}}},
		"grace lasts while promised": {func(l *lease.Lease) { _ = l.Grace(k7, 112*sec) }, []at{
			{112 * sec, true, false}, {112*sec + 1, false, false},
		}},
		"grace lasts G at most": {func(l *lease.Lease) { _ = l.Grace(k7, 150*sec) }, []at{
			{120 * sec, true, false}, {120*sec + 1, false, false},
		}},
		"a lapsed lease revives": {func(l *lease.Lease) { cycles(l, 115*sec) }, []at{
			{120 * sec, true, false},
		}},
		"stopping freezes": {func(l *lease.Lease) {
			_ = l.Stopping(k7)
			cycles(l, 104*sec)
			if l.Grace(k7, 150*sec) != lease.ErrFrozen {
				panic("grace was given to a stopping incarnation")
			}
		}, []at{{105 * sec, true, false}, {105*sec + 1, false, false}, {125 * sec, false, false}}},
		"killed: a reset is due when the frozen lease ends": {func(l *lease.Lease) {
			cycles(l, 103*sec)
			l.Kill(k7)
			cycles(l, 107*sec)
		}, []at{{108 * sec, true, false}, {108*sec + 1, false, true}}},
		"killed in grace: when that ends": {func(l *lease.Lease) {
			_ = l.Grace(k7, 109*sec)
			l.Kill(k7)
		}, []at{{109 * sec, true, false}, {109*sec + 1, false, true}}},
		"killed, then retired in time": {func(l *lease.Lease) {
			l.Kill(k7)
			_ = l.Retire(k7)
		}, []at{{200 * sec, true, false}}},
		"a kill of another incarnation": {func(l *lease.Lease) {
			if l.Kill(k8) {
				panic("obeyed")
			}
			cycles(l, 104*sec)
		}, []at{{109 * sec, true, false}, {110 * sec, false, false}}},
		"free": {func(l *lease.Lease) { _ = l.Retire(k7) }, []at{{ident.Never, true, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := bound(t)
			c.do(l)
			for _, a := range c.then {
				if got := l.MayFeed(a.now); got != a.feed {
					t.Errorf("MayFeed(%v) = %v; %+v", time.Duration(a.now), got, l.View())
				}
				if got := l.ResetDue(a.now); got != a.reset {
					t.Errorf("ResetDue(%v) = %v; %+v", time.Duration(a.now), got, l.View())
				}
			}
		})
	}
}

// cycles completes a cycle on every disk.
func cycles(l *lease.Lease, issued ident.Instant) {
	for d := range 3 {
		l.CycleCompleted(d, k7, issued)
	}
}

func TestUnlimitedGrace(t *testing.T) {
	l := lease.New(1)
	must(t, l.Claim(100*sec, k7, ident.Never, lease.Params{F: time.Second, G: 1<<63 - 1}))
	must(t, l.Grace(k7, 1000*sec))
	if !l.MayFeed(1000*sec) || l.MayFeed(1000*sec+1) {
		t.Errorf("grace without a limit ends with the promises: %+v, end %v", l.View(), l.End())
	}
}

// While disks are exchanged, both the old and the new set need their majority.
func TestJointSets(t *testing.T) {
	l := lease.New(4, 0b0111, 0b1011)
	must(t, l.Claim(100*sec, k7, 200*sec, params))
	l.CycleCompleted(2, k7, 104*sec)
	l.CycleCompleted(0, k7, 104*sec)
	if l.MayFeed(106 * sec) {
		t.Error("the new set had one disk only")
	}
	l.CycleCompleted(3, k7, 103*sec)
	if !l.MayFeed(108*sec) || l.MayFeed(108*sec+1) {
		t.Errorf("both sets have a majority since 103 s: %+v", l.View())
	}
}

func TestMayBeatOnlyWithPermission(t *testing.T) {
	l := lease.New(3)
	if l.MayBeat(0) {
		t.Error("a free node published a beat")
	}
	l = bound(t)
	if !l.MayBeat(130*sec) || l.MayBeat(130*sec+1) {
		t.Errorf("beats must end with the permission: %+v", l.View())
	}
}

func TestNothingIsAllocatedInTheLoop(t *testing.T) {
	l := lease.New(3, quorum.All(3))
	must(t, l.Claim(0, k7, ident.Never, params))
	now := ident.Instant(0)
	if n := testing.AllocsPerRun(100, func() {
		now += sec
		cycles(l, now)
		_ = l.Permit(k7, now)
		_ = l.MayFeed(now)
		_ = l.ResetDue(now)
	}); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}
