// Package diskset says which quorum disks count, and how that changes while the
// cluster runs. It is pure: states in, sets of disks out.
//
// The set is part of the agreed state, so that everybody who builds on a state
// knows the disks by which the next one is chosen. It changes in three commits:
//
//	offered   the old set counts; every member opens the new disks and beats on
//	          them, which shows that its machine reaches the very same ones
//	joint     the generation is one higher; every phase of the register, every
//	          proof by time and every lease needs a majority of the old set and
//	          one of the new
//	settled   every member's beat carries the generation: the new set counts alone
//
// Any majority that somebody still counts by meets every majority that somebody
// else counts by at that time: the old set's those of old and joint, the new
// set's those of joint and new, and nobody is at old when the first is at new.
package diskset

import (
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/quorum"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// MostPlaces is how many disks a process can number in its life; a number is
// never used for another disk, so that what completes late is not taken for its
// successor's.
const MostPlaces = quorum.MaxDisks

// Config is the sets of disks by which something is chosen, and of each of which
// a majority is needed.
type Config struct {
	Gen  uint32
	Sets [][]ident.UUID
}

// First is the configuration of a node that knows nothing yet but its own file.
func First(disks []ident.UUID) Config { return Config{Sets: [][]ident.UUID{disks}} }

// Of is the configuration for what is built on s, and for leases and proofs
// while s is the latest state.
func Of(s *cluster.State) Config {
	c := Config{Gen: s.DiskGen, Sets: [][]ident.UUID{s.Disks}}
	if s.Change.Stage == cluster.DisksJoint {
		c.Sets = append(c.Sets, s.Change.Disks)
	}
	return c
}

// Offered are the disks that are to be beaten on beside those that count.
func Offered(s *cluster.State) []ident.UUID {
	if s == nil || s.Change.Stage != cluster.DisksOffered {
		return nil
	}
	return minus(s.Change.Disks, s.Disks)
}

// With is c and, beside it, o: what a proposer works on that was away.
func (c Config) With(o Config) Config {
	out := Config{Gen: max(c.Gen, o.Gen)}
	for _, s := range append(slices.Clone(c.Sets), o.Sets...) {
		if !out.has(s) {
			out.Sets = append(out.Sets, s)
		}
	}
	return out
}

// Fit says how a value that asks for o stands to a register that works on c.
func (c Config) Fit(o Config) register.Fit {
	for _, s := range o.Sets {
		if !c.has(s) {
			return register.Foreign
		}
	}
	if len(c.Sets) > len(o.Sets) {
		return register.Covered
	}
	return register.Fits
}

// Same says that both ask for the same sets.
func (c Config) Same(o Config) bool { return c.Fit(o) == register.Fits && o.Fit(c) == register.Fits }

// Disks are the disks of all sets, each once.
func (c Config) Disks() []ident.UUID {
	var all []ident.UUID
	for _, s := range c.Sets {
		all = append(all, minus(s, all)...)
	}
	return all
}

func (c Config) has(set []ident.UUID) bool {
	return slices.ContainsFunc(c.Sets, func(s []ident.UUID) bool { return len(minus(s, set)) == 0 && len(minus(set, s)) == 0 })
}

// Places numbers disks; the number of a disk never changes.
type Places []ident.UUID

// Add returns the places with those disks among them; false where there are too
// many.
func (p Places) Add(disks []ident.UUID) (Places, bool) {
	p = append(p[:len(p):len(p)], minus(unique(disks), p)...)
	return p[:min(len(p), MostPlaces)], len(p) <= MostPlaces
}

// Sets are the sets of a configuration by place.
func (p Places) Sets(c Config) quorum.Sets {
	var out quorum.Sets
	for _, s := range c.Sets {
		var q quorum.Set
		for _, d := range s {
			if i := slices.Index(p, d); i >= 0 {
				q |= 1 << i
			}
		}
		out = append(out, q)
	}
	return out
}

// Check says why the set of s may not become to; empty if it may. One disk of
// three is exchanged at a time, or one becomes three.
func Check(s *cluster.State, to []ident.UUID) string {
	kept := len(s.Disks) - len(minus(s.Disks, to))
	switch {
	case cluster.Epoch(s.DiskGen+1) != cluster.Epoch(s.DiskGen):
		return "the set of quorum disks was changed 65534 times, and a further change would look like a recovery: make a new set with holdfast disk recover"
	case s.Change.Stage == cluster.DisksJoint:
		return "the set of quorum disks is being changed already: wait for its end (holdfast status)"
	case slices.Contains(to, ident.UUID{}) || len(to) != len(unique(to)):
		return "a disk of the new set has no identity, or is named twice"
	case len(s.Disks) == 3 && len(to) == 3 && kept == 2:
		return ""
	case len(s.Disks) == 1 && len(to) == 3 && kept == 1:
		return ""
	case len(s.Disks) == 1 && len(to) == 1 && kept == 0:
		return "the only quorum disk cannot be exchanged: grow to three first (holdfast disk grow), then replace it"
	case kept == len(to) && kept == len(s.Disks):
		return "these are the quorum disks already"
	}
	return fmt.Sprintf("the cluster has %d quorum disks and would keep %d of them in a set of %d: one of three is exchanged at a time, or one becomes three", len(s.Disks), kept, len(to))
}

func unique(list []ident.UUID) (out []ident.UUID) {
	for _, d := range list {
		out = append(out, minus([]ident.UUID{d}, out)...)
	}
	return out
}

// minus are those of a that are not in b.
func minus(a, b []ident.UUID) []ident.UUID {
	var out []ident.UUID
	for _, d := range a {
		if !slices.Contains(b, d) {
			out = append(out, d)
		}
	}
	return out
}

// Join makes the offered set the newer one of a joint pair, in place.
func Join(s *cluster.State) {
	s.Disks, s.Change.Disks = s.Change.Disks, s.Disks
	s.DiskGen++
	s.Change.Stage = cluster.DisksJoint
}

// Settle lets the newer set count alone, in place; the paths stay, for nodes
// that were away.
func Settle(s *cluster.State) {
	s.Change = cluster.DiskChange{Paths: s.Change.Paths}
}

// Cancel ends an offer, in place.
func Cancel(s *cluster.State, why string) {
	s.Change = cluster.DiskChange{Paths: s.Change.Was, Text: cluster.Limit(why, 200)}
}
