package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/clustertest"
	"github.com/holdfast-ha/holdfast/cluster/clustertest/tally"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// mostReplaced bounds how many disks a story uses up.
const mostReplaced = 8

func threeDisks(p Plan) bool { return p.Disks == 3 }

// forgetful are disks that lose what they have acknowledged. The register rests on
// a majority of the disks that never forgets, so it is one of three at a time, and
// the next only when that one was replaced and everybody knows it.
func forgetful() []fault {
	return []fault{
		{name: "a quorum disk is wiped", weight: 2, fits: threeDisks, rare: true, tells: true, strike: func(r *run) {
			k := r.forgets()
			if k == nil {
				return
			}
			k.Wipe(r.rng.IntN(2) == 0)
			r.later(2*time.Second, 30*time.Second, func() {
				if r.refused(k, "") {
					r.bites("a quorum disk is wiped")
				}
				r.replace(k, nil)
			})
		}},
		{name: "a quorum disk goes back to an earlier image", weight: 2, fits: threeDisks, rare: true, tells: true, strike: func(r *run) {
			k := r.forgets()
			if k == nil {
				return
			}
			image := k.Snapshot()
			r.later(time.Second, 40*time.Second, func() {
				k.Restore(image)
				r.later(time.Second, 30*time.Second, func() {
					if r.refused(k, diskset.Forgot) {
						r.bites("a quorum disk goes back to an earlier image")
					}
					r.replace(k, nil)
				})
			})
		}},
		{name: "a quorum disk is replaced", weight: 2, fits: threeDisks, rare: true, tells: true, strike: func(r *run) {
			if k := r.forgets(); k != nil {
				r.replace(k, func() { r.bites("a quorum disk is replaced") })
			}
		}},
		{name: "nobody reaches a quorum disk", weight: 1, strike: func(r *run) {
			k := r.w.Disks[r.rng.IntN(len(r.w.Disks))]
			if k.Gone {
				return
			}
			k.Gone = true
			r.later(time.Second, 30*time.Second, func() { k.Gone = slices.Contains(r.given, k) })
		}},
		{name: "a clone of a quorum disk is in its place", weight: 1, tells: true, strike: func(r *run) {
			n, d, had := r.node(), r.rng.IntN(len(r.w.Disks)), r.w.Tally.Effects[tally.CloneRefused]
			n.PowerOff()
			n.Clones[d] = true
			r.later(time.Second, 5*time.Second, n.PowerOn)
			r.later(10*time.Second, 60*time.Second, func() {
				if n.Clones[d] = false; r.w.Tally.Effects[tally.CloneRefused] > had {
					r.bites("a clone of a quorum disk is in its place")
				}
			})
		}},
	}
}

// forgets chooses a disk that may forget now; nil if none may. It is the only one
// until it was replaced.
func (r *run) forgets() *clustertest.Disk {
	if r.spoilt != nil || r.healing || len(r.given) >= mostReplaced {
		return nil
	}
	var set []ident.UUID
	for _, n := range r.w.Nodes {
		if n.Core() == nil || n.View().State == nil {
			if len(r.given) > 0 {
				return nil // it may know no more than the disks of an earlier set
			}
			continue
		}
		s := n.View().State
		if s.Change.Stage != cluster.DisksSettled || set != nil && !slices.Equal(s.Disks, set) {
			return nil
		}
		set = s.Disks
	}
	if set == nil {
		return nil
	}
	r.spoilt = r.w.Disk(set[r.rng.IntN(len(set))])
	return r.spoilt
}

// refused says that some daemon does not count a disk, and says so in such words.
func (r *run) refused(k *clustertest.Disk, why string) bool {
	for _, n := range r.w.Nodes {
		if n.Core() == nil {
			continue
		}
		for _, v := range n.View().Disks {
			if v.UUID == k.UUID && v.Err != "" && strings.Contains(v.Err, why) {
				return true
			}
		}
	}
	return false
}

// replace is the administrator who puts another disk in the place of one, and goes
// on asking until it is done. What was replaced is taken away.
func (r *run) replace(k *clustertest.Disk, done func()) {
	next := r.w.AddDisk()
	var again func()
	again = func() {
		for _, n := range r.w.Nodes {
			if n.Core() == nil || n.View().Stage != "member" {
				continue
			}
			s := n.View().State
			switch {
			case s.Change.Stage == cluster.DisksOffered && r.rng.IntN(8) == 0:
				n.Ask(cluster.KeepDisks{Why: "it takes too long"})
			case s.Change.Stage != cluster.DisksSettled:
			case slices.Contains(s.Disks, k.UUID):
				n.Ask(exchange(s, k.UUID, next.UUID))
			default:
				k.Gone, r.spoilt = true, nil
				r.given = append(r.given, k)
				if done != nil {
					done()
				}
				return
			}
			break
		}
		r.later(time.Second, 5*time.Second, again)
	}
	again()
}

// exchange is the request that puts one disk in the place of another.
func exchange(s *cluster.State, old, next ident.UUID) cluster.ChangeDisks {
	q := cluster.ChangeDisks{From: s.Disks, To: slices.Clone(s.Disks), Paths: make([]string, len(s.Disks))}
	i := slices.Index(q.To, old)
	q.To[i], q.Paths[i] = next, "/dev/new"
	return q
}
