package decide

import (
	"fmt"
	"slices"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/diskset"
)

// wishDisks offers another set of quorum disks; see package diskset for what
// follows. Every member has to be there, for each has to open the new disk.
func (d *Draft) wishDisks(r cluster.ChangeDisks) (string, string) {
	s := d.State
	if !slices.Equal(r.From, s.Disks) {
		return "", "the set of quorum disks is not the one that this was planned for: look again (holdfast status)"
	}
	if why := diskset.Check(s, r.To); why != "" {
		return "", why
	}
	for i := range s.Nodes {
		switch n := &s.Nodes[i]; {
		case !counts(n):
		case n.Phase != cluster.MemberPhase || !n.Fencing.IsZero() || !d.sight.Of(n.ID).Present:
			return "", fmt.Sprintf("%s does not show itself as a member now (registered: %s): every member must open the new disk first; let it come back (holdfast status), or take it out (holdfast node leave, or fence), then try again", n.Name, n.Phase)
		}
	}
	self := s.Node(d.sight.Self)
	if self == nil || !in(self) {
		return "", "this node is not a member: ask one that is"
	}
	e := d.edit()
	e.Change = cluster.DiskChange{
		Stage: cluster.DisksOffered, Disks: slices.Clone(r.To), Paths: slices.Clone(r.Paths), Was: slices.Clone(s.Change.Paths), By: self.ID, Inc: self.Inc,
	}
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: "another set of quorum disks is offered: every member opens it"})
	return "every member opens the new set and beats on it", ""
}

func (d *Draft) wishKeep(r cluster.KeepDisks) (string, string) {
	switch d.State.Change.Stage {
	case cluster.DisksOffered:
		diskset.Cancel(d.edit(), r.Why)
		d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: "the set of quorum disks stays as it was: " + r.Why})
		return "the set of quorum disks stays as it was", ""
	case cluster.DisksJoint:
		return "", "both sets count already: the change goes on by itself as soon as every member has taken it up"
	}
	return "nothing is being changed", ""
}

// counts says that a node's incarnation may still hold a lease.
func counts(n *cluster.NodeState) bool { return !n.Inc.IsZero() && n.Dead < n.Inc.N }

// reviseDisks takes a change of the disks one step further.
func (d *Draft) reviseDisks() {
	c := &d.State.Change
	switch c.Stage {
	case cluster.DisksOffered:
		if by := d.State.Node(c.By); by == nil || !in(by) || by.Inc != c.Inc {
			diskset.Cancel(d.edit(), "who offered it is gone")
			d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: "the set of quorum disks stays as it was: who offered another is gone"})
		} else if len(DiskWaits(d.State, d.sight)) == 0 {
			diskset.Join(d.edit())
			d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: fmt.Sprintf("the old and the new set of quorum disks count together (generation %d)", d.State.DiskGen)})
		}
	case cluster.DisksJoint:
		if len(DiskWaits(d.State, d.sight)) > 0 {
			return
		}
		diskset.Settle(d.edit())
		d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: fmt.Sprintf("the new set of quorum disks counts alone (generation %d)", d.State.DiskGen)})
	}
}

// DiskWaits are the nodes that have not taken the next step of a change of the
// disks: they have not shown, by a beat on every disk that is offered, that they
// reach it; or their lease does not count by both sets yet.
func DiskWaits(s *cluster.State, sight *Sight) []string {
	var names []string
	if s.Change.Stage == cluster.DisksSettled {
		return nil
	}
	offered := diskset.Offered(s)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !counts(n) {
			continue
		}
		v := sight.Of(n.ID)
		ready := v.Gen == s.DiskGen
		if s.Change.Stage == cluster.DisksOffered {
			ready = n.Phase == cluster.MemberPhase && n.Fencing.IsZero() && v.Present
			for _, disk := range offered {
				ready = ready && slices.Contains(v.Shows, disk)
			}
		}
		if !ready {
			names = append(names, n.Name)
		}
	}
	return names
}
