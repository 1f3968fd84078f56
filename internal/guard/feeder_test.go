package guard

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/lease"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

func TestFreeFeedsSoftwareFirst(t *testing.T) {
	r := newRig(t).start()
	for range 3 {
		r.g.feeder.round()
		r.p.step(time.Hour)
	}
	if want := []string{"softdog", "hard", "softdog", "hard", "softdog", "hard"}; !slices.Equal(r.order, want) {
		t.Errorf("fed %v, want %v", r.order, want)
	}
	if len(r.p.reset()) > 0 {
		t.Errorf("reset: %v", r.p.reset())
	}
}

func TestBoundFeedsInsideTheLeaseOnly(t *testing.T) {
	r := newRig(t).start().claim()
	fed := func() bool {
		before := r.hard.count()
		r.g.feeder.round()
		if (r.hard.count() > before) != (r.soft.count() == r.hard.count() && r.hard.count() > before) {
			t.Error("one was fed and the other not")
		}
		return r.hard.count() > before
	}
	if !fed() {
		t.Error("not fed right after the claim")
	}
	r.p.step(5*time.Second + 1)
	if fed() {
		t.Error("fed although no cycle has completed within F")
	}
	r.turn()
	if !fed() {
		t.Error("a completed cycle did not revive the lease")
	}
	r.p.step(26 * time.Second)
	r.turn()
	if fed() {
		t.Error("fed without the daemon's permission")
	}
	if len(r.p.reset()) > 0 {
		t.Errorf("a refused feed must not reset: %v", r.p.reset())
	}
	const bite = guardwire.NoticeWatchdog // each refusal is also later than three quarters of the timeout
	want := []guardwire.NoticeKind{guardwire.NoticeRefused, bite, guardwire.NoticeRevived, guardwire.NoticeRefused, bite}
	if got := r.notices(); !slices.Equal(got, want) {
		t.Errorf("notices %v, want %v", got, want)
	}
}

// A stall between a check and the device puts a feed after the lease's end.
func TestLateFeeds(t *testing.T) {
	for name, c := range map[string]struct {
		stall func(r *rig) *fakeDog
		dogs  func(r *rig) []watchdog.Device
		fed   []string
		reset bool
	}{
		"software: the hardware is not fed any more": {
			func(r *rig) *fakeDog { return r.soft },
			func(r *rig) []watchdog.Device { return []watchdog.Device{r.soft, r.hard} },
			[]string{"softdog"},
			false,
		},
		"hardware: reset at once": {
			func(r *rig) *fakeDog { return r.hard },
			func(r *rig) []watchdog.Device { return []watchdog.Device{r.soft, r.hard} },
			[]string{"softdog", "hard"},
			true,
		},
		"single: reset at once": {
			func(r *rig) *fakeDog { return r.hard },
			func(r *rig) []watchdog.Device { return []watchdog.Device{r.hard} },
			[]string{"hard"},
			true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start().claim()
			r.g.feeder = newFeeder(r.g, c.dogs(r))
			c.stall(r).before = func() { r.p.step(6 * time.Second) }
			r.g.feeder.round()
			r.g.feeder.round()
			if !slices.Equal(r.order, c.fed) || (len(r.p.reset()) > 0) != c.reset {
				t.Errorf("fed %v, resets %v", r.order, r.p.reset())
			}
		})
	}
}

// If the clock cannot be read after a late feed, the next good reading ends it.
func TestLateFeedSeenLater(t *testing.T) {
	r := newRig(t).start().claim()
	r.hard.before = func() { r.p.step(6 * time.Second); r.p.noisy = true }
	r.g.feeder.round()
	if len(r.p.reset()) > 0 {
		t.Fatalf("judged by a bad sample: %v", r.p.reset())
	}
	r.p.noisy = false
	r.g.feeder.round()
	if len(r.p.reset()) != 1 || r.hard.count() != 1 {
		t.Errorf("resets %v, fed %d times", r.p.reset(), r.hard.count())
	}
}

func TestNoisyClockFeedsNothing(t *testing.T) {
	r := newRig(t).start()
	r.p.noisy = true
	r.g.feeder.round()
	if r.soft.count()+r.hard.count() > 0 || len(r.p.reset()) > 0 {
		t.Errorf("fed %d and %d times, resets %v", r.soft.count(), r.hard.count(), r.p.reset())
	}
}

func TestSuspendAndBackwardClock(t *testing.T) {
	suspend := func(d time.Duration) func(*platform) {
		return func(p *platform) { p.suspended += d }
	}
	for name, c := range map[string]struct {
		bound bool
		do    func(*platform)
		reset string
	}{
		"suspended while bound": {true, suspend(101 * time.Millisecond), "suspended"},
		"noise while bound":     {true, suspend(99 * time.Millisecond), ""},
		"suspended while free":  {false, suspend(time.Hour), ""},
		"backwards while bound": {true, func(p *platform) { p.now-- }, "backwards"},
		"backwards while free":  {false, func(p *platform) { p.now-- }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start()
			if c.bound {
				r.claim()
			}
			r.g.feeder.round()
			c.do(r.p)
			r.g.feeder.round()
			got := strings.Join(r.p.reset(), "; ")
			if (c.reset == "") != (got == "") || !strings.Contains(got, c.reset) {
				t.Errorf("reset %q, want %q", got, c.reset)
			}
			if want := map[bool]int{true: 1, false: 2}[c.reset != ""]; r.hard.count() != want {
				t.Errorf("fed %d times, want %d", r.hard.count(), want)
			}
		})
	}
}

