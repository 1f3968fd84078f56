package server

import (
	"context"
	"net/http"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Keys exchanges the cluster's key; keyring.Exchange does.
type Keys interface {
	// Status asks every node how it stands.
	Status(ctx context.Context) (*api.KeyStatus, error)
	// Advance takes the next step of an exchange, or has the node that leads take it.
	Advance(ctx context.Context, r api.KeyRequest) (*api.KeyProgress, error)
	// Step does one step on this node, and says how it stands.
	Step(ctx context.Context, s api.KeyStep) (api.KeyNode, error)
}

func (s *Server) keyRoutes(route func(string, Role, handler)) {
	route("GET /v1/key", Read, func(r *http.Request) (any, error) { return s.around.Keys.Status(r.Context()) })
	route("POST /v1/key", Admin, s.leadKeys)
}

func (s *Server) leadKeys(r *http.Request) (any, error) {
	var in api.KeyRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return s.around.Keys.Advance(r.Context(), in)
}

// keysOf answers another daemon; false: it asks for something else.
func (s *Server) keysOf(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost || s.around.Keys == nil {
		return false
	}
	switch r.URL.Path {
	case api.KeyLeadPath:
		p, err := s.leadKeys(r)
		answer(w, p, err)
	case api.KeyStepPath:
		var in api.KeyStep
		err := body(r, &in)
		var n api.KeyNode
		if err == nil {
			n, err = s.around.Keys.Step(r.Context(), in)
		}
		answer(w, n, err)
	default:
		return false
	}
	return true
}
