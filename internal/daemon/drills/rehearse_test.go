package drills_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/daemon/drills"
	"github.com/holdfast-ha/holdfast/internal/daemon/operations"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/program"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// machine notes what was broken of it.
type machine struct {
	mu      sync.Mutex
	cut     time.Duration
	until   atomic.Pointer[time.Time]
	stirred []string
	called  []program.Command
}

// Send implements what drills ask of a guard.
func (m *machine) Send(o guardwire.Order) (uint64, error) {
	m.cut = o.(*guardwire.Cut).For
	return 1, nil
}

func (m *machine) stir(_ context.Context, service, _ string) {
	m.stirred = append(m.stirred, service)
}

func (m *machine) call(_ context.Context, c program.Command) (program.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called = append(m.called, c)
	return program.Result{}, nil
}

func (m *machine) calls() []program.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]program.Command{}, m.called...)
}

// stage is a node alpha with a disk in memory, on which beta has a mailbox.
type stage struct {
	*drills.Drills
	m    *machine
	disk *storagetest.Memory
	told []api.Event
	mu   sync.Mutex
	run  string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{m: &machine{}, disk: storagetest.NewMemory(16<<20, 512), run: t.TempDir()}
	h := s.disk.Open("alpha")
	if err := sbd.Create(h, sbd.DefaultHeader(512, ident.UUID{1}), time.Second); err != nil {
		t.Fatal(err)
	}
	area, err := sbd.Open(h, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := area.Claim("beta", time.Second); err != nil {
		t.Fatal(err)
	}
	s.Drills, err = drills.New(drills.Settings{
		Ways: &spy{}, Machine: drills.Machine{Register: &s.m.until, Guard: func() any { return s.m }, Stir: s.m.stir}, Tell: s.tell, Now: func() ident.Instant { return 1 }, Wall: time.Now, Self: "alpha", Run: s.run, State: t.TempDir(),
		Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7320"), netip.MustParseAddrPort("[fd00::1]:7320")},
		Disks: func() []string { return []string{"mem"} }, Open: func(string, int) (storage.Disk, error) { return s.disk.Open("alpha"), nil },
		Call: s.m.call, Program: os.Executable,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) tell(e api.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, e)
}

// said waits until an event says it.
func (s *stage) said(t *testing.T, words string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		s.mu.Lock()
		for _, e := range s.told {
			if strings.Contains(e.Text, words) {
				s.mu.Unlock()
				return
			}
		}
		last := append([]api.Event{}, s.told...)
		s.mu.Unlock()
		if time.Now().After(end) {
			t.Fatalf("nothing says %q: %+v", words, last)
		}
	}
}

// mail is what stands in beta's mailbox.
func (s *stage) mail(t *testing.T) sbd.Mail {
	t.Helper()
	area, err := sbd.Open(s.disk.Open("beta"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	list, err := area.List(time.Second)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0].Mail
}

// busyWorld is the world in which alpha runs a service that bears one failure.
func busyWorld() *cluster.View {
	v := world()
	v.State.ConfigRev, v.State.Config = 3, []byte("cluster:\n  name: x\n  failover_within: 10s\ndrills: every 30d\n")
	v.State.Conf.Services = []cluster.Service{{Name: "orders", Patience: cluster.Patience{Fails: 2, Of: 3}}}
	v.State.Services = []cluster.Grant{{Service: "orders", Owner: 1}}
	for i := range v.State.Nodes {
		v.State.Nodes[i].Links = []string{"10.0.0." + strconv.Itoa(i+1) + ":7320"}
	}
	return v
}

// TestOrders: what is to happen on another node stands in its mailbox, and is read out
// of what that node's guard says of it, unless it was there before the guard.
func TestOrders(t *testing.T) {
	s := newStage(t)
	if _, err := s.Begin(t.Context(), busyWorld(), api.DrillStart{Kind: api.DrillKillNode, Node: "beta"}); err != nil {
		t.Fatal(err)
	}
	if m := s.mail(t); m.Command != sbd.Reset || m.From != "alpha" {
		t.Errorf("%+v", m)
	}
	q := api.DrillStart{Kind: api.DrillCutDisk, Node: "beta", For: 12}
	if _, err := s.Begin(t.Context(), busyWorld(), q); err != nil {
		t.Fatal(err)
	}
	m := s.mail(t)
	if m.Command != sbd.Test || m.From != "drill cut-disk 12s" {
		t.Errorf("%+v", m)
	}
	notice := `mail: test from "` + m.From + `"`
	for text, is := range map[string]bool{
		notice: true, notice + ", found at the start and not obeyed": false, `mail: reset from "drill cut-disk 12s"`: false, `mail: test from "alpha"`: false,
		`mail: test from "drill fail-service 12s orders"`: true, `mail: test from "drill cut-disk soon"`: false,
	} {
		if s.Letter(text) != is {
			t.Errorf("%s: an order: %v", text, !is)
		}
	}
}

// TestNotBegun: what makes no sense, or would not be seen, is refused.
func TestNotBegun(t *testing.T) {
	for words, q := range map[string]api.DrillStart{
		"no node":         {Kind: api.DrillCutDisk, Node: "gamma", For: 9},
		"is this node":    {Kind: api.DrillFreezeNode, Node: "alpha", For: 9},
		"on another one":  {Kind: api.DrillKillNode, Node: "alpha"},
		"lasts up to":     {Kind: api.DrillCutDisk, Node: "alpha", For: 3600},
		"breaks nothing":  {Kind: api.DrillMove, Node: "beta", For: 9},
		"is no drill":     {Kind: "set-fire", Node: "alpha", For: 9},
		"does not run on": {Kind: api.DrillFailService, Node: "alpha", Service: "web", For: 9},
		"too long":        {Kind: api.DrillFailService, Node: "beta", Service: strings.Repeat("s", 63), For: 9},
	} {
		s := newStage(t)
		if _, err := s.Begin(t.Context(), busyWorld(), q); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v; want %q", q, err, words)
		}
		if s.All(busyWorld()).Running != nil {
			t.Errorf("%+v: it is under way", q)
		}
	}
	v := busyWorld()
	v.State.Nodes[1].Phase = cluster.Out
	if _, err := newStage(t).Begin(t.Context(), v, api.DrillStart{Kind: api.DrillKillNode, Node: "beta"}); err == nil || !strings.Contains(err.Error(), "is no member") {
		t.Errorf("%v", err)
	}
}

// TestOneAtATime: the second drill is refused while the first is under way, which ends
// by itself; rules are removed then, and by the next life where this one could not.
func TestOneAtATime(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	follow := func() {
		over <- s.Follow(ctx, func(context.Context) (cluster.View, error) { return *busyWorld(), nil }, nil)
	}
	if _, err := s.Begin(ctx, busyWorld(), api.DrillStart{Kind: api.DrillCutNetwork, Node: "alpha", For: 0.2}); err != nil {
		t.Fatal(err)
	}
	calls := s.m.calls()
	if len(calls) != 1 || !strings.Contains(calls[0].Stdin, "7320 timeout 200ms") || !strings.Contains(calls[0].Stdin, "ip6 daddr { fd00::1 }") {
		t.Fatalf("%+v", calls)
	}
	if _, err := s.Begin(ctx, busyWorld(), api.DrillStart{Kind: api.DrillCutDisk, Node: "alpha", For: 5}); err == nil || s.m.cut != 0 {
		t.Errorf("two drills at once: %v", err)
	}
	go follow()
	s.said(t, "drill cut-network: is over")
	if c := s.m.calls(); !strings.Contains(strings.Join(c[len(c)-1].Argv, " "), "delete table inet holdfast_drill") {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(filepath.Join(s.run, "drill-network")); err == nil {
		t.Error("the mark is still there")
	}
	if _, err := s.Begin(ctx, busyWorld(), api.DrillStart{Kind: api.DrillCutDisk, Node: "alpha", For: 5}); err != nil || s.m.cut != 5*time.Second || s.m.until.Load() == nil {
		t.Errorf("after it: %v, %v", err, s.m.cut)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// healthy is a runner whose checks go well.
type healthy struct{ operations.Runner }

func (healthy) Check(context.Context, resources.Service, uint32) resources.Result {
	return resources.Result{Outcome: resources.OK}
}

// TestChecksFail: as many checks fail as it takes, of that service alone.
func TestChecksFail(t *testing.T) {
	s := newStage(t)
	r := s.Runner(healthy{})
	if _, err := s.Begin(t.Context(), busyWorld(), api.DrillStart{Kind: api.DrillFailService, Node: "alpha", Service: "orders", For: 5}); err != nil || len(s.m.stirred) != 1 {
		t.Fatalf("%v, %q", err, s.m.stirred)
	}
	if res := r.Check(t.Context(), resources.Service{Name: "web"}, 1); res.Outcome != resources.OK {
		t.Errorf("another service: %+v", res)
	}
	for i, want := range []resources.Outcome{resources.Failed, resources.Failed, resources.OK} {
		if res := r.Check(t.Context(), resources.Service{Name: "orders"}, 1); res.Outcome != want {
			t.Errorf("check %d: %+v", i+1, res)
		}
	}
	if run := s.All(busyWorld()).Running; run != nil && run.Ends.After(time.Now()) {
		t.Errorf("nothing is to come of it, and it goes on: %+v", run)
	}
}

// TestBook: what came of drills outlives the daemon, is told by one node to another,
// and says which are overdue.
func TestBook(t *testing.T) {
	s := newStage(t)
	old := api.DrillRecord{Kind: api.DrillKillNode, Node: "beta", Time: time.Now().Add(-40 * 24 * time.Hour), OK: true}
	for _, r := range []api.DrillRecord{old, {Kind: api.DrillFreezeNode, Node: "beta", Time: time.Now(), OK: true}, {Kind: api.DrillMove, Service: "orders", Time: time.Now(), Text: "it broke"}} {
		if err := s.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Record(api.DrillRecord{Kind: "set-fire"}); err == nil {
		t.Error("a drill that there is not was kept")
	}
	known := s.All(busyWorld())
	if want := "kill-node cut-network cut-disk fail-service fence move"; strings.Join(known.Overdue, " ") != want || known.Every.Duration() != 30*24*time.Hour {
		t.Errorf("overdue are %q of %v, want %s", known.Overdue, known.Every.Duration(), want)
	}
	again, err := drills.New(s.Settings)
	if err != nil || again.All(busyWorld()).Latest(api.DrillFreezeNode) == nil {
		t.Errorf("after a restart: %+v, %v", again.All(busyWorld()), err)
	}
	heir := newStage(t)
	body, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	heir.Gather(t.Context(), busyWorld(), func(_ context.Context, at []netip.AddrPort, path string) (*http.Response, error) {
		if len(at) != 1 || at[0].String() != "10.0.0.2:7320" || path != "/v1/drills" {
			t.Errorf("%v %s", at, path)
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
	})
	if last := heir.All(busyWorld()).Latest(api.DrillMove); last == nil || last.OK || last.Text != "it broke" {
		t.Errorf("%+v", last)
	}
}

// TestFreeze: the helper stops a process, and wakes it again.
func TestFreeze(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	state := func() string {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		return after[:1]
	}
	until := func(what string, is bool) {
		for end := time.Now().Add(20 * time.Second); (state() == "T") != is; <-time.After(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it is not %s: %s", what, state())
			}
		}
	}
	var said strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- drills.FreezeMain([]string{"500ms", strconv.Itoa(cmd.Process.Pid)}, &said) }()
	until("stopped", true)
	until("awake", false)
	if code := <-ended; code != 0 {
		t.Errorf("%d: %s", code, said.String())
	}
	for _, args := range [][]string{{}, {"1h", "1"}, {"soon", "1"}, {"1s", "x"}} {
		if code := drills.FreezeMain(args, io.Discard); code == 0 {
			t.Errorf("%q is no error", args)
		}
	}
}
