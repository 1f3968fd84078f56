// Package operations carries out what the core wants done to services, and finds
// what a former life of the daemon left of them. How a service is started and
// stopped is package resources'; here its answers become the core's.
package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/daemon/pressure"
	"github.com/holdfast-ha/holdfast/resources"
)

const (
	// adoptWithin bounds what a new daemon does before the core's first event:
	// the guard waits for 30 s, by the permission of the life before.
	adoptWithin = 20 * time.Second
	// runSlack is added to the longest that a Run can last when it is bounded.
	runSlack = time.Minute
)

// Runner is all that is asked of services; resources.Runner is one.
type Runner interface {
	Operator
	Adapter
}

// Operator carries out operations on whole services.
type Operator interface {
	// Start brings a service up.
	Start(ctx context.Context, s resources.Service, term uint32, o resources.StartOptions) resources.Result
	// Stop takes it down and verifies that.
	Stop(ctx context.Context, s resources.Service, term uint32, o resources.StopOptions) resources.Result
	// Longest bounds any of them.
	Longest(s resources.Service) time.Duration
	// Check asks every member.
	Check(ctx context.Context, s resources.Service, term uint32) resources.Result
}

// Adapter fits services to a node, and to new settings.
type Adapter interface {
	// Fit asks every member whether it could run here. What members of the kinds
	// beside bring, which other services have, need not be there yet.
	Fit(ctx context.Context, s resources.Service, beside []string) resources.Result
	// Reload has members of a running service take over their new settings.
	Reload(ctx context.Context, s resources.Service, term uint32, was map[string]json.RawMessage) resources.Result
	// Watch tells, until ctx ends, of running services that may have stopped working.
	Watch(ctx context.Context, changed func(service, member, what string)) error
}

// Leftovers is what a former life of the daemon left; resources.Runner knows.
type Leftovers interface {
	// EmptyOrphans ends every operation of a former life.
	EmptyOrphans(ctx context.Context) ([]resources.Orphan, error)
	// Terms lists what was started and not verifiably stopped.
	Terms() ([]resources.Held, error)
	// Probe asks whether a service runs here.
	Probe(ctx context.Context, s resources.Service, term uint32) (resources.State, []resources.Step)
}

// serviceOf is what the runner knows of a service.
func serviceOf(s *cluster.Service) resources.Service {
	out := resources.Service{Name: s.Name}
	for i := range s.Stack {
		m := &s.Stack[i]
		out.Stack = append(out.Stack, resources.Member{
			ID: m.ID, Kind: m.Kind, Spec: m.Spec, Storage: m.Storage, Guarded: m.Guarded, Start: m.Start, Stop: m.Stop, Check: m.Check,
		})
	}
	return out
}

// Watch reads what stalls on this node; pressure.Kept is one.
type Watch interface {
	// Read says what has stalled up to now.
	Read() pressure.Sample
	// Recent says it up to a moment ago, for the beginning of what mostly ends well.
	Recent() pressure.Sample
}

// Kernel is what the kernel of this node counts, beside the daemon's clock.
func Kernel(now func() ident.Instant) Watch {
	return &pressure.Kept{Files: pressure.Files{Now: func() time.Duration { return time.Duration(now()) }}}
}

// CarryOut does one Run and says what came of it, and of a check without an answer
// what stalled meanwhile. A start or a stop that did not
// end in time, or was interrupted because the daemon ends, is Unknown.
func CarryOut(ctx context.Context, r Runner, w Watch, a cluster.Run) cluster.RunDone {
	done := cluster.RunDone{Op: a.Op, Outcome: cluster.Failed}
	if a.Service == nil || a.Term > math.MaxUint32 {
		done.Text = fmt.Sprintf("there is no such operation: term %d of %v", a.Term, a.Service)
		return done
	}
	svc, term := serviceOf(a.Service), uint32(a.Term)
	ctx, cancel := context.WithTimeout(ctx, runSlack+r.Longest(svc))
	defer cancel()
	var res resources.Result
	switch a.Kind {
	case cluster.RunStart:
		res = r.Start(ctx, svc, term, resources.StartOptions{StorageOnly: a.Storage, From: a.From, Handed: a.Handed, Resume: a.Resume})
		done.Outcome = outcomeOf(res.Outcome)
	case cluster.RunStop, cluster.RunKill:
		res = r.Stop(ctx, svc, term, resources.StopOptions{Kill: a.Kind == cluster.RunKill, From: a.From, Goal: a.Goal})
		done.Outcome = outcomeOf(res.Outcome)
		if done.Outcome == cluster.OK && !res.Stopped && a.From == 0 {
			done.Outcome = cluster.Unknown
		}
	case cluster.RunCheck:
		if a.To > 0 && a.To < len(svc.Stack) {
			svc.Stack = svc.Stack[:a.To]
		}
		before := w.Recent()
		res = r.Check(ctx, svc, term)
		if res.Outcome == resources.Unknown {
			done.Stall = pressure.Between(before, w.Read())
		}
		done.Outcome = outcomeOf(res.Outcome)
	case cluster.RunReload:
		res = r.Reload(ctx, svc, term, changed(a.Was, a.Service))
		done.Outcome = outcomeOf(res.Outcome)
	case cluster.RunFit:
		res = r.Fit(ctx, svc, a.Beside)
		done.Outcome = outcomeOf(res.Outcome)
	default:
		res.Text = fmt.Sprintf("an operation of kind %d is not known", a.Kind)
	}
	done.Text, done.Severity = res.Text, severityOf(res.Severity)
	done.Member = 1 + slices.IndexFunc(svc.Stack, func(m resources.Member) bool { return m.ID == res.Member })
	return done
}

