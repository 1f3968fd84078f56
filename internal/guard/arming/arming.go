// Package arming makes fed devices of the watchdogs that the settings name: it
// adopts the descriptors that somebody kept, opens the others, gives duplicates
// to a second holder, and says how much a proof by time may rest on each device.
package arming

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// Armed is what Arm found.
type Armed struct {
	Dogs    []watchdog.Device    // to be fed, software first
	Infos   []guardwire.Watchdog // of all configured ones, also those that could not be opened
	Holder  guardwire.Holder     // who else has the descriptors
	Release func() error         // makes the holder give them up, before they are disarmed
}

// softTMax is the least that softdog is given: its timer runs on a clock that is
// slewed by up to a tenth.
func softTMax(timeout time.Duration) time.Duration {
	return timeout + timeout/10 + 100*time.Millisecond
}

// Arm makes devices of the configured watchdogs: of descriptors that somebody
// kept where there are any, for an open device cannot be opened twice; else it
// opens them. Then the second holder gets them, and their records are read. own
// are the descriptors of a guard that this program replaced; nil after an
// ordinary start, when the second holder is asked.
func Arm(s *guardwire.Settings, id clock.Identity, own *[]watchdog.Named, log zerolog.Logger) Armed {
	keeper, err := watchdog.FindKeeper(s.Holder)
	var kept []watchdog.Named
	switch {
	case own != nil:
		kept = *own
	case err == nil:
		if kept, err = keeper.Fetch(); err != nil {
			log.Warn().Err(err).Msg("what the second holder keeps cannot be fetched")
		}
	}
	var a Armed
	for _, w := range s.Watchdogs {
		d, err := openDog(s, w, kept)
		if err != nil {
			log.Error().Err(err).Str("watchdog", w.Device).Msg("not fed")
			a.Infos = append(a.Infos, guardwire.Watchdog{Path: w.Device, Class: cluster.WatchdogNone, Why: err.Error()})
			continue
		}
		if before := d.Info().Pretimeout; before != w.Pretimeout {
			log.Warn().Str("watchdog", w.Device).Stringer("asked", w.Pretimeout).Stringer("is", before).Msg("the device made another pretimeout of it")
		}
		a.Dogs = append(a.Dogs, d)
		a.Infos = append(a.Infos, describe(s, id, d.Info()))
	}
	// The order is part of the safety argument: software first.
	slices.SortStableFunc(a.Dogs, func(x, y watchdog.Device) int { return rank(x) - rank(y) })
	a.Holder, a.Release = keep(keeper, a.Dogs, s.Holder != "", log)
	return a
}

func rank(d watchdog.Device) int {
	if d.Info().Software {
		return 0
	}
	return 1
}

// openDog adopts a kept descriptor of this name, or opens the device.
func openDog(s *guardwire.Settings, w guardwire.WatchdogSetting, kept []watchdog.Named) (watchdog.Device, error) {
	for _, k := range kept {
		if k.Name == filepath.Base(w.Device) {
			return watchdog.Adopt(k.FD, w.Device)
		}
	}
	return watchdog.Open(watchdog.Config{Device: w.Device, Timeout: w.Timeout, Pretimeout: w.Pretimeout, Emulator: s.Emulator, Node: s.Name})
}

// keep hands the devices to the second holder; if that fails there is none, and
// the node counts one more watchdog period.
func keep(k watchdog.Keeper, dogs []watchdog.Device, process bool, log zerolog.Logger) (guardwire.Holder, func() error) {
	if k == nil || len(dogs) == 0 {
		return guardwire.NoHolder, nil
	}
	named := make([]watchdog.Named, 0, len(dogs))
	names := make([]string, 0, len(dogs))
	for _, d := range dogs {
		n, err := watchdog.NameOf(d)
		if err != nil {
			log.Warn().Err(err).Msg("no second holder")
			return guardwire.NoHolder, nil
		}
		named, names = append(named, n), append(names, n.Name)
	}
	if err := k.Keep(named...); err != nil {
		log.Warn().Err(err).Msg("no second holder: the lease counts one more watchdog period")
		return guardwire.NoHolder, nil
	}
	release := func() error { return k.Drop(names...) }
	if process {
		return guardwire.ProcessHolder, release
	}
	return guardwire.SystemdHolder, release
}

// describe says how much a time proof may rest on a device: on its measured time
// where a record of exactly this setting exists, else on twice its timeout.
func describe(s *guardwire.Settings, id clock.Identity, i watchdog.Info) guardwire.Watchdog {
	w := guardwire.Watchdog{
		Path: i.Path, Identity: i.Identity, Driver: i.Driver, Timeout: i.Timeout, Software: i.Software, Emulated: i.Emulated,
		Class: cluster.WatchdogUnqualified, TMax: 2*i.Timeout + time.Second,
	}
	if i.Software {
		w.Class, w.TMax = cluster.WatchdogSoftOnly, max(w.TMax, softTMax(i.Timeout))
		if s.AcceptSoft {
			w.Class = cluster.WatchdogSoftAccepted
		}
	}
	q, err := qualification(s, id, i)
	if err != nil {
		w.Why = err.Error()
		return w
	}
	w.TMax = q.TMax
	if i.Software {
		w.TMax = max(w.TMax, softTMax(i.Timeout))
	} else {
		w.Class = cluster.WatchdogQualified
	}
	return w
}

func qualification(s *guardwire.Settings, id clock.Identity, i watchdog.Info) (watchdog.Qualification, error) {
	if s.RecordsPath == "" {
		return watchdog.Qualification{}, fmt.Errorf("no place for qualification records is set")
	}
	q, err := watchdog.LoadQualification(filepath.Join(s.RecordsPath, filepath.Base(i.Path)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return q, fmt.Errorf("it was never measured, which holdfast watchdog qualify %s does", named(i))
	}
	if err != nil {
		return q, err
	}
	now, err := watchdog.SettingOf(s.Name, id.Host.String(), i)
	if err != nil {
		return q, err
	}
	if reasons := q.Matches(now); len(reasons) > 0 {
		return q, fmt.Errorf("its record does not count, and holdfast watchdog qualify %s makes a new one: %s", named(i), reasons[0])
	}
	return q, nil
}

// named is how commands name the device.
func named(i watchdog.Info) string {
	if i.Emulated {
		return filepath.Base(i.Path)
	}
	return i.Path
}
