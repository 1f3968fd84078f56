package timing

import (
	"math"
	"time"
)

// Lease is what a node's beat promises: for how long after a beat it may go on,
// and what may follow that deadline.
type Lease struct {
	F    time.Duration // the node feeds its watchdogs until F after the issue of its last completed beat
	G    time.Duration // the same with the consent of all members; F where no grace is used
	TMax time.Duration // longest time from the last effective feed to the reset
	M    int           // whole watchdog periods that may follow the deadline
	V    time.Duration // how long a hypervisor may stop the node
}

// Site is what the observer adds: its clock and its disks.
type Site struct {
	Tz  time.Duration // a write of a reset host may still land for this long
	Rho float64       // clock error of each node
}

// Larger takes the larger of each value. A wait is computed from what a node's
// beat says and what the configuration says, whichever demands more.
func (l Lease) Larger(o Lease) Lease {
	return Lease{F: max(l.F, o.F), G: max(l.G, o.G), TMax: max(l.TMax, o.TMax), M: max(l.M, o.M), V: max(l.V, o.V)}
}

// Wait is W: how long after the completion of the read that first showed a
// node's last beat it may be called dead by time:
//
//	W = (1+rho)*( F/(1-rho) + m*TMax ) + eps + Tz + V
//
// Every feed of that node's watchdogs happened at most F (on its clock) after
// that read completed; the watchdogs then take m*TMax; rho is charged on both
// clocks. It rounds up to whole nanoseconds.
func Wait(peer, ours Lease, s Site) time.Duration {
	l := peer.Larger(ours)
	return s.after(l.F, l)
}

// WaitOutsider is WC, the wait of a node that is not a member and could therefore
// not have refused the network grace: the same with G in place of F.
func WaitOutsider(peer, ours Lease, s Site) time.Duration {
	l := peer.Larger(ours)
	return s.after(max(l.F, l.G), l)
}

func (s Site) after(lease time.Duration, l Lease) time.Duration {
	const forever = time.Duration(math.MaxInt64)
	w := (1+s.Rho)*(float64(lease)/(1-s.Rho)+float64(l.M)*float64(l.TMax)) + float64(Eps+s.Tz+l.V)
	if w >= float64(forever) {
		return forever // unlimited grace: nobody dies by time
	}
	return time.Duration(math.Ceil(w))
}

// Waiter keeps a wait for as long as nothing changes that it is computed from.
// The zero value has computed nothing.
type Waiter struct {
	Wait         time.Duration
	theirs, ours Lease
	outsider     bool
}

// Of brings Wait up to date, and says whether it had to: with outsider it is that
// of WaitOutsider.
func (w *Waiter) Of(theirs, ours Lease, outsider bool, s Site) (changed bool) {
	if w.Wait != 0 && w.theirs == theirs && w.ours == ours && w.outsider == outsider {
		return false
	}
	*w = Waiter{Wait: Wait(theirs, ours, s), theirs: theirs, ours: ours, outsider: outsider}
	if outsider {
		w.Wait = WaitOutsider(theirs, ours, s)
	}
	return true
}
