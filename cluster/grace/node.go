package grace

import (
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Node is one node's part in network grace: for itself and towards its peers. It
// is used by one goroutine.
type Node struct {
	f, g     time.Duration // what the beats of the bound incarnation promise
	until    ident.Instant // every other member has promised until then
	since    ident.Instant // on grace since; 0: not
	ask      Asker
	promises Promises
	peers    [ident.MaxNodes + 1]peer
}

type peer struct {
	patience Patience
	demand   Demand
	asked    ident.Instant // when it asked for a promise last; 0: never
}

// Env is what a Node has to know of the node around it.
type Env struct {
	Now    ident.Instant
	State  *cluster.State // as learned; not nil
	Self   ident.NodeID
	Inc    ident.Incarnation
	Life   uint64        // of the daemon
	Start  ident.Instant // of the own lease
	Needs  bool          // it may hold services, and nothing has frozen its lease
	Ask    time.Duration // age of the lease from which it asks
	Bear   time.Duration // t_asym: for how long it bears with a peer that alone has lost its disks
	Silent time.Duration // silence after which nothing holds any more that a peer has said
}

// Begin takes what the guard holds for the incarnation that it has bound: what
// the beats promise, and until when every other member has consented. At the
// beginning of a daemon's life every promise counts as just made.
func (n *Node) Begin(now ident.Instant, f, g time.Duration, until ident.Instant) {
	n.f, n.g, n.until, n.since = f, g, until, 0
	n.promises.Renew(now)
}

// Change takes what the guard lives by from now on. Less ends what was granted by
// more soon, as the guard does.
func (n *Node) Change(now ident.Instant, f, g time.Duration) {
	if f < n.f {
		n.until = min(n.until, After(now, f))
	}
	n.f, n.g = f, g
}

// Renew counts every promise as made at now: this node has become a member.
func (n *Node) Renew(now ident.Instant) { n.promises.Renew(now) }

// End is until when this node may go on if its lease started at start.
func (n *Node) End(start ident.Instant) ident.Instant { return End(start, n.until, n.f, n.g) }

// Since is since when this node lives on grace; 0: it does not.
func (n *Node) Since() ident.Instant { return n.since }

// Insider says that every member that s knows has acknowledged this node, so
// that none of them is granted grace without it; everybody else waits for W_c.
func Insider(s *cluster.State, self ident.NodeID, inc ident.Incarnation) bool {
	n := s.Node(self)
	return n != nil && n.Inc == inc && n.Dead < inc.N && (n.Phase == cluster.MemberPhase || n.Phase == cluster.Leaving)
}

// Free says that no promise to a peer keeps an insider from a proof that waits
// for w, and when that will be so.
func (n *Node) Free(now ident.Instant, id ident.NodeID, w time.Duration) (ident.Instant, bool) {
	end := After(n.promises.Last(id), w)
	return end, now >= end
}

// Request begins a request once a cycle is overdue; its ID is 0 before. The
// members that excused names have no say: this node itself has read that their
// power is off. If nobody has to be asked it returns the order for the guard.
func (n *Node) Request(e Env, excused func(*cluster.NodeState) bool) (ask cluster.GraceAsk, until ident.Instant, granted bool) {
	if !e.Needs || n.g <= n.f || e.Now.Sub(e.Start) < e.Ask {
		return ask, 0, false
	}
	var need []ident.NodeID
	for i := range e.State.Nodes {
		if m := &e.State.Nodes[i]; m.ID != e.Self && m.Phase != cluster.Out && m.Dead < m.Inc.N && !excused(m) {
			need = append(need, m.ID)
		}
	}
	id, alone := n.ask.Ask(e.Now, e.Life, e.State.View, need)
	if alone {
		until, granted = n.extend(e.Now)
	}
	return cluster.GraceAsk{ID: id, View: e.State.View}, until, granted
}

// Promised takes a promise that came in a message. It returns the order for the
// guard once every member has promised.
func (n *Node) Promised(e Env, m *cluster.Message) (until ident.Instant, granted bool) {
	from := e.State.Node(m.From)
	if p := &m.Grace.Promise; p.To != e.Self || p.Inc != e.Inc || from == nil || m.Inc.N < from.Inc.N {
		return 0, false
	}
	sent, all := n.ask.Promised(m.From, m.Grace.Promise.ID, m.Grace.Promise.View)
	if !all {
		return 0, false
	}
	return n.extend(sent)
}

// extend counts the promise of all members from the sending of the request.
func (n *Node) extend(sent ident.Instant) (ident.Instant, bool) {
	until := sent.Add(n.f)
	if until <= n.until {
		return 0, false
	}
	n.until = until
	return until, true
}

// Promise answers the request in a message: with a promise, or with nothing.
func (n *Node) Promise(e Env, m *cluster.Message) (cluster.GracePromise, bool) {
	p, from := &n.peers[m.From], e.State.Node(m.From)
	if m.Grace.Ask.ID == 0 || from == nil {
		return cluster.GracePromise{}, false
	}
	p.asked = e.Now
	know := Known{Registered: from.Inc, Fencing: from.Fencing, Dead: from.Dead, Unwanted: p.demand == Refuse}
	if know.Refuse(m.Inc) != "" {
		return cluster.GracePromise{}, false
	}
	n.promises.Make(m.From, e.Now)
	return cluster.GracePromise{To: m.From, Inc: m.Inc, ID: m.Grace.Ask.ID, View: m.Grace.Ask.View}, true
}

// Suffer judges a peer that alone has lost its disks (lost), or has not. News
// says that from now on its release is demanded.
func (n *Node) Suffer(e Env, id ident.NodeID, lost bool) (news bool) {
	p := &n.peers[id]
	was := p.demand
	p.demand = p.patience.Judge(e.Now, lost, e.Bear, max(e.Bear, n.f))
	return p.demand == Release && was == Bear
}

// Demand is what is demanded of a peer.
func (n *Node) Demand(id ident.NodeID) Demand { return n.peers[id].demand }

// Watch looks at this node's own grace. It returns what there is to tell, if
// there is anything new; with ending that is why everything has to be stopped now.
func (n *Node) Watch(now, start ident.Instant) (text string, ending bool) {
	fresh := now <= After(start, n.f)
	on := !fresh && now <= n.End(start)
	switch {
	case on && n.since == 0:
		n.since = now
		return "no beat reaches a majority of the quorum disks; every other member consents to this node going on, " + n.leftOver(now, start), false
	case fresh && n.since != 0:
		n.since = 0
		return "the quorum disks answer again: the consent of the others is not needed any more", false
	case on && now.Sub(start) > StopAt(n.g):
		return fmt.Sprintf("the quorum disks have been gone for %s, and on_disk_loss says stop", now.Sub(start).Round(time.Second)), true
	}
	return "", false
}

// leftOver is for how long the grace can last at most, in words.
func (n *Node) leftOver(now, start ident.Instant) string {
	end := After(start, n.g)
	if end == ident.Never {
		return "for as long as all of them answer (on_disk_loss: keep)"
	}
	return fmt.Sprintf("for %s more at most (on_disk_loss: stop)", end.Sub(now).Round(time.Second))
}

// Warnings say who lives on grace, since when, until when, and what to do.
func (n *Node) Warnings(e Env) []string {
	var w []string
	silent := e.Now.Sub(e.Start).Round(time.Second)
	if n.since != 0 && e.Now <= n.End(e.Start) {
		w = append(w, fmt.Sprintf("no beat of this node has reached a majority of the quorum disks for %s; it lives by the consent of all members, %s: "+
			"mend the paths to the disks, `holdfast disk show` tells what they say", silent, n.leftOver(e.Now, e.Start)))
	}
	if e.Needs && e.Now > After(e.Start, n.f) {
		for _, id := range n.ask.Missing(e.Now, n.f) {
			w = append(w, fmt.Sprintf("%s does not consent to this node going on without the quorum disks", e.State.NameOf(id)))
		}
	}
	for i := range e.State.Nodes {
		p, name := &n.peers[e.State.Nodes[i].ID], e.State.Nodes[i].Name
		switch {
		case p.demand == Release:
			w = append(w, fmt.Sprintf("%s alone has lost the quorum disks; it is asked to release its services: mend its paths to the disks", name))
		case p.asked != 0 && e.Now.Sub(p.asked) < e.Silent:
			w = append(w, fmt.Sprintf("%s does not reach the quorum disks in time and asks all members to consent to its going on", name))
		}
	}
	return w
}
