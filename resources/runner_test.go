package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

func newRunner(t *testing.T, groups resources.Groups) *resources.Runner {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return resources.NewRunner(resources.RunnerConfig{
		Groups:       groups,
		AgentCommand: []string{self, "agent"},
		KillWithin:   20 * time.Second,
		Advised:      func(kind string) bool { return kind == "adviser" },
	})
}

func member(t *testing.T, id, kind string, spec any) resources.Member {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return resources.Member{
		ID: id, Kind: kind, Spec: raw,
		Start: 20 * time.Second, Stop: 20 * time.Second, Check: 20 * time.Second,
	}
}

func sayOf(steps []resources.Step) string {
	var all []string
	for _, s := range steps {
		all = append(all, fmt.Sprintf("%s %s %s", s.Verb, s.Member, s.Outcome))
	}
	return strings.Join(all, ", ")
}

// The life of a service with a program that stays, one that makes a daemon of
// itself, and a member without processes.
func TestLifeOfAService(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		ctx, dir := context.Background(), t.TempDir()
		r := newRunner(t, groups)
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "mark", "actor", role{Up: filepath.Join(dir, "mark")}),
			member(t, "web", "exec", map[string]any{"run": "trap '' HUP; exec sleep 1000", "settle": "10ms"}),
			member(t, "batch", "exec", map[string]any{
				"start": "setsid sleep 1000 >/dev/null 2>&1 & echo $! > pid",
				"stop":  []string{"/bin/sh", "-c", "kill $(cat pid)"},
				"check": "kill -0 $(cat pid) 2>/dev/null && ! grep -q '^State:.Z' /proc/$(cat pid)/status || exit 7",
				"dir":   dir,
			}),
		}}
		if state, steps := r.Probe(ctx, svc, 4); state != resources.StateStopped {
			t.Fatalf("before the start: %v: %s", state, sayOf(steps))
		}
		res := r.Start(ctx, svc, 4, resources.StartOptions{})
		if res.Outcome != resources.OK {
			t.Fatalf("start: %v %s\n%s", res.Outcome, res.Text, sayOf(res.Steps))
		}
		if want := "start mark ok, start web ok, start batch ok"; sayOf(res.Steps) != want {
			t.Errorf("steps %s, want %s", sayOf(res.Steps), want)
		}
		if res := r.Check(ctx, svc, 4); res.Outcome != resources.OK {
			t.Errorf("check: %v %s", res.Outcome, res.Text)
		}
		terms, err := r.Terms()
		if err != nil || len(terms) != 1 || terms[0].Group != (resources.Group{Service: "orders", Term: 4}) || len(terms[0].PIDs) != 2 {
			t.Errorf("terms: %v, %v; want orders/4 with two processes", terms, err)
		}

		// A daemon that comes back knows nothing but the groups.
		r = newRunner(t, groups)
		if orphans, err := r.EmptyOrphans(ctx); err != nil || len(orphans) != 0 {
			t.Errorf("orphans: %v, %v", orphans, err)
		}
		if state, steps := r.Probe(ctx, svc, 4); state != resources.StateRunning {
			t.Errorf("after a restart of the daemon: %v: %s", state, sayOf(steps))
		}
		if res := r.Start(ctx, svc, 4, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Errorf("second start in the same term: %v %s", res.Outcome, res.Text)
		}
		if res := r.Start(ctx, svc, 5, resources.StartOptions{}); res.Outcome != resources.Failed || !strings.Contains(res.Text, "term 4 is still held") {
			t.Errorf("start in another term: %v %s; want it refused", res.Outcome, res.Text)
		}
		res = r.Stop(ctx, svc, 4, resources.StopOptions{})
		if res.Outcome != resources.OK || !res.Stopped {
			t.Fatalf("stop: %v %s\n%s", res.Outcome, res.Text, sayOf(res.Steps))
		}
		if held, _ := groups.List(resources.Group{}); len(held) != 0 {
			t.Errorf("groups left: %v", held)
		}
		for _, pid := range terms[0].PIDs {
			await(t, "the service's process is gone", func() bool { return gone(pid) })
		}
	})
}

