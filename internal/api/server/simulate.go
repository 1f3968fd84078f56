package server

import (
	"context"
	"net/http"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/whatif"
	"github.com/holdfast-ha/holdfast/internal/api"
)

func (s *Server) simulate(_ context.Context, f *Facts, r *http.Request) (any, error) {
	var q api.SimulateRequest
	if err := body(r, &q); err != nil {
		return nil, err
	}
	if !s.busy.TryLock() {
		return nil, api.Errorf(api.CodeNotReady, "another simulation is under way; ask again in a moment")
	}
	defer s.busy.Unlock()
	return Simulate(f, q.Text)
}

// Simulate answers a question such as "what if beta dies" from facts.
func Simulate(f *Facts, text string) (*api.Simulation, error) {
	v := &f.View
	if v.State == nil {
		return nil, api.Errorf(api.CodeNotReady, "this node has not read the cluster's state yet; see holdfast status")
	}
	faults, err := whatif.Parse(text, v.State)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%v", err)
	}
	a, err := whatif.Ask(v, faults)
	if err != nil {
		return nil, api.Errorf(api.CodeRefused, "%v", err)
	}
	out := &api.Simulation{
		Version: api.Version, Services: []api.Foretold{}, Nodes: []api.ForetoldNode{}, After: append([]string{}, a.After...),
		Assumed: a.Assumed, Story: []api.ForetoldLine{}, Worst: api.Of(v.Timing.B), Quiet: api.Of(a.Took),
	}
	for _, one := range faults {
		out.Faults = append(out.Faults, one.String())
	}
	for i := range a.Services {
		out.Services = append(out.Services, foretold(v, &a.Services[i]))
	}
	for _, n := range a.Nodes {
		out.Nodes = append(out.Nodes, api.ForetoldNode{Name: n.Name, Proof: proofOf(v, n.Proof), Why: n.Why})
	}
	for _, l := range a.Story {
		out.Story = append(out.Story, api.ForetoldLine{At: api.Of(l.At), Kind: string(l.Kind), Text: l.Text})
	}
	return out, nil
}

func foretold(v *cluster.View, s *whatif.Service) api.Foretold {
	out := api.Foretold{Name: s.Name, From: s.Before, To: s.After, Runs: s.Runs, Why: s.Why}
	if s.Granted > 0 {
		out.Granted, out.Proof = api.Maybe(s.Granted), proofOf(v, s.Proof)
	}
	for _, c := range s.Candidates {
		out.Candidates = append(out.Candidates, api.Candidate{Node: c.Name, Able: c.Able, Reason: c.Reason, Remedy: c.Remedy})
	}
	return out
}
