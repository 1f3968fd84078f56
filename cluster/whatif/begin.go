package whatif

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
)

// ErrCannot says that a question cannot be answered now; the text says why.
var ErrCannot = errors.New("this cannot be foretold")

// begin makes the world as a node knows it.
func begin(v *cluster.View) (*world, error) {
	s := v.State
	switch {
	case s == nil || s.Conf == nil || v.Timing.B == 0:
		return nil, fmt.Errorf("%w: this node has not read the cluster's state yet; see holdfast status", ErrCannot)
	case len(s.Change.Disks) > 0:
		return nil, fmt.Errorf("%w: the set of quorum disks is being changed; ask again when holdfast status shows it as done", ErrCannot)
	}
	w := &world{state: s, broken: map[[2]string]bool{}, fumbles: map[[2]string]bool{}, works: map[ident.NodeID]map[string]bool{}}
	for _, r := range v.Fencing {
		w.works[r.Node] = map[string]bool{}
		for _, way := range r.Ways {
			// What was not tried yet is taken to work, and said.
			w.works[r.Node][way.Way] = way.State != cluster.FenceFailed.String() && way.State != cluster.FenceUnknown.String()
			if way.Age < 0 && w.works[r.Node][way.Way] && way.Way != cluster.WayDisk {
				w.assumed = append(w.assumed, fmt.Sprintf("fencing %s by %s works, which was not checked yet", r.Name, way.Way))
			}
		}
	}
	for range s.Disks {
		w.disks = append(w.disks, &disk{beats: map[ident.NodeID]*cluster.Beat{}, blobs: map[ident.NodeID]*cluster.Blob{}})
	}
	for _, d := range v.Disks {
		if d.Index < len(w.disks) && d.Err != "" {
			w.disks[d.Index].lost = true
		}
	}
	for i := range v.Nodes {
		if err := w.join(v, &v.Nodes[i]); err != nil {
			return nil, err
		}
	}
	if len(w.nodes) == 0 {
		return nil, fmt.Errorf("%w: no node is a member now", ErrCannot)
	}
	first := w.nodes[0].id
	b := ident.Ballot{Round: 1, Node: first, Inc: 1}
	for _, k := range w.disks {
		k.put(register.Header{Node: first, Slot: 1, Inc: 1, Gen: 1, Mbal: b, Bal: b, Ver: s.Ver}, s)
	}
	for _, n := range w.nodes {
		n.start(v)
	}
	return w, nil
}

// join makes a member that is there now; one that is being fenced or silent is not.
func (w *world) join(v *cluster.View, n *cluster.NodeView) error {
	if n.Phase != cluster.MemberPhase || n.Inc.IsZero() {
		return nil
	}
	if n.Fencing {
		return fmt.Errorf("%w: %s is being fenced at this moment; ask again when that is over", ErrCannot, n.Name)
	}
	if n.ID != v.Self && (n.DiskAge < 0 || n.DiskAge > v.Timing.Tsus) {
		return fmt.Errorf("%w: %s has just fallen silent; ask again when it is clear what became of it", ErrCannot, n.Name)
	}
	host := ident.UUID{15: byte(n.ID)}
	if s := w.state.Node(n.ID); s != nil {
		host = s.Host
	}
	w.nodes = append(w.nodes, &node{
		w: w, id: n.ID, name: n.Name, host: host,
		guard: guard{inc: n.Inc, state: cluster.GuardBound, lease: n.Lease, h: v.Timing.H, gen: w.state.DiskGen},
	})
	return nil
}

// start begins a life of the node's daemon over the services that it runs, as if
// the daemon had just been restarted.
func (n *node) start(v *cluster.View) {
	in := v.Timing.Input()
	n.core = core.New(core.Settings{
		Self: n.id, Name: n.name, Cluster: n.w.state.Cluster, Host: n.host, Boot: n.guard.inc.Boot, Life: uint64(n.clock()),
		Disks: n.w.state.Disks, Timing: in,
	})
	ev := cluster.Started{Bound: n.guard.inc, LeaseStart: n.clock(), F: n.guard.lease.F, G: n.guard.lease.G, Grace: ident.LongAgo}
	for i := range n.w.state.Services {
		if g := &n.w.state.Services[i]; g.Owner == n.id && g.Inc == n.guard.inc {
			ev.Adopted = append(ev.Adopted, cluster.Adopted{Service: g.Service, Term: g.Term, Running: true})
		}
	}
	for d := range n.w.disks {
		n.after(time.Duration(n.id)*7*time.Millisecond, func() { n.cycle(d) })
	}
	n.after(time.Duration(n.id)*time.Millisecond, func() { n.deliver(ev) })
}

// settle runs the world until every member has taken up where it was.
func (w *world) settle(t time.Duration) error {
	for range 20 {
		w.run(t)
		ready := true
		for _, n := range w.nodes {
			ready = ready && n.core.View(n.clock()).Stage == "member"
		}
		if ready {
			w.run(t)
			return nil
		}
	}
	n := w.nodes[0]
	v := n.core.View(n.clock())
	return fmt.Errorf("%w: as the cluster is now it does not come to rest: %s waits (%s)", ErrCannot, n.name, v.Waiting)
}
