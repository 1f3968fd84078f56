package decide

import (
	"fmt"
	"sort"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// remindBefore is how long before its end a maintenance reminds: a tenth of it,
// at most a quarter of an hour.
func remindBefore(whole time.Duration) time.Duration { return min(whole/10, 15*time.Minute) }

// wishMaintain begins, prolongs or ends a maintenance.
func (d *Draft) wishMaintain(r cluster.Maintain) (string, string) {
	s := d.State
	of := "the cluster"
	switch {
	case r.Node != "" && s.NodeNamed(r.Node) == nil:
		return "", noNode(r.Node)
	case r.Service != "" && s.Grant(r.Service) == nil:
		return "", noService(r.Service)
	case !s.Uses(cluster.Protocol2):
		return "", tooOld(s, cluster.Protocol2, "maintenance")
	case r.For < 0 || r.For > LongestMaintenance:
		return "", fmt.Sprintf("a maintenance lasts at most %s; it can be prolonged at any time", allot.Words(LongestMaintenance))
	case r.Node != "":
		of = "node " + r.Node
	case r.Service != "":
		of = "service " + r.Service
	}
	e := d.edit()
	m := &e.Life.Maintenance
	note := cluster.Note{Kind: cluster.NoteMaintenance, Service: r.Service}
	if r.Node != "" {
		n := e.NodeNamed(r.Node)
		m, note.Node = &n.Life.Maintenance, n.ID
	} else if r.Service != "" {
		m = &e.Grant(r.Service).Maintenance
	}
	if r.For == 0 {
		*m = cluster.Maintenance{}
		note.Text = "the maintenance of " + of + " is over, by request"
		d.note(note)
		return note.Text, ""
	}
	clock := e.Life.Clock
	*m = cluster.Maintenance{Until: clock + r.For, Remind: clock + r.For - remindBefore(r.For), By: cluster.Limit(r.By, 60)}
	note.Text = fmt.Sprintf("maintenance of %s for %s", of, allot.Words(r.For))
	if r.By != "" {
		note.Text += ", asked for by " + m.By
	}
	d.note(note)
	return fmt.Sprintf("%s is in maintenance for %s: its services stay as they are, and it ends by itself", of, allot.Words(r.For)), ""
}

// tooOld says who keeps the cluster from using a protocol.
func tooOld(s *cluster.State, p cluster.Protocol, what string) string {
	for i := range s.Nodes {
		if n := &s.Nodes[i]; in(n) && max(n.Life.Protocol, cluster.Protocol1) < p {
			return fmt.Sprintf("%s needs protocol %d on every node, and %s speaks %d: upgrade holdfast there first", what, p, n.Name, max(n.Life.Protocol, cluster.Protocol1))
		}
	}
	return fmt.Sprintf("%s needs protocol %d, which the cluster does not use yet: try again in a moment", what, p)
}

// wishStopAll begins the planned stop.
func (d *Draft) wishStopAll(r cluster.StopCluster) (string, string) {
	switch {
	case d.State.Life.Stop.On:
		return "the cluster is being stopped already", ""
	case !d.State.Uses(cluster.Protocol2):
		return "", tooOld(d.State, cluster.Protocol2, "the planned stop")
	}
	d.edit().Life.Stop = cluster.Stop{On: true, By: cluster.Limit(r.By, 60)}
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: "planned stop of the whole cluster: services first, in reverse order, then every node leaves"})
	return "stopping: services first, then every node leaves; nothing begins again before holdfast cluster start", ""
}

func (d *Draft) wishStartAll() (string, string) {
	if !d.State.Life.Stop.On {
		return "the cluster was not stopped", ""
	}
	d.edit().Life.Stop = cluster.Stop{}
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: "the planned stop is over: nodes join, and services start"})
	return "starting: nodes join, and services start", ""
}

// wishOnline lets a node run services again, whatever kept it from that.
func (d *Draft) wishOnline(n *cluster.NodeState) (string, string) {
	e := d.edit().Node(n.ID)
	if e.Life.Maintenance.On() {
		d.note(cluster.Note{Kind: cluster.NoteMaintenance, Node: n.ID, Text: "the maintenance of node " + n.Name + " is over, by request"})
	}
	e.Standby, e.Life.Maintenance, e.Life.Quarantine, e.Life.Crashes = false, cluster.Maintenance{}, cluster.Quarantine{}, nil
	return "it may run services again", ""
}

func (d *Draft) wishAdd(r cluster.AddNode) (string, string) {
	if n := d.State.NodeNamed(r.Name); n != nil {
		return "", fmt.Sprintf("there is a node %q already (node %d): choose another --name, or remove that one first", r.Name, n.ID)
	}
	for i := range d.State.Nodes {
		if d.State.Nodes[i].Host == r.Host && !r.Host.IsZero() {
			return "", fmt.Sprintf("this host is node %q already (host UUID %s)", d.State.Nodes[i].Name, r.Host)
		}
	}
	id := d.freeSlot()
	if id == 0 {
		return "", "no slot is free on the quorum disk"
	}
	e := d.edit()
	// Whoever had the slot before was not a member when it was removed, and is
	// none now: every incarnation that it had counts as over.
	dead := d.sight.Of(id).Last.N
	for i, x := range e.Life.Removed {
		if x.ID == id {
			dead = max(dead, x.Dead)
			e.Life.Removed = append(e.Life.Removed[:i], e.Life.Removed[i+1:]...)
			break
		}
	}
	e.Nodes = append(e.Nodes, cluster.NodeState{ID: id, Name: r.Name, Host: r.Host, Links: r.Links, Dead: dead, Switch: r.Switch})
	sort.Slice(e.Nodes, func(i, j int) bool { return e.Nodes[i].ID < e.Nodes[j].ID })
	e.View++
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Node: id, Text: r.Name + " was added to the cluster"})
	return fmt.Sprint(id), ""
}

// freeSlot is the lowest slot for a new node that nobody has and in which nobody
// beats: a node that was removed may not have noticed yet. Zero if there is none.
func (d *Draft) freeSlot() ident.NodeID {
	for id := ident.NodeID(1); id != 0; id++ {
		if d.State.Node(id) == nil && d.sight.Of(id).Claims.IsZero() {
			return id
		}
	}
	return 0
}

func (d *Draft) wishRemove(r cluster.RemoveNode) (string, string) {
	n := d.State.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case !n.Inc.IsZero() && n.Dead < n.Inc.N:
		return "", fmt.Sprintf("%s is in the cluster: stop it there first (holdfast node leave), or fence it", r.Node)
	case !ownsNothing(d.State, n.ID) || pending(d.State, n.ID):
		return "", fmt.Sprintf("services of %s are still being taken over: try again in a moment", r.Node)
	case d.sight.Of(n.ID).Claims.N > n.Dead:
		return "", fmt.Sprintf("%s is just coming in: stop holdfastd there first, or fence it once it is a member", r.Node)
	}
	e := d.edit()
	for i := range e.Nodes {
		if e.Nodes[i].Name == r.Node {
			e.Life.Removed = append(e.Life.Removed, cluster.Removed{ID: n.ID, Dead: max(n.Dead, n.Inc.N, d.sight.Of(n.ID).Last.N)})
			sort.Slice(e.Life.Removed, func(i, j int) bool { return e.Life.Removed[i].ID < e.Life.Removed[j].ID })
			e.Nodes = append(e.Nodes[:i], e.Nodes[i+1:]...)
			break
		}
	}
	e.View++
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: r.Node + " was removed from the cluster"})
	return "removed", ""
}
