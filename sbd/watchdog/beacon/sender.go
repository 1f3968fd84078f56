package beacon

import (
	"errors"
	"fmt"
	"time"
)

// Period is the time from one beacon to the next.
const Period = 20 * time.Millisecond

// patience is for one request: a disk that is slower makes the measurement
// worthless.
const patience = 500 * time.Millisecond

// Disk is what a sector is read from and written to.
type Disk interface {
	// Read fills buf from off, bytes from the start of the disk.
	Read(buf []byte, off int64, timeout time.Duration) error
	// Write puts buf at off, and returns when a power loss cannot take it back.
	Write(buf []byte, off int64, timeout time.Duration) error
}

// Place is the sector of one node's beacons.
type Place struct {
	Disk   Disk
	Off    int64
	Sector int // bytes
}

// Read returns the last beacon. Its errors wrap those of Decode, or are the disk's.
func (p Place) Read() (*Beacon, error) {
	sector := make([]byte, p.Sector)
	if err := p.Disk.Read(sector, p.Off, 4*patience); err != nil {
		return nil, err
	}
	return Decode(sector)
}

// ErrSurvived says that the device has not reset the machine.
var ErrSurvived = errors.New("the device has not reset this machine")

// Sender writes the beacons of one run. It belongs to one goroutine.
type Sender struct {
	place  Place
	now    func() time.Duration
	beacon Beacon
	sector []byte
	last   time.Duration // issue of the beacon before; 0: none
	fed    time.Duration // before the last feed
}

// NewSender makes a sender of beacons like b, on a clock that no time service
// slews.
func NewSender(p Place, b Beacon, now func() time.Duration) *Sender {
	s := &Sender{place: p, now: now, beacon: b, sector: make([]byte, p.Sector)}
	s.fed = now()
	return s
}

// Feed feeds the device by feed and writes a beacon; the time is taken before the
// device is touched, so that no run comes out too short.
func (s *Sender) Feed(feed func() error) error {
	at := s.now()
	if err := feed(); err != nil {
		return err
	}
	s.fed, s.beacon.Run.Phase = at, Fed
	return s.Beacon()
}

// Beacon writes one beacon.
func (s *Sender) Beacon() error {
	r := &s.beacon.Run
	issued := s.now()
	if s.last != 0 {
		r.Gap = max(r.Gap, issued-s.last)
	}
	r.Gap = max(r.Gap, Period)
	s.last, r.Elapsed = issued, issued-s.fed
	s.beacon.Seq++
	if err := Encode(s.sector, &s.beacon); err != nil {
		return err
	}
	if err := s.place.Disk.Write(s.sector, s.place.Off, patience); err != nil {
		return fmt.Errorf("write a beacon: %w", err)
	}
	r.Write = max(r.Write, s.now()-issued)
	return nil
}

// Elapsed is the time since the last feed.
func (s *Sender) Elapsed() time.Duration { return s.now() - s.fed }

// Starve writes beacons until the machine ends, or until the last feed was limit
// ago, and then returns ErrSurvived. at, if not nil, is called once, after the
// first beacon that is written at or after the time when. A failed write does not
// end it, for the device bites anyway; the next beacon then shows the longer gap.
func (s *Sender) Starve(limit, when time.Duration, at func() error) error {
	s.beacon.Run.Phase = Starving
	tick := time.NewTicker(Period)
	defer tick.Stop()
	var failed error
	for s.Elapsed() < limit {
		if err := s.Beacon(); err != nil {
			failed = err
		}
		if at != nil && s.Elapsed() >= when {
			if err := at(); err != nil {
				return err
			}
			at = nil
		}
		<-tick.C
	}
	s.beacon.Run.Phase = Survived
	return errors.Join(ErrSurvived, failed, s.Beacon())
}
