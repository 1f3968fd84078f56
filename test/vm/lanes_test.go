package vm_test

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"
)

// sideBySide is how many tests run at once: most of what takes a test's time is waiting, for a lease to end or for a fault to
// last, and two cores carry no more booting machines.
const sideBySide = 2

// longest are the tests that make vm begins first, in this order. TestMatrix takes as long as all others together, and boots
// machines at its beginning and its end; so what mostly waits stands beside its beginning, and what boots most beside its middle.
var longest = []string{"TestMatrix", "TestServiceOnISCSI", "TestQualify", "TestConvict", "TestCluster"}

// lanes lets tests run side by side in an order, which the go command does not promise. It bounds them as well, so that -parallel
// has to be large enough for all.
var lanes = struct {
	sync.Mutex
	open    bool // all that come have come
	running int
	waiting []waiter
}{}

type waiter struct {
	rank int
	turn chan struct{}
}

// gathering is how long the first test waits for the others: the go command starts all at once when the last one said that it is parallel.
const gathering = time.Second

// lane waits for the test's turn.
func lane(t *testing.T) {
	t.Helper()
	w := waiter{rank: slices.Index(longest, t.Name()), turn: make(chan struct{})}
	if w.rank < 0 {
		w.rank = len(longest)
	}
	lanes.Lock()
	if len(lanes.waiting) == 0 && !lanes.open {
		time.AfterFunc(gathering, func() {
			lanes.Lock()
			defer lanes.Unlock()
			lanes.open = true
			next()
		})
	}
	lanes.waiting = append(lanes.waiting, w)
	next()
	lanes.Unlock()
	came := time.Now()
	<-w.turn
	t.Logf("begins after %.0f s", time.Since(came).Seconds()) // which are part of the time that the go command says it took
	t.Cleanup(func() {
		lanes.Lock()
		defer lanes.Unlock()
		lanes.running--
		next()
	})
}

// next begins what there is room for, with lanes locked.
func next() {
	if !lanes.open {
		return
	}
	slices.SortStableFunc(lanes.waiting, func(a, b waiter) int { return cmp.Compare(a.rank, b.rank) })
	for lanes.running < sideBySide && len(lanes.waiting) > 0 {
		close(lanes.waiting[0].turn)
		lanes.waiting, lanes.running = lanes.waiting[1:], lanes.running+1
	}
}
