package oracle_test

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// started grants a second service to a node and starts it there.
func started(j *oracle.Judge, node ident.NodeID, when time.Duration) {
	j.Decided(1, 3, [32]byte{3}, []oracle.Grant{{Service: "web", Owner: node, Inc: inc(1), Term: 1, Why: "free"}})
	j.Runs(node, inc(1), "web", 1, when)
}

// taken grants the first service to another node, whose proof leaves the former
// owner's processes running.
func taken(j *oracle.Judge, node ident.NodeID) {
	j.Decided(1, 5, [32]byte{5}, []oracle.Grant{{Service: "db", Owner: node, Inc: inc(1), Term: 2, Proven: true, Storage: true, Why: "its keys are gone"}})
}

func besideRules() []rule {
	apart := func(j *oracle.Judge) { j.Beside("web", nil, []string{"db"}); owned(j) }
	with := func(j *oracle.Judge) { j.Beside("web", []string{"db"}, nil); owned(j) }
	return []rule{
		{
			"services that must be apart are not on one node", oracle.NotApart,
			func(j *oracle.Judge) { apart(j); started(j, 2, 14*second) },
			func(j *oracle.Judge) { apart(j); started(j, 1, 14*second) },
		},
		{
			"not while one of them is being stopped, either", oracle.NotApart,
			func(j *oracle.Judge) { apart(j); j.Stops(1, "db"); started(j, 1, 14*second) },
			func(j *oracle.Judge) { apart(j); j.Releases(1, "db", 0); started(j, 1, 14*second) },
		},
		{
			"the rule holds for the other one, too", oracle.NotApart,
			func(j *oracle.Judge) { j.Beside("db", nil, []string{"web"}); owned(j); started(j, 2, 14*second) },
			func(j *oracle.Judge) { j.Beside("db", nil, []string{"web"}); owned(j); started(j, 1, 14*second) },
		},
		{
			"services that must be together are not on two nodes", oracle.NotTogether,
			func(j *oracle.Judge) { with(j); started(j, 1, 14*second) },
			func(j *oracle.Judge) { with(j); started(j, 2, 14*second) },
		},
		{
			"one is where its partner's owner is now, whatever a former one runs without its storage", oracle.NotTogether,
			func(j *oracle.Judge) { with(j); taken(j, 2); started(j, 2, 14*second) },
			func(j *oracle.Judge) { with(j); taken(j, 3); started(j, 2, 14*second) },
		},
		{
			"one whose partner's machine has ended is alone", oracle.NotTogether,
			func(j *oracle.Judge) { with(j); j.Ends(1, 13500*time.Millisecond); started(j, 2, 14*second) },
			func(j *oracle.Judge) { with(j); started(j, 2, 14*second) },
		},
	}
}
