package bmc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// All is one switch of several that feed a machine together, as the outlets of its
// two power supplies: it is off where all of them are. All are asked at once, each in
// a session of its own. One that is on makes it on, and else one that is not known
// makes it unknown; a reading is complete when the last answer was. Two of them that
// name different machines are not known either.
//
// Off asks all of them, also where one refuses; On asks all of them too, and the
// machine has power as soon as one is on.
func All(parts ...Switch) Switch {
	if len(parts) == 1 {
		return parts[0]
	}
	return together(parts)
}

type together []Switch

var _ Switch = together(nil)

// String names all parts.
func (s together) String() string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.String()
	}
	return "all of " + strings.Join(names, " and ")
}

// State implements Switch.
func (s together) State(ctx context.Context) Reading {
	readings := make([]Reading, len(s))
	s.each(func(i int, p Switch) { readings[i] = p.State(ctx) })
	var whole Reading
	var names, unknown []string
	on := false
	for i, r := range readings {
		if r.At.After(whole.At) {
			whole.At = r.At
		}
		name := r.Identity.Name
		if name == "" {
			name = s[i].String()
		}
		names = append(names, fmt.Sprintf("%s: %v", name, r.State))
		switch {
		case r.State == On:
			on = true
		case r.State == Unknown:
			unknown = append(unknown, fmt.Sprintf("%s: %s", s[i], r.Text))
		}
		switch g := r.Identity.GUID; {
		case g.IsZero():
		case whole.Identity.GUID.IsZero():
			whole.Identity.GUID = g
		case !whole.Identity.GUID.Same(g):
			unknown = append(unknown, fmt.Sprintf("%s speaks for %s, and another one for %s", s[i], g, whole.Identity.GUID))
		}
	}
	whole.Identity.Name = strings.Join(names, ", ")
	switch {
	case on:
		whole.State = On
	case len(unknown) > 0:
		whole.Text = strings.Join(unknown, "; ")
	default:
		whole.State = Off
	}
	return whole
}

// Off implements Switch.
func (s together) Off(ctx context.Context) error {
	return s.ask(func(p Switch) error { return p.Off(ctx) })
}

// On implements Switch.
func (s together) On(ctx context.Context) error {
	return s.ask(func(p Switch) error { return p.On(ctx) })
}

func (s together) ask(what func(Switch) error) error {
	errs := make([]error, len(s))
	s.each(func(i int, p Switch) { errs[i] = what(p) })
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	return &switchError{text: strings.ReplaceAll(err.Error(), "\n", "; "), cause: err}
}

// each calls f for all parts at once, and returns when all calls have.
func (s together) each(f func(int, Switch)) {
	var all sync.WaitGroup
	for i, p := range s {
		all.Go(func() { f(i, p) })
	}
	all.Wait()
}
