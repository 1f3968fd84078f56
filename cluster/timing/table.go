package timing

import (
	"fmt"
	"slices"
	"time"
)

// Table is every derived timeout of one node. All times but B's are on a node's
// own interval clock.
type Table struct {
	B time.Duration // failover_within
	Lease
	Beats
	Waits
	Stops
	Timeouts []time.Duration // of each device of the input, in its order
	in       Input           // with the defaults filled in
}

// Beats are the periods of what a node does all the time.
type Beats struct {
	H     time.Duration // between two beats on a disk
	HPoll time.Duration // between two reads of the others' beats
	Retry time.Duration // after a failed beat
	Net   time.Duration // between two network beats
	Pet   time.Duration // between two feeds of the watchdogs
	Twd   time.Duration // the shortest timeout among the watchdogs
}

// Waits are the times before something is believed of another node.
type Waits struct {
	W      time.Duration // silence that proves a death to a member
	WC     time.Duration // the same for a node that is not a member
	Tsus   time.Duration // silence, on disk and network, before the fencing begins
	Margin time.Duration // a peer is stale only if it is older than our own beat by this much
	Tz     time.Duration // a write of a reset host may still land for this long; also the wait before a join
	Slot   time.Duration // our own slot must stand still for this long, two of anybody's beats, before it is claimed
	Asym   time.Duration // a member without disks keeps its services for this long before it is asked to release them
}

// Stops are the steps of a node that is about to lose its lease, each counted
// from the start of the lease (but Emergency), and the daemon's permission.
type Stops struct {
	Ask        time.Duration // the other members are asked for grace
	Early      time.Duration // services marked `quick-stop: early` begin their emergency stop
	Emergency  time.Duration // after the end of the lease: all others begin theirs
	Permission time.Duration // the daemon's permission to the guard lasts this long
	Renew      time.Duration // and is renewed this often
}

// Input returns what the table was derived from.
func (t Table) Input() Input { return t.in }

// Site returns what Wait needs beside the leases.
func (t Table) Site() Site { return Site{Tz: t.Tz, Rho: t.in.Rho} }

// Derive computes the table, or says why there is none: the error is always an
// *Unsafe.
func Derive(in Input) (Table, error) {
	in = in.withDefaults()
	if u := in.check(); u != nil {
		u.Asked = in.FailoverWithin
		return Table{}, u
	}
	t, u := derive(in)
	if u == nil {
		return t, nil
	}
	u.Asked = in.FailoverWithin
	u.Smallest, _ = smallest(in)
	u.Lower = savings(in, u.Smallest)
	u.Hints = append(u.Hints, "reservations, a BMC or a verified stop end the wait earlier, whatever this value is")
	return Table{}, u
}

// Again derives the table for another failover_within and grace while every
// watchdog keeps the timeout that it has in t. The error is an *Unsafe.
func (t Table) Again(within, grace time.Duration) (Table, error) {
	in := t.in
	in.FailoverWithin, in.Grace = within, grace
	in.Devices = slices.Clone(in.Devices)
	for i := range in.Devices {
		in.Devices[i].Timeout = t.Timeouts[i]
	}
	return Derive(in)
}

// SmallestB is the smallest failover_within, in steps of half a second, that is
// safe with these devices; the value asked for in the input plays no part. The
// error is an *Unsafe.
func SmallestB(in Input) (time.Duration, error) {
	in = in.withDefaults()
	if u := in.check(); u != nil {
		return 0, u
	}
	b, u := smallest(in)
	if u != nil {
		return 0, u
	}
	return b, nil
}

func smallest(in Input) (time.Duration, *Unsafe) {
	var last *Unsafe
	for in.FailoverWithin = granule; in.FailoverWithin <= LargestB; in.FailoverWithin += granule {
		if _, last = derive(in); last == nil {
			return in.FailoverWithin, nil
		}
	}
	return 0, last
}

// derive tries the watchdog timeouts from the best to the last and takes the
// first whose lease is long enough. The refusal that it returns is that of the
// last, the shortest timeout: the one that came nearest.
func derive(in Input) (Table, *Unsafe) {
	if in.FailoverWithin <= 0 || in.FailoverWithin > LargestB {
		return Table{}, &Unsafe{Rule: fmt.Sprintf("failover_within must be more than 0 and at most %s", sec(LargestB))}
	}
	options, u := choices(in)
	if u != nil {
		return Table{}, u
	}
	for _, c := range options {
		var t Table
		if t, u = fill(in, c); u == nil {
			return t, nil
		}
	}
	return Table{}, u
}

