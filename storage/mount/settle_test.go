package mount

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestSettle: a first read that had to wait is followed by the time in which the writes
// of a host that has ended may land; one that is answered at once is not.
func TestSettle(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: 0, Drain / 2: 0, Drain/2 + 1: Drain, 30 * time.Second: Drain,
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := settle(t.Context(), func() error { time.Sleep(took); return nil }); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began) - took; waited != want {
				t.Errorf("after a read of %s: %s, want %s", took, waited, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), Drain)
		defer cancel()
		if err := settle(ctx, func() error { time.Sleep(Drain); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an operation whose time is over: %v", err)
		}
		broken := errors.New("input/output error")
		if err := settle(t.Context(), func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("a read that fails: %v", err)
		}
	})
}

// TestReadPastCache reads what there is, and says what is not.
func TestReadPastCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Device{Path: path}).readPastCache(); err != nil {
		t.Error(err)
	}
	if err := (Device{Path: path + "-gone"}).Settle(t.Context()); err == nil {
		t.Error("a device that is not there can be read")
	}
}
