package bmc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
)

// script is a switch that answers as it was told, one second per call; the last
// answer is repeated.
type script struct {
	readings []bmc.Reading
	refusal  error
	offs     int
	reads    int
}

func (s *script) String() string { return "script" }

func (s *script) Off(ctx context.Context) error {
	s.offs++
	if !pass(ctx, time.Second) {
		return fmt.Errorf("script: %w", ctx.Err())
	}
	return s.refusal
}

func (s *script) On(context.Context) error { return errors.New("nobody asked for this") }

func (s *script) State(ctx context.Context) bmc.Reading {
	if !pass(ctx, time.Second) {
		return bmc.Reading{Text: "no answer in time"}
	}
	r := s.readings[min(s.reads, len(s.readings)-1)]
	s.reads++
	r.At = time.Now()
	return r
}

func pass(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// TestConfirm: what counts as off, and when. Each call takes 1 s, the hold is
// 2 s, and there are 19.5 s.
func TestConfirm(t *testing.T) {
	on, off := bmc.Reading{State: bmc.On}, bmc.Reading{State: bmc.Off}
	broken := bmc.Reading{Text: "answered nonsense"}
	mine, other := off, off
	mine.Identity.GUID = guid(t, "00112233-4455-6677-8899-aabbccddeeff")
	other.Identity.GUID = guid(t, "3d1c4a50-9b2e-11ee-8c90-0242ac120002")
	type readings []bmc.Reading
	for _, c := range []struct {
		name     string
		readings readings
		refusal  error
		state    bmc.State
		first    time.Duration // since the beginning
		offs     int           // requests
		text     string
	}{
		{"at once", readings{off}, nil, bmc.Off, 2 * time.Second, 1, "off, read twice within 3s"},
		{"the request failed", readings{off}, errors.New("script: timeout"), bmc.Off, 2 * time.Second, 1, "off, read twice"},
		{"a moment later", readings{on, off}, nil, bmc.Off, 3500 * time.Millisecond, 1, "off, read twice"},
		{"second request", readings{on, on, off}, nil, bmc.Off, 6 * time.Second, 2, "off, read twice"},
		{"early", readings{off, on, off}, nil, bmc.Off, 7500 * time.Millisecond, 2, "off, read twice"},
		{"a gap", readings{off, broken, off}, nil, bmc.Off, 7500 * time.Millisecond, 2, "off, read twice"},
		{"flapping", readings{off, on, off, on, off, on, off, on, off, on}, nil, bmc.Unknown, 0, 4, "second reading"},
		{"lying", readings{on}, nil, bmc.On, 0, 5, "still on after 10 readings"},
		{"refusing", readings{on}, errors.New("script: no right"), bmc.On, 0, 5, "; no right"},
		{"nonsense", readings{broken}, nil, bmc.Unknown, 0, 5, "answered nonsense"},
		{"another machine answers", readings{mine, other, other}, nil, bmc.Off, 5 * time.Second, 1, "off, read twice"},
		{"two machines in turn", readings{mine, other, mine, other, mine, other, mine}, nil, bmc.Unknown, 0, 1, "second reading"},
		{"stranger", readings{on}, fmt.Errorf("script: %w", bmc.ErrOtherMachine), bmc.Unknown, 0, 1, "script: not shown to be the expected machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 19500*time.Millisecond)
				defer cancel()
				s := &script{readings: c.readings, refusal: c.refusal}
				start := time.Now()
				r := bmc.Confirm(ctx, s, 2*time.Second)
				if r.State != c.state || s.offs != c.offs || !strings.Contains(r.Text, c.text) {
					t.Errorf("%+v after %d requests", r, s.offs)
				}
				if c.state != bmc.Off {
					if !r.First.IsZero() || !r.Second.IsZero() {
						t.Errorf("times without a proof: %+v", r)
					}
					return
				}
				if first := r.First.Sub(start); first != c.first || r.Second.Sub(r.First) != 3*time.Second {
					t.Errorf("read at %v and %v", first, r.Second.Sub(start))
				}
			})
		})
	}
}

func TestConfirmWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{readings: []bmc.Reading{{State: bmc.Off}}}
		if r := bmc.Confirm(t.Context(), s, 0); r.State != bmc.Unknown || s.offs != 0 || r.Text == "" {
			t.Errorf("no time between readings: %+v", r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if r := bmc.Confirm(ctx, s, time.Second); r.State != bmc.Unknown || s.reads != 0 || !strings.Contains(r.Text, "deadline") {
			t.Errorf("the request did not come back: %+v", r)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if r := bmc.Confirm(ctx, s, time.Second); r.State != bmc.Unknown || !strings.Contains(r.Text, "second reading") {
			t.Errorf("time for one reading: %+v", r)
		}
	})
}
