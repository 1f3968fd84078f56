package main

import (
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/peer/contender"
	"github.com/holdfast-ha/holdfast/test/peer/holdfast"
	"github.com/holdfast-ha/holdfast/test/peer/pacemaker"
	"github.com/holdfast-ha/holdfast/test/peer/rounds"
	"github.com/holdfast-ha/holdfast/test/peer/sanlock"
)

// watchdogTimeout is the same for everybody: sbd's default.
const watchdogTimeout = 5 * time.Second

// contenders make the contenders of every setting, each anew for a round.
//
//   - default: what comes without a choice. corosync's token is 3 s; failover_within is 10 s.
//   - tight: the tightest that is safe with these watchdogs: a token of 1 s, which corosync had as its default
//     before version 3.1; sbd's message wait stays twice its watchdog.
//   - bmc and bmc-tight: the same two with power by Redfish, both sides with the same controllers; sbd is left out,
//     Holdfast keeps its watchdogs.
//   - sanlock and sanlock-tight: sanlock alone, with the time for a request that it has
//     without a choice, 10 s, and with the smallest that works, 2 s. Its watchdog has
//     the 60 s that are built into it; wdmd stops feeding it 10 s before a lease of
//     8 times that ends, so that with 1 s a host that renews in time is reset.
func contenders() map[string][]func() contender.Contender {
	peer := func(s pacemaker.Setting) func() contender.Contender {
		return func() contender.Contender { return &pacemaker.Cluster{Setting: s} }
	}
	own := func(s holdfast.Setting) func() contender.Contender {
		return func() contender.Contender { return &holdfast.Cluster{Setting: s} }
	}
	lease := func(setting string, io time.Duration) []func() contender.Contender {
		return []func() contender.Contender{func() contender.Contender {
			return &sanlock.Cluster{Setting: sanlock.Setting{Setting: setting, IO: io}}
		}}
	}
	return map[string][]func() contender.Contender{
		"sanlock":       lease("sanlock", 10*time.Second),
		"sanlock-tight": lease("sanlock-tight", 2*time.Second),
		"default": {
			peer(pacemaker.Setting{Setting: "default", Token: 3 * time.Second, Watchdog: watchdogTimeout}),
			own(holdfast.Setting{Setting: "default", Watchdog: watchdogTimeout, Within: 10 * time.Second}),
		},
		"tight": {
			peer(pacemaker.Setting{Setting: "tight", Token: time.Second, Watchdog: watchdogTimeout}),
			own(holdfast.Setting{Setting: "tight", Watchdog: watchdogTimeout}),
		},
		"bmc": {
			peer(pacemaker.Setting{Setting: "bmc", Token: 3 * time.Second, Watchdog: watchdogTimeout, BMC: true}),
			own(holdfast.Setting{Setting: "bmc", Watchdog: watchdogTimeout, Within: 10 * time.Second, BMC: true}),
		},
		"bmc-tight": {
			peer(pacemaker.Setting{Setting: "bmc-tight", Token: time.Second, Watchdog: watchdogTimeout, BMC: true}),
			own(holdfast.Setting{Setting: "bmc-tight", Watchdog: watchdogTimeout, BMC: true}),
		},
	}
}

// settingNames are all settings, in the order of the tables.
func settingNames() []string {
	return []string{"default", "tight", "bmc", "bmc-tight", "sanlock", "sanlock-tight"}
}

// worthwhile says whether an event in a setting tells anything in round i: what an idle
// node costs is the same in every round, and does not depend on the setting; sanlock
// has no network to be cut, and moves nothing.
func worthwhile(i int, setting, event string) bool {
	switch {
	case event == rounds.Idle:
		return i == 0 && setting == settingNames()[0]
	case strings.HasPrefix(setting, "sanlock"):
		return event == rounds.Kill || event == rounds.Freeze
	}
	return true
}
