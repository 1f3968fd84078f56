// Package lease decides one thing: may this node go on now? A node that holds
// services may feed its watchdogs only while a majority of the quorum disks has
// lately carried its beat (or, in network grace, while every other member has
// promised not to declare it dead), and only while its daemon permits it. When
// the answer is no the watchdogs starve and reset the node, and the others can
// know by when that must have happened.
//
// The type does no I/O, reads no clock and allocates nothing after New. The
// guard and the simulator run the same code.
//
//	FREE --claim(k)--> BOUND(k) --retire(k)--> FREE
//
// FREE: nothing of this boot is published, or what was published has retired;
// the watchdogs are fed freely, so that a slow SAN login at boot resets nobody.
// BOUND(k): ok(now) = now <= permission
// and (now <= start+F, or now <= grace and now <= start+G).
//
// F and G may be changed while an incarnation is bound. What its beats say
// changes at once; what it lives by is never more than every beat says that its
// lease may rest on (see Carry).
package lease

import (
	"errors"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
)

// Why an order is refused. A refused order has changed nothing.
var (
	ErrBound       = errors.New("an incarnation is bound already: retire it first")
	ErrFree        = errors.New("no incarnation is bound: claim one first")
	ErrIncarnation = errors.New("the order is for another incarnation than the bound one")
	ErrBurned      = errors.New("this incarnation or a later one of this boot has retired: claim with a higher number")
	ErrZero        = errors.New("the incarnation is empty")
	ErrParams      = errors.New("the lease F must be positive and the grace G no shorter than it")
	ErrLapsed      = errors.New("the permission has ended already")
	ErrFrozen      = errors.New("the lease is frozen: this incarnation is stopping")
	ErrSets        = errors.New("a set of quorum disks is empty, or names a disk that is not there")
	ErrStale       = errors.New("a majority of the new set of quorum disks has not carried this node's beat lately: it would end the lease")
)

// State is FREE or BOUND.
type State uint8

// Free is the zero value.
const (
	Free State = iota
	Bound
)

// String is the word that status shows.
func (s State) String() string {
	if s == Bound {
		return "bound"
	}
	return "free"
}

// Params are the two durations of the promise that every beat of an incarnation
// carries: whoever has seen it last relies on them.
type Params struct {
	F time.Duration // freshness: the lease ends F after the issue of the last completed cycle
	G time.Duration // the same in network grace; F where grace is not used
}

func (p Params) ok() bool { return p.F > 0 && p.G >= p.F }

// least takes the smaller of each.
func (p Params) least(o Params) Params { return Params{F: min(p.F, o.F), G: min(p.G, o.G)} }

// Carry is a promise that changes. Every beat that is issued after Since carries
// New, and Used is what may be lived by. A lower value may at once, before anybody
// can have read it. A higher one only when the lease rests on nothing but beats
// that carry it: every proof of death reads one of those, or a later one.
type Carry struct {
	New, Used Params
	Since     ident.Instant
}

// Change has the beats that are issued after now carry p.
func (c *Carry) Change(now ident.Instant, p Params) {
	*c = Carry{New: p, Used: c.Used.least(p), Since: now}
}

// Settle lets a lease that starts at start live by New if it may.
func (c *Carry) Settle(start ident.Instant) {
	if start > c.Since {
		c.Used = c.New
	}
}

// View is a copy of what a Lease holds, for people and for a daemon that comes
// back.
type View struct {
	State      State
	Inc        ident.Incarnation // zero if FREE
	Params     Params            // by which the lease counts: Carry.Used
	Carry      Carry             // what the beats say
	Start      ident.Instant     // what the lease counts from; LongAgo if FREE
	Permission ident.Instant     // the daemon permits until then
	Grace      ident.Instant     // every other member has promised until then; LongAgo if not
	Frozen     bool              // stopping: start and grace never move again
	Killed     bool              // a kill record named this incarnation
}

// Lease is the state of one node's lease. It is not safe for concurrent use:
// its owner holds a lock around it.
type Lease struct {
	v       View
	first   ident.Instant   // when the bound incarnation was claimed
	base    ident.Instant   // no beat issued after it says less than what is lived by
	done    []ident.Instant // per disk: issue of the last completed cycle of the bound incarnation
	sets    quorum.Sets
	retired ident.Incarnation // the last one that retired
}

