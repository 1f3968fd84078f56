package bmctest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
)

// Times of the suite. Patience is for what must succeed on a noisy machine; the
// others only have to be long enough for some readings.
const (
	patience  = 30 * time.Second
	impatient = 250 * time.Millisecond // how long Confirm tries where it cannot succeed
	attempt   = 100 * time.Millisecond // one call into a driver that hangs
	hold      = 5 * time.Millisecond   // between two readings
)

// Way is an implementation of bmc.Switch as the suite sees it.
type Way struct {
	// Open starts a fake controller for the machine and opens the switch.
	Open func(t *testing.T, m *Machine, o bmc.Options) bmc.Switch
	// Identifies says that controllers of this way name a GUID.
	Identifies bool
	// Cards says that they name the address of their network card where they have
	// no GUID.
	Cards bool
}

// TestSwitch is the suite that every implementation of bmc.Switch passes.
func TestSwitch(t *testing.T, w Way) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*testing.T, Way)
	}{
		{"OffAndOnAgain", testOffAndOn},
		{"OffAlready", testOffAlready},
		{"Slow", func(t *testing.T, w Way) { testConfirmed(t, w, Slow) }},
		{"Early", func(t *testing.T, w Way) { testConfirmed(t, w, Early) }},
		{"Rebooting", func(t *testing.T, w Way) { testConfirmed(t, w, Rebooting) }},
		{"ComesBack", func(t *testing.T, w Way) { testNever(t, w, ComesBack, bmc.Options{}) }},
		{"Lying", func(t *testing.T, w Way) { testNever(t, w, Lying, bmc.Options{}) }},
		{"Garbage", func(t *testing.T, w Way) { testNever(t, w, Garbage, bmc.Options{}) }},
		{"Refusing", func(t *testing.T, w Way) { testNever(t, w, Refusing, bmc.Options{}) }},
		{"Hanging", testHanging},
		{"Cancelled", testCancelled},
		{"DiesWithMachine", func(t *testing.T, w Way) { testNever(t, w, DiesWithMachine, bmc.Options{Attempt: attempt}) }},
		{"WrongPassword", testWrongPassword},
		{"OverBeforeItBegan", testOver},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
	if w.Identifies {
		t.Run("OtherMachine", func(t *testing.T) { testStranger(t, w, OtherMachine) })
		t.Run("Anonymous", func(t *testing.T) { testStranger(t, w, Anonymous) })
		t.Run("ByCard", func(t *testing.T) { testStranger(t, w, ByCard) })
	}
	if w.Cards {
		t.Run("Card", testCard(w))
	}
}

// open opens the way with the right password and, where it can, the right
// expectation.
func open(t *testing.T, w Way, m *Machine, o bmc.Options) bmc.Switch {
	t.Helper()
	if o.Password.String() == "" {
		o.Password = bmc.NewSecret(Password)
	}
	if w.Identifies && len(o.Expect) == 0 {
		o.Expect = []bmc.GUID{m.GUID}
	}
	s := w.Open(t, m, o)
	if s == nil {
		t.Fatal("Open gave no switch")
	}
	return s
}

func confirm(t *testing.T, s bmc.Switch, m *Machine, within time.Duration) bmc.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	r := bmc.Confirm(ctx, s, hold)
	if r.State == bmc.Off {
		checkProof(t, m, r)
	} else if !r.First.IsZero() || !r.Second.IsZero() {
		t.Errorf("not off, but with times of readings: %+v", r)
	}
	speak(t, r.Text)
	return r
}

// checkProof checks what off has to mean: the machine lost its power before the
// first reading ended, and the readings came in two sessions.
func checkProof(t *testing.T, m *Machine, r bmc.Result) {
	t.Helper()
	if m.IsOn() {
		t.Fatalf("said off, and the machine is on: %+v", r)
	}
	if !r.First.After(m.OffSince()) || !r.Second.After(r.First) {
		t.Errorf("off since %v, readings at %v and %v", m.OffSince(), r.First, r.Second)
	}
	s := m.OffSessions()
	if len(s) < 2 || s[len(s)-1] == s[len(s)-2] {
		t.Errorf("off was read in the sessions %v: the last two should differ", s)
	}
}

// speak checks a text: there is one, and it does not hold the password.
func speak(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		t.Error("no word about why")
	}
	if strings.Contains(text, Password) || strings.Contains(text, "\n") {
		t.Errorf("a text with the password, or of several lines: %q", text)
	}
	t.Log(text)
}

