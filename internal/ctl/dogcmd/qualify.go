package dogcmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/internal/guard/realtime"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/sbd/watchdog/beacon"
	"github.com/holdfast-ha/holdfast/storage"
)

// The states of a series, as --json names them.
const (
	stateNew       = "not-begun" // no run is over
	stateBegun     = "begun"     // some runs are over
	stateResetting = "resetting" // this machine is about to be reset
	stateDone      = "measured"  // the record is written
)

// series is how far a measurement is, as --json prints it.
type series struct {
	Device   string   `json:"device"`
	Identity string   `json:"identity,omitempty"`
	State    string   `json:"state"`
	Beacons  string   `json:"beacons"` // where they are written
	Timeout  float64  `json:"timeout_seconds,omitempty"`
	Runs     []oneRun `json:"runs"`
	Next     string   `json:"next,omitempty"` // kind of the run to come, or under way
	Record   string   `json:"record,omitempty"`
	TMax     float64  `json:"t_max_seconds,omitempty"`
	Note     string   `json:"note,omitempty"` // what became of a run that does not count
}

// oneRun is a finished run: the reset came between Least and Most after the last
// feed.
type oneRun struct {
	Kind  watchdog.RunKind `json:"kind"`
	Least float64          `json:"least_seconds"`
	Most  float64          `json:"most_seconds"`
}

// runs are the kinds of runs that make a record, in their order.
func runs() []watchdog.RunKind {
	return []watchdog.RunKind{watchdog.RunStarve, watchdog.RunStarve, watchdog.RunStarve, watchdog.RunGuardDeath}
}

func (a *app) qualify() *cobra.Command {
	c := a.resets("qualify", func(device string) error {
		if os.Getenv(feederVariable) != "" {
			return feedForParent()
		}
		return a.measure(device)
	})
	c.Flags().StringVar(&a.beacons, "beacons", "", "`file` or empty device for the beacons (default: the node's sector on its first quorum disk)")
	c.Flags().StringVar(&a.name, "node", "", "the `name` of a node that is in no cluster yet")
	c.Flags().BoolVar(&a.again, "again", false, "forget the runs that are over, and begin anew")
	c.Flags().BoolVar(&a.show, "show", false, "say how far the series is, arm nothing, and end")
	return c
}

// measure goes on with the series: it adds the run that the last reset has ended,
// and writes the record or begins the next run, which the machine does not survive.
func (a *app) measure(device string) error {
	b, err := a.bench(device)
	if err != nil {
		return err
	}
	place, where, err := a.place(b, b.node.ID, storage.Options{Sync: true, ReadOnly: a.show})
	if err != nil {
		return err
	}
	now, note, err := a.goOn(b, place)
	if err != nil {
		return err
	}
	s := &series{Device: b.device, Identity: now.Device.Identity, State: stateBegun, Beacons: where, Timeout: now.Device.Timeout.Seconds(), Runs: []oneRun{}, Note: note}
	for _, r := range now.Done {
		s.Runs = append(s.Runs, oneRun{r.Kind, r.Least.Seconds(), r.Most.Seconds()})
	}
	if len(now.Done) == 0 {
		s.State = stateNew
	}
	if len(now.Done) < len(runs()) {
		s.Next = string(runs()[len(now.Done)])
	}
	switch {
	case a.show:
		return a.tell(s)
	case s.Next == "":
		return a.finish(b, s, now)
	}
	return a.run(b, s, now, place)
}

// goOn is the series as it stands, without a run of which nothing can be known.
func (a *app) goOn(b *bench, p beacon.Place) (*beacon.Beacon, string, error) {
	fresh := &beacon.Beacon{Device: beacon.Device{Node: b.node.Name, Asked: b.timeout}}
	_, _ = rand.Read(fresh.Series[:]) // never fails
	last, err := p.Read()
	switch {
	case errors.Is(err, beacon.ErrNone), errors.Is(err, beacon.ErrForeign), a.again:
		return fresh, "", nil
	case errors.Is(err, beacon.ErrDamaged), errors.Is(err, beacon.ErrVersion):
		return fresh, fmt.Sprintf("the runs before are lost: %v", err), nil
	case err != nil:
		return nil, "", err
	}
	identity, driver := b.listed.Identity, b.listed.Driver
	if b.node.Platform.Emulated {
		identity, driver = last.Device.Identity, last.Device.Driver // an emulator tells only who opens the device
	}
	now, err := b.setting(identity, driver, last.Device.Timeout)
	if err != nil {
		return nil, "", err
	}
	is, err := digest(now)
	if err != nil {
		return nil, "", err
	}
	if last.Device.Node != b.node.Name || last.Device.Asked != b.timeout || is != last.Device.Setting {
		return fresh, "the beacons there belong to another device, timeout, kernel or firmware: a new series begins", nil
	}
	note := ""
	switch {
	case len(last.Done) >= len(runs()):
	case last.Boot == [16]byte(b.boot):
		note = fmt.Sprintf("the last run (%s) was broken off in this boot, and does not count", last.Run.Kind)
	case last.Run.Phase == beacon.Fed:
		note = fmt.Sprintf("the machine went down %v after a feed, while the device was still being fed: that run does not count", last.Run.Elapsed.Round(time.Millisecond))
	case last.Run.Phase == beacon.Survived:
		note = fmt.Sprintf("the device did not reset the machine within %v: that run does not count", last.Run.Elapsed.Round(time.Millisecond))
	case last.Run.Elapsed < last.Device.Timeout/2:
		note = fmt.Sprintf("the machine went down %v after the last feed, long before the timeout of %v: that was no bite, and does not count", last.Run.Elapsed.Round(time.Millisecond), last.Device.Timeout)
	default:
		last.Done = append(last.Done, last.Run.Ended())
	}
	return last, note, nil
}

