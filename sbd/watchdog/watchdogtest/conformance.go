package watchdogtest

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// Rig is one machine with one watchdog, freshly made.
type Rig struct {
	// Open arms the device, which may be running already, with Timeout.
	Open func() (watchdog.Device, error)
	// Timeout is what the suite uses. On a clock that really passes it must
	// be long against the pauses of a busy machine.
	Timeout time.Duration
	// Now reads the clock that Bite is measured by.
	Now func() time.Duration
	// Wait lets time pass on that clock.
	Wait func(time.Duration)
	// Bite returns the machine's reset, once there was one.
	Bite func() (Bite, bool)
}

// Conform runs the suite: what everything above the port counts on, and what a
// kernel driver with magic close does. Times are checked by ratio only.
func Conform(t *testing.T, newRig func(t *testing.T) Rig) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, Rig)
	}{
		{"a starved device bites after its timeout", starved},
		{"a fed device does not bite", fed},
		{"a plain close is a pet and the device runs on", closed},
		{"setting the timeout of a running device is a pet", reopened},
		{"a disarmed device does not bite", disarmed},
		{"a device has one user", busy},
		{"a closed device is not fed", fedAfterClose},
		{"after the reset nothing feeds", fedAfterBite},
		{"the timeout is read back", readBack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, newRig(t))
		})
	}
	t.Run("feeding does not allocate", func(t *testing.T) { // counts for the whole process: not parallel
		allocates(t, newRig(t))
	})
}

func (r Rig) open(t *testing.T) watchdog.Device {
	t.Helper()
	d, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Disarm(); err != nil && !errors.Is(err, watchdog.ErrClosed) {
			t.Logf("disarm at the end: %v", err) // it had bitten
		}
	})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// awaitBite waits up to four timeouts.
func (r Rig) awaitBite(t *testing.T) Bite {
	t.Helper()
	for end := r.Now() + 4*r.Timeout; r.Now() < end; r.Wait(r.Timeout / 20) {
		if b, ok := r.Bite(); ok {
			return b
		}
	}
	t.Fatalf("no bite within four timeouts of %v", r.Timeout)
	return Bite{}
}

func (r Rig) noBite(t *testing.T) {
	t.Helper()
	if b, ok := r.Bite(); ok {
		t.Fatalf("it bit at %v, last petted at %v", b.At, b.LastPet)
	}
}

// between checks got/r.Timeout.
func (r Rig) between(t *testing.T, what string, got time.Duration, low, high float64) {
	t.Helper()
	if ratio := float64(got) / float64(r.Timeout); ratio < low || ratio > high {
		t.Errorf("%s is %.2f timeouts, want %.2f to %.2f", what, ratio, low, high)
	}
}

func starved(t *testing.T, r Rig) {
	d := r.open(t)
	before := r.Now()
	must(t, d.Feed())
	b := r.awaitBite(t)
	r.between(t, "last pet to bite", b.At-b.LastPet, 1, 2)
	r.between(t, "feed to bite", b.At-before, 1, 2.5)
}

func fed(t *testing.T, r Rig) {
	d := r.open(t)
	for end := r.Now() + 2*r.Timeout; r.Now() < end; r.Wait(r.Timeout / 20) {
		must(t, d.Feed())
	}
	r.noBite(t)
}

func closed(t *testing.T, r Rig) {
	d := r.open(t)
	must(t, d.Feed())
	before := r.Now()
	r.Wait(r.Timeout * 6 / 10)
	must(t, d.Close())
	b := r.awaitBite(t)
	r.between(t, "feed to bite with a close between", b.At-before, 1.55, 3)
}

func reopened(t *testing.T, r Rig) {
	d := r.open(t)
	must(t, d.Feed())
	before := r.Now()
	must(t, d.Close())
	r.Wait(r.Timeout * 6 / 10)
	r.open(t)
	b := r.awaitBite(t)
	r.between(t, "close to bite with a set-timeout between", b.At-before, 1.55, 3)
}

func disarmed(t *testing.T, r Rig) {
	d := r.open(t)
	must(t, d.Feed())
	must(t, d.Disarm())
	r.Wait(2 * r.Timeout)
	r.noBite(t)
}

func busy(t *testing.T, r Rig) {
	r.open(t)
	if d, err := r.Open(); !errors.Is(err, watchdog.ErrBusy) {
		t.Errorf("a second open gave %v, %v, want ErrBusy", d, err)
	}
}

func fedAfterClose(t *testing.T, r Rig) {
	d := r.open(t)
	must(t, d.Disarm())
	if err := d.Feed(); !errors.Is(err, watchdog.ErrClosed) {
		t.Errorf("feeding a closed device gave %v, want ErrClosed", err)
	}
	if err := d.Close(); !errors.Is(err, watchdog.ErrClosed) {
		t.Errorf("closing it again gave %v, want ErrClosed", err)
	}
}

func fedAfterBite(t *testing.T, r Rig) {
	d := r.open(t)
	r.awaitBite(t)
	for end := r.Now() + 4*r.Timeout; r.Now() < end; r.Wait(r.Timeout / 20) {
		if d.Feed() != nil {
			return
		}
	}
	t.Error("feeding goes on without an error after the machine was reset")
}

func readBack(t *testing.T, r Rig) {
	if got := r.open(t).Info().Timeout; got != r.Timeout {
		t.Errorf("timeout %v, want %v", got, r.Timeout)
	}
}

func allocates(t *testing.T, r Rig) {
	d := r.open(t)
	if testing.AllocsPerRun(100, func() { d.Feed() }) != 0 {
		t.Error("Feed allocates; the guard's loop must not")
	}
}
