package oracle_test

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const second = time.Second

func inc(n uint32) ident.Incarnation { return ident.Incarnation{N: n, Boot: ident.BootID{1}} }

func at(d time.Duration) oracle.Moment { return oracle.Moment{True: d, Own: ident.Instant(d)} }

// judge returns a judge of two nodes and three disks that collects what it says.
func judge() (*oracle.Judge, *[]oracle.Kind) {
	said := &[]oracle.Kind{}
	l := oracle.Limits{Nodes: 2, Disks: 3, Rho: 0.005, Drain: second}
	return oracle.New(l, func(v oracle.Violation) { *said = append(*said, v.Kind) }), said
}

// bound is node 1, bound at 10 s with a lease of 5 s and two watchdogs of 2 s, its
// first cycle complete on two disks.
func bound(j *oracle.Judge) {
	j.Boots(1)
	j.Binds(1, inc(1), at(10*second), ident.Instant(100*second), oracle.Promise{F: 5 * second, G: 5 * second, TMax: 2 * second, Periods: 1})
	j.Cycled(1, 0, inc(1), at(11*second))
	j.Cycled(1, 1, inc(1), at(12*second))
	j.Boots(2)
	j.Binds(2, inc(1), at(10*second), ident.Instant(100*second), oracle.Promise{F: 5 * second, G: 5 * second, TMax: 2 * second, Periods: 1})
}

func owned(j *oracle.Judge) {
	bound(j)
	j.Decided(1, 2, [32]byte{2}, []oracle.Grant{{Service: "db", Owner: 1, Inc: inc(1), Term: 1, Why: "free"}})
	j.Runs(1, inc(1), "db", 1, 13*second)
}

// stalled is owned after the owner has died, and its array has held everything back for
// some seconds; node 2 was granted the service.
func stalled(j *oracle.Judge) {
	owned(j)
	j.Ends(1, 14*second)
	j.Stalled(14*second, 21*second)
	j.Decided(2, 3, [32]byte{3}, []oracle.Grant{{Service: "db", Owner: 2, Inc: inc(1), Term: 2, Proven: true, Why: "proven"}})
}

// cycle completes a cycle on a majority of the disks.
func cycle(j *oracle.Judge, issued time.Duration) {
	j.Cycled(1, 0, inc(1), at(issued))
	j.Cycled(1, 1, inc(1), at(issued))
}

// rule is a rule with one story that keeps it and one that breaks it.
type rule struct {
	name  string
	kind  oracle.Kind
	good  func(j *oracle.Judge)
	wrong func(j *oracle.Judge)
}

func stallRules() []rule {
	return []rule{
		{
			"what an array held back lands after the stall", oracle.Ghost,
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 12*second)
				j.Stalled(17*second, 21*second)
				j.CalledDead(1, inc(1), 22*second, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 12*second)
				j.Stalled(17*second, 21*second)
				j.CalledDead(1, inc(1), 21900*time.Millisecond, 2)
			},
		},
		{
			"of a machine that is off, too", oracle.PowerEarly,
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 13*second)
				j.Stalled(14100*time.Millisecond, 21*second) // everything had landed before
				j.CalledOff(1, inc(1), 14*second, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 13*second)
				j.Stalled(13*second, 21*second)
				j.CalledOff(1, inc(1), 21*second, 2)
			},
		},
		{
			"and no service starts before", oracle.TwoOwners,
			func(j *oracle.Judge) { stalled(j); j.Runs(2, inc(1), "db", 2, 22*second) },
			func(j *oracle.Judge) { stalled(j); j.Runs(2, inc(1), "db", 2, 21*second) },
		},
	}
}

