package cluster

import (
	"bytes"
	"fmt"
	"sort"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// question is an administrator's request that has not been answered.
type question struct {
	id      uint64
	request Request
}

// ask takes a request. Leaving is this node's own affair; all others become a
// commit.
func (c *Core) ask(e Asked) {
	switch {
	case c.reg.halted || c.self.stage == starting:
		c.emit(Reply{ID: e.ID, Err: "this node cannot write to the quorum disks now: " + c.self.stage.String()})
	case isLeave(e.Request):
		c.self.leave = true
		if c.self.stage < joining {
			c.enter(out)
			c.emit(Exit{Text: "this node was not a member yet"})
		}
		c.emit(Reply{ID: e.ID, Text: "leaving: services are moved away first"})
	default:
		c.asked = append(c.asked, &question{e.ID, e.Request})
	}
}

func isLeave(r Request) bool { _, ok := r.(LeaveCluster); return ok }

// grantWish applies a request to the draft. It returns what to tell, and why it
// is refused; a request that waits for an earlier commit is answered later.
func (c *Core) grantWish(d *draft, r Request) (text, refused string) {
	switch r := r.(type) {
	case MoveService:
		return c.wishMove(d, r)
	case StartService:
		return wishStart(d, r)
	case StopService:
		return wishGrant(d, r.Service, "stopping", func(g *Grant) { g.Stopped = true })
	case FreezeService:
		return wishGrant(d, r.Service, "done", func(g *Grant) { g.Frozen = r.On })
	case ClearService:
		return wishGrant(d, r.Service, "failures forgotten", func(g *Grant) { g.Fails = nil })
	case StandbyNode:
		return wishStandby(d, r)
	case FenceNode:
		return wishFence(d, r)
	case ConfirmOff:
		return c.wishConfirm(d, r)
	case AddNode:
		return wishAdd(d, r)
	case RemoveNode:
		return wishRemove(d, r)
	case ApplyConfig:
		return wishApply(d, r)
	}
	return "", "this version does not know the request"
}

func noService(name string) string {
	return fmt.Sprintf("there is no service %q: holdfast status lists them", name)
}

func noNode(name string) string {
	return fmt.Sprintf("there is no node %q: holdfast status lists them", name)
}

func wishGrant(d *draft, name, text string, change func(*Grant)) (string, string) {
	if d.s.Grant(name) == nil {
		return "", noService(name)
	}
	change(d.edit().Grant(name))
	return text, ""
}

func wishStart(d *draft, r StartService) (string, string) {
	g := d.s.Grant(r.Service)
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
func (c *Core) wishMove(d *draft, r MoveService) (string, string) {
	g := d.s.Grant(r.Service)
	svc, ok := d.s.Conf.Service(r.Service)
	switch {
	case g == nil || !ok:
		return "", noService(r.Service)
	case g.Owner == 0:
		return "", fmt.Sprintf("%s runs nowhere now (%s): holdfast service start %s", r.Service, g.Why, r.Service)
	case g.Frozen:
		return "", fmt.Sprintf("%s is frozen: holdfast service unfreeze %s", r.Service, r.Service)
	}
	list := c.judgeNodes(d.s, svc)
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
		d.note(Note{Kind: NoteAdmin, Service: r.Service, Node: cand.Node, Text: "move requested"})
		return "moving to " + cand.Name, ""
	}
	if r.To != "" {
		return "", noNode(r.To)
	}
	return "", fmt.Sprintf("no other node can run %s: holdfast explain %s", r.Service, r.Service)
}

func wishStandby(d *draft, r StandbyNode) (string, string) {
	if d.s.NodeNamed(r.Node) == nil {
		return "", noNode(r.Node)
	}
	d.edit().NodeNamed(r.Node).Standby = r.On
	if r.On {
		return "its services are moved away", ""
	}
	return "it may run services again", ""
}

func wishFence(d *draft, r FenceNode) (string, string) {
	n := d.s.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return "it is not in the cluster: nothing to fence", ""
	case !n.Fencing.IsZero():
		return "it is being fenced already", ""
	}
	why := "asked for by the administrator"
	if r.Why != "" {
		why += ": " + r.Why
	}
	e := d.edit().NodeNamed(r.Node)
	e.Fencing, e.Why = e.Inc, limit(why, 200)
	d.note(Note{Kind: NoteFencing, Node: e.ID, Inc: e.Inc, Text: why})
	return "fencing has begun; its services move when it is proven dead", ""
}

