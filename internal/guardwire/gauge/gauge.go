// Package gauge is how punctual the guard is: how long its watchdogs waited for each
// feed, and what was left of the lease whenever it was renewed. The guard counts
// (Meter), a task of it writes the counts to a small file in its run directory once
// a second (Keep), and the daemon reads that for its metrics (Read).
//
// It is a file, and not a message on the guard's socket, because nothing depends on
// it: a guard and a daemon of different versions go on without it. It is written by a
// call and never mapped, so that nobody who cuts it short can end the guard; and by a
// task of its own, so that whoever feeds only adds to numbers in memory.
//
// The file, integers little endian; durations are in nanoseconds:
//
//	offset  size
//	     0     8  "HFGAUGE1"
//	     8     4  CRC-32C of everything from offset 12 on
//	    12     2  watchdogs that are fed, at most MostDogs
//	    14     2  buckets of a histogram, len(Bounds())+1
//	    16     8  how often it was written: it stands still where nobody writes it
//	    24        MostDogs histograms of gaps between two feeds, in the order in which
//	              the guard lists its watchdogs; those that are not fed are zero
//	    ...       one histogram of what was left of the lease
//
// A histogram is its buckets, 8 bytes each, which count what was at most their bound
// and above the one before; then the sum and the extreme: the longest gap, or the
// least that was left, 8 bytes each.
package gauge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// File is the file's name in the guard's run directory.
const File = "guard.gauge"

// MostDogs is how many watchdogs are counted; a node has two.
const MostDogs = 4

// buckets is how many a histogram has: one for each bound, and one above.
const buckets = 12

// Bounds are the upper bounds of the buckets but the last, which has none.
func Bounds() [buckets - 1]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{50 * ms, 100 * ms, 150 * ms, 250 * ms, 500 * ms, 1000 * ms, 1500 * ms, 2500 * ms, 5000 * ms, 10000 * ms, 30000 * ms}
}

const (
	magic     = "HFGAUGE1"
	headSize  = 24
	histSize  = (buckets + 2) * 8
	crcAt     = 8
	dogsAt    = 12
	bucketsAt = 14
	writtenAt = 16
	size      = headSize + (MostDogs+1)*histSize
)

// counts is a histogram that one thread adds to and another reads.
type counts struct {
	in      [buckets]atomic.Uint64
	sum     atomic.Int64
	extreme atomic.Int64
}

func (c *counts) add(d time.Duration) {
	i, bounds := 0, Bounds()
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	c.in[i].Add(1)
	c.sum.Add(int64(d))
}

// Meter counts. Its methods are called by the feeding thread; they allocate nothing
// and never wait. The zero value is ready.
type Meter struct {
	dogs  atomic.Int32
	gaps  [MostDogs]counts
	fed   [MostDogs]int64 // of the feeding thread alone: the last feed; 0: none
	left  counts
	until int64 // of the feeding thread alone: the lease's end as it was seen last; 0: nothing is bound
}

// Fed says that watchdog i, from 0 on, is fed at an instant, in nanoseconds of any
// clock that goes evenly.
func (m *Meter) Fed(i int, at int64) {
	if i >= MostDogs {
		return
	}
	if int(m.dogs.Load()) <= i {
		m.dogs.Store(int32(i + 1))
	}
	if before := m.fed[i]; before != 0 {
		gap := at - before
		m.gaps[i].add(time.Duration(gap))
		m.gaps[i].extreme.Store(max(m.gaps[i].extreme.Load(), gap))
	}
	m.fed[i] = at
}

// Lease says at an instant of the same clock until when the lease is good; 0: nothing
// is bound. Whenever that has moved, what was left of it before is counted.
func (m *Meter) Lease(until, at int64) {
	if before := m.until; before != 0 && until > before {
		left := max(0, before-at)
		m.left.add(time.Duration(left))
		if least := m.left.extreme.Load(); least == 0 || left < least {
			m.left.extreme.Store(left)
		}
	}
	m.until = until
}

