package oracle_test

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest/oracle"
)

// stored is node 1 with the storage of a service in term 1, and its key on the LUN.
func stored(j *oracle.Judge) {
	bound(j)
	j.Decided(1, 2, [32]byte{2}, []oracle.Grant{{Service: "db", Owner: 1, Inc: inc(1), Term: 1, Why: "free"}})
	j.Keyed(1, "lun", true, 12*second)
	j.Stores(1, oracle.Grant{Service: "db", Inc: inc(1), Term: 1}, []string{"lun"}, 13*second)
}

// cutOff is node 2, which takes the key of node 1 away and begins to use the LUN at
// an instant, on a proof for the storage alone.
func cutOff(j *oracle.Judge, when time.Duration) {
	j.Keyed(1, "lun", false, 20*second)
	j.Keyed(2, "lun", true, 20*second)
	j.Decided(2, 3, [32]byte{3}, []oracle.Grant{{Service: "db", Owner: 2, Inc: inc(1), Term: 2, Proven: true, Storage: true, Why: "node 1 is cut off"}})
	j.Stores(2, oracle.Grant{Service: "db", Inc: inc(1), Term: 2}, []string{"lun"}, when)
}

func storageRules() []rule {
	return []rule{
		{
			"only who has no key any more is cut off", oracle.NoProof,
			func(j *oracle.Judge) { stored(j); cutOff(j, 20*second) },
			func(j *oracle.Judge) {
				stored(j)
				j.Keyed(1, "other", true, 12*second)
				j.Stores(1, oracle.Grant{Service: "db", Inc: inc(1), Term: 1}, []string{"other"}, 13*second)
				cutOff(j, 20*second)
			},
		},
		{
			"a key that is on its way cuts nobody off", oracle.NoProof,
			func(j *oracle.Judge) { stored(j); j.Flies(1, "lun", 1); j.Flies(1, "lun", -1); cutOff(j, 20*second) },
			func(j *oracle.Judge) { stored(j); j.Flies(1, "lun", 1); cutOff(j, 20*second) },
		},
		{
			"a key that comes back is a second writer", oracle.TwoOwners,
			func(j *oracle.Judge) {
				stored(j)
				cutOff(j, 20*second)
				j.Stops(1, "db")
				j.Keyed(1, "lun", true, 21*second)
			},
			func(j *oracle.Judge) { stored(j); cutOff(j, 20*second); j.Keyed(1, "lun", true, 21*second) },
		},
		{
			"what nobody aborted lands before another uses the LUN", oracle.TwoOwners,
			func(j *oracle.Judge) { stored(j); j.Loose(1, "lun", 20*second); cutOff(j, 21*second) },
			func(j *oracle.Judge) { stored(j); j.Loose(1, "lun", 20*second); cutOff(j, 20900*time.Millisecond) },
		},
		{
			"no write of a former term lands once the LUN is used in a later one", oracle.TwoOwners,
			func(j *oracle.Judge) { stored(j); j.Lands(1, "lun", 1); cutOff(j, 20*second); j.Lands(2, "lun", 2) },
			func(j *oracle.Judge) { stored(j); cutOff(j, 20*second); j.Lands(1, "lun", 1) },
		},
		{
			"only the storage of what was granted is started", oracle.NoGrant,
			stored,
			func(j *oracle.Judge) {
				stored(j)
				j.Stores(2, oracle.Grant{Service: "db", Inc: inc(1), Term: 1}, []string{"third"}, 13*second)
			},
		},
	}
}