func TestEmergencyStop(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		ctx := context.Background()
		r := newRunner(t, groups)
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "deaf", "exec", map[string]any{"run": "trap '' TERM; while :; do sleep 0.05; done", "settle": "10ms", "grace": "1h"}),
			member(t, "odd", "exec", map[string]any{"start": "sleep 1000 & sleep 1000 &", "stop": "exit 9", "check": "exit 7"}),
		}}
		if res := r.Start(ctx, svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Fatalf("start: %v %s", res.Outcome, res.Text)
		}
		res := r.Stop(ctx, svc, 1, resources.StopOptions{Kill: true})
		if res.Outcome != resources.OK || !res.Stopped {
			t.Fatalf("emergency stop: %v %s\n%s", res.Outcome, res.Text, sayOf(res.Steps))
		}
	})
}

func TestStartThatFailsIsUndone(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		dir := t.TempDir()
		r := newRunner(t, groups)
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "one", "actor", role{Up: filepath.Join(dir, "one")}),
			member(t, "two", "exec", map[string]any{"run": "echo no licence >&2; exit 1"}),
			member(t, "three", "actor", role{Up: filepath.Join(dir, "three")}),
		}}
		res := r.Start(context.Background(), svc, 1, resources.StartOptions{})
		if res.Outcome != resources.Failed || !res.Stopped || res.Member != "two" {
			t.Errorf("%v, stopped %v, member %s: %s", res.Outcome, res.Stopped, res.Member, res.Text)
		}
		if _, err := os.Stat(filepath.Join(dir, "one")); err == nil {
			t.Error("the first member is still up")
		}
		if _, err := os.Stat(filepath.Join(dir, "three")); err == nil {
			t.Error("the third member was started")
		}
	})
}

func TestAnOperationWithoutAnswerIsUnknownAndKilled(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		dir, ctx := t.TempDir(), context.Background()
		r := newRunner(t, groups)
		hung := member(t, "hung", "actor", role{Up: filepath.Join(dir, "hung"), OnStart: "hang"})
		hung.Start = 300 * time.Millisecond
		res := r.Start(ctx, resources.Service{Name: "a", Stack: []resources.Member{hung}}, 1, resources.StartOptions{})
		if res.Outcome != resources.Unknown || !res.Stopped || !strings.Contains(res.Text, "no answer within 300ms") {
			t.Errorf("hung start: %v, stopped %v: %s", res.Outcome, res.Stopped, res.Text)
		}
		deadly := member(t, "deadly", "actor", role{Up: filepath.Join(dir, "deadly"), OnCheck: "die"})
		res = r.Check(ctx, resources.Service{Name: "b", Stack: []resources.Member{deadly}}, 1)
		if res.Outcome != resources.Unknown || !strings.Contains(res.Text, "the actor dies on stage") {
			t.Errorf("check whose agent died: %v: %s; want its last words", res.Outcome, res.Text)
		}
		slow := member(t, "slow", "actor", role{Up: filepath.Join(dir, "slow"), OnStop: "die"})
		svc := resources.Service{Name: "c", Stack: []resources.Member{slow}}
		if res := r.Start(ctx, svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Fatal(res.Text)
		}
		res = r.Stop(ctx, svc, 1, resources.StopOptions{})
		if want := "stop slow unknown, sweep slow ok, probe slow ok, kill slow ok, sweep slow ok, probe slow not-running, sweep  ok"; sayOf(res.Steps) != want || !res.Stopped {
			t.Errorf("stop whose agent died, stopped %v: %s\nwant %s", res.Stopped, sayOf(res.Steps), want)
		}
	})
}

func TestAStopThatCannotBeVerifiedFails(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	groups, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, groups)
	for name, r0 := range map[string]role{
		"stays-up": {Stubborn: "yes"},
		"no-word":  {OnProbe: "unknown"},
	} {
		r0.Up = filepath.Join(dir, name)
		svc := resources.Service{Name: name, Stack: []resources.Member{member(t, "m", "actor", r0)}}
		r.Start(ctx, svc, 1, resources.StartOptions{})
		res := r.Stop(ctx, svc, 1, resources.StopOptions{})
		if res.Outcome != resources.Failed || res.Stopped || res.Member != "m" || !strings.Contains(res.Text, "probe") {
			t.Errorf("%s: %v, stopped %v: %s", name, res.Outcome, res.Stopped, res.Text)
		}
	}
}

