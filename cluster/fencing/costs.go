package fencing

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// What ways cost typically, to predict takeovers and for nothing else: two
// readings with bmc.Hold between them and the sessions around them; agents start
// an interpreter for each.
const (
	bmcTypical     = 3 * time.Second
	agentTypical   = 8 * time.Second
	agentWorst     = 30 * time.Second
	preemptTypical = 50 * time.Millisecond
)

// CostsOf says what the proofs cost with the ways of a configuration: of those
// that every node has the fastest, for any node may fall silent. Nil gives none.
func CostsOf(conf *cluster.Config) timing.Costs {
	var c timing.Costs
	if conf == nil || len(conf.Fencing) == 0 {
		return c
	}
	bmc, power, reservation := true, true, true
	for i := range conf.Fencing {
		b, p, r := false, false, false
		for _, w := range conf.Fencing[i].Ways {
			b = b || w.CutsPower() && !w.Runs()
			p = p || w.CutsPower()
			r = r || w.Kind == cluster.WayReservation
		}
		bmc, power, reservation = bmc && b, power && p, reservation && r
	}
	switch {
	case bmc:
		c.BMC = bmcTypical
	case power:
		c.BMC, c.BMCMost = agentTypical, agentWorst
	}
	if reservation {
		c.Preempt = preemptTypical
	}
	return c
}