// wishConfirm takes the operator's word. It is refused while the node itself
// shows signs of life, and commits the fencing before the proof.
func (c *Core) wishConfirm(d *draft, r ConfirmOff) (string, string) {
	n := d.s.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case n.Inc.IsZero() || n.Dead >= n.Inc.N:
		return "it is known to be out already", ""
	case n.ID == c.set.Self:
		return "", "this is the node itself: confirm it on another node"
	case c.present(n.ID, n.Inc):
		return "", fmt.Sprintf("%s still shows signs of life on the quorum disk or the network: it is not off", r.Node)
	}
	text := limit(fmt.Sprintf("operator %s: %s", r.Operator, r.How), 200)
	c.peerOf(n.ID).word = Proof{Kind: ProofOperator, Node: n.ID, Inc: n.Inc, By: c.set.Self, DiskGen: d.s.DiskGen, Text: text}
	if n.Fencing.IsZero() {
		e := d.edit().Node(n.ID)
		e.Fencing, e.Why = e.Inc, text
		d.note(Note{Kind: NoteFencing, Node: n.ID, Inc: n.Inc, Text: text})
	}
	return "recorded as a proof; its services may start elsewhere", ""
}

// wordGiven finds a node whose end the operator has confirmed here and whose
// fencing is committed: this node commits the proof, whoever coordinates.
func (c *Core) wordGiven(s *State) ident.NodeID {
	for _, id := range c.peerIDs() {
		n, w := s.Node(id), c.peers[id].word
		if w.Kind == ProofOperator && n != nil && n.Inc == w.Inc && n.Fencing == w.Inc && n.Dead < n.Inc.N {
			return id
		}
	}
	return 0
}

// AddNodeID is the lowest free slot for a new node; zero if there is none.
func (s *State) AddNodeID() ident.NodeID {
	for id := ident.NodeID(1); id != 0; id++ {
		if s.Node(id) == nil {
			return id
		}
	}
	return 0
}

func wishAdd(d *draft, r AddNode) (string, string) {
	if n := d.s.NodeNamed(r.Name); n != nil {
		return "", fmt.Sprintf("there is a node %q already (node %d): choose another --name, or remove that one first", r.Name, n.ID)
	}
	for i := range d.s.Nodes {
		if d.s.Nodes[i].Host == r.Host && !r.Host.IsZero() {
			return "", fmt.Sprintf("this host is node %q already (host UUID %s)", d.s.Nodes[i].Name, r.Host)
		}
	}
	id := d.s.AddNodeID()
	if id == 0 {
		return "", "no slot is free on the quorum disk"
	}
	e := d.edit()
	e.Nodes = append(e.Nodes, NodeState{ID: id, Name: r.Name, Host: r.Host, Links: r.Links})
	sort.Slice(e.Nodes, func(i, j int) bool { return e.Nodes[i].ID < e.Nodes[j].ID })
	e.View++
	d.note(Note{Kind: NoteAdmin, Node: id, Text: r.Name + " was added to the cluster"})
	return fmt.Sprint(id), ""
}

func wishRemove(d *draft, r RemoveNode) (string, string) {
	n := d.s.NodeNamed(r.Node)
	switch {
	case n == nil:
		return "", noNode(r.Node)
	case !n.Inc.IsZero() && n.Dead < n.Inc.N:
		return "", fmt.Sprintf("%s is in the cluster: stop it there first (holdfast node leave), or fence it", r.Node)
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

func wishApply(d *draft, r ApplyConfig) (string, string) {
	switch {
	case r.Expect != 0 && r.Expect != d.s.ConfigRev:
		return "", fmt.Sprintf("the configuration is at version %d, not %d: somebody changed it meanwhile; look at holdfast plan again", d.s.ConfigRev, r.Expect)
	case bytes.Equal(r.Config, d.s.Config):
		return "nothing changes", ""
	}
	e := d.edit()
	e.Config, e.Conf = bytes.Clone(r.Config), r.Conf
	e.ConfigRev++
	d.note(Note{Kind: NoteAdmin, Text: fmt.Sprintf("configuration version %d", e.ConfigRev)})
	return fmt.Sprintf("version %d", e.ConfigRev), ""
}
