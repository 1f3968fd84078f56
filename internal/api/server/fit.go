package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/services"
	"github.com/holdfast-ha/holdfast/internal/api"
)

const (
	fitPath   = "/v1/fit"
	fitWithin = 20 * time.Second // for the answers of all nodes
)

// judge answers another daemon whether services could run here. Nobody else can ask
// that: what is asked about becomes parameters of agents, which run as root.
func (s *Server) judge(w http.ResponseWriter, r *http.Request) {
	var ask api.FitRequest
	if err := body(r, &ask); err != nil {
		answer(w, nil, err)
		return
	}
	answer(w, s.around.Fit(r.Context(), &ask), nil)
}

// fits asks every member whether it could run the services that a configuration
// brings or changes. The answers are by the node's name; what a node that gives no
// answer could run is not known.
func (s *Server) fits(ctx context.Context, v *cluster.View, next *cluster.Config) map[string][]api.Fitness {
	ctx, cancel := context.WithTimeout(ctx, fitWithin)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	out := map[string][]api.Fitness{}
	for i := range v.State.Nodes {
		n := &v.State.Nodes[i]
		ask := questions(v.State.Conf, next, n.Name)
		if n.Phase != cluster.MemberPhase || s.around.Fit == nil || len(ask.Services) == 0 {
			continue
		}
		all.Go(func() { // ends with ctx
			said := s.fitsAt(ctx, v.Self == n.ID, n, ask)
			mu.Lock()
			defer mu.Unlock()
			out[n.Name] = said
		})
	}
	all.Wait()
	return out
}

// questions are about what is new to a node, by the families of copies, which have
// one stack.
func questions(now, next *cluster.Config, node string) *api.FitRequest {
	ask := &api.FitRequest{}
	for i := range next.Services {
		svc := &next.Services[i]
		name := svc.Family()
		old, known := now.Service(svc.Name)
		if known && reflect.DeepEqual(old.Stack, svc.Stack) || !svc.Allows(node) ||
			slices.ContainsFunc(ask.Services, func(o api.FitService) bool { return o.Name == name }) {
			continue
		}
		q := api.FitService{Name: name, Beside: services.Beside(next, svc)}
		for _, m := range svc.Stack {
			q.Stack = append(q.Stack, api.FitMember{ID: m.ID, Kind: m.Kind, Spec: m.Spec, Storage: m.Storage, Guarded: m.Guarded})
		}
		ask.Services = append(ask.Services, q)
	}
	return ask
}

// fitsAt asks one node.
func (s *Server) fitsAt(ctx context.Context, here bool, n *cluster.NodeState, ask *api.FitRequest) []api.Fitness {
	if here {
		return s.around.Fit(ctx, ask).Services
	}
	said, err := s.fitsThere(ctx, n, ask)
	if err == nil {
		return said
	}
	for _, q := range ask.Services {
		said = append(said, api.Fitness{Service: q.Name, Verdict: api.FitUnknown, Text: err.Error()})
	}
	return said
}

func (s *Server) fitsThere(ctx context.Context, n *cluster.NodeState, ask *api.FitRequest) ([]api.Fitness, error) {
	if s.around.Post == nil {
		return nil, fmt.Errorf("this daemon asks no other nodes")
	}
	question, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	resp, err := s.around.Post(ctx, addressesOf(n), fitPath, question)
	if err != nil {
		return nil, fmt.Errorf("its daemon does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("its daemon does not know the question (%s): it is of an older version", resp.Status)
	}
	var reply api.FitReply
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostBody)).Decode(&reply); err != nil {
		return nil, fmt.Errorf("its daemon's answer: %w", err)
	}
	return reply.Services, nil
}
