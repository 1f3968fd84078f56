// Package watchdogtest has a watchdog for tests that runs on any clock, manual
// or virtual, and a conformance suite that it and the power emulator both pass.
package watchdogtest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// Clock is a manual clock. The zero value stands at zero.
type Clock struct {
	mu  sync.Mutex
	now time.Duration
}

// Now returns the time since the clock's zero.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}

// Board is a machine with watchdog devices. It resets once, with the first bite:
// after that feeding any of its devices fails.
type Board struct {
	now func() time.Duration

	mu   sync.Mutex // guards all below, with all devices
	dogs map[string]*Dog
	bite *Bite
}

// Bite is a reset by a watchdog, in times of the board's clock.
type Bite struct {
	Device  string
	At      time.Duration
	LastPet time.Duration
}

// NewBoard returns a machine whose devices run on the clock now.
func NewBoard(now func() time.Duration) *Board {
	return &Board{now: now, dogs: map[string]*Dog{}}
}

// Dog is a device of a Board. It behaves as a kernel driver with magic close does.
type Dog struct {
	board *Board
	info  watchdog.Info

	open, running bool
	lastPet       time.Duration
	feeds         []time.Duration
	fail          error
	before        func()
}

// maxFeeds is how many feeds a Dog remembers; it must not allocate in Feed.
const maxFeeds = 1 << 14

// ErrReset says that the machine was reset: there is no device any more.
var ErrReset = errors.New("watchdogtest: the machine was reset")

// Open arms a device: a name stands for one chip, which lasts through closing and
// opening again. A running device goes on; setting the timeout pets it.
func (b *Board) Open(name string, timeout time.Duration) (*Dog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settle() {
		return nil, ErrReset
	}
	d := b.dogs[name]
	if d == nil {
		d = &Dog{board: b, feeds: make([]time.Duration, 0, maxFeeds)}
		b.dogs[name] = d
	}
	if d.open {
		return nil, fmt.Errorf("%s: %w", name, watchdog.ErrBusy)
	}
	d.info = watchdog.Info{
		Path: "board/" + name, Identity: "Test Watchdog " + name, Driver: "watchdogtest",
		Timeout: timeout, MagicClose: true, Emulated: true,
	}
	d.open, d.running, d.lastPet = true, true, b.now()
	return d, nil
}

// Bite returns the reset of the machine, or false as long as there was none.
func (b *Board) Bite() (Bite, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.settle() {
		return Bite{}, false
	}
	return *b.bite, true
}

// settle finds out which device bit first, if any, and says whether one did.
func (b *Board) settle() bool {
	if b.bite != nil {
		return true
	}
	now := b.now()
	for name, d := range b.dogs {
		end := d.lastPet + d.info.Timeout
		if !d.running || now < end {
			continue
		}
		if b.bite == nil || end < b.bite.At || end == b.bite.At && name < b.bite.Device {
			b.bite = &Bite{Device: name, At: end, LastPet: d.lastPet}
		}
	}
	return b.bite != nil
}

// Before makes f run at the beginning of every Feed, outside of any lock: a test
// stalls the feeding thread there. Nil ends it.
func (d *Dog) Before(f func()) {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	d.before = f
}

// Fail makes every Feed fail with err, without petting; nil ends it.
func (d *Dog) Fail(err error) {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	d.fail = err
}

// Feeds returns the times of the feeds so far, on the board's clock; the first
// 16384 are kept.
func (d *Dog) Feeds() []time.Duration {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	return append([]time.Duration(nil), d.feeds...)
}

// Running says that the device counts down.
func (d *Dog) Running() bool {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	return d.running && !d.board.settle()
}

// Info describes the device.
func (d *Dog) Info() watchdog.Info { return d.info }

// Feed pets the device.
func (d *Dog) Feed() error {
	d.board.mu.Lock()
	before := d.before
	d.board.mu.Unlock()
	if before != nil {
		before()
	}
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	switch {
	case !d.open:
		return watchdog.ErrClosed
	case d.board.settle():
		return ErrReset
	case d.fail != nil:
		return d.fail
	}
	d.lastPet = d.board.now()
	if len(d.feeds) < cap(d.feeds) {
		d.feeds = append(d.feeds, d.lastPet)
	}
	return nil
}

// Disarm stops the device.
func (d *Dog) Disarm() error {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	if !d.open {
		return watchdog.ErrClosed
	}
	d.open = false
	if d.board.settle() {
		return ErrReset
	}
	d.running = false
	return nil
}

// Close pets the device and leaves it running.
func (d *Dog) Close() error {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	if !d.open {
		return watchdog.ErrClosed
	}
	d.open = false
	if !d.board.settle() {
		d.lastPet = d.board.now()
	}
	return nil
}