// Histogram is what was counted by a moment.
type Histogram struct {
	In      [buckets]uint64 // by bucket, not cumulated
	Sum     time.Duration
	Extreme time.Duration // the longest gap; the least that was left
}

// Count is how many were counted.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.In {
		n += c
	}
	return n
}

// Figures are what the file says.
type Figures struct {
	Written uint64      // how often the file was written
	Gaps    []Histogram // between two feeds, by watchdog
	Left    Histogram   // of the lease, when it was renewed
}

// encode fills the file's bytes.
func (m *Meter) encode(b []byte, written uint64) {
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[dogsAt:], uint16(m.dogs.Load()))
	binary.LittleEndian.PutUint16(b[bucketsAt:], buckets)
	binary.LittleEndian.PutUint64(b[writtenAt:], written)
	at := headSize
	put := func(v uint64) { binary.LittleEndian.PutUint64(b[at:], v); at += 8 }
	hist := func(c *counts) {
		for i := range c.in {
			put(c.in[i].Load())
		}
		put(uint64(c.sum.Load()))
		put(uint64(c.extreme.Load()))
	}
	for i := range m.gaps {
		hist(&m.gaps[i])
	}
	hist(&m.left)
	binary.LittleEndian.PutUint32(b[crcAt:], sum(b))
}

func sum(b []byte) uint32 {
	return crc32.Checksum(b[dogsAt:], crc32.MakeTable(crc32.Castagnoli))
}

// decode reads the file's bytes.
func decode(b []byte) (Figures, error) {
	switch {
	case len(b) != size:
		return Figures{}, fmt.Errorf("it has %d bytes, and would have %d", len(b), size)
	case string(b[:len(magic)]) != magic:
		return Figures{}, errors.New("it begins with something else")
	case binary.LittleEndian.Uint32(b[crcAt:]) != sum(b):
		return Figures{}, errTorn
	}
	dogs := int(binary.LittleEndian.Uint16(b[dogsAt:]))
	if n := int(binary.LittleEndian.Uint16(b[bucketsAt:])); n != buckets || dogs > MostDogs {
		return Figures{}, fmt.Errorf("it speaks of %d watchdogs and %d buckets: another version has written it", dogs, n)
	}
	f := Figures{Written: binary.LittleEndian.Uint64(b[writtenAt:]), Gaps: make([]Histogram, MostDogs)}
	at := headSize
	next := func() uint64 { at += 8; return binary.LittleEndian.Uint64(b[at-8:]) }
	hist := func(h *Histogram) {
		for i := range h.In {
			h.In[i] = next()
		}
		h.Sum, h.Extreme = time.Duration(next()), time.Duration(next())
	}
	for i := range f.Gaps {
		hist(&f.Gaps[i])
	}
	hist(&f.Left)
	f.Gaps = f.Gaps[:dogs]
	return f, nil
}

// errTorn is what a reader sees that came while the file was written.
var errTorn = errors.New("its checksum is wrong")

// every is how often the file is written.
const every = time.Second

// Keep writes the file in the run directory once a second until ctx ends. What cannot
// be written is not: the guard needs none of it.
func Keep(ctx context.Context, run string, m *Meter) {
	file, err := os.OpenFile(filepath.Join(run, File), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	page := make([]byte, size)
	for n := uint64(1); ; n++ {
		m.encode(page, n)
		if _, err := file.WriteAt(page, 0); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tries is how often a reader that came while the file was written looks again.
const tries = 5

// Read reads the file in a guard's run directory.
func Read(run string) (f Figures, err error) {
	for range tries {
		var b []byte
		if b, err = os.ReadFile(filepath.Join(run, File)); err != nil {
			return Figures{}, err
		}
		if f, err = decode(b); !errors.Is(err, errTorn) {
			break
		}
	}
	if err != nil {
		return Figures{}, fmt.Errorf("%s: %w", filepath.Join(run, File), err)
	}
	return f, nil
}
