package arming

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// What a proof by time may rest on: what was measured of exactly this device, else
// twice its timeout and a second, and nothing on softdog alone without the word of
// the administrator.
func TestWhatADeviceCountsFor(t *testing.T) {
	id := clock.Identity{Host: ident.UUID{0x40}}
	hardware := watchdog.Info{Path: "/dev/watchdog0", Identity: "card", Driver: "card", Timeout: 2 * time.Second}
	soft := watchdog.Info{Path: "/dev/watchdog1", Identity: "Software Watchdog", Driver: "softdog", Timeout: 2 * time.Second, Software: true}
	for name, c := range map[string]struct {
		info     watchdog.Info
		measured time.Duration // of the record; 0: there is none
		changed  bool          // the record is of another timeout
		accept   bool
		class    cluster.WatchdogClass
		tmax     time.Duration
		why      string
	}{
		"never measured":         {hardware, 0, false, false, cluster.WatchdogUnqualified, 5 * time.Second, "qualify /dev/watchdog0"},
		"measured":               {hardware, 2 * time.Second, false, false, cluster.WatchdogQualified, 2200 * time.Millisecond, ""},
		"changed since":          {hardware, 2 * time.Second, true, false, cluster.WatchdogUnqualified, 5 * time.Second, "does not count"},
		"softdog":                {soft, 0, false, false, cluster.WatchdogSoftOnly, 5 * time.Second, "qualify /dev/watchdog1"},
		"softdog, accepted":      {soft, 0, false, true, cluster.WatchdogSoftAccepted, 5 * time.Second, "qualify /dev/watchdog1"},
		"softdog, measured fast": {soft, 2 * time.Second, false, true, cluster.WatchdogSoftAccepted, 2300 * time.Millisecond, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &guardwire.Settings{Name: "alpha", RecordsPath: t.TempDir(), AcceptSoft: c.accept}
			if c.measured > 0 {
				of := c.info
				if c.changed {
					of.Timeout++
				}
				save(t, s, id, of, c.measured)
			}
			w := describe(s, id, c.info)
			if w.Class != c.class || w.TMax != c.tmax || (w.Why == "") != (c.why == "") || !strings.Contains(w.Why, c.why) {
				t.Errorf("counts as %v with %v (%s); want %v with %v (%s)", w.Class, w.TMax, w.Why, c.class, c.tmax, c.why)
			}
		})
	}
}

func save(t *testing.T, s *guardwire.Settings, id clock.Identity, i watchdog.Info, actual time.Duration) {
	t.Helper()
	setting, err := watchdog.SettingOf(s.Name, id.Host.String(), i)
	if err != nil {
		t.Fatal(err)
	}
	runs := []watchdog.Run{{Kind: watchdog.RunGuardDeath, Actual: actual}}
	for range 3 {
		runs = append(runs, watchdog.Run{Kind: watchdog.RunStarve, Actual: actual})
	}
	q, err := watchdog.NewQualification(setting, runs, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := watchdog.SaveQualification(filepath.Join(s.RecordsPath, filepath.Base(i.Path)+".json"), q); err != nil {
		t.Fatal(err)
	}
}
