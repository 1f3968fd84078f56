package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// maintenanceOf is a maintenance for people; nil if there is none.
func maintenanceOf(s *cluster.State, m *cluster.Maintenance) *api.Until {
	if !m.On() {
		return nil
	}
	return &api.Until{Left: api.Of(s.Left(m.Until)), By: m.By}
}

// courseOf is what is remembered of a node.
func courseOf(v *cluster.View, id ident.NodeID) api.NodeCourse {
	var out api.NodeCourse
	if v.State == nil || v.State.Node(id) == nil {
		return out
	}
	n := v.State.Node(id)
	out.Maintenance = maintenanceOf(v.State, &n.Life.Maintenance)
	if q := &n.Life.Quarantine; q.On() {
		out.Quarantine = &api.Until{Left: api.Of(v.State.Left(q.Until)), Why: q.Why}
	}
	if f := &n.Life.Fenced; f.By != 0 {
		out.Fenced = &api.Fenced{Incarnation: incarnation(f.Inc), By: nodeName(v, f.By), State: f.Ver, Asked: f.Asked, Why: f.Why}
		if n.Proof.Inc == f.Inc {
			out.Fenced.Proof = proofOf(v, n.Proof)
		}
	}
	return out
}

// courseText says in sentences what is remembered of a node, and what keeps
// services from it.
func courseText(n *api.Node) []string {
	var text []string
	if f := n.Fenced; f != nil && !n.Fencing {
		line := fmt.Sprintf("%s had it fenced last, as incarnation %s, in state %d: %s.", f.By, f.Incarnation, f.State, f.Why)
		switch {
		case f.Proof != nil && n.Phase != "out":
			line += fmt.Sprintf(" It was known to have ended by %s, and has come back since as incarnation %s.", f.Proof.Kind, n.Incarnation)
		case f.Proof == nil && n.Phase != "out":
			line += fmt.Sprintf(" It has come back since as incarnation %s.", n.Incarnation)
		}
		text = append(text, line)
	}
	if q := n.Quarantine; q != nil {
		text = append(text, fmt.Sprintf("It is quarantined for another %v: %s. It is a member, but runs no services; `holdfast node online %s` ends that.", q.Left.Duration(), q.Why, n.Name))
	}
	if m := n.Maintenance; m != nil {
		text = append(text, fmt.Sprintf("It is in maintenance for another %v%s: its services stay as they are, and would not be taken over; `holdfast node online %s` ends that.", m.Left.Duration(), askedBy(m.By), n.Name))
	}
	return text
}

func askedBy(who string) string {
	if who == "" {
		return ""
	}
	return ", asked for by " + who
}

// whole carries out a verb on the whole cluster.
func (s *Server) whole(r *http.Request) (any, error) {
	var in api.ClusterRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	ctx, who := r.Context(), whoAsks(r.Context())
	switch verb := r.PathValue("verb"); verb {
	case api.ClusterStop:
		return s.ask(ctx, cluster.StopCluster{By: who}, askWithin)
	case api.ClusterStart:
		return s.ask(ctx, cluster.StartCluster{}, askWithin)
	case api.ClusterMaintenance:
		return s.ask(ctx, cluster.Maintain{For: in.For.Duration(), By: who}, askWithin)
	default:
		return nil, api.Errorf(api.CodeNotFound, "a cluster has no verb %q; there is %s", verb, join([]string{api.ClusterStop, api.ClusterStart, api.ClusterMaintenance}))
	}
}

// whoAsks is who is at the other end of the socket, for the record.
func whoAsks(ctx context.Context) string {
	p, ok := ctx.Value(peerKey{}).(Peer)
	switch {
	case !ok:
		return ""
	case p.UID == 0:
		return "root"
	}
	return fmt.Sprintf("uid %d", p.UID)
}