func timeRules() []rule {
	return []rule{
		{
			"a death by time waits for lease, watchdog and drain, whatever became of the victim", oracle.Ghost,
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 12*second)
				j.CalledDead(1, inc(1), 19100*time.Millisecond, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 12*second)
				j.CalledDead(1, inc(1), 18900*time.Millisecond, 2)
			},
		},
		{
			"who has retired may be called dead at any time", oracle.Ghost,
			func(j *oracle.Judge) { bound(j); j.Retires(1, inc(1)); j.CalledDead(1, inc(1), 13*second, 2) },
			func(j *oracle.Judge) { bound(j); j.CalledDead(1, inc(1), 13*second, 2) },
		},
		{
			"off is off, and drained", oracle.PowerEarly,
			func(j *oracle.Judge) { bound(j); j.Ends(1, 13*second); j.CalledOff(1, inc(1), 14*second, 2) },
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 13*second)
				j.CalledOff(1, inc(1), 13900*time.Millisecond, 2)
			},
		},
		{
			"a machine that is on is not off", oracle.PowerEarly,
			func(j *oracle.Judge) {
				bound(j)
				j.Ends(1, 13*second)
				j.Boots(1)
				j.CalledOff(1, inc(1), 15*second, 2)
			},
			func(j *oracle.Judge) { bound(j); j.CalledOff(1, inc(1), 15*second, 2) },
		},
		{
			"a second machine of the same name is a machine of its own", oracle.TwoOwners,
			owned,
			func(j *oracle.Judge) { owned(j); j.Runs(j.Twin(1), inc(1), "db", 1, 14*second) },
		},
		{
			"what a machine relies on stays in its ring", oracle.Lost,
			func(j *oracle.Judge) { relied(j); j.Replaces(0, 1, ring(2, 1), ring(1, 2)) },
			func(j *oracle.Judge) { relied(j); j.Replaces(0, 1, ring(2, 1), ring(1, 1)) },
		},
		{
			"and so does what it has accepted", oracle.Lost,
			func(j *oracle.Judge) { relied(j); j.Replaces(0, 1, ring(2), ring(3)) },
			func(j *oracle.Judge) { relied(j); j.Replaces(0, 1, ring(2), []oracle.Block{{Mbal: ballot(3)}}) },
		},
		{
			"a block that one disk of three has shown is not relied on", oracle.Lost,
			func(j *oracle.Judge) { j.Relies(1, 0, 3, block(2)); j.Replaces(0, 1, ring(2), ring(1)) },
			func(j *oracle.Judge) { relied(j); j.Replaces(1, 1, ring(2), ring(1)) },
		},
		{
			"the lease counts from the issue on a majority", oracle.FedLate,
			func(j *oracle.Judge) { bound(j); j.Fed(1, 0, 2, at(16*second), at(16*second)) },
			func(j *oracle.Judge) { bound(j); j.Fed(1, 0, 2, at(16*second+1), at(16*second+1)) },
		},
		{
			"a stopping incarnation renews nothing", oracle.FedLate,
			func(j *oracle.Judge) {
				bound(j)
				j.Cycled(1, 0, inc(1), at(14*second))
				j.Fed(1, 0, 2, at(17*second), at(17*second))
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Freezes(1, inc(1))
				j.Cycled(1, 0, inc(1), at(14*second))
				j.Fed(1, 0, 2, at(17*second), at(17*second))
			},
		},
		{
			"one watchdog may be fed late, never both", oracle.BothLate,
			func(j *oracle.Judge) { bound(j); j.Fed(1, 1, 2, at(16*second), at(18*second)) },
			func(j *oracle.Judge) {
				bound(j)
				j.Fed(1, 1, 2, at(16*second), at(18*second))
				j.Fed(1, 0, 2, at(16*second), at(18*second))
			},
		},
		{
			"the dead feed nothing", oracle.FedDead,
			func(j *oracle.Judge) { bound(j); j.Fed(1, 0, 2, at(13*second), at(13*second)) },
			func(j *oracle.Judge) {
				bound(j)
				j.CalledDead(1, inc(1), 30*second, 2)
				j.Fed(1, 0, 2, at(13*second), at(31*second))
			},
		},
	}
}

func promiseRules() []rule {
	return []rule{
		{
			"a higher promise counts when every beat behind the lease carries it", oracle.FedLate,
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 9*second, 9*second)
				cycle(j, 13*second)
				j.Fed(1, 0, 2, at(22*second), at(22*second))
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 9*second, 9*second)
				j.Cycled(1, 0, inc(1), at(13*second))
				j.Fed(1, 0, 2, at(18*second), at(18*second))
			},
		},
		{
			"a lower promise counts at once, and not for what was checked before", oracle.FedLate,
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(15*second), 2*second, 2*second)
				j.Fed(1, 0, 2, at(15*second), at(16*second))
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(15*second), 2*second, 2*second)
				j.Fed(1, 0, 2, at(15*second+1), at(16*second))
			},
		},
		{
			"who promises less is dead earlier, and not before what it lived by until then", oracle.Ghost,
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 2*second, 2*second)
				j.CalledDead(1, inc(1), 16100*time.Millisecond, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(15*second), 2*second, 2*second)
				j.CalledDead(1, inc(1), 17900*time.Millisecond, 2)
			},
		},
		{
			"a clock may be slow from when consent was told on, not before", oracle.Ghost,
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 5*second, 100*second)
				cycle(j, 13*second)
				j.Graces(1, inc(1), at(16*second), ident.Instant(20*second))
				j.CalledDead(1, inc(1), 23030*time.Millisecond, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 5*second, 100*second)
				cycle(j, 13*second)
				j.Graces(1, inc(1), at(16*second), ident.Instant(20*second))
				j.CalledDead(1, inc(1), 23010*time.Millisecond, 2)
			},
		},
		{
			"who promises more is dead later", oracle.Ghost,
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 9*second, 9*second)
				cycle(j, 13*second)
				j.CalledDead(1, inc(1), 25100*time.Millisecond, 2)
			},
			func(j *oracle.Judge) {
				bound(j)
				j.Promises(1, inc(1), at(12*second), 9*second, 9*second)
				cycle(j, 13*second)
				j.CalledDead(1, inc(1), 24900*time.Millisecond, 2)
			},
		},
	}
}

