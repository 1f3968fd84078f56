package watchdogtest

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

func TestBoardConforms(t *testing.T) {
	Conform(t, func(t *testing.T) Rig {
		const timeout = 2 * time.Second
		clock := &Clock{}
		board := NewBoard(clock.Now)
		return Rig{
			Open:    func() (watchdog.Device, error) { return board.Open("hw", timeout) },
			Timeout: timeout, Now: clock.Now, Wait: clock.Advance, Bite: board.Bite,
		}
	})
}

func TestTheFirstOfTwoDevicesBites(t *testing.T) {
	clock := &Clock{}
	board := NewBoard(clock.Now)
	soft, err := board.Open("soft", 3*time.Second)
	must(t, err)
	_, err = board.Open("hw", 2*time.Second)
	must(t, err)
	clock.Advance(time.Second)
	must(t, soft.Feed())
	clock.Advance(time.Minute)
	if err := soft.Feed(); !errors.Is(err, ErrReset) {
		t.Errorf("feed after the reset gave %v", err)
	}
	if b, ok := board.Bite(); !ok || b != (Bite{Device: "hw", At: 2 * time.Second}) {
		t.Errorf("bite %+v, %v, want hw at 2 s", b, ok)
	}
	if feeds := soft.Feeds(); len(feeds) != 1 || feeds[0] != time.Second {
		t.Errorf("feeds %v, want one at 1 s", feeds)
	}
}

func TestAFailedFeedIsNoPet(t *testing.T) {
	clock := &Clock{}
	board := NewBoard(clock.Now)
	d, err := board.Open("hw", 2*time.Second)
	must(t, err)
	boom := errors.New("boom")
	d.Fail(boom)
	clock.Advance(1500 * time.Millisecond)
	if err := d.Feed(); !errors.Is(err, boom) {
		t.Errorf("feed gave %v, want the injected error", err)
	}
	d.Fail(nil)
	stalled := false
	d.Before(func() { stalled = true; clock.Advance(time.Second) })
	if err := d.Feed(); !errors.Is(err, ErrReset) || !stalled {
		t.Errorf("a feed stalled across the deadline gave %v", err)
	}
}
