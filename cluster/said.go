package cluster

import (
	"slices"

	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/cluster/timing"
)

// Supersedes orders the beats of one node: by incarnation, then by sequence.
func (b *Beat) Supersedes(o *Beat) bool {
	if b.Inc != o.Inc {
		return b.Inc.N >= o.Inc.N
	}
	return b.Seq >= o.Seq
}

// Equal says that two payloads say the same.
func (p *Payload) Equal(o *Payload) bool {
	return p.Phase == o.Phase && p.ViewAcked == o.ViewAcked && p.Committed == o.Committed && p.Reach == o.Reach &&
		p.Score == o.Score && p.Protocol == o.Protocol && p.Registering == o.Registering && p.Released == o.Released &&
		p.BlobGen == o.BlobGen && slices.Equal(p.Kills, o.Kills)
}

// HasReleased says that a list names the term of a grant.
func HasReleased(list []Released, g *Grant) bool {
	return slices.Contains(list, Released{Service: g.Service, Term: g.Term})
}

// FindState finds what a list says of the term of a grant.
func FindState(list []RunState, g *Grant) (RunState, bool) {
	for _, r := range list {
		if r.Service == g.Service && r.Term == g.Term {
			return r, true
		}
	}
	return RunState{}, false
}

// StateText is the text of FindState; empty if there is none.
func StateText(list []RunState, g *Grant) string {
	r, _ := FindState(list, g)
	return r.Text
}

// ClaimOf is a claim of the register in the words of a beat.
func ClaimOf(c register.Claim) Claim {
	return Claim{Ver: c.Ver, Ballot: c.Ballot, Node: c.Node, Gen: c.Gen}
}

// Register is the claim in the words of the register.
func (c Claim) Register() register.Claim {
	return register.Claim{Ver: c.Ver, Ballot: c.Ballot, Node: c.Node, Gen: c.Gen}
}

// ClassOf is how much a time proof may rest on a node's watchdogs: the best that
// its devices allow.
func ClassOf(in timing.Input) WatchdogClass {
	class := WatchdogNone
	for _, d := range in.Devices {
		switch {
		case d.Software && len(in.Devices) == 1 && in.AcceptSoftdog:
			return WatchdogSoftAccepted
		case d.Software && len(in.Devices) == 1:
			return WatchdogSoftOnly
		case d.Class == timing.Qualified:
			return WatchdogQualified
		default:
			class = max(class, WatchdogUnqualified)
		}
	}
	return class
}
