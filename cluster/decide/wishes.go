package decide

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// grantWish applies a request to the draft. It returns what to tell, and why it
// is refused; a request that waits for an earlier commit is answered later.
func (d *Draft) grantWish(r cluster.Request) (text, refused string) {
	if d.State.Conf == nil && needsConfig(r) {
		return "", "the configuration on the quorum disk cannot be read by this version of holdfastd: ask a newer node, or apply one that can be read"
	}
	switch r := r.(type) {
	case cluster.MoveService:
		return d.wishMove(r)
	case cluster.StartService:
		return d.wishStart(r)
	case cluster.StopService:
		return d.wishGrant(r.Service, "stopping", func(g *cluster.Grant) { g.Stopped = true })
	case cluster.FreezeService:
		return d.wishGrant(r.Service, "done", func(g *cluster.Grant) { g.Frozen = r.On })
	case cluster.ClearService:
		return d.wishGrant(r.Service, "failures forgotten", func(g *cluster.Grant) { g.Fails = nil })
	case cluster.StandbyNode:
		return d.wishStandby(r)
	case cluster.FenceNode:
		return d.wishFence(r)
	case cluster.ConfirmOff:
		return d.wishConfirm(r)
	case cluster.AddNode:
		return d.wishAdd(r)
	case cluster.RemoveNode:
		return d.wishRemove(r)
	case cluster.ApplyConfig:
		return d.wishApply(r)
	}
	return "", "this version does not know the request"
}

// needsConfig says that a request cannot be judged without a configuration that
// was understood. Mending it, and ending a node, must be possible.
func needsConfig(r cluster.Request) bool {
	switch r.(type) {
	case cluster.ApplyConfig, cluster.FenceNode, cluster.ConfirmOff, cluster.StandbyNode:
		return false
	}
	return true
}

func noService(name string) string {
	return fmt.Sprintf("there is no service %q: holdfast status lists them", name)
}

func noNode(name string) string {
	return fmt.Sprintf("there is no node %q: holdfast status lists them", name)
}

func (d *Draft) wishGrant(name, text string, change func(*cluster.Grant)) (string, string) {
	if d.State.Grant(name) == nil {
		return "", noService(name)
	}
	change(d.edit().Grant(name))
	return text, ""
}

func (d *Draft) wishStart(r cluster.StartService) (string, string) {
	g := d.State.Grant(r.Service)
	switch {
	case g == nil:
		return "", noService(r.Service)
	case !g.Stopped && g.Owner != 0:
		return "it is started already", ""
	}
	e := d.edit().Grant(r.Service)
	e.Stopped, e.Fails = false, nil
	return "starting", ""
}

// wishMove tests the target before anything is stopped.
func (d *Draft) wishMove(r cluster.MoveService) (string, string) {
	g := d.State.Grant(r.Service)
	svc, ok := d.State.Conf.Service(r.Service)
	switch {
	case g == nil || !ok:
		return "", noService(r.Service)
	case g.Owner == 0:
		return "", fmt.Sprintf("%s runs nowhere now (%s): holdfast service start %s", r.Service, g.Why, r.Service)
	case g.Frozen:
		return "", fmt.Sprintf("%s is frozen: holdfast service unfreeze %s", r.Service, r.Service)
	}
	list := Candidates(d.State, d.sight, svc)
	for i := range list {
		cand := &list[i]
		if r.To == "" && (!cand.Able || cand.Node == g.Owner) || r.To != "" && cand.Name != r.To {
			continue
		}
		switch {
		case cand.Node == g.Owner:
			return fmt.Sprintf("it is on %s already", cand.Name), ""
		case !cand.Able:
			return "", fmt.Sprintf("%s cannot run %s: %s; nothing was changed", cand.Name, r.Service, cand.Reason)
		}
		d.edit().Grant(r.Service).Want = cand.Node
		d.note(cluster.Note{Kind: cluster.NoteAdmin, Service: r.Service, Node: cand.Node, Text: "move requested"})
		return "moving to " + cand.Name, ""
	}
	if r.To != "" {
		return "", noNode(r.To)
	}
	return "", fmt.Sprintf("no other node can run %s: holdfast explain %s", r.Service, r.Service)
}

func (d *Draft) wishStandby(r cluster.StandbyNode) (string, string) {
	if d.State.NodeNamed(r.Node) == nil {
		return "", noNode(r.Node)
	}
	d.edit().NodeNamed(r.Node).Standby = r.On
	if r.On {
		return "its services are moved away", ""
	}
	return "it may run services again", ""
}

