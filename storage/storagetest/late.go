package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
)

// Stall stops the device behind a disk: between Stop and Go writes are taken and
// not answered. Go lets them take effect, and what is asked for later as well.
type Stall interface {
	// Stop lets writes hang from now on.
	Stop()
	// Go lets what hangs take effect. It may be called when nothing hangs.
	Go()
}

// Stop implements Stall for the requests of this handle.
func (h *Handle) Stop() { h.Inject(Fault{Kind: Hang, Op: Writes}) }

// Go implements Stall: what hangs of this handle lands.
func (h *Handle) Go() {
	h.Heal()
	for _, p := range h.disk.Pending() {
		if p.handle == h {
			h.disk.Land(p.ID)
		}
	}
}

// TestLate is the part of the suite that needs a device that can be stopped. open
// returns a new handle on one and the same scratch disk of at least 1 MiB.
func TestLate(t *testing.T, open func(t *testing.T) (storage.Disk, Stall)) {
	t.Helper()
	d, stall := open(t)
	other, _ := open(t)
	if err := CheckLate(d, other, stall); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// CheckLate says what d does wrong with a request that misses its deadline, and
// closes d. Such a request is never given up and never repeated; until it is over
// the handle does nothing else; what it brings in the end is nobody's answer; and
// its memory is its own. other is a second handle on the same disk.
func CheckLate(d, other storage.Disk, stall Stall) error {
	n := d.Info().SectorSize
	l := &lateness{d: d, other: other, sector: n}
	l.put(pattern(1, n), 0)
	l.put(pattern(2, n), int64(n))
	stall.Stop()
	l.hang(pattern(3, n), 0)
	buf := make([]byte, n)
	l.busy("read", d.Read(buf, int64(n), 20*time.Millisecond))
	l.busy("write", d.Write(pattern(4, n), int64(n), 20*time.Millisecond))
	l.busy("write without time", d.Write(pattern(4, n), int64(n), 0))
	l.busy("close", d.Close())
	stall.Go()
	l.holds("the next read, after the hung write was over", d, pattern(2, n), int64(n))
	l.holds("the hung write", d, pattern(3, n), 0)
	l.holds("the hung write, for others", other, pattern(3, n), 0)

	stall.Stop()
	l.hang(pattern(5, n), 0)
	stall.Go()
	l.put(pattern(6, n), 0) // waits for the hung one, and comes after it
	l.holds("the write after a hung one", d, pattern(6, n), 0)
	l.put(pattern(7, n), int64(n))
	if err := d.Close(); err != nil {
		l.wrong("close when nothing is in flight: %w", err)
	}
	l.holds("the write after a hung one, in the end", other, pattern(6, n), 0)
	l.holds("the last write", other, pattern(7, n), int64(n))
	return errors.Join(l.errs...)
}

// lateness collects what is wrong.
type lateness struct {
	d, other storage.Disk
	sector   int
	errs     []error
}

func (l *lateness) wrong(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

func (l *lateness) put(data []byte, off int64) {
	if err := l.d.Write(data, off, patience); err != nil {
		l.wrong("a write that has time: %w", err)
	}
}

// hang writes to a stopped device, and uses the buffer for something else.
func (l *lateness) hang(data []byte, off int64) {
	if err := l.d.Write(data, off, 50*time.Millisecond); !errors.Is(err, storage.ErrTimeout) {
		l.wrong("a write to a stopped device: %w, want %w", cause(err), storage.ErrTimeout)
	}
	clear(data)
}

func (l *lateness) busy(what string, err error) {
	if !errors.Is(err, storage.ErrBusy) {
		l.wrong("a %s while a write hangs: %w, want %w", what, cause(err), storage.ErrBusy)
	}
}

func (l *lateness) holds(what string, d storage.Disk, want []byte, off int64) {
	got := make([]byte, l.sector)
	if err := d.Read(got, off, patience); err != nil {
		l.wrong("%s: %w", what, err)
	} else if !bytes.Equal(got, want) {
		l.wrong("%s: found %#x..., want %#x...", what, got[:4], want[:4])
	}
}

// cause names a success where a failure was due.
func cause(err error) error {
	if err == nil {
		return errors.New("success")
	}
	return err
}
