package timing

import (
	"fmt"
	"slices"
	"time"
)

// choice is one set of watchdog timeouts and what a proof may rest on with it.
type choice struct {
	timeouts []time.Duration // of each device
	twd      time.Duration   // the shortest of them
	tmax     time.Duration
	m        int
	guess    bool // tmax was not measured with these timeouts
}

// choices lists the timeouts to try, the best first: those with which more
// devices are qualified, then the measured, then the longer ones (which forgive more).
// The longest is the largest whole second up to B/5.
func choices(in Input) ([]choice, *Unsafe) {
	least, most, u := common(in)
	if u != nil {
		return nil, u
	}
	top := max(min((in.FailoverWithin/5).Truncate(time.Second), most), least)
	var list []choice
	for t := top; t >= least; t -= time.Second {
		list = append(list, rely(in, t))
	}
	slices.SortStableFunc(list, func(a, b choice) int {
		switch {
		case a.m != b.m:
			return a.m - b.m
		case a.guess == b.guess:
			return 0
		case a.guess:
			return 1
		}
		return -1
	})
	return list, nil
}

// common is the range of whole seconds that all devices without a fixed timeout
// accept. If all are fixed, it is the single value 2 s, which nobody uses.
func common(in Input) (least, most time.Duration, u *Unsafe) {
	least, most = leastTwd, LargestB
	if in.AllowOneSecond {
		least = time.Second
	}
	free := false
	for _, d := range in.Devices {
		if d.Timeout != 0 {
			continue
		}
		lo, hi := d.limits()
		least, most = max(least, lo), min(most, hi)
		free = true
	}
	if !free {
		return leastTwd, leastTwd, nil
	}
	if r := least % time.Second; r != 0 {
		least += time.Second - r
	}
	most = most.Truncate(time.Second)
	if least > most {
		return 0, 0, &Unsafe{
			Rule:  fmt.Sprintf("no whole second is accepted by all watchdogs: they leave %s to %s", sec(least), sec(most)),
			Hints: []string{"fix the timeout of each: `watchdogs: [{device: /dev/watchdog0, timeout: 5s}]` in node.yaml"},
		}
	}
	return least, most, nil
}

// rely says what a proof rests on when every free device has the timeout t.
//
// Two measured devices, at least one of them hardware, fed one after the other
// with the lease checked in between: whatever stalls, one of the two gets no feed
// after the deadline, so one period of the slower follows (m = 1). With a single
// device a feed may follow its check late by any time up to the timeout: two
// periods (m = 2), of the best hardware device. Without a second holder of the
// descriptors the kernel's feed at the guard's death adds one.
func rely(in Input, t time.Duration) choice {
	c := choice{m: 2, twd: 1<<63 - 1}
	var hardware, measured, soft []time.Duration // reset times
	for _, d := range in.Devices {
		timeout := d.Timeout
		if timeout == 0 {
			timeout = t
		}
		c.timeouts = append(c.timeouts, timeout)
		c.twd = min(c.twd, timeout)
		tmax, ok := d.reset(timeout)
		switch {
		case d.Software && ok:
			soft = append(soft, tmax)
		case d.Software:
		case ok:
			measured = append(measured, tmax)
			fallthrough
		default:
			hardware = append(hardware, tmax)
		}
	}
	slices.Sort(measured)
	slices.Sort(soft)
	second := append(soft, measured[min(1, len(measured)):]...)
	switch {
	case len(measured) > 0 && len(second) > 0:
		c.m, c.tmax = 1, max(measured[0], slices.Min(second))
	case len(hardware) > 0:
		c.tmax = slices.Min(hardware)
		c.guess = len(measured) == 0 || measured[0] != c.tmax
	default:
		c.tmax = softAlone(in, c.twd)
	}
	if !in.SecondHolder {
		c.m++
	}
	return c
}

// softAlone is the reset time of softdog without a partner: it runs on one CPU,
// so a locked-up CPU must first be found by the kernel's lockup detector.
func softAlone(in Input, twd time.Duration) time.Duration {
	tmax, _ := in.Devices[0].reset(twd)
	return max(tmax, in.Lockup)
}