// New returns a FREE lease over the disks 0 to disks-1. A cycle counts when a
// majority of every one of the sets has completed it; without sets, a majority
// of all. There are two sets only while the disks are being exchanged.
func New(disks int, sets ...quorum.Set) *Lease {
	if len(sets) == 0 {
		sets = quorum.Sets{quorum.All(disks)}
	}
	l := &Lease{done: make([]ident.Instant, disks), sets: append(quorum.Sets(nil), sets...)}
	l.clear()
	return l
}

// Claim binds an incarnation, which is about to publish its first beat, with
// the daemon's first permission. The caller issues no beat of it before now:
// until its first cycle completes the lease counts from now, which is safe
// because nobody can have seen it earlier and it owns nothing yet.
func (l *Lease) Claim(now ident.Instant, inc ident.Incarnation, until ident.Instant, p Params) error {
	switch {
	case l.v.State == Bound:
		return ErrBound
	case inc.IsZero():
		return ErrZero
	case inc.Boot == l.retired.Boot && inc.N <= l.retired.N:
		return ErrBurned
	case !p.ok():
		return ErrParams
	case until < now:
		return ErrLapsed
	}
	l.clear()
	l.v.State, l.v.Inc, l.v.Params, l.v.Permission = Bound, inc, p, until
	l.first, l.v.Start = now, now
	l.base = now - 1
	l.v.Carry = Carry{New: p, Used: p, Since: l.base}
	return nil
}

// Change has every beat of inc that is issued from now on carry p: the caller
// issues none with another promise after this. The lease lives by the smaller of
// each value at once, and by the larger as soon as it starts after now. Network
// grace that was granted by a larger F ends F after now at the latest. It is
// refused once the incarnation is stopping.
func (l *Lease) Change(now ident.Instant, inc ident.Incarnation, p Params) error {
	switch err := l.own(inc); {
	case err != nil:
		return err
	case l.v.Frozen:
		return ErrFrozen
	case !p.ok():
		return ErrParams
	case p == l.v.Carry.New:
		return nil
	}
	l.v.Carry.Change(now, p)
	l.v.Params = l.v.Carry.Used
	l.v.Grace = min(l.v.Grace, after(now, l.v.Params.F))
	return nil
}

// begin moves the start of the lease.
func (l *Lease) begin(start ident.Instant) {
	l.v.Start = start
	if start > l.v.Carry.Since {
		l.base = l.v.Carry.Since
	}
	l.v.Carry.Settle(start)
	l.v.Params = l.v.Carry.Used
}

// CycleCompleted says that a beat of inc was written to the disk and the beat
// table read back after it. issued is the stamp taken before the write was
// issued, never later: the others count from when they saw that beat. A stamp
// older than the newest one of that disk, or than the claim, changes nothing,
// and neither does the cycle of another incarnation. A completed cycle revives
// a lease that has run out, until the incarnation is stopping.
func (l *Lease) CycleCompleted(disk int, inc ident.Incarnation, issued ident.Instant) {
	if l.v.State != Bound || inc != l.v.Inc || l.v.Frozen || disk < 0 || disk >= len(l.done) {
		return
	}
	if issued < l.first || issued <= l.done[disk] {
		return
	}
	l.done[disk] = issued
	l.begin(max(l.first, l.sets.Since(l.done)))
}

// ChangeSets makes the lease count over other sets of its disks from now on. A
// frozen lease stays where it was. It is refused where the disks of the new sets
// have not carried this incarnation's beat lately enough: the watchdogs would
// starve at once, although nothing is wrong yet. Whoever changes a set of disks
// has the new one beaten on first, and tries again.
func (l *Lease) ChangeSets(now ident.Instant, sets ...quorum.Set) error {
	all := quorum.Sets(sets)
	if len(sets) == 0 || all.All()&^quorum.All(len(l.done)) != 0 {
		return ErrSets
	}
	start := max(l.first, all.Since(l.done))
	if l.v.State == Bound && !l.v.Frozen {
		if was := l.v.Start; start < was && (start <= l.base || l.fresh(now) && now > after(start, l.v.Params.F)) {
			return ErrStale
		}
		l.begin(start)
	}
	l.sets = append(l.sets[:0:0], sets...)
	return nil
}

// Forget drops what a disk has carried, before another one takes its place. A
// disk of a set is not forgotten.
func (l *Lease) Forget(disk int) {
	if disk >= 0 && disk < len(l.done) && !l.sets.All().Has(disk) {
		l.done[disk] = ident.LongAgo
	}
}

