package server

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/api/plan"
)

// stopWithin is how long a restart waits for the service to be down, and
// stopPoll how often it looks.
const (
	stopWithin = 5 * time.Minute
	stopPoll   = 200 * time.Millisecond
)

// service carries out a verb on a service.
func (s *Server) service(ctx context.Context, f *Facts, r *http.Request) (any, error) {
	var in api.ServiceRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	name, verb := r.PathValue("name"), r.PathValue("verb")
	if !slices.Contains(serviceNames(f), name) {
		return nil, api.Errorf(api.CodeNotFound, "there is no service %q%s", name, known(serviceNames(f)))
	}
	if in.To != "" && verb != api.ServiceMove {
		return nil, api.Errorf(api.CodeInvalid, "%s takes no node", verb)
	}
	switch verb {
	case api.ServiceMove:
		return s.ask(ctx, cluster.MoveService{Service: name, To: in.To}, askWithin)
	case api.ServiceFailback:
		return s.failback(ctx, f, name)
	case api.ServiceStart:
		return s.ask(ctx, cluster.StartService{Service: name}, askWithin)
	case api.ServiceStop:
		return s.ask(ctx, cluster.StopService{Service: name}, askWithin)
	case api.ServiceRestart:
		return s.restart(ctx, name)
	case api.ServiceFreeze, api.ServiceUnfreeze:
		return s.ask(ctx, cluster.FreezeService{Service: name, On: verb == api.ServiceFreeze}, askWithin)
	case api.ServiceMaintenance:
		return s.ask(ctx, cluster.Maintain{Service: name, For: in.For.Duration(), By: whoAsks(ctx)}, askWithin)
	case api.ServiceClear:
		return s.ask(ctx, cluster.ClearService{Service: name}, askWithin)
	}
	return nil, api.Errorf(api.CodeNotFound, "a service has no verb %q; there is %s", verb, join([]string{
		api.ServiceMove, api.ServiceStart, api.ServiceStop,
		api.ServiceRestart, api.ServiceFreeze, api.ServiceUnfreeze, api.ServiceFailback, api.ServiceClear, api.ServiceMaintenance,
	}))
}