func ownerRules() []rule {
	return []rule{
		{
			"the writes of a dead owner land before the next one starts", oracle.TwoOwners,
			func(j *oracle.Judge) { owned(j); j.Ends(1, 20*second); takeover(j, 21*second) },
			func(j *oracle.Judge) { owned(j); j.Ends(1, 20*second); takeover(j, 20900*time.Millisecond) },
		},
		{
			"only what was granted is started", oracle.NoGrant,
			owned,
			func(j *oracle.Judge) { owned(j); j.Stops(1, "db"); j.Runs(1, inc(2), "db", 1, 14*second) },
		},
		{
			"who was suspended does not go on with what another has taken over", oracle.TwoOwners,
			func(j *oracle.Judge) { owned(j); j.Sleeps(1, 20*second); takeover(j, 21*second); j.Ends(1, 30*second) },
			func(j *oracle.Judge) { owned(j); j.Sleeps(1, 20*second); takeover(j, 21*second); j.Wakes(1) },
		},
		{
			"who starts has a guard that is bound", oracle.NoGrant,
			func(j *oracle.Judge) { owned(j); j.Stops(1, "db"); j.Runs(1, inc(1), "db", 1, 14*second) },
			func(j *oracle.Judge) {
				owned(j)
				j.Stops(1, "db")
				j.Retires(1, inc(1))
				j.Runs(1, inc(1), "db", 1, 14*second)
			},
		},
		{
			"a term begins when the one before has ended, and says how", oracle.NoProof,
			func(j *oracle.Judge) { owned(j); j.Stops(1, "db"); takeover(j, 15*second) },
			func(j *oracle.Judge) {
				owned(j)
				j.Stops(1, "db")
				j.Decided(2, 3, [32]byte{3}, []oracle.Grant{{Service: "db", Owner: 2, Inc: inc(1), Term: 2, Why: "moved"}})
			},
		},
		{
			"a version is decided once", oracle.TwoDecisions,
			func(j *oracle.Judge) { owned(j); j.Decided(2, 2, [32]byte{2}, nil) },
			func(j *oracle.Judge) { owned(j); j.Decided(2, 2, [32]byte{3}, nil) },
		},
		{
			"terms never fall", oracle.Backwards,
			owned,
			func(j *oracle.Judge) { owned(j); j.Decided(2, 3, [32]byte{3}, []oracle.Grant{{Service: "db"}}) },
		},
		{
			"what retires holds nothing", oracle.NotStopped,
			func(j *oracle.Judge) { owned(j); j.Stops(1, "db"); j.Retires(1, inc(1)) },
			func(j *oracle.Judge) { owned(j); j.Retires(1, inc(1)) },
		},
		{
			"what is released does not run", oracle.NotStopped,
			func(j *oracle.Judge) { owned(j); j.Stops(1, "db"); j.Releases(1, "db", 1) },
			func(j *oracle.Judge) { owned(j); j.Releases(1, "db", 1) },
		},
		{
			"every action is explained", oracle.Words,
			func(j *oracle.Judge) { j.Explains(1, "fencing", "silent") },
			func(j *oracle.Judge) { j.Explains(1, "fencing", "") },
		},
	}
}

// TestRules tells the stories of each rule.
func TestRules(t *testing.T) {
	for _, c := range slices.Concat(timeRules(), stallRules(), promiseRules(), ownerRules(), storageRules(), besideRules()) {
		t.Run(c.name, func(t *testing.T) {
			j, said := judge()
			if c.good(j); len(*said) > 0 {
				t.Errorf("the rule is kept, and the oracle says %q", *said)
			}
			j, said = judge()
			if c.wrong(j); len(*said) == 0 || (*said)[0] != c.kind {
				t.Errorf("the rule is broken, and the oracle says %q, want %q", *said, c.kind)
			}
		})
	}
}

// takeover grants the service to node 2 and starts it there.
func takeover(j *oracle.Judge, when time.Duration) {
	j.Decided(2, 3, [32]byte{3}, []oracle.Grant{{Service: "db", Owner: 2, Inc: inc(1), Term: 2, Proven: true, Why: "node 1 is dead"}})
	j.Runs(2, inc(1), "db", 2, when)
}

func ballot(round uint64) ident.Ballot { return ident.Ballot{Round: round, Node: 1} }

// block is one that was accepted in the round in which it was written.
func block(round uint64) oracle.Block {
	return oracle.Block{Mbal: ballot(round), Bal: ballot(round), Ver: round}
}

func ring(rounds ...uint64) (all []oracle.Block) {
	for _, r := range rounds {
		all = append(all, block(r))
	}
	return all
}

// relied has machine 1 find its block of round 2 on two disks of three.
func relied(j *oracle.Judge) {
	j.Relies(1, 0, 3, block(2))
	j.Relies(1, 1, 3, block(2))
}
