package decide

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
)

// ServiceViews is every service as a node knows it; run is what the owner says of
// the term of a grant.
func ServiceViews(s *cluster.State, sight *Sight, run func(*cluster.Grant) (cluster.RunState, bool)) []cluster.ServiceView {
	list := make([]cluster.ServiceView, 0, len(s.Services))
	crowd := Crowd(s)
	for i := range s.Services {
		v := serviceView(s, sight, &s.Services[i], run)
		if svc, ok := s.Conf.Service(v.Name); ok {
			for _, cand := range Candidates(s, sight, svc, crowd) {
				v.Nodes = append(v.Nodes, cluster.Candidate{Node: cand.Node, Name: cand.Name, Able: cand.Able, Reason: cand.Reason, Remedy: cand.Remedy})
			}
		}
		list = append(list, v)
	}
	return list
}

func serviceView(s *cluster.State, sight *Sight, g *cluster.Grant, run func(*cluster.Grant) (cluster.RunState, bool)) cluster.ServiceView {
	v := cluster.ServiceView{
		Name: g.Service, Owner: g.Owner, Term: g.Term, Why: g.Why, Stopped: g.Stopped, Frozen: g.Frozen,
		Want: g.Want, Proof: g.Proof,
	}
	if r, ok := run(g); ok && g.Owner != 0 {
		v.State, v.Text = r.State, r.Text
	}
	svc, ok := s.Conf.Service(g.Service)
	if !ok {
		return v
	}
	switch held := Held(s, g); {
	case s.Life.Stop.On:
		v.Why = "the cluster is stopped: holdfast cluster start"
	case held != "":
		v.Why = held
	case g.Owner == 0 && !g.Stopped:
		if before := Waits(s, sight, svc); before != "" {
			v.Why = fmt.Sprintf("after: waits for %s", before)
		}
	}
	return v
}
