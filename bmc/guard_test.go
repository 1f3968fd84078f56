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

// driver answers what its functions say.
type driver struct {
	state func(context.Context) (bmc.State, bmc.Identity, error)
	set   func(context.Context, bool) error
}

func (d driver) State(ctx context.Context) (bmc.State, bmc.Identity, error) { return d.state(ctx) }
func (d driver) Set(ctx context.Context, on bool) error                     { return d.set(ctx, on) }

func guard(t *testing.T, d driver, o bmc.Options) bmc.Switch {
	t.Helper()
	s, err := bmc.NewSwitch("test", d, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStuckDriver: calls end in time although the driver does not, nobody else
// enters it meanwhile, and what it says too late is not believed.
func TestStuckDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, most := 0, 0
		free := make(chan struct{})
		d := driver{state: func(context.Context) (bmc.State, bmc.Identity, error) {
			inside++
			most = max(most, inside)
			defer func() { inside-- }()
			<-free // whatever the context says
			return bmc.Off, bmc.Identity{}, nil
		}}
		s := guard(t, d, bmc.Options{Attempt: 3 * time.Second})
		for i, want := range []string{"no answer within 3s", "has not come back from the driver for 6s", "has not come back from the driver for 9s"} {
			start := time.Now()
			r := s.State(t.Context())
			if took := time.Since(start); r.State != bmc.Unknown || !strings.Contains(r.Text, want) || took != 3*time.Second {
				t.Errorf("call %d: %+v after %v", i, r, took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Off(ctx); err == nil || !strings.Contains(err.Error(), "reading the power state has not come back") {
			t.Errorf("Off: %v", err)
		}
		close(free)
		synctest.Wait()
		if r := s.State(t.Context()); r.State != bmc.Off {
			t.Errorf("after the driver came back: %+v", r)
		}
		if most != 1 {
			t.Errorf("%d goroutines were inside the driver at once", most)
		}
	})
}

// TestDriverThatFails: every doubt is unknown, in words without the password.
func TestDriverThatFails(t *testing.T) {
	const password = "hunter22"
	who := bmc.Identity{GUID: guid(t, "00112233-4455-6677-8899-aabbccddeeff"), Name: "x " + password}
	for name, state := range map[string]func(context.Context) (bmc.State, bmc.Identity, error){
		"panic": func(context.Context) (bmc.State, bmc.Identity, error) { panic("index out of range " + password) },
		"off with error": func(context.Context) (bmc.State, bmc.Identity, error) {
			return bmc.Off, who, errors.New("login " + password + "\nfailed")
		},
		"no state":   func(context.Context) (bmc.State, bmc.Identity, error) { return bmc.Unknown, who, nil },
		"impossible": func(context.Context) (bmc.State, bmc.Identity, error) { return 77, who, nil },
		"another machine": func(context.Context) (bmc.State, bmc.Identity, error) {
			return bmc.Off, bmc.Identity{Name: password}, nil
		},
	} {
		d := driver{state: state, set: func(ctx context.Context, _ bool) error { _, _, err := state(ctx); return err }}
		s := guard(t, d, bmc.Options{Attempt: time.Minute, Password: bmc.NewSecret(password), Expect: []bmc.GUID{who.GUID}})
		r := s.State(t.Context())
		if r.State != bmc.Unknown || r.Text == "" || r.At.IsZero() {
			t.Errorf("%s: %+v", name, r)
		}
		text := r.Text + r.Identity.String()
		if name == "panic" || name == "off with error" {
			err := s.Off(t.Context())
			if err == nil {
				t.Errorf("%s: Off gave no error", name)
				continue
			}
			text += err.Error()
		}
		if strings.Contains(text, password) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestSwitchRefused(t *testing.T) {
	if _, err := bmc.NewSwitch("test", driver{}, bmc.Options{}); err == nil {
		t.Error("a switch whose calls may take no time")
	}
	if _, err := bmc.NewSwitch("test", driver{}, bmc.Options{Attempt: 1, Expect: []bmc.GUID{{}}}); err == nil {
		t.Error("a switch that expects nobody in particular")
	}
}

func TestOneLine(t *testing.T) {
	if got := bmc.OneLine(" a\n\tb\x00\x1b[31m  c\r\n"); got != "a b [31m c" {
		t.Errorf("%q", got)
	}
	if got := bmc.OneLine(strings.Repeat("é", 1000)); got != strings.Repeat("é", 400)+"..." {
		t.Errorf("%d bytes", len(got))
	}
	if got := fmt.Sprint(bmc.On, bmc.Off, bmc.Unknown, bmc.State(9)); got != "on off unknown unknown" {
		t.Error(got)
	}
}
