package resources

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/leading"
)

// Watcher is a kind of which the kernel or the service manager tells at once when a
// member may have stopped working: a unit that failed, a mount or an address that
// vanished, a cable that was pulled.
type Watcher interface {
	// Watch calls changed for every such member, with what was seen, until ctx ends.
	// It is one source for all members of the kind; which there are is asked at every
	// event, so that they may change. What it says is a reason to check, and no
	// verdict. changed must not block.
	Watch(ctx context.Context, members func() []Watched, changed func(m Watched, what string))
}

// Watched is a member that runs.
type Watched struct {
	Service string
	Member  string
	Spec    json.RawMessage
}

// Watchers are the kinds that can be watched.
func (k Kinds) Watchers() map[string]Watcher {
	list := map[string]Watcher{}
	for name, agent := range k {
		if w, can := agent.(Watcher); can {
			list[name] = w
		}
	}
	return list
}

// watched is what runs, as far as this runner knows: started, or found well by a
// check, and not stopped since.
type watched struct {
	services map[string]Service
	byKind   map[string][]Watched // never changed in place
	mains    map[leading.Of]int   // processes that their members have told of
	news     chan struct{}        // something was added
}

// Watch tells of services that run as soon as one of their members may have stopped
// working, until ctx ends: by what its kind is told, and by the end of a process that it
// left running. It is a reason to check them.
func (r *Runner) Watch(ctx context.Context, changed func(service, member, what string)) error {
	processes, err := leading.New(r.leftOf)
	if err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { // task "watch processes"
		return processes.Run(ctx, func(of leading.Of, what string) { changed(of.Service, of.Member, what) })
	})
	began := map[string]bool{}
	for {
		processes.Look(r.members())
		for _, kind := range slices.Sorted(maps.Keys(r.cfg.Watchers)) {
			if began[kind] || len(r.running(kind)) == 0 {
				continue // a node without units needs no connection to its service manager
			}
			began[kind] = true
			tasks.Go(func() error { // task "watch KIND"
				r.cfg.Watchers[kind].Watch(ctx, func() []Watched { return r.running(kind) }, func(m Watched, what string) {
					changed(m.Service, m.Member, what)
				})
				return nil
			})
		}
		select {
		case <-ctx.Done():
			return tasks.Wait()
		case <-r.up.news:
		}
	}
}

// members are all that run.
func (r *Runner) members() (list []leading.Of) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, svc := range r.up.services {
		for _, m := range svc.Stack {
			list = append(list, leading.Of{Service: name, Member: m.ID})
		}
	}
	return list
}

// leads notes which process a member has told of; 0: none.
func (r *Runner) leads(of leading.Of, main int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up.mains[of] = main; main == 0 {
		delete(r.up.mains, of)
	}
}

// leftOf are the processes that a member left running, or has told of.
func (r *Runner) leftOf(of leading.Of) (pids []int) {
	r.mu.Lock()
	if main := r.up.mains[of]; main > 0 {
		pids = append(pids, main)
	}
	r.mu.Unlock()
	held, _ := r.heldBy(of.Service) // what cannot be listed the checks have to see
	for _, h := range held {
		if h.Part == groups.RunPart+"/"+of.Member {
			pids = append(pids, h.PIDs...)
		}
	}
	return pids
}

func (r *Runner) running(kind string) []Watched {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up.byKind[kind]
}

// runs notes that the first members of a service run, or with none that it does not.
func (r *Runner) runs(svc Service, members int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := Service{Name: svc.Name, Stack: svc.Stack[:members]}
	if old := r.up.services[svc.Name]; slices.EqualFunc(old.Stack, now.Stack, alike) {
		return
	}
	if r.up.services[svc.Name] = now; members == 0 {
		delete(r.up.services, svc.Name)
	}
	for _, m := range svc.Stack[members:] {
		delete(r.up.mains, leading.Of{Service: svc.Name, Member: m.ID})
	}
	r.up.byKind = map[string][]Watched{}
	for _, name := range slices.Sorted(maps.Keys(r.up.services)) {
		for _, m := range r.up.services[name].Stack {
			if _, can := r.cfg.Watchers[m.Kind]; can {
				r.up.byKind[m.Kind] = append(r.up.byKind[m.Kind], Watched{Service: name, Member: m.ID, Spec: m.Spec})
			}
		}
	}
	select {
	case r.up.news <- struct{}{}:
	default:
	}
}

// alike says that two members are the same to whoever watches them.
func alike(a, b Member) bool {
	return a.ID == b.ID && a.Kind == b.Kind && string(a.Spec) == string(b.Spec)
}
