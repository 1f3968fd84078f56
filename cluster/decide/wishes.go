package decide

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/allot"
	"github.com/holdfast-ha/holdfast/cluster/revise"
)

// grantWish applies a request to the draft. It returns what to tell, and why it
// is refused; a request that waits for an earlier commit is answered later.
func (d *Draft) grantWish(r cluster.Request) (text, refused string) {
	if d.State.Conf == nil && needsConfig(r) {
		return "", "the configuration on the quorum disk cannot be read by this version of holdfastd: ask a newer node, or apply one that can be read"
	}
	if each := copies(d.State.Conf, r); each != nil {
		return d.wishEach(each)
	}
	switch r := r.(type) {
	case cluster.MoveService:
		return d.wishMove(r)
	case cluster.StartService:
		return d.wishStart(r)
	case cluster.StopService:
		return d.wishStop(r)
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
	case cluster.Maintain:
		return d.wishMaintain(r)
	case cluster.StopCluster:
		return d.wishStopAll(r)
	case cluster.StartCluster:
		return d.wishStartAll()
	case cluster.ChangeDisks:
		return d.wishDisks(r)
	case cluster.KeepDisks:
		return d.wishKeep(r)
	}
	return "", "this version does not know the request"
}

// copies makes a request about a service that has copies into one for each of them;
// nil if it is about something else.
func copies(conf *cluster.Config, r cluster.Request) (each []cluster.Request) {
	of := func(name string, with func(string) cluster.Request) {
		for _, one := range conf.Copies(name) {
			if one != name {
				each = append(each, with(one))
			}
		}
	}
	switch r := r.(type) {
	case cluster.StartService:
		of(r.Service, func(one string) cluster.Request { return cluster.StartService{Service: one} })
	case cluster.StopService:
		of(r.Service, func(one string) cluster.Request { return cluster.StopService{Service: one} })
	case cluster.FreezeService:
		of(r.Service, func(one string) cluster.Request { return cluster.FreezeService{Service: one, On: r.On} })
	case cluster.ClearService:
		of(r.Service, func(one string) cluster.Request { return cluster.ClearService{Service: one} })
	}
	return each
}

// wishEach grants a request for every copy of a service, or refuses it for the first
// that it cannot be granted for: what was done for the others stays done.
func (d *Draft) wishEach(each []cluster.Request) (text, refused string) {
	for _, r := range each {
		if text, refused = d.grantWish(r); refused != "" {
			return "", refused
		}
	}
	return fmt.Sprintf("%s, all %d copies", text, len(each)), ""
}

// needsConfig says that a request cannot be judged without a configuration that
// was understood. Mending it, and ending a node, must be possible.
func needsConfig(r cluster.Request) bool {
	switch r.(type) {
	case cluster.ApplyConfig, cluster.FenceNode, cluster.ConfirmOff, cluster.StandbyNode,
		cluster.Maintain, cluster.StopCluster, cluster.StartCluster, cluster.ChangeDisks, cluster.KeepDisks:
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
	if held := d.held(g); held != "" {
		return "", held
	}
	e := d.edit().Grant(r.Service)
	e.Stopped, e.Fails = false, nil
	return "starting", ""
}

func (d *Draft) wishStop(r cluster.StopService) (string, string) {
	if g := d.State.Grant(r.Service); g != nil {
		if held := d.held(g); held != "" {
			return "", held
		}
	}
	return d.wishGrant(r.Service, "stopping", func(g *cluster.Grant) { g.Stopped = true })
}

// held says why a service is left as it is, and how to change that; empty if it
// is not.
func (d *Draft) held(g *cluster.Grant) string { return allot.Held(d.State, g) }

func (d *Draft) wishStandby(r cluster.StandbyNode) (string, string) {
	if d.State.NodeNamed(r.Node) == nil {
		return "", noNode(r.Node)
	}
	if !r.On {
		return d.wishOnline(d.State.NodeNamed(r.Node))
	}
	d.edit().NodeNamed(r.Node).Standby = true
	return "its services are moved away", ""
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
	case r.By != "" && !hasWay(d.State.Conf, n, r.By):
		return "", fmt.Sprintf("%s has no way %q: its ways are %s", r.Node, r.By, wayNames(d.State.Conf, n))
	case r.DryRun:
		return d.sight.Of(n.ID).Plan, ""
	}
	why := "asked for by the administrator"
	if r.Why != "" {
		why += ": " + r.Why
	}
	d.fence(n.ID, why, true)
	return "fencing has begun; its services move when it is proven dead", ""
}

// hasWay says that a node may be fenced by the way of this name.
func hasWay(conf *cluster.Config, node *cluster.NodeState, name string) bool {
	for _, w := range conf.WaysFor(node) {
		if w.Name() == name {
			return true
		}
	}
	return name == cluster.WayDisk
}

func wayNames(conf *cluster.Config, node *cluster.NodeState) string {
	var names []string
	for _, w := range conf.WaysFor(node) {
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
	case n.Dead >= n.Inc.N && d.sight.Of(n.ID).Last.N <= n.Dead:
		return "it is known to be out already", ""
	case n.ID == d.sight.Self && d.sight.Of(n.ID).Host == d.sight.Host:
		return "", "this is the node itself: confirm it on another node"
	case d.sight.Of(n.ID).Present:
		return "", fmt.Sprintf("%s still shows signs of life on the quorum disk or the network: it is not off", r.Node)
	}
	word := cluster.Proof{Kind: cluster.ProofOperator, Node: n.ID, Inc: n.Inc, By: d.sight.Self, DiskGen: d.State.DiskGen, Text: cluster.Limit(fmt.Sprintf("operator %s: %s", r.Operator, r.How), 200)}
	if n.Dead >= n.Inc.N { // never let in: nothing was granted to it, but its slot waits for its end
		word.Inc = d.sight.Of(n.ID).Last
		n = d.edit().Node(n.ID)
		n.Dead, n.Proof = word.Inc.N, word
		d.note(cluster.Note{Kind: cluster.NoteProof, Node: n.ID, Inc: word.Inc, Proof: word.Kind, Text: word.Text})
		return "recorded as a proof; the node's slot may be used again", ""
	}
	d.Words = append(d.Words, word)
	if n.Fencing.IsZero() {
		d.fence(n.ID, word.Text, true)
	}
	return "recorded as a proof; its services may start elsewhere", ""
}

func (d *Draft) wishApply(r cluster.ApplyConfig) (string, string) {
	switch {
	case r.Expect != 0 && r.Expect != d.State.ConfigRev:
		return "", fmt.Sprintf("the configuration is at version %d, not %d: somebody changed it meanwhile; look at holdfast plan again", d.State.ConfigRev, r.Expect)
	case bytes.Equal(r.Config, d.State.Config):
		return "nothing changes", ""
	}
	e := d.edit()
	d.Notes = append(d.Notes, revise.Apply(e, r.Config, r.Conf)...)
	return fmt.Sprintf("version %d", e.ConfigRev), ""
}
