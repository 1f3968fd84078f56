package bmc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Hold is the time between the two readings of Confirm that suits real
// controllers: some say "off" as soon as they accept the request, and change
// their mind within a second or two.
const Hold = 2 * time.Second

// eager is how many times in pollEvery a machine is looked at that is not off yet: most go off within half a second of the
// request, and a whole hold would be lost if the first reading was a little too early.
const eager = 4

// Result is what Confirm found out.
type Result struct {
	// State is Off only if two exact readings said so, On if the last reading
	// said so, else Unknown.
	State State
	// First and Second are when the two readings were complete, with the
	// monotonic clock; zero unless State is Off. The machine executed nothing
	// any more at Second; what it had sent may still be on the way.
	First, Second time.Time
	// Identity is who the controller spoke for, as far as it said.
	Identity Identity
	// Text says in words why the state is what it is.
	Text string
}

// Confirm switches a machine off and makes sure. It sends the request, whose
// answer it does not believe, and then reads the state, each time in a new
// session. It returns Off after two exact readings in a row with at least
// pollEvery between them (Hold is a good value); whatever comes between them
// starts the count again. Until the first of them it reads more often, and
// repeats the request every pollEvery. Readings from before the first request
// was answered do not count.
//
// Confirm ends with ctx, which should have a deadline; until then it goes on
// trying. It ends early without having switched anything when the controller is
// shown to be another machine's.
func Confirm(ctx context.Context, s Switch, pollEvery time.Duration) Result {
	if pollEvery <= 0 {
		return Result{Text: fmt.Sprintf("%s: not tried: the time between two readings is %v, it has to be positive", s, pollEvery)}
	}
	c := confirmation{name: s.String()}
	var asked time.Time
	for ctx.Err() == nil {
		if c.last.State != Off && (asked.IsZero() || time.Since(asked) >= pollEvery) {
			err := s.Off(ctx)
			asked = time.Now()
			if c.interrupted(ctx, err != nil) {
				break
			}
			c.refusal = err
			if errors.Is(err, ErrOtherMachine) {
				break
			}
		}
		r := s.State(ctx)
		if c.interrupted(ctx, r.State == Unknown) {
			break
		}
		c.take(r)
		if !c.second.At.IsZero() {
			break
		}
		if c.last.State == Off {
			wait(ctx, pollEvery)
		} else {
			wait(ctx, pollEvery/eager)
		}
	}
	return c.result()
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// confirmation is one run of Confirm.
type confirmation struct {
	name          string
	identity      Identity
	last          Reading
	first, second Reading // the readings that count
	readings      int
	refusal       error // what became of the last request
}

// interrupted says whether a call failed only because the time was over. What
// earlier calls found out is worth more then; the first call always counts.
func (c *confirmation) interrupted(ctx context.Context, failed bool) bool {
	return failed && ctx.Err() != nil && (c.readings > 0 || c.refusal != nil)
}

// take counts a reading.
func (c *confirmation) take(r Reading) {
	c.readings++
	c.last = r
	if r.Identity != (Identity{}) {
		c.identity = r.Identity
	}
	switch {
	case r.State != Off:
		c.first = Reading{}
	case c.first.At.IsZero():
		c.first = r
	case c.first.Identity.GUID != r.Identity.GUID:
		// Two machines answered at one address: neither reading says
		// anything about the other machine.
		c.first = r
	default:
		c.second = r
	}
}

// result puts into words what was found.
func (c *confirmation) result() Result {
	r := Result{Identity: c.identity}
	switch {
	case !c.second.At.IsZero():
		r.State, r.First, r.Second = Off, c.first.At, c.second.At
		r.Text = fmt.Sprintf("%s: off, read twice within %v", c.name, r.Second.Sub(r.First).Round(time.Millisecond))
	case c.readings == 0 && c.refusal == nil:
		r.Text = c.name + ": not tried: the time was over before"
	case c.readings == 0:
		r.Text = c.name + ": " + c.reason()
	case c.last.State == Off:
		r.Text = c.name + ": off was read once, and the time ended before a second reading"
	case c.last.State == On:
		r.State = On
		r.Text = fmt.Sprintf("%s: still on after %d readings%s", c.name, c.readings, c.excuse())
	default:
		r.Text = fmt.Sprintf("%s: not known after %d readings: %s%s", c.name, c.readings, c.last.Text, c.excuse())
	}
	return r
}

// excuse says what the request to switch off came to, if it failed.
func (c *confirmation) excuse() string {
	if c.refusal == nil {
		return ""
	}
	return "; " + c.reason()
}

// reason gives the error of the last request without the switch's name, which
// stands before it already.
func (c *confirmation) reason() string {
	return strings.TrimPrefix(c.refusal.Error(), c.name+": ")
}
