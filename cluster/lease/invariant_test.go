package lease_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
	"pgregory.net/rapid"
)

// cycle is a beat that was issued and may complete at any later time, or never.
type cycle struct {
	disk   int
	inc    ident.Incarnation
	issued ident.Instant
}

// machine drives a lease with arbitrary orders and late completions, and keeps
// its own, naive record of what the others may count on.
type machine struct {
	l        *lease.Lease
	disks    int
	now      ident.Instant
	inc      ident.Incarnation // bound, zero if free
	next     uint32
	claimed  ident.Instant
	inFlight []cycle
	landed   []cycle // completed while bound and not frozen
	frozen   bool
	permit   ident.Instant
	grace    ident.Instant
	start    ident.Instant
}

func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":         m.check,
		"time":     func(t *rapid.T) { m.now += ident.Instant(rapid.Int64Range(1, 7).Draw(t, "d")) * sec / 2 },
		"claim":    m.claim,
		"issue":    m.issue,
		"complete": m.complete,
		"lose": func(t *rapid.T) {
			if len(m.inFlight) > 0 {
				i := rapid.IntRange(0, len(m.inFlight)-1).Draw(t, "i")
				m.inFlight = slices.Delete(m.inFlight, i, i+1)
			}
		},
		"permit": func(t *rapid.T) {
			until := m.now + 10*sec
			if m.l.Permit(m.inc, until) == nil {
				m.permit = max(m.permit, until)
			}
		},
		"grace": func(t *rapid.T) {
			until := m.now + ident.Instant(params.F)
			if m.l.Grace(m.inc, until) == nil {
				m.grace = max(m.grace, until)
			}
		},
		"stopping": func(*rapid.T) { m.frozen = m.l.Stopping(m.inc) == nil || m.frozen },
		"kill":     func(*rapid.T) { m.frozen = m.l.Kill(m.inc) || m.frozen },
		"retire": func(*rapid.T) {
			if m.l.Retire(m.inc) == nil {
				m.inc, m.frozen = ident.Incarnation{}, false
			}
		},
	}
}

func (m *machine) claim(t *rapid.T) {
	m.next++
	inc := ident.Incarnation{N: m.next, Boot: boot}
	err := m.l.Claim(m.now, inc, m.now+10*sec, params)
	if m.inc.IsZero() != (err == nil) {
		t.Fatalf("claim while bound to %v: %v", m.inc, err)
	}
	if err == nil {
		m.inc, m.claimed, m.permit, m.grace, m.start = inc, m.now, m.now+10*sec, ident.LongAgo, m.now
		m.landed = nil
	}
}

func (m *machine) issue(t *rapid.T) {
	if m.inc.IsZero() || !m.l.MayBeat(m.now) {
		return
	}
	m.inFlight = append(m.inFlight, cycle{rapid.IntRange(0, m.disks-1).Draw(t, "disk"), m.inc, m.now})
}

func (m *machine) complete(t *rapid.T) {
	if len(m.inFlight) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.inFlight)-1).Draw(t, "i")
	c := m.inFlight[i]
	m.inFlight = slices.Delete(m.inFlight, i, i+1)
	m.l.CycleCompleted(c.disk, c.inc, c.issued)
	if c.inc == m.inc && !m.frozen {
		m.landed = append(m.landed, c)
	}
}

// carried counts the disks that carry a completed beat issued at t or later.
func (m *machine) carried(t ident.Instant) int {
	seen := map[int]bool{}
	for _, c := range m.landed {
		if c.inc == m.inc && c.issued >= t {
			seen[c.disk] = true
		}
	}
	return len(seen)
}

// check holds after every action: the answer against the naive record.
func (m *machine) check(t *rapid.T) {
	v := m.l.View()
	if v.State == lease.Free {
		if !m.l.MayFeed(m.now) || m.l.ResetDue(m.now) || !m.inc.IsZero() {
			t.Fatal("a free node must be fed and never be reset")
		}
		return
	}
	if v.Start < m.start {
		t.Fatalf("the lease start went back from %v to %v", m.start, v.Start)
	}
	if m.frozen && v.Start != m.start {
		t.Fatal("a frozen lease moved")
	}
	m.start = v.Start
	f, g := ident.Instant(params.F), ident.Instant(params.G)
	majority := m.disks/2 + 1
	byDisk := m.now <= m.claimed+f || m.carried(m.now-f) >= majority
	byGrace := m.now <= m.grace && (m.now <= m.claimed+g || m.carried(m.now-g) >= majority)
	want := m.now <= m.permit && (byDisk || byGrace)
	if got := m.l.MayFeed(m.now); got != want {
		t.Fatalf("MayFeed(%v) = %v, the record says disk %v, grace %v, permission until %v", time.Duration(m.now), got, byDisk, byGrace, time.Duration(m.permit))
	}
	if m.l.ResetDue(m.now) != (v.Killed && !byDisk && !byGrace) {
		t.Fatalf("ResetDue(%v) = %v: %+v", time.Duration(m.now), m.l.ResetDue(m.now), v)
	}
}

func TestLeaseAgainstNaiveRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 3}).Draw(t, "disks")
		m := &machine{l: lease.New(n), disks: n, now: 1000 * sec, grace: ident.LongAgo}
		t.Repeat(m.actions())
	})
}
