package systemd

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"github.com/holdfast-ha/holdfast/resources"
)

// Change is what happened to a unit.
type Change struct {
	Unit   string
	Active string // its ActiveState; empty: unknown, the connection was lost and is back
}

// Down says that the unit does not run any more, or may not.
func (c Change) Down() bool { return c.Active == "failed" || c.Active == "inactive" || c.Active == "" }

// backlog is how many signals may wait; more at a time are looked up afresh.
const backlog = 256

// Watch tells what becomes of units, within milliseconds of the manager's knowing
// it, until ctx ends. Whenever the connection is lost it is made again, and a Change
// without a state is told of each unit: what happened meanwhile was missed. The
// units are asked for at each signal, so that they may change. changed must not
// block.
func Watch(ctx context.Context, units func() []string, changed func(Change)) {
	for pause := pollEvery; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		began := time.Now()
		watchOnce(ctx, units, changed)
		if time.Since(began) > time.Minute {
			pause = pollEvery
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// watchOnce lives as long as its connection.
func watchOnce(ctx context.Context, units func() []string, changed func(Change)) {
	conn, err := Dial(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	updates, overrun := make(chan *dbus.PropertiesUpdate, backlog), make(chan error, 1)
	conn.SetPropertiesSubscriber(updates, overrun)
	if err := conn.Subscribe(); err != nil {
		return
	}
	missed := func() {
		for _, unit := range units() {
			changed(Change{Unit: unit})
		}
	}
	missed()
	life := time.NewTicker(500 * time.Millisecond)
	defer life.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-updates:
			if active, told := stateIn(u.Changed); told && slices.Contains(units(), u.UnitName) {
				changed(Change{Unit: u.UnitName, Active: active})
			}
		case <-overrun:
			missed()
		case <-life.C:
			if !conn.Connected() {
				return
			}
		}
	}
}

func stateIn(changed map[string]godbus.Variant) (string, bool) {
	v, told := changed["ActiveState"]
	if !told {
		return "", false
	}
	return strings.Trim(v.String(), `"`), true
}

// Watch implements resources.Watcher by the manager's word on its units.
func (Agent) Watch(ctx context.Context, members func() []resources.Watched, changed func(resources.Watched, string)) {
	of := func(m resources.Watched) string {
		unit, _ := parse(resources.Request{Spec: m.Spec})
		return unit
	}
	units := func() []string {
		var list []string
		for _, m := range members() {
			list = append(list, of(m))
		}
		return list
	}
	Watch(ctx, units, func(c Change) {
		if !c.Down() {
			return
		}
		for _, m := range members() {
			switch {
			case of(m) != c.Unit:
			case c.Active == "":
				changed(m, c.Unit+" may have changed while the service manager was not heard")
			default:
				changed(m, c.Unit+" is "+c.Active)
			}
		}
	})
}
