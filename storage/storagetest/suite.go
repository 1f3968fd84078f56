package storagetest

import (
	"bytes"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// patience is the timeout of requests that must succeed: ample for a noisy
// machine, and an end for a broken one.
const patience = 30 * time.Second

// leastSize is the smallest disk that TestDisk works on, in bytes.
const leastSize = 1 << 20

// TestDisk is the suite that every implementation of storage.Disk passes. open
// returns a new handle on one and the same scratch disk of at least 1 MiB,
// which is overwritten; the suite closes the handles.
func TestDisk(t *testing.T, open func(t *testing.T) storage.Disk) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *scratch)
	}{
		{"Info", testInfo},
		{"WhatIsWrittenIsRead", testRoundTrip},
		{"NeighboursStayUntouched", testNeighbours},
		{"LargeRequests", testLarge},
		{"HandlesShareTheDisk", testShared},
		{"MemoryBelongsToTheCaller", testOwnership},
		{"Misaligned", testMisaligned},
		{"BeyondTheEnd", testRange},
		{"EmptyRequest", testEmpty},
		{"NoTime", testNoTime},
		{"LateAnswerIsThrownAway", testLateAnswer},
		{"Close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, &scratch{t: t, open: open})
		})
	}
}

// scratch opens handles for one test and writes and reads with patience.
type scratch struct {
	t    *testing.T
	open func(t *testing.T) storage.Disk
}

// disk returns a new handle that is closed at the end of the test.
func (s *scratch) disk() storage.Disk {
	s.t.Helper()
	d := s.open(s.t)
	if size := d.Info().Size; size < leastSize {
		s.t.Fatalf("the scratch disk has %d bytes; the suite needs %d", size, leastSize)
	}
	s.t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.t.Errorf("close at the end of the test: %v", err)
		}
	})
	return d
}

func (s *scratch) write(d storage.Disk, data []byte, off int64) {
	s.t.Helper()
	if err := d.Write(data, off, patience); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scratch) expect(d storage.Disk, want []byte, off int64) {
	s.t.Helper()
	got := make([]byte, len(want))
	if err := d.Read(got, off, patience); err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		s.t.Fatalf("read at %d: byte %d of %d is %#x, want %#x", off, i, len(want), got[i], want[i])
	}
}

// pattern returns n bytes that differ from those of another seed and do not
// repeat within a page.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed ^ byte(i) ^ byte(i>>8)*31
	}
	return b
}

func testInfo(t *testing.T, s *scratch) {
	a, b := s.disk().Info(), s.disk().Info()
	if a != b {
		t.Errorf("two handles say different things: %+v and %+v", a, b)
	}
	if a.SectorSize != 512 && a.SectorSize != 4096 {
		t.Errorf("sector size %d", a.SectorSize)
	}
	if a.Size%int64(a.SectorSize) != 0 {
		t.Errorf("size %d is no multiple of the sector size %d", a.Size, a.SectorSize)
	}
	if a.Path == "" || a.Identity.Kind == "" || a.Identity.Value == "" {
		t.Errorf("path or identity is missing: %+v", a)
	}
}

func testRoundTrip(_ *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	last := d.Info().Size - int64(sector)
	for i, off := range []int64{0, int64(sector), 64 << 10, last} {
		s.write(d, pattern(byte(i), sector), off)
	}
	for i, off := range []int64{0, int64(sector), 64 << 10, last} {
		s.expect(d, pattern(byte(i), sector), off)
	}
}

func testNeighbours(_ *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	want := pattern(1, 8*sector)
	s.write(d, want, 0)
	copy(want[3*sector:], pattern(2, 2*sector))
	s.write(d, want[3*sector:5*sector], int64(3*sector))
	s.expect(d, want, 0)
}

func testLarge(_ *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	want := pattern(7, leastSize-2*sector)
	s.write(d, want, int64(sector))
	s.expect(d, want, int64(sector))
	s.expect(d, want[sector:9*sector], int64(2*sector))
}

func testShared(_ *testing.T, s *scratch) {
	a, b := s.disk(), s.disk()
	sector := a.Info().SectorSize
	for i := range byte(8) {
		s.write(a, pattern(i, sector), 0)
		s.expect(b, pattern(i, sector), 0)
		s.write(b, pattern(^i, sector), int64(sector))
		s.expect(a, pattern(^i, sector), int64(sector))
	}
}

func testOwnership(t *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	room := make([]byte, 2*sector+8)
	odd := room[1 : 1+sector] // direct I/O would refuse this address
	copy(odd, pattern(3, sector))
	s.write(d, odd, 0)
	clear(odd)
	s.expect(d, pattern(3, sector), 0)
	if err := d.Read(odd, 0, patience); err != nil {
		t.Fatal(err)
	}
	s.write(d, pattern(4, sector), 0)
	if !bytes.Equal(odd, pattern(3, sector)) || room[0] != 0 || room[1+sector] != 0 {
		t.Error("a later request changed the caller's buffer, or a read went past its end")
	}
}