func TestAStopInterruptsAStart(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		ctx, up := context.Background(), filepath.Join(t.TempDir(), "up")
		r := newRunner(t, groups)
		svc := resources.Service{Name: "orders", Stack: []resources.Member{member(t, "hung", "actor", role{Up: up, OnStart: "hang"})}}
		began := make(chan resources.Result, 1)
		go func() { began <- r.Start(ctx, svc, 1, resources.StartOptions{}) }()
		await(t, "the start is under way", func() bool { held, _ := groups.List(resources.Group{}); return len(held) == 1 })
		res := r.Stop(ctx, svc, 1, resources.StopOptions{Kill: true})
		if res.Outcome != resources.OK || !res.Stopped {
			t.Errorf("stop: %v %s", res.Outcome, res.Text)
		}
		started := <-began
		if started.Outcome != resources.Unknown || started.Stopped || !strings.Contains(started.Text, "a stop is wanted") {
			t.Errorf("start: %v, stopped %v, %s; want unknown", started.Outcome, started.Stopped, started.Text)
		}
	})
}

// What a daemon leaves half done when it dies is found and killed by the next
// one; until then nothing of that service is started.
func TestOrphansOfAFormerLife(t *testing.T) {
	groupsUnderTest(t, func(t *testing.T, groups resources.Groups) {
		ctx := context.Background()
		orphan := resources.Group{Service: "orders", Term: 3, Part: "op-1-start-fs"}
		cmd := osexec.Command("/bin/sh", "-c", "sleep 1000 & wait")
		if err := groups.Launch(orphan, cmd); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()

		r := newRunner(t, groups)
		svc := resources.Service{Name: "orders", Stack: []resources.Member{
			member(t, "fs", "actor", role{Up: filepath.Join(t.TempDir(), "up")}),
		}}
		if res := r.Start(ctx, svc, 3, resources.StartOptions{}); res.Outcome != resources.Failed || !strings.Contains(res.Text, "left behind") {
			t.Errorf("start beside an orphan: %v %s; want it refused", res.Outcome, res.Text)
		}
		orphans, err := r.EmptyOrphans(ctx)
		if err != nil || len(orphans) != 1 || orphans[0].Group != orphan || orphans[0].Err != nil || len(orphans[0].PIDs) == 0 {
			t.Fatalf("orphans: %+v, %v; want %v, gone", orphans, err, orphan)
		}
		<-ended
		if res := r.Start(ctx, svc, 3, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Errorf("start afterwards: %v %s", res.Outcome, res.Text)
		}
		if res := r.Stop(ctx, svc, 3, resources.StopOptions{}); !res.Stopped {
			t.Errorf("stop: %s", res.Text)
		}
	})
}

func TestStorageOnlyStartsTheLeadingStorage(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	groups, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, groups)
	disk := member(t, "disk", "actor", role{Up: filepath.Join(dir, "disk")})
	disk.Storage = true
	svc := resources.Service{Name: "orders", Stack: []resources.Member{disk, member(t, "web", "actor", role{Up: filepath.Join(dir, "web")})}}
	res := r.Start(ctx, svc, 1, resources.StartOptions{StorageOnly: true})
	if want := "start disk ok"; sayOf(res.Steps) != want || res.Outcome != resources.OK {
		t.Errorf("storage only: %s (%v), want %s", sayOf(res.Steps), res.Outcome, want)
	}
	if state, _ := r.Probe(ctx, svc, 1); state != resources.StatePartly {
		t.Errorf("half started: %v, want partly", state)
	}
	res = r.Start(ctx, svc, 1, resources.StartOptions{})
	if want := "start disk ok, start web ok"; sayOf(res.Steps) != want {
		t.Errorf("the rest: %s, want %s", sayOf(res.Steps), want)
	}
}

func TestWhatAProgramPrintsIsTold(t *testing.T) {
	groups, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, groups)
	svc := resources.Service{Name: "orders", Stack: []resources.Member{
		member(t, "loud", "exec", map[string]any{"start": "echo cannot open licence file; yes | head -c 100000; exit 4", "stop": "true"}),
	}}
	res := r.Start(context.Background(), svc, 1, resources.StartOptions{})
	if res.Outcome != resources.Failed || !strings.Contains(res.Text, "exits with 4") || len(res.Text) > 13000 {
		t.Errorf("%v, %d characters: %.200s", res.Outcome, len(res.Text), res.Text)
	}
	quiet := member(t, "sad", "exec", map[string]any{"start": "echo cannot open licence file; exit 4", "stop": "true"})
	res = r.Start(context.Background(), resources.Service{Name: "quiet", Stack: []resources.Member{quiet}}, 1, resources.StartOptions{})
	if !strings.Contains(res.Text, "cannot open licence file") {
		t.Errorf("text %q; want what the command printed", res.Text)
	}
}
