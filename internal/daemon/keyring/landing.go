package keyring

import (
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// settles is after what time nothing that was issued lands any more: what the register
// leaves the place of a write alone for whose outcome is not known.
const settles = 60 * time.Second

// Landing knows what may still land on one disk. It may be used by several goroutines.
type Landing struct {
	mu     sync.Mutex
	failed time.Time                  // under mu: when a request failed last, or the process began
	slots  [quorumdisk.Ring]time.Time // under mu: when a seal was written there and its outcome is not known
}

// Failed notes that a request may or may not have been carried out.
func (l *Landing) Failed(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = now
}

// Left is for how long yet something may land.
func (l *Landing) Left(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed.IsZero() {
		return 0
	}
	return max(0, settles-now.Sub(l.failed))
}

// Resealed notes that a seal of this node's own ring may land in a slot.
func (l *Landing) Resealed(slot uint8, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[slot%quorumdisk.Ring], l.failed = now, now
}

// MayWrite refuses a slot in which an older block may land yet with a new seal: it
// would take the place of what is written there now.
func (l *Landing) MayWrite(slot uint8, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.slots[slot%quorumdisk.Ring]
	if at.IsZero() || now.Sub(at) >= settles {
		return nil
	}
	return fmt.Errorf("slot %d of this node's ring is left alone for another %v: a seal that was being exchanged there may land yet", slot, (settles - now.Sub(at)).Round(time.Second))
}
