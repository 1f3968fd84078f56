package guard

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/internal/guardwire/gauge"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// slowDriver may block for seconds while its controller restarts, and is fed no
// more often than slowEvery. It needs a timeout of 10 s or more.
const (
	slowDriver = "ipmi_watchdog"
	slowEvery  = time.Second
)

// feeder feeds the watchdogs. The order is the safety argument. Let D be the
// end of the lease, and T the time that a watchdog takes:
//
//	check 1; feed the first; check 2; feed the second; check 3, else reset
//
// If a feed of the second comes after D, check 1 fails from then on; the first
// was fed before check 2 passed, at the latest at D, so it bites by D+T. If a
// feed of the first comes after D, check 2 fails from then on, and the second,
// fed before check 1 passed, bites by D+T. So with two devices one bites by
// D+T, whatever stalls occur between any two lines. With a single one a feed
// can come late unseen, and it bites by D+2T; check 3 ends most such cases at
// once. More than two devices are fed in the same way, a check before each.
type feeder struct {
	g         *Guard
	dogs      []dog
	period    time.Duration
	last      ident.Instant
	suspended time.Duration
	sampled   bool // last and suspended are set
	unproved  bool // the last device was fed, and no check has passed since
	refused   bool // the last check failed
	hunger    hunger
	meter     gauge.Meter
}

// hunger is what is said when the bite is near: the last word that can still reach
// the node's event log. It changes nothing; a lease that is revived feeds again.
type hunger struct {
	after time.Duration // since the last feed; 0: there is nothing to feed
	since ident.Instant // the last feed
	told  bool
}

// due says once after each feed that the time has come.
func (h *hunger) due(now ident.Instant) bool {
	if h.told || h.after == 0 || now.Sub(h.since) < h.after {
		return false
	}
	h.told = true
	return true
}

type dog struct {
	dev     watchdog.Device
	every   time.Duration
	due     ident.Instant
	failing bool
}

func newFeeder(g *Guard, devices []watchdog.Device) *feeder {
	f := &feeder{g: g, period: leastPeriod}
	least, before := time.Duration(0), time.Duration(0)
	for _, d := range devices {
		i := d.Info()
		f.dogs = append(f.dogs, dog{dev: d, due: ident.LongAgo})
		if i.Driver == slowDriver {
			f.dogs[len(f.dogs)-1].every = slowEvery
		}
		if least == 0 || i.Timeout < least {
			least = i.Timeout
		}
		before = max(before, i.Pretimeout)
	}
	if least > 0 {
		// A device of one second, or an emulated one of less, is fed more often.
		f.period = min(max(f.period, least/perTimeout), least/4)
		f.hunger = hunger{after: least - min(max(before, least/4), least/2), told: true} // nothing was fed yet
	}
	return f
}

// run feeds until ctx ends, on a thread of its own and by a clock that no runtime
// timer stands between.
func (f *feeder) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var at unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &at) // cannot fail for this clock
	for ctx.Err() == nil && !f.g.ending.Load() {
		period := f.round()
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		// After a stall the rounds that were missed are not made up for.
		at = unix.NsecToTimespec(max(at.Nano()+int64(period), now.Nano()))
		for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil), unix.EINTR) {
		}
	}
}

// round feeds every device once, as far as it may, and returns when to come back.
func (f *feeder) round() time.Duration {
	period := f.period
	for i := range f.dogs {
		now, v, ok := f.check()
		if v.period > 0 {
			period = v.period
		}
		if !ok {
			return period
		}
		if d := &f.dogs[i]; d.every == 0 || d.due <= now {
			d.due = now.Add(d.every)
			f.unproved = i == len(f.dogs)-1
			f.hunger.since, f.hunger.told = now, false
			f.meter.Fed(i, int64(now))
			f.feed(d)
		}
	}
	f.check()
	return period
}

func (f *feeder) feed(d *dog) {
	err := d.dev.Feed()
	if (err != nil) != d.failing {
		d.failing = err != nil
		text := "a watchdog is fed again"
		if err != nil {
			text = err.Error()
		}
		f.g.note(guardwire.NoticeWatchdog, f.g.deps.Node, text)
	}
}

// check asks the lease, and ends the node where an answer means that it must not
// go on. An instant that could not be read well is no permission.
func (f *feeder) check() (ident.Instant, verdict, bool) {
	s, err := f.g.deps.Platform.Sample()
	if err != nil || f.g.dead.Load() {
		return s.Now, verdict{}, false
	}
	var slept time.Duration
	if f.sampled {
		slept = s.Suspended - f.suspended
	}
	v := f.g.state.judge(s.Now, slept)
	f.meter.Lease(int64(v.until), int64(s.Now))
	backward := f.sampled && s.Now < f.last
	f.sampled, f.last, f.suspended = true, s.Now, s.Suspended
	switch {
	case v.slept:
		f.g.die("this machine was suspended while it was bound: others may own its services")
	case v.bound && backward:
		f.g.die("the interval clock went backwards")
	case v.reset:
		f.g.die("a kill record was obeyed and the lease has ended")
	case !v.feed && f.unproved:
		f.g.die("a watchdog was fed after the lease had ended")
	}
	f.unproved = f.unproved && !v.feed
	if v.feed == f.refused {
		f.refused = !v.feed
		f.reportChange()
	}
	if !v.feed && f.hunger.due(s.Now) {
		f.g.note(guardwire.NoticeWatchdog, f.g.deps.Node, "the watchdogs were not fed for most of their timeout: they reset this node in a moment")
	}
	return s.Now, v, v.feed && !f.g.dead.Load()
}

func (f *feeder) reportChange() {
	if f.refused {
		f.g.note(guardwire.NoticeRefused, f.g.deps.Node, "the lease or the permission has ended: the watchdogs are not fed")
		return
	}
	f.g.note(guardwire.NoticeRevived, f.g.deps.Node, "the lease is good again: the watchdogs are fed")
}