// fill computes the table for one choice of watchdog timeouts.
func fill(in Input, c choice) (Table, *Unsafe) {
	b, rho := in.FailoverWithin, in.Rho
	// B = W + HPoll + reserve, solved for F. HPoll is F/8 within bounds, so it
	// is solved in between first, and with the bound that this exceeds.
	free := b - in.reserve() - Eps - in.Tz - in.PauseBound
	f := func(poll time.Duration) time.Duration {
		return time.Duration((1 - rho) * (float64(free-poll)/(1+rho) - float64(c.m)*float64(c.tmax)))
	}
	lease := time.Duration(float64(f(0)) / (1 + (1-rho)/(1+rho)/8))
	switch {
	case lease <= 4*leastH:
		lease = f(leastH / 2)
	case lease >= 4*mostH:
		lease = f(mostH / 2)
	}
	lease = (lease - time.Microsecond).Truncate(time.Millisecond)
	h := min(max(lease/4, leastH), mostH)
	if u := tooShort(in, c, lease, h); u != nil {
		return Table{}, u
	}
	l := Lease{F: lease, G: max(in.Grace, lease), TMax: c.tmax, M: c.m, V: in.PauseBound}
	site := Site{Tz: in.Tz, Rho: rho}
	return Table{
		B:     b,
		Lease: l,
		Beats: Beats{H: h, HPoll: h / 2, Retry: h / 4, Net: 200 * time.Millisecond, Twd: c.twd, Pet: max(100*time.Millisecond, c.twd/20)},
		Waits: Waits{
			W: Wait(l, l, site), WC: WaitOutsider(l, l, site), Tsus: suspicion(b, h), Margin: 2*h + lease/4,
			Tz: in.Tz, Slot: 2 * mostH, Asym: 5 * time.Second,
		},
		Stops:    Stops{Ask: lease / 3, Early: lease / 2, Emergency: c.twd / 3, Permission: 30 * time.Second, Renew: time.Second},
		Timeouts: c.timeouts,
		in:       in,
	}, nil
}

// suspicion is the silence after which a node is fenced, which cannot be undone.
func suspicion(b, h time.Duration) time.Duration {
	s := max(2*h, b/4)
	if b >= 4*leastTsus {
		s = max(s, leastTsus)
	}
	return s
}

// leastLease is the shortest F with which a healthy node keeps its lease: two
// beats that both take long, and half a second for the scheduler.
func leastLease(in Input, h time.Duration) time.Duration {
	return max(2*h+2*in.IO+500*time.Millisecond, in.PauseBound)
}

func tooShort(in Input, c choice, f, h time.Duration) *Unsafe {
	rest := fmt.Sprintf("F is what remains of failover_within %s after %d x T_max %s, T_z %s, V %s, h_poll %s and %s for reading and committing",
		sec(in.FailoverWithin), c.m, sec(c.tmax), sec(in.Tz), sec(in.PauseBound), sec(h/2), sec(in.reserve()+Eps))
	if least := leastLease(in, h); f < least {
		if f < 0 {
			return &Unsafe{Rule: "nothing remains for the lease F: " + rest}
		}
		if least == in.PauseBound {
			return &Unsafe{Rule: fmt.Sprintf("F = %s must be at least the pause bound V = %s; %s", sec(f), sec(least), rest)}
		}
		return &Unsafe{Rule: fmt.Sprintf("F = %s must be at least 2h + 2io + 0.5 s = 2 x %s + 2 x %s + 0.5 s = %s; %s",
			sec(f), sec(h), sec(in.IO), sec(least), rest)}
	}
	if s := suspicion(in.FailoverWithin, h); s < in.PauseBound {
		return &Unsafe{Rule: fmt.Sprintf("T_sus = B/4 = %s must be at least the pause bound V = %s: a paused guest is not a dead one", sec(s), sec(in.PauseBound))}
	}
	return nil
}
