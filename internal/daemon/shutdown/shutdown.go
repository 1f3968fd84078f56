// Package shutdown announces that this machine is about to go down. It holds a delay
// inhibitor of systemd-logind, by which logind tells everybody of a shutdown before it
// begins, notes the announcement as an event, and lets go: the move of the services and
// the leave are the stop of holdfast.service, whose order and bound systemd keeps
// whoever asked for the shutdown, and they do not need this package. Where there is no
// logind, as in most containers, nothing is announced and nothing else is different.
//
// https://systemd.io/INHIBITOR_LOCKS/
package shutdown

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// KindShutdown is the kind of the events.
const KindShutdown = "shutdown"

const (
	login   = "org.freedesktop.login1"
	path    = dbus.ObjectPath("/org/freedesktop/login1")
	manager = "org.freedesktop.login1.Manager"
	member  = "PrepareForShutdown"

	askWithin = 20 * time.Second // for one answer of logind
	retry     = time.Minute      // after the loss of the bus, or of logind
	mostWaits = 8                // signals that were not looked at yet
)

// Watch waits for shutdowns.
type Watch struct {
	Node string
	Tell func(api.Event)      // keeps an event; it does not wait
	Now  func() ident.Instant // the interval clock
	Log  zerolog.Logger
	// Retry is how long to wait before logind is asked again; 0: a minute.
	Retry time.Duration
}

// Run announces shutdowns until ctx ends. That there is no logind is no error: it is
// logged once, and asked for again now and then.
func (w Watch) Run(ctx context.Context) error {
	if w.Retry == 0 {
		w.Retry = retry
	}
	for said := false; ; {
		watched, err := w.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if watched || !said {
			w.Log.Info().Err(err).Msg("systemd-logind announces no shutdown here; a shutdown moves the services all the same")
		}
		said = true
		select {
		case <-time.After(w.Retry):
		case <-ctx.Done():
			return nil
		}
	}
}

// watch is one connection to the bus, and says whether logind had answered.
func (w Watch) watch(ctx context.Context) (watched bool, err error) {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, mostWaits)
	bus.Signal(signals)
	asking, stop := context.WithTimeout(ctx, askWithin)
	defer stop()
	if err := bus.AddMatchSignalContext(asking, dbus.WithMatchInterface(manager), dbus.WithMatchMember(member), dbus.WithMatchObjectPath(path)); err != nil {
		return false, err
	}
	held, err := inhibit(ctx, bus)
	if err != nil {
		return false, err
	}
	defer func() { _ = held.Close() }() // also what another has taken its place
	for {
		select {
		case s, open := <-signals:
			if !open {
				return true, errors.New("the system bus has ended")
			}
			var down bool
			if s.Name != manager+"."+member || dbus.Store(s.Body, &down) != nil {
				continue
			}
			w.announce(down)
			_ = held.Close() // the shutdown goes on
			if down {
				continue
			}
			if held, err = inhibit(ctx, bus); err != nil {
				return true, err
			}
		case <-ctx.Done():
			return true, nil
		}
	}
}

// announce notes what logind says.
func (w Watch) announce(down bool) {
	e := api.Event{At: int64(w.Now()), Kind: KindShutdown, Level: "warning", Node: w.Node, Text: "this machine is going down: its services move first, then it leaves the cluster"}
	if !down {
		e.Level, e.Text = "info", "the shutdown of this machine was called off"
	}
	w.Tell(e)
}

// inhibit takes a delay inhibitor, which lasts until the file is closed.
func inhibit(ctx context.Context, bus *dbus.Conn) (*os.File, error) {
	ctx, stop := context.WithTimeout(ctx, askWithin)
	defer stop()
	var fd dbus.UnixFD
	err := bus.Object(login, path).CallWithContext(ctx, manager+".Inhibit", 0, "shutdown", "Holdfast", "services move to other nodes first", "delay").Store(&fd)
	if err != nil {
		return nil, fmt.Errorf("delay a shutdown: %w", err)
	}
	return os.NewFile(uintptr(fd), "inhibitor"), nil
}
