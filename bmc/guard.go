package bmc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Driver is one way to reach a controller; package drivers has them. Each call
// uses a session of its own. A driver should end with ctx and may fail to; it
// may panic on what a controller answers; its errors may hold what the
// controller sent, and the password.
type Driver interface {
	// State reads the power state and who the controller spoke for.
	State(ctx context.Context) (State, Identity, error)
	// Set asks to switch on, or to cut the power. It asks nothing of a
	// machine that the options do not accept: then it returns their error.
	Set(ctx context.Context, on bool) error
}

// guarded makes a Driver a Switch: each call ends with its context, at most one
// goroutine is inside the driver, and no text carries the password.
type guarded struct {
	name    string
	driver  Driver
	options Options
	turn    chan struct{} // holds one token while somebody is inside the driver

	mu    sync.Mutex // guards what follows
	doing string     // what the one inside is doing
	since time.Time
}

var _ Switch = (*guarded)(nil)

// NewSwitch makes a Switch of a driver. name is for messages; o.Attempt, which
// must be positive, bounds each call, o.Expect is checked in each reading, and
// o.Password is taken out of every text.
func NewSwitch(name string, d Driver, o Options) (Switch, error) {
	if o.Attempt <= 0 {
		return nil, fmt.Errorf("power switch %s: a call may take %v, it has to be positive", name, o.Attempt)
	}
	for _, g := range o.Expect {
		if g.IsZero() || g.placeholder() {
			return nil, fmt.Errorf("power switch %s: %s is no machine's own GUID and cannot be expected", name, g)
		}
	}
	return &guarded{name: name, driver: d, options: o, turn: make(chan struct{}, 1)}, nil
}

// String gives the reference.
func (g *guarded) String() string { return g.name }

// State reads the power state.
func (g *guarded) State(ctx context.Context) Reading {
	answer := run(ctx, g, "reading the power state", func(ctx context.Context) Reading {
		state, identity, err := g.driver.State(ctx)
		return g.judge(state, identity, err)
	}, func(err error) Reading {
		return Reading{At: time.Now(), Text: g.words(err)}
	})
	return answer
}

// judge makes a reading of what a driver returned: whatever is doubtful is
// Unknown.
func (g *guarded) judge(state State, identity Identity, err error) Reading {
	r := Reading{Identity: identity, At: time.Now()}
	r.Identity.Name = g.hide(r.Identity.Name)
	if err == nil {
		err = g.options.Accept(identity)
	}
	switch {
	case err != nil:
		r.Text = g.words(err)
	case state != On && state != Off:
		r.Text = "the controller gave no state"
	default:
		r.State = state
	}
	return r
}

// Off asks to cut the power.
func (g *guarded) Off(ctx context.Context) error { return g.set(ctx, false, "switching off") }

// On asks to switch the power on.
func (g *guarded) On(ctx context.Context) error { return g.set(ctx, true, "switching on") }

func (g *guarded) set(ctx context.Context, on bool, what string) error {
	failed := func(err error) error {
		if err == nil {
			return nil
		}
		return &switchError{text: fmt.Sprintf("%s: %s: %s", g.name, what, g.words(err)), cause: err}
	}
	return run(ctx, g, what, func(ctx context.Context) error { return failed(g.driver.Set(ctx, on)) }, failed)
}

// switchError has a text without the password; its cause is for errors.Is only.
type switchError struct {
	text  string
	cause error
}

func (e *switchError) Error() string { return e.text }
func (e *switchError) Is(target error) bool {
	return target == ErrOtherMachine && errors.Is(e.cause, ErrOtherMachine)
}

// run calls f in a goroutine of its own and returns its result, or that of
// failed when the time is over. A goroutine that does not come back keeps the
// turn: nobody else enters the driver, and who waits for it is told.
func run[T any](ctx context.Context, g *guarded, what string, f func(context.Context) T, failed func(error) T) T {
	ctx, cancel := context.WithTimeout(ctx, g.options.Attempt)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return failed(fmt.Errorf("not tried: %w", err))
	}
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		doing, age := g.inside()
		return failed(fmt.Errorf("not tried: %s has not come back from the driver for %v", doing, age.Round(time.Second/10)))
	}
	g.enter(what)
	result := make(chan T, 1)
	go func() {
		defer func() { <-g.turn }()
		defer func() {
			if p := recover(); p != nil {
				result <- failed(fmt.Errorf("the driver cannot handle the controller's answer: %v", p))
			}
		}()
		result <- f(ctx)
	}()
	start := time.Now()
	select {
	case r := <-result:
		return r
	case <-ctx.Done():
	}
	// An answer that came in the same moment is not thrown away.
	select {
	case r := <-result:
		return r
	default:
		return failed(fmt.Errorf("no answer within %v", time.Since(start).Round(time.Millisecond)))
	}
}

func (g *guarded) enter(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doing, g.since = what, time.Now()
}

func (g *guarded) inside() (doing string, age time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doing, time.Since(g.since)
}

// words makes a text for logs of an error: without the password, on one line.
func (g *guarded) words(err error) string {
	return OneLine(g.hide(err.Error()))
}

// hide takes the secrets out. Those of one or two characters would turn every
// text into riddles without protecting anything.
func (g *guarded) hide(text string) string {
	secrets := []Secret{g.options.Password}
	for _, name := range slices.Sorted(maps.Keys(g.options.Secrets)) {
		secrets = append(secrets, g.options.Secrets[name])
	}
	for _, s := range secrets {
		if p := s.Reveal(); len(p) > 2 {
			text = strings.ReplaceAll(text, p, "[password]")
		}
	}
	return text
}

// longest is how much of a foreign text is kept, in characters.
const longest = 400

// OneLine makes one printable line of at most 400 characters out of a text that
// a controller or a program may have written.
func OneLine(text string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			space = b.Len() > 0
			continue
		}
		if n >= longest {
			b.WriteString("...")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