func (d *Draft) wishFence(r cluster.FenceNode) (string, string) {
	n := d.State.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return "it is not in the cluster: nothing to fence", ""
	case !n.Fencing.IsZero():
		return "it is being fenced already", ""
	case r.By != "" && !hasWay(d.State.Conf, r.Node, r.By):
		return "", fmt.Sprintf("%s has no way %q: its ways are %s", r.Node, r.By, wayNames(d.State.Conf, r.Node))
	case r.DryRun:
		return d.sight.node(n.ID).Plan, ""
	}
	why := "asked for by the administrator"
	if r.Why != "" {
		why += ": " + r.Why
	}
	e := d.edit().NodeNamed(r.Node)
	e.Fencing, e.Why = e.Inc, cluster.Limit(why, 200)
	d.note(cluster.Note{Kind: cluster.NoteFencing, Node: e.ID, Inc: e.Inc, Text: why})
	return "fencing has begun; its services move when it is proven dead", ""
}

// hasWay says that a node may be fenced by the way of this name.
func hasWay(conf *cluster.Config, node, name string) bool {
	for _, w := range conf.WaysOf(node) {
		if w.Name() == name {
			return true
		}
	}
	return name == cluster.WayDisk
}

func wayNames(conf *cluster.Config, node string) string {
	names := []string{}
	for _, w := range conf.WaysOf(node) {
		names = append(names, w.Name())
	}
	if !slices.Contains(names, cluster.WayDisk) {
		names = append(names, cluster.WayDisk)
	}
	return strings.Join(names, ", ")
}

// wishConfirm takes the operator's word. It is refused while the node itself
// shows signs of life, and commits the fencing before the proof.
func (d *Draft) wishConfirm(r cluster.ConfirmOff) (string, string) {
	n := d.State.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return "it is known to be out already", ""
	case n.ID == d.sight.Self:
		return "", "this is the node itself: confirm it on another node"
	case d.sight.node(n.ID).Present:
		return "", fmt.Sprintf("%s still shows signs of life on the quorum disk or the network: it is not off", r.Node)
	}
	text := cluster.Limit(fmt.Sprintf("operator %s: %s", r.Operator, r.How), 200)
	word := cluster.Proof{Kind: cluster.ProofOperator, Node: n.ID, Inc: n.Inc, By: d.sight.Self, DiskGen: d.State.DiskGen, Text: text}
	d.Words = append(d.Words, word)
	if n.Fencing.IsZero() {
		e := d.edit().Node(n.ID)
		e.Fencing, e.Why = e.Inc, text
		d.note(cluster.Note{Kind: cluster.NoteFencing, Node: n.ID, Inc: n.Inc, Text: text})
	}
	return "recorded as a proof; its services may start elsewhere", ""
}

// freeSlot is the lowest free slot for a new node; zero if there is none.
func freeSlot(s *cluster.State) ident.NodeID {
	for id := ident.NodeID(1); id != 0; id++ {
		if s.Node(id) == nil {
			return id
		}
	}
	return 0
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
	id := freeSlot(d.State)
	if id == 0 {
		return "", "no slot is free on the quorum disk"
	}
	e := d.edit()
	// Whoever had the slot before was not a member when it was removed, and is
	// none now: its last incarnation counts as over.
	dead := d.sight.node(id).Last.N
	e.Nodes = append(e.Nodes, cluster.NodeState{ID: id, Name: r.Name, Host: r.Host, Links: r.Links, Dead: dead})
	sort.Slice(e.Nodes, func(i, j int) bool { return e.Nodes[i].ID < e.Nodes[j].ID })
	e.View++
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Node: id, Text: r.Name + " was added to the cluster"})
	return fmt.Sprint(id), ""
}

func (d *Draft) wishRemove(r cluster.RemoveNode) (string, string) {
	n := d.State.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case !n.Inc.IsZero() && n.Dead < n.Inc.N:
		return "", fmt.Sprintf("%s is in the cluster: stop it there first (holdfast node leave), or fence it", r.Node)
	case !ownsNothing(d.State, n.ID):
		return "", fmt.Sprintf("services of %s are still being taken over: try again in a moment", r.Node)
	}
	e := d.edit()
	for i := range e.Nodes {
		if e.Nodes[i].Name == r.Node {
			e.Nodes = append(e.Nodes[:i], e.Nodes[i+1:]...)
			break
		}
	}
	e.View++
	return "removed", ""
}

func (d *Draft) wishApply(r cluster.ApplyConfig) (string, string) {
	switch {
	case r.Expect != 0 && r.Expect != d.State.ConfigRev:
		return "", fmt.Sprintf("the configuration is at version %d, not %d: somebody changed it meanwhile; look at holdfast plan again", d.State.ConfigRev, r.Expect)
	case bytes.Equal(r.Config, d.State.Config):
		return "nothing changes", ""
	}
	e := d.edit()
	e.Config, e.Conf = bytes.Clone(r.Config), r.Conf
	e.ConfigRev++
	d.note(cluster.Note{Kind: cluster.NoteAdmin, Text: fmt.Sprintf("configuration version %d", e.ConfigRev)})
	return fmt.Sprintf("version %d", e.ConfigRev), ""
}