func testOffAndOn(t *testing.T, w Way) {
	m := NewMachine(t, Honest)
	s := open(t, w, m, bmc.Options{})
	if r := s.State(t.Context()); r.State != bmc.On || r.At.IsZero() {
		t.Fatalf("at first: %+v", r)
	}
	r := confirm(t, s, m, patience)
	if r.State != bmc.Off {
		t.Fatalf("confirm: %+v", r)
	}
	if w.Identifies && !r.Identity.GUID.Same(m.GUID) {
		t.Errorf("identity %v, the machine is %v", r.Identity, m.GUID)
	}
	if err := s.On(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.State(t.Context()); r.State != bmc.On || !m.IsOn() {
		t.Fatalf("after On: %+v", r)
	}
	if strings.Contains(s.String(), Password) {
		t.Errorf("the reference holds the password: %s", s)
	}
}

func testOffAlready(t *testing.T, w Way) {
	m := NewMachine(t, Honest)
	m.Set(false)
	if r := confirm(t, open(t, w, m, bmc.Options{}), m, patience); r.State != bmc.Off {
		t.Fatalf("confirm: %+v", r)
	}
}

// testConfirmed: the machine goes off in the end, and not before that is it
// said to be off.
func testConfirmed(t *testing.T, w Way, f Fault) {
	m := NewMachine(t, f)
	if r := confirm(t, open(t, w, m, bmc.Options{}), m, patience); r.State != bmc.Off {
		t.Fatalf("confirm: %+v", r)
	}
}

// testNever: whatever the controller does, it is not proved that the machine is
// off.
func testNever(t *testing.T, w Way, f Fault, o bmc.Options) {
	m := NewMachine(t, f)
	within := impatient
	if f == DiesWithMachine {
		within *= 8 // it has to get as far as the command, on a busy machine too
	}
	r := confirm(t, open(t, w, m, o), m, within)
	if r.State == bmc.Off {
		t.Fatalf("confirm: %+v", r)
	}
	if f == DiesWithMachine && r.State != bmc.Unknown {
		t.Errorf("a controller that died with its machine: %+v", r)
	}
}

// testHanging: calls end in time, and tell that an earlier one is still inside
// if it is.
func testHanging(t *testing.T, w Way) {
	m := NewMachine(t, Hanging)
	s := open(t, w, m, bmc.Options{Attempt: attempt})
	start := time.Now()
	for range 2 {
		r := s.State(t.Context())
		if r.State != bmc.Unknown {
			t.Fatalf("%+v", r)
		}
		speak(t, r.Text)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("two calls of at most %v each took %v", attempt, took)
	}
	if r := confirm(t, s, m, impatient); r.State != bmc.Unknown {
		t.Fatalf("confirm: %+v", r)
	}
	if !m.IsOn() {
		t.Error("a hanging controller switched the machine off")
	}
}

// testCancelled: the driver itself ends with the context. The guard around it
// would hide it if it did not, and the next call would find it inside.
func testCancelled(t *testing.T, w Way) {
	m := NewMachine(t, Hanging)
	s := open(t, w, m, bmc.Options{Attempt: patience})
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(attempt, cancel).Stop() // not a deadline, which a driver can know beforehand
	start := time.Now()
	_ = s.State(ctx)
	for time.Since(start) < patience/2 {
		ctx, cancel := context.WithTimeout(t.Context(), attempt)
		r := s.State(ctx)
		cancel()
		if !strings.Contains(r.Text, "has not come back") {
			return
		}
	}
	t.Error("long after its context ended, the driver has not come back")
}

// testStranger: nothing is switched, and nothing believed, unless the machine
// is shown to be the right one.
func testStranger(t *testing.T, w Way, f Fault) {
	m := NewMachine(t, f)
	s := open(t, w, m, bmc.Options{})
	r := confirm(t, s, m, patience)
	if r.State != bmc.Unknown || m.Requests() != 0 || !m.IsOn() {
		t.Fatalf("confirm: %+v, after %d requests", r, m.Requests())
	}
	if err := s.Off(t.Context()); !errors.Is(err, bmc.ErrOtherMachine) {
		t.Errorf("Off: %v", err)
	}
	m.Set(false)
	if r := s.State(t.Context()); r.State != bmc.Unknown {
		t.Errorf("a stranger's state was believed: %+v", r)
	}
}

// testCard: a machine is known by its controller's network card where that is what
// is expected, whether it names a GUID or not, and another card is a stranger's.
func testCard(w Way) func(*testing.T) {
	return func(t *testing.T) {
		for _, f := range []Fault{ByCard, Honest} {
			m := NewMachine(t, f)
			card, err := bmc.FromMAC(m.Card[:])
			if err != nil {
				t.Fatal(err)
			}
			if r := confirm(t, open(t, w, m, bmc.Options{Expect: []bmc.GUID{card}}), m, patience); r.State != bmc.Off || r.Identity.GUID != card {
				t.Fatalf("confirm: %+v", r)
			}
			m.Card[5]++
			m.Set(true)
			if err := open(t, w, m, bmc.Options{Expect: []bmc.GUID{card}}).Off(t.Context()); !errors.Is(err, bmc.ErrOtherMachine) || !m.IsOn() {
				t.Errorf("another card: Off: %v", err)
			}
		}
	}
}

func testWrongPassword(t *testing.T, w Way) {
	m := NewMachine(t, Honest)
	s := open(t, w, m, bmc.Options{Password: bmc.NewSecret("not-the-password")})
	r := s.State(t.Context())
	if r.State != bmc.Unknown {
		t.Fatalf("%+v", r)
	}
	speak(t, r.Text)
	if err := s.Off(t.Context()); err == nil || !m.IsOn() {
		t.Errorf("Off: %v", err)
	}
}

func testOver(t *testing.T, w Way) {
	m := NewMachine(t, Honest)
	s := open(t, w, m, bmc.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := s.State(ctx); r.State != bmc.Unknown {
		t.Errorf("State: %+v", r)
	}
	if err := s.Off(ctx); err == nil {
		t.Error("Off without time gave no error")
	}
	if r := bmc.Confirm(ctx, s, hold); r.State != bmc.Unknown {
		t.Errorf("Confirm: %+v", r)
	}
	if !m.IsOn() {
		t.Error("the machine was switched off without time to do so")
	}
}