// Permit extends the daemon's permission. It never shortens it: an older order
// that comes late must not end a younger one.
func (l *Lease) Permit(inc ident.Incarnation, until ident.Instant) error {
	if err := l.own(inc); err != nil {
		return err
	}
	l.v.Permission = max(l.v.Permission, until)
	return nil
}

// Grace says that every other member has promised until then. It is refused
// once the incarnation is stopping.
func (l *Lease) Grace(inc ident.Incarnation, until ident.Instant) error {
	if err := l.own(inc); err != nil {
		return err
	}
	if l.v.Frozen {
		return ErrFrozen
	}
	l.v.Grace = max(l.v.Grace, until)
	return nil
}

// Stopping freezes start and grace for good: the incarnation has until the end
// of the lease to stop everything and retire. Saying it twice is no error.
func (l *Lease) Stopping(inc ident.Incarnation) error {
	if err := l.own(inc); err != nil {
		return err
	}
	l.v.Frozen = true
	return nil
}

// Kill obeys a kill record for the bound incarnation: as Stopping, and once the
// lease has ended ResetDue is true unless the incarnation retired first. It
// reports whether this is news.
func (l *Lease) Kill(inc ident.Incarnation) bool {
	if l.own(inc) != nil || l.v.Killed {
		return false
	}
	l.v.Frozen, l.v.Killed = true, true
	return true
}

// Retire ends the bound incarnation, which holds nothing and never will again.
// The lease is FREE, and no incarnation of this boot with that number or a
// lower one can be claimed any more.
func (l *Lease) Retire(inc ident.Incarnation) error {
	if err := l.own(inc); err != nil {
		return err
	}
	l.retired = inc
	l.clear()
	return nil
}

// MayFeed is the answer: may the watchdogs be fed at now? No is not final: a
// later cycle, permission or grace can turn it back, within their rules.
func (l *Lease) MayFeed(now ident.Instant) bool {
	return l.v.State == Free || (now <= l.v.Permission && l.fresh(now))
}

// MayBeat says whether a beat of the bound incarnation may be written at now:
// a daemon that no longer permits must not look alive.
func (l *Lease) MayBeat(now ident.Instant) bool {
	return l.v.State == Bound && now <= l.v.Permission
}

// ResetDue says that the incarnation was killed, has not retired, and that its
// frozen lease is over: the node has to end now.
func (l *Lease) ResetDue(now ident.Instant) bool {
	return l.v.Killed && !l.fresh(now)
}

// Nap is the longest step of the time spent suspended that counts as none: what
// two clocks that are read one after the other may differ by.
const Nap = 100 * time.Millisecond

// OverAfter says that a node which was suspended for so long has to end now:
// its watchdogs may have slept with it, so the others may hold it for dead and
// own what it held, and a beat that was on its way must not revive its lease.
func (l *Lease) OverAfter(slept time.Duration) bool {
	return l.v.State == Bound && slept > Nap
}

// State is FREE or BOUND.
func (l *Lease) State() State { return l.v.State }

// View returns a copy of everything, without allocating.
func (l *Lease) View() View { return l.v }

// End is the last instant at which the lease is fresh if nothing more
// completes, leaving the permission aside; Never if FREE.
func (l *Lease) End() ident.Instant {
	if l.v.State == Free {
		return ident.Never
	}
	return max(after(l.v.Start, l.v.Params.F), min(l.v.Grace, after(l.v.Start, l.v.Params.G)))
}

// fresh is the disk's or the members' part of ok(now), without the permission.
func (l *Lease) fresh(now ident.Instant) bool { return now <= l.End() }

// own says why an order for inc cannot be obeyed.
func (l *Lease) own(inc ident.Incarnation) error {
	switch {
	case l.v.State == Free:
		return ErrFree
	case inc != l.v.Inc:
		return ErrIncarnation
	}
	return nil
}

// clear forgets everything but which incarnation retired last.
func (l *Lease) clear() {
	l.v = View{Start: ident.LongAgo, Permission: ident.LongAgo, Grace: ident.LongAgo}
	l.first, l.base = ident.LongAgo, ident.LongAgo
	for d := range l.done {
		l.done[d] = ident.LongAgo
	}
}

// after is t+d, and Never where G is unlimited and the sum would overflow.
func after(t ident.Instant, d time.Duration) ident.Instant {
	if s := t.Add(d); s >= t {
		return s
	}
	return ident.Never
}
