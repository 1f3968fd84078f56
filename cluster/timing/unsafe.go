package timing

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Unsafe refuses an input: no timeouts exist that are safe with it.
type Unsafe struct {
	Asked    time.Duration // failover_within as asked for
	Rule     string        // the inequality that fails, in words and numbers
	Smallest time.Duration // smallest failover_within that is safe as things are; 0 if there is none
	Lower    []Saving      // what would lower Smallest, the best first
	Hints    []string      // what else would help
}

// Saving is a change to the hardware or to node.yaml and what it makes possible.
type Saving struct {
	What     string
	Smallest time.Duration // smallest safe failover_within after the change
}

// Error says what fails, which value would do and what would lower it.
func (u *Unsafe) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "timing: failover_within %s is refused: %s", sec(u.Asked), u.Rule)
	if u.Smallest > 0 {
		fmt.Fprintf(&s, "; the smallest value that is safe on this hardware is %s", sec(u.Smallest))
	}
	for _, l := range u.Lower {
		fmt.Fprintf(&s, "; %s: %s", l.What, sec(l.Smallest))
	}
	for _, h := range u.Hints {
		fmt.Fprintf(&s, "; %s", h)
	}
	return s.String()
}

// Savings lists what would allow a smaller failover_within than SmallestB, the
// best first. It is empty if nothing would, and for an input that is refused
// whatever the value.
func Savings(in Input) []Saving {
	in = in.withDefaults()
	if in.check() != nil {
		return nil
	}
	now, _ := smallest(in)
	return savings(in, now)
}

func savings(in Input, now time.Duration) []Saving {
	var list []Saving
	try := func(what string, changed Input) {
		if changed.check() != nil {
			return
		}
		if b, u := smallest(changed); u == nil && (now == 0 || b < now) {
			list = append(list, Saving{What: what, Smallest: b})
		}
	}
	try("with a second watchdog (softdog will do beside a hardware one), measured", withPartner(in))
	try("with every watchdog measured on this machine", withDevices(in, func(d *Device) {
		d.Class, d.TMax, d.At = Qualified, 0, 0
	}))
	try("without fixed watchdog timeouts", withDevices(in, func(d *Device) { d.Timeout = 0 }))
	held := in
	held.SecondHolder = true
	try("with a second holder of the watchdog descriptors (the service manager's descriptor store)", held)
	drained := in
	drained.Tz = min(in.Tz, DefaultTz/4)
	try("with a T_z of 0.25 s, if that is measured on this array", drained)
	steady := in
	steady.PauseBound = 0
	try("without a pause bound (a machine that no hypervisor stops)", steady)
	slices.SortStableFunc(list, func(a, b Saving) int { return int((a.Smallest - b.Smallest) / time.Millisecond) })
	return list
}

func withDevices(in Input, change func(*Device)) Input {
	in.Devices = slices.Clone(in.Devices)
	for i := range in.Devices {
		change(&in.Devices[i])
	}
	return in
}

// withPartner adds what is missing to a pair.
func withPartner(in Input) Input {
	partner := Device{Name: "second", Class: Qualified, Software: true}
	if len(in.Devices) == 1 && in.Devices[0].Software {
		partner.Software = false
	}
	in.Devices = append(slices.Clone(in.Devices), partner)
	return in
}
