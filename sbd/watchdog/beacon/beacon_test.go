package beacon

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

func example() *Beacon {
	return &Beacon{
		Series: [16]byte{1, 2}, Boot: [16]byte{3, 4}, Seq: 77,
		Run: Run{Kind: watchdog.RunGuardDeath, Phase: Starving, Elapsed: 1980 * time.Millisecond, Gap: 21 * time.Millisecond, Write: time.Millisecond},
		Device: Device{
			Node: "alpha", Identity: "i6300ESB timer", Driver: "i6300esb",
			Asked: 2 * time.Second, Timeout: 2 * time.Second, Setting: [32]byte{9},
		},
		Done: []Result{{watchdog.RunStarve, 1990 * time.Millisecond, 2012 * time.Millisecond}, {watchdog.RunStarve, 2 * time.Second, 2 * time.Second}},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int{512, 4096} {
		sector := make([]byte, size)
		if err := Encode(sector, example()); err != nil {
			t.Fatal(err)
		}
		got, err := Decode(sector)
		if err != nil || !reflect.DeepEqual(got, example()) {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
	}
	b := example()
	b.Done = make([]Result, MaxRuns+1)
	if err := Encode(make([]byte, 512), b); err == nil {
		t.Error("more runs than there is room for were written")
	}
}

// The front of a beacon as it stands on disks.
func TestGolden(t *testing.T) {
	sector := make([]byte, 512)
	if err := Encode(sector, example()); err != nil {
		t.Fatal(err)
	}
	const want = "4846424541434f4e" + "01000000" + "cbce71f1" + "01020000000000000000000000000000" + "03040000000000000000000000000000" +
		"4d00000000000000" + "0202020000000000" + "0094357700000000"
	if got := hex.EncodeToString(sector[:72]); got != want {
		t.Errorf("a beacon begins with\n%s, want\n%s", got, want)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(b []byte)
		want  error
	}{
		"empty":     {func(b []byte) { clear(b) }, ErrNone},
		"foreign":   {func(b []byte) { copy(b, "LABELONE") }, ErrForeign},
		"version":   {func(b []byte) { b[offVersion] = 2 }, ErrVersion},
		"torn":      {func(b []byte) { clear(b[256:]) }, ErrDamaged},
		"kind":      {func(b []byte) { b[offKind] = 7; seal(b) }, ErrDamaged},
		"phase":     {func(b []byte) { b[offPhase] = 0; seal(b) }, ErrDamaged},
		"reserved":  {func(b []byte) { b[offZero] = 1; seal(b) }, ErrDamaged},
		"runs":      {func(b []byte) { b[offRuns] = MaxRuns + 1; seal(b) }, ErrDamaged},
		"backwards": {func(b []byte) { b[offDone+10] = 0; clear(b[offDone+10 : offDone+18]); seal(b) }, ErrDamaged},
		"no time":   {func(b []byte) { clear(b[offTimeout:offElapsed]); seal(b) }, ErrDamaged},
		"tail":      {func(b []byte) { b[600] = 1 }, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			sector := make([]byte, 1024)
			if err := Encode(sector, example()); err != nil {
				t.Fatal(err)
			}
			c.spoil(sector)
			if b, err := Decode(sector); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", b, err, c.want)
			}
		})
	}
	if _, err := Decode(make([]byte, 100)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a short sector: %v", err)
	}
}

// seal makes the checksum right again, so that what it guards is reached.
func seal(b []byte) {
	sum := checksum(b)
	b[offCRC], b[offCRC+1], b[offCRC+2], b[offCRC+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
}

// memory is a disk of one sector that a machine's reset stops.
type memory struct {
	sector []byte
	writes int
	slow   time.Duration
	err    error
}

func (m *memory) Read(buf []byte, _ int64, _ time.Duration) error { copy(buf, m.sector); return m.err }

func (m *memory) Write(buf []byte, _ int64, _ time.Duration) error {
	time.Sleep(m.slow) // in a bubble: virtual time
	m.writes++
	copy(m.sector, buf)
	return m.err
}

// What the last beacon says encloses the instant at which the machine ended,
// wherever between two beacons that was.
func TestTheLastBeaconEnclosesTheReset(t *testing.T) {
	for _, after := range []time.Duration{1001 * time.Millisecond, 1010 * time.Millisecond, 1019999 * time.Microsecond} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			now := func() time.Duration { return time.Since(begin) + time.Hour }
			m := &memory{sector: make([]byte, 512), slow: time.Millisecond}
			p := Place{Disk: m, Sector: 512}
			b := *example()
			b.Done = nil
			s := NewSender(p, b, now)
			fed := 0
			for range 3 {
				if err := s.Feed(func() error { fed++; return nil }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			pet := time.Now().Add(-100 * time.Millisecond)
			var last []byte
			go func() {
				time.Sleep(time.Until(pet.Add(after)))
				last = append([]byte(nil), m.sector...)
			}()
			killed := time.Duration(0)
			err := s.Starve(2*time.Second, 900*time.Millisecond, func() error { killed = s.Elapsed(); return nil })
			if !errors.Is(err, ErrSurvived) || killed < 900*time.Millisecond || killed > time.Second || fed != 3 {
				t.Errorf("ended with %v, the guard died at %v, fed %d times", err, killed, fed)
			}
			got, err := Decode(last)
			if err != nil {
				t.Fatal(err)
			}
			r := got.Run.Ended()
			if got.Run.Phase != Starving || r.Least > after || r.Most < after || r.Most-r.Least > 150*time.Millisecond {
				t.Errorf("reset %v after the last feed: the beacons say %v to %v", after, r.Least, r.Most)
			}
			if b, err := p.Read(); err != nil || b.Run.Phase != Survived {
				t.Errorf("a machine that goes on says %+v, %v", b, err)
			}
		})
	}
}

func TestFailuresAreTold(t *testing.T) {
	m := &memory{sector: make([]byte, 512), err: errors.New("no disk")}
	s := NewSender(Place{Disk: m, Sector: 512}, *example(), func() time.Duration { return time.Second })
	if err := s.Feed(func() error { return errors.New("no device") }); err == nil || m.writes != 0 {
		t.Errorf("a failed feed: %v, %d beacons", err, m.writes)
	}
	if err := s.Feed(func() error { return nil }); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a failed write: %v", err)
	}
}
