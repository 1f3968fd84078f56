package resources_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// pen is a kind that is watched: it tells of every member whenever it is poked.
type pen struct{ poke, began chan struct{} }

func (p pen) Watch(ctx context.Context, members func() []resources.Watched, changed func(resources.Watched, string)) {
	p.began <- struct{}{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.poke:
			for _, m := range members() {
				changed(m, "vanished: "+string(m.Spec))
			}
			changed(resources.Watched{Service: "all"}, "told")
		}
	}
}

// What runs is watched from its start, or from the first check that finds it well, and
// what was stopped is not; a node without such members watches nothing.
func TestWatch(t *testing.T) {
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	emptyAfterwards(t, keeper)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := pen{poke: make(chan struct{}), began: make(chan struct{}, 1)}
	cfg := resources.RunnerConfig{Groups: keeper, AgentCommand: []string{self, "agent"}, KillWithin: 20 * time.Second, Watchers: map[string]resources.Watcher{"actor": p}}
	r := resources.NewRunner(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan string, 16), make(chan error, 1)
	watch := func(r *resources.Runner) {
		go func() {
			ended <- r.Watch(ctx, func(service, member, what string) { told <- service + " " + member + " " + what })
		}()
	}
	watch(r)
	hears := func() (list []string) {
		t.Helper()
		p.poke <- struct{}{}
		for got := range told {
			if got == "all  told" {
				return list
			}
			list = append(list, got[:strings.Index(got, " vanished")])
		}
		return nil
	}
	up := t.TempDir() + "/up"
	svc := resources.Service{Name: "orders", Stack: []resources.Member{
		member(t, "low", "actor", role{Up: up + "1"}), member(t, "high", "actor", role{Up: up + "2"}), member(t, "other", "adviser", advice{role: role{Up: up + "3"}}),
	}}
	if res := r.Start(ctx, svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
		t.Fatalf("%+v", res)
	}
	<-p.began
	if got := hears(); !slices.Equal(got, []string{"orders low", "orders high"}) {
		t.Errorf("after the start: %q", got)
	}
	r.Stop(ctx, svc, 1, resources.StopOptions{From: 1})
	if got := hears(); !slices.Equal(got, []string{"orders low"}) {
		t.Errorf("after the stop of a part: %q", got)
	}
	if res := r.Start(ctx, svc, 1, resources.StartOptions{From: 1}); res.Outcome != resources.OK {
		t.Fatalf("%+v", res)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	ctx, cancel = context.WithCancel(context.Background()) // a daemon that comes back
	defer cancel()
	r = resources.NewRunner(cfg)
	watch(r)
	if res := r.Check(ctx, svc, 1); res.Outcome != resources.OK {
		t.Fatalf("%+v", res)
	}
	<-p.began
	if got := hears(); len(got) != 2 {
		t.Errorf("after a check: %q", got)
	}
	r.Stop(ctx, svc, 1, resources.StopOptions{})
	if got := hears(); len(got) != 0 {
		t.Errorf("after the stop: %q", got)
	}
	cancel()
	<-ended
}

// watched says that this process holds a pidfd of a process: the kernel names it in
// fdinfo.
func watched(pid int) bool {
	all, _ := filepath.Glob("/proc/self/fdinfo/*")
	return slices.ContainsFunc(all, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", pid))
	})
}

// The end of a program that a member left running is told at once, of one that stays in
// the foreground and of one that makes a daemon of itself.
func TestTheEndOfAProgramIsTold(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, keeper resources.Groups) {
		r, dir := newRunner(t, keeper), t.TempDir()
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "mark", "actor", role{Up: filepath.Join(dir, "mark")}),
			member(t, "web", "exec", map[string]any{"run": "trap '' HUP; exec sleep 1000", "settle": "10ms"}),
			member(t, "batch", "exec", map[string]any{"start": "setsid sleep 1000 >/dev/null 2>&1 &"}),
		}}
		ctx, cancel := context.WithCancel(context.Background())
		told, ended := make(chan string, 16), make(chan error, 1)
		go func() {
			ended <- r.Watch(ctx, func(service, member, what string) { told <- service + " " + member + ": " + what })
		}()
		if res := r.Start(ctx, svc, 4, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Fatalf("%+v", res)
		}
		held, err := keeper.List(resources.Group{Service: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range held {
			for _, pid := range h.PIDs {
				await(t, "process "+fmt.Sprint(pid)+" is watched", func() bool { return watched(pid) })
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf("orders %s: its process %d (", strings.TrimPrefix(h.Part, groups.RunPart+"/"), pid)
				if got := <-told; !strings.HasPrefix(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
			}
		}
		if res := r.Check(ctx, svc, 4); res.Outcome != resources.NotRunning || res.Member != "web" {
			t.Errorf("the check: %+v", res)
		}
		r.Stop(ctx, svc, 4, resources.StopOptions{})
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