func TestStoppingThenResetOnlyByKill(t *testing.T) {
	for name, c := range map[string]struct {
		kill  bool
		reset bool
	}{"stopping": {false, false}, "killed": {true, true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start().claim()
			_ = r.g.state.with(func(l *lease.Lease) error {
				if c.kill {
					l.Kill(k7)
					return nil
				}
				return l.Stopping(k7)
			})
			r.turn()
			r.g.feeder.round()
			if r.hard.count() != 1 {
				t.Error("must be fed until the frozen lease ends")
			}
			r.p.step(5*time.Second + 1)
			r.turn()
			r.g.feeder.round()
			if r.hard.count() != 1 || (len(r.p.reset()) > 0) != c.reset {
				t.Errorf("fed %d times, resets %v", r.hard.count(), r.p.reset())
			}
		})
	}
}

func TestDeadFeedsNothingForEver(t *testing.T) {
	r := newRig(t).start()
	r.g.die("a test")
	r.g.die("again")
	r.g.feeder.round()
	if r.soft.count() > 0 || len(r.p.reset()) != 1 {
		t.Errorf("fed %d times, resets %v", r.soft.count(), r.p.reset())
	}
	if err := r.g.obey(1, r.claimOrder()); !errors.Is(err, errDead) {
		t.Errorf("a dead node obeyed: %v", err)
	}
}

func TestSlowDriverIsFedOnceASecond(t *testing.T) {
	r := newRig(t).start()
	r.g.feeder.dogs[1].every = slowEvery
	for range 20 {
		r.g.feeder.round()
		r.p.step(100 * time.Millisecond)
	}
	if r.soft.count() != 20 || r.hard.count() != 2 {
		t.Errorf("fed %d and %d times in two seconds", r.soft.count(), r.hard.count())
	}
}

func TestFailingWatchdogIsToldOnce(t *testing.T) {
	r := newRig(t).start()
	r.hard.err = errors.New("input/output error")
	r.g.feeder.round()
	r.g.feeder.round()
	r.hard.err = nil
	r.g.feeder.round()
	want := []guardwire.NoticeKind{guardwire.NoticeWatchdog, guardwire.NoticeWatchdog}
	if got := r.notices(); !slices.Equal(got, want) {
		t.Errorf("notices %v, want one for the failure and one for the end of it", got)
	}
}

func TestFeedingPeriod(t *testing.T) {
	r := newRig(t).start()
	if got := r.g.feeder.round(); got != 100*time.Millisecond {
		t.Errorf("%v for timeouts of 2 s", got)
	}
	o := r.claimOrder()
	o.Params.PetPeriod = 250 * time.Millisecond
	must(t, r.g.obey(1, o))
	if got := r.g.feeder.round(); got != 250*time.Millisecond {
		t.Errorf("%v, claimed were 250 ms", got)
	}
}

// When the lease is over and the bite is near, the event log gets a last word, once;
// a lease that is revived takes it back.
func TestLastWordBeforeTheBite(t *testing.T) {
	r := newRig(t).start().claim()
	r.turn()
	round := func(d time.Duration) []guardwire.NoticeKind {
		r.p.step(d)
		r.g.feeder.round()
		return r.notices()
	}
	if got := round(0); len(got) != 0 {
		t.Errorf("while it is fed: %v", got)
	}
	r.p.step(4 * time.Second)
	if got := round(0); len(got) != 0 {
		t.Errorf("while it is fed: %v", got)
	}
	for after, want := range map[time.Duration][]guardwire.NoticeKind{
		1100 * time.Millisecond: {guardwire.NoticeRefused}, // F is 5 s, the timeout 2 s
	} {
		if got := round(after); !slices.Equal(got, want) {
			t.Errorf("%v after the last feed: %v", after, got)
		}
	}
	if got := round(450 * time.Millisecond); !slices.Equal(got, []guardwire.NoticeKind{guardwire.NoticeWatchdog}) {
		t.Errorf("1.55 s after the last feed, of 2 s: %v", got)
	}
	if got := round(100 * time.Millisecond); len(got) != 0 {
		t.Errorf("said again: %v", got)
	}
	r.turn()
	if got := round(0); !slices.Contains(got, guardwire.NoticeRevived) {
		t.Errorf("a completed cycle did not revive it: %v", got)
	}
}

func TestFeedingAllocatesNothing(t *testing.T) {
	r := newRig(t).start().claim()
	r.soft.log, r.hard.log = nil, nil
	if n := testing.AllocsPerRun(100, func() { r.g.feeder.round() }); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}
