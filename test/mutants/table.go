package main

import "github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"

// table is every mutant. To add one: a name that says what is wrong, the file, a
// piece of it that stands there once, what to put in its place, and the rule that
// has to be found broken. TestTableFits says whether it can be applied.
func table() []Mutant {
	return []Mutant{
		{
			Name: "the drain time of a dead host's writes is left out of the wait",
			File: "cluster/timing/wait.go", Old: "float64(Eps+s.Tz+l.V)", New: "float64(Eps+l.V)", By: string(oracle.Ghost),
		},
		{
			Name: "the watchdog's time is left out of the wait",
			File: "cluster/timing/wait.go", Old: "+float64(l.M)*float64(l.TMax))", New: ")", By: string(oracle.Ghost),
		},
		{
			Name: "nobody counts the watchdog period that a guard's death adds without a second holder",
			File: "cluster/timing/choice.go", Old: "if !in.SecondHolder {", New: "if false {", By: string(oracle.Ghost),
		},
		{
			Name: "the guard feeds after the end of the lease",
			File: "cluster/lease/lease.go", Old: "(now <= l.v.Permission && l.fresh(now))", New: "now <= l.v.Permission", By: string(oracle.FedLate),
		},
		{
			Name: "one disk renews the lease, not a majority",
			File: "cluster/lease/lease.go", Old: "quorum.Majority(s.Len())))", New: "1))", By: string(oracle.FedLate),
		},
		{
			Name: "a stopping incarnation renews its lease",
			File: "cluster/lease/lease.go", Old: "inc != l.v.Inc || l.v.Frozen || disk", New: "inc != l.v.Inc || disk", By: string(oracle.FedLate),
		},
		{
			Name: "the last word of a dying node counts as a proof",
			File: "cluster/core/fence.go", Old: "p.beat.State == cluster.GuardRetired", New: "p.beat.State >= cluster.GuardStopping",
		},
		{
			Name: "a proposer does not mind a higher ballot",
			File: "cluster/register/disks.go", Old: "h.Node != m.cfg.Self && h.Mbal.Compare(m.mbal) > 0", New: "false", By: string(oracle.TwoDecisions),
		},
		{
			Name: "a node retires while something may run",
			File: "cluster/services/services.go", Old: "l.op != 0 || l.started != 0 || l.state != cluster.Down", New: "l.op != 0 || l.started != 0 && l.state != cluster.Down", By: string(oracle.NotStopped),
		},
		{
			Name: "the operations of a dead daemon are left to themselves",
			File: "cluster/clustertest/runner.go", Old: "a.gone = true\n", New: "_ = a\n",
		},
	}
}