// refused checks that a request failed with want.Err, as an *OpError that says
// what was asked for.
func refused(t *testing.T, err error, want storage.OpError) {
	t.Helper()
	var got *storage.OpError
	switch {
	case !errors.Is(err, want.Err):
		t.Errorf("%s of %d bytes at %d: got %v, want %v", want.Op, want.Len, want.Off, err, want.Err)
	case !errors.As(err, &got):
		t.Errorf("%s of %d bytes at %d: %T is no *storage.OpError", want.Op, want.Len, want.Off, err)
	case got.Op != want.Op || got.Off != want.Off || got.Len != want.Len || got.Path == "":
		t.Errorf("%s of %d bytes at %d: the error is about %+v", want.Op, want.Len, want.Off, *got)
	}
}

func testMisaligned(t *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	s.write(d, pattern(5, 2*sector), 0)
	for _, c := range []struct {
		off int64
		n   int
	}{{1, sector}, {int64(sector) / 2, sector}, {-1, sector}, {0, sector - 1}, {0, sector + 1}, {int64(sector), 1}} {
		buf := make([]byte, c.n)
		refused(t, d.Read(buf, c.off, patience), storage.OpError{Op: "read", Off: c.off, Len: c.n, Err: storage.ErrAlignment})
		refused(t, d.Write(buf, c.off, patience), storage.OpError{Op: "write", Off: c.off, Len: c.n, Err: storage.ErrAlignment})
	}
	s.expect(d, pattern(5, 2*sector), 0)
}

func testRange(t *testing.T, s *scratch) {
	d := s.disk()
	sector, size := d.Info().SectorSize, d.Info().Size
	s.write(d, pattern(6, sector), size-int64(sector))
	top := int64(math.MaxInt64) / int64(sector) * int64(sector)
	for _, off := range []int64{size, size - int64(sector), size + 1<<30, -int64(sector), top} {
		buf := make([]byte, 2*sector)
		refused(t, d.Read(buf, off, patience), storage.OpError{Op: "read", Off: off, Len: len(buf), Err: storage.ErrRange})
		refused(t, d.Write(buf, off, patience), storage.OpError{Op: "write", Off: off, Len: len(buf), Err: storage.ErrRange})
	}
	s.expect(d, pattern(6, sector), size-int64(sector))
	if got := d.Info().Size; got != size {
		t.Errorf("the disk grew from %d to %d bytes", size, got)
	}
}

func testEmpty(t *testing.T, s *scratch) {
	d := s.disk()
	for _, off := range []int64{0, d.Info().Size} {
		if err := d.Read(nil, off, patience); err != nil {
			t.Errorf("empty read at %d: %v", off, err)
		}
		if err := d.Write(nil, off, patience); err != nil {
			t.Errorf("empty write at %d: %v", off, err)
		}
	}
	refused(t, d.Read(nil, 1, patience), storage.OpError{Op: "read", Off: 1, Len: 0, Err: storage.ErrAlignment})
}

func testNoTime(t *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	s.write(d, pattern(8, sector), 0)
	for _, timeout := range []time.Duration{0, -time.Second} {
		refused(t, d.Write(pattern(9, sector), 0, timeout), storage.OpError{Op: "write", Off: 0, Len: sector, Err: storage.ErrTimeout})
		refused(t, d.Read(make([]byte, sector), 0, timeout), storage.OpError{Op: "read", Off: 0, Len: sector, Err: storage.ErrTimeout})
	}
	s.expect(d, pattern(8, sector), 0)
}

// testLateAnswer leaves requests behind, or not, by timeouts that a disk may or
// may not meet, and checks that no answer is taken for that of another request.
func testLateAnswer(t *testing.T, s *scratch) {
	d := s.disk()
	sector := d.Info().SectorSize
	for i := range 4 {
		s.write(d, pattern(byte(i), sector), int64(i*sector))
	}
	for i := range 64 {
		first, second := i%4, (i+1)%4
		buf := make([]byte, sector)
		err := d.Read(buf, int64(first*sector), time.Duration(2*i)*time.Microsecond)
		switch {
		case err == nil && !bytes.Equal(buf, pattern(byte(first), sector)):
			t.Fatal("a read in time returned the answer of another")
		case err != nil && !errors.Is(err, storage.ErrTimeout):
			t.Fatal(err)
		}
		s.expect(d, pattern(byte(second), sector), int64(second*sector))
	}
}

func testClose(t *testing.T, s *scratch) {
	d, other := s.disk(), s.disk()
	sector := d.Info().SectorSize
	s.write(d, pattern(10, sector), 0)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, sector)
	refused(t, d.Read(buf, 0, patience), storage.OpError{Op: "read", Off: 0, Len: sector, Err: os.ErrClosed})
	refused(t, d.Write(buf, 0, patience), storage.OpError{Op: "write", Off: 0, Len: sector, Err: os.ErrClosed})
	refused(t, d.Close(), storage.OpError{Op: "close", Off: 0, Len: 0, Err: os.ErrClosed})
	s.expect(other, pattern(10, sector), 0)
}