// finish writes the record, and the series' end to the beacons' sector, so that the
// same command says the same again.
func (a *app) finish(b *bench, s *series, now *beacon.Beacon) error {
	setting, err := b.setting(now.Device.Identity, now.Device.Driver, now.Device.Timeout)
	if err != nil {
		return err
	}
	var measured []watchdog.Run
	for _, r := range now.Done {
		measured = append(measured, watchdog.Run{Kind: r.Kind, Actual: r.Most})
	}
	q, err := watchdog.NewQualification(setting, measured, time.Now())
	if err != nil {
		return fmt.Errorf("what was measured makes no record, begin anew with --again: %w", err)
	}
	s.State, s.Record, s.TMax = stateDone, b.record(), q.TMax.Seconds()
	if err := os.MkdirAll(filepath.Dir(s.Record), 0o755); err != nil {
		return err
	}
	if err := watchdog.SaveQualification(s.Record, q); err != nil {
		return err
	}
	return a.tell(s)
}

// tell prints how far the series is.
func (a *app) tell(s *series) error {
	if a.JSON {
		return a.PrintJSON(s)
	}
	a.Say("%s %s: %s", s.Device, s.Identity, map[string]string{
		stateNew: "nothing was measured yet", stateBegun: "the measurement is under way",
		stateResetting: "the measurement goes on", stateDone: "measured",
	}[s.State])
	if s.Note != "" {
		a.Say("  %s", s.Note)
	}
	for i, r := range s.Runs {
		a.Say("  run %d, %-12s reset %.3f to %.3f s after the last feed", i+1, r.Kind+":", r.Least, r.Most)
	}
	switch s.State {
	case stateDone:
		a.Say("timeout %s as read back; T_max %.3f s, 1.1 times the longest run: %s", screen.Seconds(seconds(s.Timeout)), s.TMax, s.Record)
		a.Say("The guard and holdfast timing count with it from their next start on.")
	case stateResetting:
		a.Say("run %d of %d (%s): this machine is reset now. After its boot, the same command goes on.", len(s.Runs)+1, len(runs()), s.Next)
	case stateNew, stateBegun:
		a.Say("%d of %d runs are over; the next is: %s", len(s.Runs), len(runs()), s.Next)
	}
	return nil
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// run does one run. It returns only if it could not begin, or if the device has not
// reset the machine.
func (a *app) run(b *bench, s *series, now *beacon.Beacon, p beacon.Place) error {
	release, err := b.free()
	if err != nil {
		return err
	}
	defer release()
	if !a.yes {
		ask := fmt.Sprintf("Run %d of %d lets %s reset this machine, without sync and without stopping anything. Go on", len(s.Runs)+1, len(runs()), b.device)
		if err := a.Confirm(ask, b.node.Name); err != nil {
			return err
		}
	}
	_ = realtime.Take() // what is refused makes the beacons less regular, and that is measured
	d, err := b.arm()
	if err != nil {
		return err
	}
	i := d.Info()
	setting, err := b.setting(i.Identity, i.Driver, i.Timeout)
	if err == nil {
		now.Device.Setting, err = digest(setting)
	}
	if err != nil {
		return errors.Join(err, d.Disarm())
	}
	now.Device.Identity, now.Device.Driver, now.Device.Timeout = i.Identity, i.Driver, i.Timeout
	now.Boot, now.Run = [16]byte(b.boot), beacon.Run{Kind: runs()[len(now.Done)], Phase: beacon.Fed}
	s.State, s.Identity, s.Timeout = stateResetting, i.Identity, i.Timeout.Seconds()
	if err := a.tell(s); err != nil {
		return errors.Join(err, d.Disarm())
	}
	err = letItBite(beacon.NewSender(p, *now, b.now), d, now.Run.Kind)
	if !errors.Is(err, beacon.ErrSurvived) {
		return errors.Join(err, d.Disarm())
	}
	// Whether it is late or dead, it must not bite an administrator who goes on.
	return errors.Join(fmt.Errorf("%s: %w within %v: it is no watchdog that anything may rest on", b.device, err, biteFactor*i.Timeout), d.Disarm())
}
