package main

import (
	"time"

	"github.com/holdfast-ha/holdfast/test/peer/contender"
	"github.com/holdfast-ha/holdfast/test/peer/holdfast"
	"github.com/holdfast-ha/holdfast/test/peer/pacemaker"
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
func contenders() map[string][]func() contender.Contender {
	peer := func(s pacemaker.Setting) func() contender.Contender {
		return func() contender.Contender { return &pacemaker.Cluster{Setting: s} }
	}
	own := func(s holdfast.Setting) func() contender.Contender {
		return func() contender.Contender { return &holdfast.Cluster{Setting: s} }
	}
	return map[string][]func() contender.Contender{
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
