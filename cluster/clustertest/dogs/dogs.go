// Package dogs is the watchdogs of a simulated machine: devices that end it some
// time after their latest feed. What they truly take is drawn at every boot, within
// what such a device may take.
package dogs

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Dog is one device. Times are true.
type Dog struct {
	Fed      time.Duration // the latest feed
	Takes    time.Duration // what it takes in this boot
	Most     time.Duration // the longest that such a device takes
	Software bool
}

// Pack is the devices of a machine, in the order in which they are fed: software
// comes first, which is part of the safety argument.
type Pack []Dog

// Two are what a machine has where nobody says otherwise: both qualified, with a
// second holder of their descriptors.
func Two() timing.Input {
	return timing.Input{SecondHolder: true, Devices: []timing.Device{
		{Name: "softdog", Class: timing.Qualified, Software: true, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
		{Name: "hardware", Class: timing.Qualified, Timeout: 2 * time.Second, TMax: 2200 * time.Millisecond, At: 2 * time.Second},
	}}
}

// Arm opens the devices of a machine that boots.
func Arm(list []timing.Device, now time.Duration, jitter func(a, b time.Duration) time.Duration) Pack {
	var p Pack
	for _, software := range []bool{true, false} {
		for _, d := range list {
			if d.Software != software {
				continue
			}
			most := d.TMax
			if d.Class != timing.Qualified {
				most = 2*d.Timeout + time.Second
			}
			least := max(d.Timeout, most*9/10)
			p = append(p, Dog{Fed: now, Takes: jitter(min(least, most), most), Most: most, Software: software})
		}
	}
	return p
}

// Due is when the device bites.
func (d *Dog) Due() time.Duration { return d.Fed + d.Takes }

// Close is what the last close of the descriptors does: it feeds.
func (p Pack) Close(now time.Duration) {
	for i := range p {
		p[i].Fed = now
	}
}

// Sleep says that machine and devices were suspended for so long.
func (p Pack) Sleep(d time.Duration) {
	for i := range p {
		p[i].Fed += d
	}
}

// Promise is the longest that any of them takes, and how many such periods may
// follow the last check that allowed a feed; held says that somebody else holds
// the descriptors when the guard dies.
func (p Pack) Promise(held bool) (longest time.Duration, periods int) {
	for _, d := range p {
		longest = max(longest, d.Most)
	}
	if periods = 2; len(p) > 1 {
		periods = 1
	}
	if !held {
		periods++
	}
	return longest, periods
}
