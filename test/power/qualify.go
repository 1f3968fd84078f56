package power

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// The runs of one measurement, all at once on throw-away chips.
const (
	starveRuns     = 3
	guardDeathRuns = 1
)

// measurement is the emulator's chips measured at one timeout; all chips are
// alike, so it serves every node.
type measurement struct {
	once sync.Once
	runs []watchdog.Run
	err  error
}

// qualify issues the qualification record of a node's device at a timeout. The
// first time for a timeout it measures, which takes as long as the timeout.
func (e *Emulator) qualify(node, device string, timeout time.Duration) (*watchdog.Qualification, error) {
	e.mu.Lock()
	m := e.machines[node]
	if m == nil || m.chips[device] == nil {
		e.mu.Unlock()
		return nil, fmt.Errorf("qualify: node %s with watchdog %s is not registered", node, device)
	}
	c := m.chips[device]
	if timeout < c.spec.Min {
		e.mu.Unlock()
		return nil, fmt.Errorf("qualify %s: timeout %v is below the chip's minimum of %v", device, timeout, c.spec.Min)
	}
	host, info := m.spec.HostUUID, watchdog.Info{
		Identity: c.spec.Identity, Driver: "emulated", Timeout: timeout, Emulated: true,
	}
	one := e.measured[timeout]
	if one == nil {
		one = &measurement{}
		e.measured[timeout] = one
	}
	e.mu.Unlock()
	one.once.Do(func() { one.runs, one.err = e.measure(timeout) })
	if one.err != nil {
		return nil, fmt.Errorf("qualify %s: %w", device, one.err)
	}
	setting, err := watchdog.SettingOf(node, host, info)
	if err != nil {
		return nil, err
	}
	q, err := watchdog.NewQualification(setting, one.runs, time.Now())
	return &q, err
}

// measure resets throw-away nodes through the emulator's own front door.
func (e *Emulator) measure(timeout time.Duration) ([]watchdog.Run, error) {
	const all = starveRuns + guardDeathRuns
	runs, errs := make([]watchdog.Run, all), make([]error, all)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			kind := watchdog.RunStarve
			if i >= starveRuns {
				kind = watchdog.RunGuardDeath
			}
			node := fmt.Sprintf("qualify-%v-%d", timeout, i)
			runs[i].Kind = kind
			runs[i].Actual, errs[i] = e.measureOne(node, kind, timeout)
		})
	}
	wg.Wait()
	return runs, errors.Join(errs...)
}

// measureOne returns the time from the last pet, as the petting side saw it, to
// the bite. A guard-death run closes the device late while a second holder keeps
// a duplicate: that close must not count.
func (e *Emulator) measureOne(node string, kind watchdog.RunKind, timeout time.Duration) (time.Duration, error) {
	const device = "chip"
	if err := e.register(Node{Name: node, Chips: []Chip{{Name: device}}}); err != nil {
		return 0, err
	}
	if _, err := e.powerOn(node); err != nil {
		return 0, err
	}
	seen := len(e.Events())
	d, err := watchdog.OpenEmulated(e.socket, node, device, timeout)
	if err != nil {
		return 0, err
	}
	lastPet := now()
	if err := d.Feed(); err != nil {
		return 0, errors.Join(err, d.Close())
	}
	bitten := make(chan Event, 1)
	e.tasks.Go(func() { bitten <- e.awaitBite(node, seen, timeout) })
	holder := d.Close
	if kind == watchdog.RunGuardDeath {
		holder, err = dieLate(d, timeout)
	}
	bite := <-bitten
	err = errors.Join(err, holder())
	if err == nil && bite.What != Bite {
		err = fmt.Errorf("the chip did not bite within %v", biteFactor*timeout)
	}
	return time.Duration(bite.At - lastPet), err
}

// dieLate closes the device at nine tenths of its timeout and returns how to
// close the duplicate that a second holder would have.
func dieLate(d watchdog.Device, timeout time.Duration) (func() error, error) {
	kept, err := watchdog.NameOf(d)
	if err != nil {
		return d.Close, err
	}
	dup, err := unix.FcntlInt(uintptr(kept.FD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return d.Close, err
	}
	time.Sleep(timeout * 9 / 10)
	return func() error { return unix.Close(dup) }, d.Close()
}

// biteFactor is how many timeouts a measurement waits for a bite.
const biteFactor = 4

// awaitBite waits for the node's bite among the events from seq on; without one
// the result is empty.
func (e *Emulator) awaitBite(node string, seq int, timeout time.Duration) Event {
	limit := time.After(biteFactor*timeout + time.Second)
	for {
		events, more := e.journal.from(seq)
		for _, ev := range events {
			if ev.What == Bite && ev.Node == node {
				return ev
			}
		}
		seq += len(events)
		select {
		case <-more:
		case <-limit:
			return Event{}
		}
	}
}