// changed are the former specifications of the members that have others now.
func changed(was, is *cluster.Service) map[string]json.RawMessage {
	list := map[string]json.RawMessage{}
	for i := range is.Stack {
		if was != nil && i < len(was.Stack) && !bytes.Equal(was.Stack[i].Spec, is.Stack[i].Spec) {
			list[is.Stack[i].ID] = was.Stack[i].Spec
		}
	}
	return list
}

func severityOf(s resources.Severity) cluster.Severity {
	switch s {
	case resources.Hard:
		return cluster.Hard
	case resources.Fatal:
		return cluster.Fatal
	}
	return cluster.Soft
}

// outcomeOf translates; what is not running after a start or in a check failed.
func outcomeOf(o resources.Outcome) cluster.Outcome {
	switch o {
	case resources.OK:
		return cluster.OK
	case resources.Unknown:
		return cluster.Unknown
	}
	return cluster.Failed
}

// Listen brings the core word of services that may have stopped working, until ctx
// ends. What finds no room is dropped: the checks see it, only later.
func Listen(ctx context.Context, r Runner, to chan<- cluster.Event) error {
	return r.Watch(ctx, func(service, member, what string) {
		select {
		case to <- cluster.Stirred{Service: service, Text: member + ": " + what}:
		default:
		}
	})
}

// Adopt ends every operation that a former life of the daemon left half done,
// and then asks what runs. It comes before everything else: a mount that is under
// way must not finish after the service was given to another node.
func Adopt(ctx context.Context, left Leftovers, conf *cluster.Config) ([]cluster.Adopted, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptWithin)
	defer cancel()
	orphans, err := left.EmptyOrphans(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what a former life of the daemon left: %w", err)
	}
	stuck := map[string]string{}
	for _, o := range orphans {
		if o.Err != nil {
			stuck[o.Group.Service] = o.Err.Error()
		}
	}
	terms, err := left.Terms()
	if err != nil {
		return nil, fmt.Errorf("look for what runs here: %w", err)
	}
	found := make([]cluster.Adopted, len(terms))
	var probes errgroup.Group
	for i, t := range terms {
		found[i] = cluster.Adopted{Service: t.Service, Term: uint64(t.Term), Stuck: stuck[t.Service]}
		svc, known := serviceNamed(conf, t.Service)
		if !known || found[i].Stuck != "" {
			continue
		}
		probes.Go(func() error {
			state, _ := left.Probe(ctx, serviceOf(svc), t.Term)
			found[i].Running = state == resources.StateRunning
			return nil
		})
	}
	_ = probes.Wait() // a probe without an answer is one that does not say "running"
	return newest(found), nil
}

func serviceNamed(conf *cluster.Config, name string) (*cluster.Service, bool) {
	if conf == nil {
		return nil, false
	}
	return conf.Service(name)
}

// newest keeps one entry per service: if more than one term of it is left, the
// highest, which is then not wholly running but has to be stopped. A stop ends
// everything of a service, in every term.
func newest(found []cluster.Adopted) []cluster.Adopted {
	var out []cluster.Adopted
	for _, a := range found { // in order of service and term
		if n := len(out); n > 0 && out[n-1].Service == a.Service {
			a.Running = false
			a.Stuck = strings.TrimPrefix(out[n-1].Stuck, a.Stuck) + a.Stuck
			out[n-1] = a
			continue
		}
		out = append(out, a)
	}
	return out
}