// failback moves a service to the best node that may run it.
func (s *Server) failback(ctx context.Context, f *Facts, name string) (any, error) {
	for i := range f.View.Services {
		v := &f.View.Services[i]
		if v.Name != name {
			continue
		}
		best := slices.IndexFunc(v.Nodes, func(c cluster.Candidate) bool { return c.Able })
		switch {
		case best < 0:
			return nil, api.Errorf(api.CodeRefused, "no node may run %s now; `holdfast explain %s` says why", name, name)
		case v.Nodes[best].Node == v.Owner:
			return &api.Result{Version: api.Version, Text: name + " already runs on the best node, " + v.Nodes[best].Name}, nil
		}
		return s.ask(ctx, cluster.MoveService{Service: name, To: v.Nodes[best].Name}, askWithin)
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no service %q", name)
}

// restart stops a service, waits until that is verified, and lets it run again.
// If it is interrupted in between, the service stays stopped, and says so.
func (s *Server) restart(ctx context.Context, name string) (any, error) {
	if _, err := s.ask(ctx, cluster.StopService{Service: name}, askWithin); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	tick := time.NewTicker(stopPoll)
	defer tick.Stop()
	for {
		f, err := s.daemon.Facts(wait)
		if err != nil {
			return nil, api.Errorf(api.CodeUnknown, "%s was told to stop, and is kept stopped until `holdfast service start %s`: %v", name, name, err)
		}
		down := func(v cluster.ServiceView) bool { return v.Name == name && v.State == cluster.Down && v.Owner == 0 }
		broken := func(v cluster.ServiceView) bool { return v.Name == name && v.State == cluster.Broken }
		if slices.ContainsFunc(f.View.Services, down) {
			return s.ask(ctx, cluster.StartService{Service: name}, askWithin)
		}
		if slices.ContainsFunc(f.View.Services, broken) {
			return nil, api.Errorf(api.CodeRefused, "%s could not be stopped; `holdfast explain %s` says what holds it", name, name)
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			return nil, api.Errorf(api.CodeUnknown, "%s is still stopping after %v; it is kept stopped until `holdfast service start %s`", name, stopWithin, name)
		}
	}
}

// node carries out a verb on a node.
func (s *Server) node(ctx context.Context, f *Facts, r *http.Request) (any, error) {
	var in api.NodeRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	name, verb := r.PathValue("name"), r.PathValue("verb")
	if !slices.Contains(nodeNames(&f.View), name) {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q%s", name, known(nodeNames(&f.View)))
	}
	if verb != api.NodeStandby && verb != api.NodeOnline && verb != api.NodeMaintenance && s.role(r) < Admin {
		return nil, api.Errorf(api.CodeForbidden, "node %s needs the role %s: run it as root, or as a member of the group %s", verb, Admin, adminGroup)
	}
	switch verb {
	case api.NodeStandby, api.NodeOnline:
		return s.ask(ctx, cluster.StandbyNode{Node: name, On: verb == api.NodeStandby}, askWithin)
	case api.NodeFence:
		return s.ask(ctx, cluster.FenceNode{Node: name, Why: orElse(in.Why, "asked by an administrator"), By: in.By, DryRun: in.DryRun}, askWithin)
	case api.NodeConfirmOff:
		if in.Operator == "" || in.How == "" {
			return nil, api.Errorf(api.CodeInvalid, "confirm-off is recorded as a proof: it needs who says so, and how it was verified that %s is off", name)
		}
		return s.ask(ctx, cluster.ConfirmOff{Node: name, Operator: in.Operator, How: in.How}, askWithin)
	case api.NodeMaintenance:
		return s.ask(ctx, cluster.Maintain{Node: name, For: in.For.Duration(), By: whoAsks(ctx)}, askWithin)
	case api.NodeRemove:
		return s.ask(ctx, cluster.RemoveNode{Node: name}, askWithin)
	}
	return nil, api.Errorf(api.CodeNotFound, "a node has no verb %q; there is %s", verb, join([]string{api.NodeStandby, api.NodeOnline, api.NodeFence, api.NodeConfirmOff, api.NodeRemove, api.NodeMaintenance}))
}

// config gives the committed configuration, or a kept copy of an older one.
func (s *Server) config(_ context.Context, f *Facts, r *http.Request) (any, error) {
	now := f.View.State
	text := r.URL.Query().Get("version")
	if text == "" {
		if now == nil {
			return nil, api.Errorf(api.CodeNotReady, "the quorum disk was not read yet: %s", orElse(f.View.Waiting, f.View.Stage))
		}
		return &api.Config{Version: api.Version, Config: now.ConfigRev, State: now.Ver, Text: string(now.Config)}, nil
	}
	rev, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "version=%s: want a number", text)
	}
	if now != nil && now.ConfigRev == rev {
		return &api.Config{Version: api.Version, Config: rev, State: now.Ver, Text: string(now.Config)}, nil
	}
	kept, err := s.store.Version(rev)
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.CodeNotFound, "this node has kept no configuration %d; `holdfast history` lists what it has", rev)
	} else if err != nil {
		return nil, err
	}
	return &api.Config{Version: api.Version, Config: rev, Text: string(kept)}, nil
}

// apply plans, or replaces, the configuration.
func (s *Server) apply(ctx context.Context, f *Facts, r *http.Request) (any, error) {
	var in api.ApplyRequest
	if err := body(r, &in); err != nil {
		return nil, err
	}
	state := f.View.State
	if state == nil {
		return nil, api.Errorf(api.CodeNotReady, "the quorum disk was not read yet: %s", orElse(f.View.Waiting, f.View.Stage))
	}
	conf, err := s.daemon.Parse(orElse(in.File, "configuration"), []byte(in.Config), state)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%v", err)
	}
	if in.Expect != 0 && in.Expect != state.ConfigRev {
		return nil, api.Errorf(api.CodeRefused, "the configuration is at version %d by now, not %d: `holdfast config export` it, and repeat the change on that", state.ConfigRev, in.Expect)
	}
	p := plan.Of(&plan.Question{View: &f.View, Next: conf, Text: in.Config, Lasted: s.store.Lasted(), Fits: s.fits(ctx, &f.View, conf)})
	switch {
	case in.DryRun:
		return p, nil
	case len(p.Problems) > 0:
		return nil, api.Errorf(api.CodeRefused, "%s", join(p.Problems))
	}
	// What was planned is what is applied: nothing that was committed meanwhile.
	return s.ask(ctx, cluster.ApplyConfig{Config: []byte(in.Config), Conf: conf, Expect: state.ConfigRev}, askWithin)
}
