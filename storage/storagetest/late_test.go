package storagetest_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

func TestMemoryLate(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(strconv.Itoa(sector), func(t *testing.T) {
			m := storagetest.NewMemory(1<<20, sector)
			storagetest.TestLate(t, func(*testing.T) (storage.Disk, storagetest.Stall) {
				h := m.Open("n1")
				return h, h
			})
		})
	}
}

// sloppy is a handle with one mistake. The methods that it does not have are
// those of the handle that it spoils.
type sloppy struct {
	*storagetest.Handle
	m *storagetest.Memory

	forgets  bool // does not wait for its late request: the next one goes out at once
	pretends bool // reports a write that missed its deadline as done
	mistakes bool // takes the late completion for that of the next request
	shares   bool // leaves the request in flight with the caller's memory
	repeats  bool // sends a write that missed its deadline again
	cancels  bool // gives a request up that missed its deadline
	leaves   bool // closes with a request in flight
	sulks    bool // stays busy when the request is over

	late    []byte // of the write that missed its deadline
	at      int64
	pending bool
	since   int // requests that succeeded since
}

func (s *sloppy) Write(buf []byte, off int64, timeout time.Duration) error {
	err := s.do(func(d storage.Disk) error { return d.Write(buf, off, timeout) })
	if !errors.Is(err, storage.ErrTimeout) || timeout <= 0 {
		return err
	}
	s.pending, s.at, s.late, s.since = true, off, buf, 0
	if s.repeats {
		s.late = append([]byte(nil), buf...)
	}
	if s.cancels {
		for _, p := range s.m.Pending() {
			s.m.Drop(p.ID)
		}
	}
	if s.pretends {
		return nil
	}
	return err
}

func (s *sloppy) Read(buf []byte, off int64, timeout time.Duration) error {
	return s.do(func(d storage.Disk) error { return d.Read(buf, off, timeout) })
}

func (s *sloppy) do(request func(storage.Disk) error) error {
	if s.forgets && s.pending {
		return request(s.m.Open("n1"))
	}
	if s.mistakes && s.pending && len(s.m.Pending()) == 0 {
		s.pending = false
		return nil
	}
	if s.sulks && s.pending {
		return storage.ErrBusy
	}
	err := request(s.Handle)
	if err == nil && s.pending {
		s.since++
		s.again()
	}
	return err
}

// again puts the late write on the disk once more: its memory as it is now, or
// the write as it was.
func (s *sloppy) again() {
	if s.shares || s.repeats && s.since == 2 {
		s.pending = false
		s.m.Poke(s.at, s.late)
	}
}

func (s *sloppy) Close() error {
	if err := s.Handle.Close(); err != nil && !s.leaves {
		return err
	}
	return nil
}

// TestSloppyHandlesAreCaught: each mistake that a handle can make with a late
// request is noticed, and a handle without one passes.
func TestSloppyHandlesAreCaught(t *testing.T) {
	for name, mistake := range map[string]func(*sloppy){
		"":                                   func(*sloppy) {},
		"forgets its late request":           func(s *sloppy) { s.forgets = true },
		"reports it as done":                 func(s *sloppy) { s.pretends = true },
		"takes its completion for another's": func(s *sloppy) { s.mistakes = true },
		"leaves it the caller's memory":      func(s *sloppy) { s.shares = true },
		"sends it again":                     func(s *sloppy) { s.repeats = true },
		"gives it up":                        func(s *sloppy) { s.cancels = true },
		"closes before it is over":           func(s *sloppy) { s.leaves = true },
		"stays busy after it":                func(s *sloppy) { s.sulks = true },
	} {
		t.Run(name, func(t *testing.T) {
			m := storagetest.NewMemory(1<<20, 512)
			h := m.Open("n1")
			s := &sloppy{Handle: h, m: m}
			mistake(s)
			err := storagetest.CheckLate(s, m.Open("n2"), h)
			if (err == nil) != (name == "") {
				t.Errorf("a handle that %q: %v", name, err)
			}
			if err != nil {
				t.Log(err)
			}
		})
	}
}
