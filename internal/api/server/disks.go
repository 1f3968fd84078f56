package server

import (
	"net/http"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// diskSet carries out a verb on the set of quorum disks.
func (s *Server) diskSet(r *http.Request) (any, error) {
	var in api.DisksRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	switch verb := r.PathValue("verb"); verb {
	case api.DisksChange:
		c := cluster.ChangeDisks{Paths: in.Paths}
		var err error
		if c.From, err = uuids(in.From); err == nil {
			c.To, err = uuids(in.To)
		}
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "%v", err)
		}
		if len(c.Paths) != len(c.To) {
			return nil, api.Errorf(api.CodeInvalid, "%d paths for %d disks", len(c.Paths), len(c.To))
		}
		return s.ask(r.Context(), c, askWithin)
	case api.DisksKeep:
		return s.ask(r.Context(), cluster.KeepDisks{Why: in.Why}, askWithin)
	default:
		return nil, api.Errorf(api.CodeNotFound, "the set of disks has no verb %q; there is %s", verb, join([]string{api.DisksChange, api.DisksKeep}))
	}
}

func uuids(texts []string) ([]ident.UUID, error) {
	out := make([]ident.UUID, len(texts))
	for i, t := range texts {
		var err error
		if out[i], err = ident.ParseUUID(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func diskSetOf(f *Facts) api.DiskSet {
	d := api.DiskSet{Stage: api.DisksSettled, Waits: f.View.DiskWaits}
	if s := f.View.State; s != nil {
		d.Generation, d.Stage, d.Text = s.DiskGen, s.Change.Stage.String(), s.Change.Text
	}
	return d
}
