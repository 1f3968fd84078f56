package machine

import (
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

func TestTiming(t *testing.T) {
	s := &guardwire.Snapshot{Emulated: true, Holder: guardwire.SystemdHolder, Watchdogs: []guardwire.Watchdog{
		{Path: "soft", Software: true, Timeout: 2 * time.Second, TMax: 5 * time.Second, Class: cluster.WatchdogSoftOnly, Why: "never measured"},
		{Path: "soft2", Software: true, Timeout: 2 * time.Second, TMax: 3 * time.Second, Class: cluster.WatchdogSoftOnly},
		{Path: "hard", Timeout: 3 * time.Second, TMax: 4 * time.Second, Class: cluster.WatchdogQualified},
		{Path: "gone", Class: cluster.WatchdogNone, Why: "no such device"},
	}}
	in := Timing(s, &config.Node{AcceptSoftdog: true, Platform: config.Platform{PauseBound: time.Second, PauseSet: true}})
	if len(in.Devices) != 3 || !in.SecondHolder || !in.AcceptSoftdog || in.PauseBound != time.Second {
		t.Errorf("input %+v", in)
	}
	if d := in.Devices[0]; d.TMax != 0 || d.Timeout != 2*time.Second || !d.Software {
		t.Errorf("a bound that was not measured must not count: %+v", d)
	}
	if d := in.Devices[1]; d.TMax != 3*time.Second || d.At != 2*time.Second {
		t.Errorf("a softdog that was measured: %+v", d)
	}
	if d := in.Devices[2]; d.TMax != 4*time.Second || d.At != 3*time.Second {
		t.Errorf("device %+v", d)
	}
}

func TestLockup(t *testing.T) {
	on := map[string]int{"nmi_watchdog": 1, "hardlockup_panic": 1, "softlockup_panic": 1, "panic": 10, "watchdog_thresh": 10}
	with := func(name string, value int) time.Duration {
		return lockup(func(n string) (int, bool) {
			if n == name {
				return value, value >= 0
			}
			v, ok := on[n]
			return v, ok
		})
	}
	if got := with("", 0); got != 33*time.Second {
		t.Errorf("everything on: %v", got)
	}
	for name := range on {
		if got := with(name, 0); got != 0 {
			t.Errorf("%s off: %v: a locked-up CPU would never end the node", name, got)
		}
	}
	if got := with("panic", -1); got != 0 {
		t.Errorf("an unreadable setting: %v", got)
	}
}
