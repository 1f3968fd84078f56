package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	tight = time.Millisecond // a sample at or above this width judges nothing
	tries = 10               // readings per sample before it counts as noisy
)

// reading is one pass over the clocks, in the order they are read, in
// nanoseconds. The two readings of CLOCK_MONOTONIC enclose the others.
type reading struct{ mono1, boot, raw, mono2 int64 }

// Interval is the interval clock of this machine. Its methods may be called from
// several goroutines.
type Interval struct {
	read   func() (reading, error)
	offset int64 // added to every reading; zero but for emulated nodes

	// suspended is the largest lower bound of the time suspended seen so
	// far. The true value never falls, and boot-mono2 never exceeds it, so
	// the maximum is always right and only gets tighter; taking the latest
	// value instead would let now() run backwards by the noise.
	suspended atomic.Int64
}

// NewInterval returns the machine's interval clock. It takes one sample, so that
// the first reading of a process is as tight as later ones; a noisy machine is
// no error here. It fails only where the kernel has no such clocks.
func NewInterval() (*Interval, error) {
	return newInterval(readClocks, 0)
}

func newInterval(read func() (reading, error), offset int64) (*Interval, error) {
	c := &Interval{read: read, offset: offset}
	if _, err := c.Sample(); err != nil && err != ErrNoisy {
		return nil, err
	}
	return c, nil
}

// Now is Sample without its parts. It does not allocate.
func (c *Interval) Now() (ident.Instant, error) {
	s, err := c.Sample()
	return s.Now, err
}

// Sample reads the clocks, up to 10 times until the reading is tighter than 1 ms.
// With ErrNoisy it returns the tightest reading. It does not allocate.
func (c *Interval) Sample() (Sample, error) {
	var best reading
	for i := range tries {
		r, err := c.read()
		if err != nil {
			return Sample{}, err
		}
		if i == 0 || r.width() < best.width() {
			best = r
		}
		if best.width() < tight {
			return c.sample(best), nil
		}
	}
	return c.sample(best), ErrNoisy
}

func (r reading) width() time.Duration { return time.Duration(r.mono2 - r.mono1) }

func (c *Interval) sample(r reading) Sample {
	s := c.raiseSuspended(r.boot - r.mono2)
	return Sample{
		Now:       ident.Instant(r.raw + s + c.offset),
		Suspended: time.Duration(s),
		Width:     r.width(),
	}
}

// raiseSuspended keeps the maximum of all lower bounds and returns it.
func (c *Interval) raiseSuspended(bound int64) int64 {
	for {
		old := c.suspended.Load()
		if bound <= old {
			return old
		}
		if c.suspended.CompareAndSwap(old, bound) {
			return bound
		}
	}
}

func readClocks() (reading, error) {
	var r reading
	for _, c := range [...]struct {
		id int32
		to *int64
	}{
		{unix.CLOCK_MONOTONIC, &r.mono1},
		{unix.CLOCK_BOOTTIME, &r.boot},
		{unix.CLOCK_MONOTONIC_RAW, &r.raw},
		{unix.CLOCK_MONOTONIC, &r.mono2},
	} {
		var ts unix.Timespec
		if err := unix.ClockGettime(c.id, &ts); err != nil {
			return reading{}, err
		}
		*c.to = ts.Nano()
	}
	return r, nil
}
