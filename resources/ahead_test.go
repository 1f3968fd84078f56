package resources_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// under lists the operations of a service that have a process, without their numbers.
func under(t *testing.T, of resources.Groups, service string) string {
	t.Helper()
	held, err := of.List(resources.Group{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range held {
		if _, name, is := strings.Cut(h.Part, "-"); is && strings.HasPrefix(h.Part, groups.OpPrefix) && len(h.PIDs) > 0 {
			_, name, _ = strings.Cut(name, "-")
			all = append(all, name)
		}
	}
	return strings.Join(all, " ")
}

// TestNextAgentWaits: while one agent works, that of the next operation waits for its
// request in a group of its own; it goes with the operation when that is interrupted.
func TestNextAgentWaits(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		r, up := newRunner(t, groups), filepath.Join(t.TempDir(), "up")
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "one", "actor", role{Up: up, OnStop: "hang"}),
		}}
		if res := r.Start(t.Context(), svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Fatalf("start: %v %s", res.Outcome, res.Text)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		ended := make(chan resources.Result, 1)
		go func() { ended <- r.Stop(ctx, svc, 1, resources.StopOptions{}) }()
		await(t, "the stop works and the probe waits", func() bool {
			now := under(t, groups, "orders")
			return now == "stop-one probe-one" || now == "probe-one stop-one"
		})
		interrupt()
		if res := <-ended; res.Outcome != resources.Unknown || len(res.Steps) != 1 {
			t.Errorf("interrupted: %v %s", res.Outcome, sayOf(res.Steps))
		}
		if now := under(t, groups, "orders"); now != "" {
			t.Errorf("left behind: %s", now)
		}
	})
}

// TestWaitingAgentDoesNothing: an agent that was launched for a start which the
// failure of the one before it has made needless ends without having done anything.
func TestWaitingAgentDoesNothing(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		r, dir := newRunner(t, groups), t.TempDir()
		second := filepath.Join(dir, "second")
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "one", "actor", role{Up: filepath.Join(dir, "first"), OnStart: "failed"}),
			member(t, "two", "actor", role{Up: second}),
		}}
		res := r.Start(t.Context(), svc, 1, resources.StartOptions{})
		if want := "start one failed, stop one ok, sweep one ok, probe one not-running, sweep  ok"; sayOf(res.Steps) != want || !res.Stopped {
			t.Errorf("steps %s, want %s; stopped %v", sayOf(res.Steps), want, res.Stopped)
		}
		if _, err := os.Stat(second); err == nil {
			t.Error("the second member was started")
		}
		if now := under(t, groups, "orders"); now != "" {
			t.Errorf("left behind: %s", now)
		}
	})
}
