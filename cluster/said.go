package cluster

import (
	"slices"
	"sort"

	"github.com/holdfast-ha/holdfast/cluster/ident"

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
	is := func(r *Released) bool { return r.Service == g.Service && r.Term == g.Term }
	i := sort.Search(len(list), func(i int) bool { return list[i].Service >= g.Service })
	return i < len(list) && is(&list[i]) || slices.ContainsFunc(list, func(r Released) bool { return is(&r) })
}

// FindState finds what a list says of the term of a grant. Nodes list their
// services by name; a list that is in another order is searched, too.
func FindState(list []RunState, g *Grant) (RunState, bool) {
	is := func(r *RunState) bool { return r.Service == g.Service && r.Term == g.Term }
	i := sort.Search(len(list), func(i int) bool { return list[i].Service >= g.Service })
	if i < len(list) && is(&list[i]) {
		return list[i], true
	}
	for i := range list {
		if is(&list[i]) {
			return list[i], true
		}
	}
	return RunState{}, false
}

// StateText is the text of FindState; empty if there is none.
func StateText(list []RunState, g *Grant) string {
	r, _ := FindState(list, g)
	return r.Text
}

// Lacking lists what a node says that it could not run.
func Lacking(list []RunState) []RunState {
	var lacks []RunState
	for i := range list {
		if list[i].Term == 0 && list[i].Text != "" {
			lacks = append(lacks, list[i])
		}
	}
	return lacks
}

// ClaimOf is a claim of the register in the words of a beat.
func ClaimOf(c register.Claim) Claim {
	return Claim{Ver: c.Ver, Ballot: c.Ballot, Node: c.Node, Gen: c.Gen}
}

// Register is the claim in the words of the register.
func (c Claim) Register() register.Claim {
	return register.Claim{Ver: c.Ver, Ballot: c.Ballot, Node: c.Node, Gen: c.Gen}
}

// ClassOf is how much a time proof may rest on a node's watchdogs, by its devices.
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

// ReleasedBy says that the owner's network beat, or else its status blob, names
// the term as released, and what it says of it. Either may be nil.
func (g *Grant) ReleasedBy(m *Message, b *Blob) (text string, ok bool) {
	switch {
	case m != nil && m.Inc == g.Inc && HasReleased(m.Released, g):
		return StateText(m.Services, g), true
	case b != nil && b.Inc == g.Inc && HasReleased(b.Released, g):
		return StateText(b.Services, g), true
	}
	return "", false
}

// StateBy is what the owner's network beat, or else its status blob, says of the
// term. Either may be nil.
func (g *Grant) StateBy(m *Message, b *Blob) (RunState, bool) {
	if m != nil && m.Inc == g.Inc {
		if r, ok := FindState(m.Services, g); ok || !m.Partial {
			return r, ok
		}
	}
	if b != nil && b.Inc == g.Inc {
		return FindState(b.Services, g)
	}
	return RunState{}, false
}

// Timing is the promise in the words of the timeouts.
func (l Lease) Timing() timing.Lease {
	return timing.Lease{F: l.F, G: l.G, TMax: l.TMax, M: int(l.M), V: l.PauseBound}
}

// PromiseOf is what the beats of a node promise whose timeouts were derived as t
// from its devices in in.
func PromiseOf(t timing.Table, in timing.Input) Lease {
	return Lease{F: t.F, G: t.G, TMax: t.TMax, M: uint8(t.M), PauseBound: t.V, Class: ClassOf(in)}
}

// Ends says that by its own word the node will start nothing under an
// incarnation any more: it has retired, or has a newer one. It is no proof.
func (m *Message) Ends(inc ident.Incarnation) bool {
	return m != nil && (m.Inc.N > inc.N || m.Inc == inc && m.State == GuardRetired)
}

// AckedView is the latest view that an incarnation says it knows, on the disk or
// over the network; both may be nil.
func AckedView(inc ident.Incarnation, b *Beat, m *Message) uint64 {
	var v uint64
	if b != nil && b.Inc == inc {
		v = b.Payload.ViewAcked
	}
	if m != nil && m.Inc == inc {
		v = max(v, m.ViewAcked)
	}
	return v
}
