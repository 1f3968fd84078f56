package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/machine"
)

// rest is an attendant's: while it has one it starts nothing.
type rest struct {
	mu   sync.Mutex
	rest bool
}

func (r *rest) set(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = on
}

func (r *rest) has() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rest
}

// attend does for each node what a service manager does: it starts Holdfast after every boot, and guard and daemon again
// when they were killed.
func (f *Full) attend(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	f.calm = cancel
	for _, n := range f.Nodes {
		r := &rest{}
		f.rests = append(f.rests, r)
		f.attended.Add(1)
		go func() { // ends with ctx
			defer f.attended.Done()
			a := attendant{Node: n, boot: n.LastBoot(), rest: r, log: t.Logf, seen: map[string]int{}}
			a.run(ctx)
		}()
	}
	t.Cleanup(func() {
		cancel()
		f.attended.Wait()
	})
}

// Rest keeps the attendant of a node from starting anything, or no longer.
func (f *Full) Rest(n *Node, on bool) { f.rests[n.Number-1].set(on) }

type attendant struct {
	*Node
	boot machine.Boot
	rest *rest
	log  func(format string, args ...any)
	seen map[string]int // endings of each program since the boot
}

func (a *attendant) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if a.rest.has() {
			continue
		}
		switch boot := a.LastBoot(); {
		case boot.ID == "":
		case boot.ID != a.boot.ID:
			if err := a.arise(ctx); err != nil {
				a.complain(ctx, fmt.Errorf("after its boot: %w", err))
				continue // once more, if it is not gone meanwhile
			}
			a.boot, a.seen = boot, map[string]int{}
		default:
			a.revive(ctx)
		}
	}
}

func (a *attendant) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		a.log("the attendant of %s: %v", a.Name, err)
	}
}

// arise starts Holdfast on a machine that has booted.
func (a *attendant) arise(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := a.mountOnce(ctx); err != nil {
		return err
	}
	return a.begin(ctx)
}

// revive starts again what was killed. The daemon ends by itself only after its node has left.
func (a *attendant) revive(ctx context.Context) {
	for name, start := range map[string]func(context.Context) error{"guard": a.startGuard, "daemon": a.StartDaemon} {
		codes := a.Endings(name)
		if len(codes) <= a.seen[name] {
			continue
		}
		last := codes[len(codes)-1]
		a.seen[name] = len(codes)
		if name == "daemon" && last == 0 {
			continue
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := start(short)
		cancel()
		if err != nil && a.LastBoot().ID == a.boot.ID {
			a.complain(ctx, err)
		}
	}
}
