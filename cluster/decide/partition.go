package decide

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// split is a network that is not whole, as this node has seen it without a change.
type split struct {
	links string // who reaches whom
	since ident.Instant
	last  ident.Instant // when it looked last: who does not coordinate does not look
}

// What counts when a network falls apart: every node, then what it runs.
const (
	nodeWeight    = 10000 // more than the services of a node weigh, as a rule
	serviceWeight = 1     // and the service's priority
)

// unseen is the longest time between two looks in which nothing can have changed
// and back: less than a beat.
const unseen = 200 * time.Millisecond

// mostSteps bounds the search for the best group. Networks that fall apart fall
// into few groups; one that is full of holes everywhere ends with the best group
// found so far.
const mostSteps = 20000

// revisePartition evicts nodes from a network that fell apart, where services
// need it (partition: evict): the heaviest group of members that all reach each
// other stays, and everybody else is fenced in one commit, this node too if it is
// not in the group. Everybody's reach stands in the beats on the quorum disks, so
// both sides see the same and the register lets one of them decide. A picture
// that changes begins the wait anew: nobody is shot for a link that flaps.
func (d *Draft) revisePartition() {
	k := &d.mem.split
	list := d.evictable()
	links, whole := d.linksOf(list)
	if whole {
		*k = split{}
		return
	}
	if k.links != links || d.sight.Now.Sub(k.last) > unseen {
		*k = split{links, d.sight.Now, d.sight.Now}
		return
	}
	k.last = d.sight.Now
	if d.sight.Now.Sub(k.since) < d.sight.Patience {
		return
	}
	stay := d.heaviest(list)
	var names, gone []string
	for i, id := range list {
		if stay>>i&1 == 1 {
			names = append(names, d.State.NameOf(id))
		} else {
			gone = append(gone, d.State.NameOf(id))
		}
	}
	why := fmt.Sprintf("the network fell apart %s ago, and %s can go on together (partition: evict); outside: %s",
		d.sight.Now.Sub(k.since).Round(100*time.Millisecond), strings.Join(names, ", "), strings.Join(gone, ", "))
	for i, id := range list {
		if stay>>i&1 == 0 {
			d.fence(id, why, false)
		}
	}
}

// evictable are the members that are to reach each other; none where that is not
// asked for, or where somebody's word is missing.
func (d *Draft) evictable() []ident.NodeID {
	s := d.State
	if s.Conf == nil || !s.Conf.Evict || s.Life.Stop.On || s.Life.Maintenance.On() {
		return nil
	}
	var list []ident.NodeID
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !in(n) || n.Phase != cluster.MemberPhase {
			continue
		}
		if v := d.sight.Of(n.ID); !v.Present || v.Claims != n.Inc {
			return nil // it is silent, or about to be fenced: one thing after the other
		}
		if list = append(list, n.ID); len(list) == 64 {
			break
		}
	}
	return list
}

// linksOf is who reaches whom, and whether everybody reaches everybody.
func (d *Draft) linksOf(list []ident.NodeID) (links string, whole bool) {
	var b strings.Builder
	whole = true
	for i, a := range list {
		for _, z := range list[i+1:] {
			if !d.reach(a, z) {
				whole = false
				fmt.Fprintf(&b, "%d-%d ", a, z)
			}
		}
	}
	return b.String(), whole
}

// reach says that two nodes hear each other, by the word of both.
func (d *Draft) reach(a, z ident.NodeID) bool {
	va, vz := &d.sight.Of(a).Reach, &d.sight.Of(z).Reach
	return va[z/8]>>(z%8)&1 == 1 && vz[a/8]>>(a%8)&1 == 1
}

// heaviest is the group of nodes, as bits in the order of list, that all reach
// each other and weigh most; of equal ones, the one with the lowest nodes.
func (d *Draft) heaviest(list []ident.NodeID) uint64 {
	g := groups{near: make([]uint64, len(list)), weight: make([]int, len(list))}
	for i, a := range list {
		g.weight[i] = nodeWeight + int(d.sight.Of(a).Score)
		for j, z := range list {
			if i != j && d.reach(a, z) {
				g.near[i] |= 1 << j
			}
		}
		for k := range d.State.Services {
			if s := &d.State.Services[k]; s.Owner == a {
				g.weight[i] += serviceWeight
				if c, ok := d.State.Conf.Service(s.Service); ok {
					g.weight[i] += c.Priority
				}
			}
		}
	}
	g.search(0, 0, ^uint64(0)>>(64-len(list)), 0)
	return g.best
}

// groups searches for the heaviest clique: Bron and Kerbosch, Algorithm 457,
// Communications of the ACM 16 (1973), with Tomita's choice of the pivot.
type groups struct {
	near   []uint64
	weight []int
	best   uint64
	heavy  int
	steps  int
}

func (g *groups) search(group uint64, weight int, open, done uint64) {
	if g.steps++; g.steps > mostSteps {
		return
	}
	if open == 0 && done == 0 {
		if weight > g.heavy || weight == g.heavy && lower(group, g.best) {
			g.best, g.heavy = group, weight
		}
		return
	}
	pivot, most := 0, -1
	for rest := open | done; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros64(rest); bits.OnesCount64(open&g.near[i]) > most {
			pivot, most = i, bits.OnesCount64(open&g.near[i])
		}
	}
	for rest := open &^ g.near[pivot]; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		g.search(group|1<<i, weight+g.weight[i], open&g.near[i], done&g.near[i])
		open &^= 1 << i
		done |= 1 << i
	}
}

// lower says that the first node that only one of two groups has is in a.
func lower(a, b uint64) bool {
	diff := a ^ b
	return diff != 0 && a&(diff&-diff) != 0
}

// reachesMembers says that a node that is joining hears every member and is heard
// by it, where the cluster demands that.
func (d *Draft) reachesMembers(id ident.NodeID) bool {
	if !d.State.Conf.Evict {
		return true
	}
	for i := range d.State.Nodes {
		if n := &d.State.Nodes[i]; in(n) && n.ID != id && d.sight.Of(n.ID).Present && !d.reach(id, n.ID) {
			return false
		}
	}
	return true
}
