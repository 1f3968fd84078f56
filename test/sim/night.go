package sim

import (
	"math/rand/v2"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/test/record"
)

// Chapter is how a night is divided: trouble first, then everything is healed and
// has to be whole again, and quiet until the chapter's end. A night without the
// healing would soon be about nodes that are off for good.
const (
	Chapter      = 20 * time.Minute
	nightTrouble = 12 * time.Minute
	mostRest     = 20 * time.Second // between two faults
)

// MakeNight makes the plan of a long night of one cluster of three nodes with three
// quorum disks and controllers: the first such that a seed from this one on makes.
// Faults strike less often than in other plans, and are of every kind that fits.
func MakeNight(seed uint64, length time.Duration) Plan {
	p := MakePlan(seed)
	for p.Nodes != 3 || p.Disks != 3 || !p.BMC {
		seed++
		p = MakePlan(seed)
	}
	p.Length, p.Strikes, p.Kinds = length, nil, nil
	rng := rand.New(rand.NewPCG(seed, 96))
	var kinds []fault
	for _, f := range all() {
		if f.apart || f.fits != nil && !f.fits(p) {
			continue
		}
		for range f.weight {
			kinds = append(kinds, f)
		}
		p.Kinds = append(p.Kinds, f.name)
	}
	for begin := time.Duration(0); begin < length; begin += Chapter {
		for at := begin + 15*time.Second; at < min(length, begin+nightTrouble); at += between(rng, 100*time.Millisecond, 2*mostRest) {
			p.Strikes = append(p.Strikes, Strike{Number: len(p.Strikes), At: at, Kind: kinds[rng.IntN(len(kinds))].name, Seed: rng.Uint64()})
		}
	}
	return p
}

// Night tells the story of a night and writes the decision log of every node, as
// its daemon would have written it, into a folder of dir that has the node's name.
func Night(p Plan, dir string) Result {
	log := record.New(dir)
	res := told(p, func(t clustertest.T, show func(*clustertest.World)) {
		r := begin(t, p, log.Follow)
		show(r.w)
		r.w.Boot()
		for begin := time.Duration(0); begin < p.Length; begin += Chapter {
			r.chapter(begin, min(p.Length, begin+Chapter))
		}
	})
	if err := log.Close(); err != nil && res.Failed == "" {
		res.Failed, res.Text = NoLog, err.Error()
	}
	return res
}

// NoLog is what a night fails with whose log cannot be written.
const NoLog = "no decision log"

// chapter tells one chapter. A healing may take longer than it should have: then
// the next chapter begins late.
func (r *run) chapter(begin, end time.Duration) {
	r.healing = false
	for _, s := range r.plan.Strikes {
		if s.At >= begin && s.At < end {
			r.w.Run(max(0, s.At-r.w.Now))
			r.strike(s)
		}
	}
	r.w.Run(max(0, min(end, begin+nightTrouble)-r.w.Now))
	r.heal()
	r.w.Run(max(0, end-r.w.Now))
}
