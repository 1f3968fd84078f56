package liveness

import (
	"fmt"
	"time"
)

// Quiet is for how long a member has been silent, as one observer may hold it
// against it: no age is longer than the observer itself could see, nor longer
// than it has known the member's incarnation from the register.
type Quiet struct {
	Own    time.Duration // the age of the observer's own view of the disks
	Slow   time.Duration // more than this, and the disks are slow for the observer too
	Margin time.Duration // by how much the member's age must exceed Own
	Disk   time.Duration
	Net    time.Duration
	Next   bool // Net is of this incarnation: a later one of the member is heard
}

// Stale says that the member's beats stand still for tsus on disks that answer
// the observer: a slow SAN accuses nobody.
func (q *Quiet) Stale(tsus time.Duration) bool {
	return q.Own <= q.Slow && q.Disk > q.Own+q.Margin && q.Disk >= tsus
}

// Suspect says why the member should be fenced; empty if it should not. refused
// says that it was asked to release its services, and has not.
func (q *Quiet) Suspect(tsus time.Duration, refused bool) string {
	switch {
	case !q.Stale(tsus):
		return ""
	case q.Net >= tsus && q.Next:
		return fmt.Sprintf("silent on the quorum disk for %s and on every link for %s; its next life speaks on the network, but beats on no disk", round(q.Disk), round(q.Net))
	case q.Net >= tsus:
		return fmt.Sprintf("silent on the quorum disk for %s and on every link for %s", round(q.Disk), round(q.Net))
	case refused:
		return fmt.Sprintf("its beats on the quorum disk stopped %s ago, and it has not released its services although its links work", round(q.Disk))
	}
	return ""
}

// Ended says why a member's silence for age proves its end: wait is over, in which
// its lease f and m periods of its watchdogs have run out.
func Ended(age, wait, f, tmax time.Duration, m uint8) string {
	const ms = time.Millisecond
	return fmt.Sprintf("its last beat was seen %s ago; its lease (%s) and its watchdogs (%d x %s) must have ended it within %s",
		age.Round(ms), f.Round(ms), m, tmax.Round(ms), wait.Round(ms))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
