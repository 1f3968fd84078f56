package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// fakeDaemon knows what a test tells it and remembers what it was asked.
type fakeDaemon struct {
	mu    sync.Mutex
	facts Facts
	reply cluster.Reply
	mute  bool // gives no reply
	asked []cluster.Request
}

func (d *fakeDaemon) Facts(context.Context) (Facts, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.facts, nil
}

func (d *fakeDaemon) Ask(ctx context.Context, r cluster.Request) (cluster.Reply, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r)
	if d.mute {
		return cluster.Reply{}, errors.New("silence")
	}
	if _, stop := r.(cluster.StopService); stop {
		d.facts.View.Services[0].State, d.facts.View.Services[0].Owner = cluster.Down, 0
	}
	return d.reply, nil
}

func (d *fakeDaemon) Parse(file string, text []byte, _ *cluster.State) (*cluster.Config, error) {
	if strings.Contains(string(text), "wrong") {
		return nil, fmt.Errorf("%s:1:1: it is wrong", file)
	}
	return &cluster.Config{Name: "hospital", FailoverWithin: 10 * time.Second, Services: []cluster.Service{
		{Name: "orders", Prefer: []string{"beta"}, Never: []string{"alpha"}, Stack: []cluster.Member{{ID: "exec", Kind: "exec", Spec: []byte(`{"start":"x"}`)}}},
		{Name: "reports", Prefer: []string{"alpha"}},
	}}, nil
}

func (d *fakeDaemon) Token(context.Context) (api.Token, time.Duration, error) {
	return api.Token{}, time.Hour, nil
}

func (d *fakeDaemon) last() cluster.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		return nil
	}
	return d.asked[len(d.asked)-1]
}

// fakeStore has two events and one kept configuration.
type fakeStore struct{ more chan api.Event }

func (s *fakeStore) Events(ctx context.Context, q api.EventQuery, each func(api.Event) error) error {
	for _, e := range []api.Event{
		{ID: 1, Kind: "fencing", Node: "beta", Text: "silent", Time: time.Unix(100, 0)},
		{ID: 2, Kind: "started", Service: "orders", Text: "is up", Time: time.Unix(200, 0)},
	} {
		if q.Fits(&e) {
			if err := each(e); err != nil {
				return err
			}
		}
	}
	for q.Follow {
		select {
		case e := <-s.more:
			if err := each(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (s *fakeStore) Versions() ([]api.ConfigVersion, error) {
	return []api.ConfigVersion{{Config: 6}}, nil
}

func (s *fakeStore) Version(rev uint64) ([]byte, error) {
	if rev != 6 {
		return nil, os.ErrNotExist
	}
	return []byte("older"), nil
}

func (s *fakeStore) Lasted() map[string]api.Lasted { return nil }

func sampleFacts() Facts {
	conf := &cluster.Config{Name: "hospital", FailoverWithin: 10 * time.Second, Services: []cluster.Service{
		{Name: "orders", Prefer: []string{"alpha"}, Stack: []cluster.Member{{ID: "exec", Kind: "exec", Spec: []byte(`{}`)}}},
	}}
	state := &cluster.State{Ver: 12, ConfigRev: 7, Config: []byte("newest"), Conf: conf, View: 3, Nodes: []cluster.NodeState{
		{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 4}}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: ident.Incarnation{N: 4}},
	}, Services: []cluster.Grant{{Service: "orders", Owner: 1, Term: 5}}}
	view := cluster.View{
		Now: 5_000_000_000, Self: 1, Stage: "member", State: state, Coordinator: 1, Inc: ident.Incarnation{N: 4},
		Lease: cluster.LeaseView{Held: true, Until: 7_500_000_000},
		Nodes: []cluster.NodeView{
			{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, DiskAge: 100 * time.Millisecond, NodeFate: cluster.NodeFate{Present: true}},
			{ID: 2, Name: "beta", Phase: cluster.MemberPhase, DiskAge: 200 * time.Millisecond, NetAge: -1, NodeFate: cluster.NodeFate{Present: true}},
		},
		Services: []cluster.ServiceView{{Name: "orders", Owner: 1, Term: 5, State: cluster.Up, Why: "preferred", Nodes: []cluster.Candidate{
			{Node: 2, Name: "beta", Able: true}, {Node: 1, Name: "alpha", Able: true},
		}}},
		Disks: []cluster.DiskView{{Index: 0, Age: time.Second}},
	}
	return Facts{View: view, Name: "alpha", Guard: guardConnected, DiskPaths: []string{"/dev/sdq"}}
}

// serve runs a server and returns its client. peer, if not nil, is who connects.
func serve(t *testing.T, roles Roles) (*fakeDaemon, *fakeStore, *api.Client) {
	t.Helper()
	d, s := &fakeDaemon{facts: sampleFacts(), reply: cluster.Reply{Text: "done", Ver: 13}}, &fakeStore{more: make(chan api.Event)}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(d, s, roles, d.upgrade, nil).Serve(ctx, l) }()
	c, err := api.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, s, c
}

func TestStatusRoundTrip(t *testing.T) {
	_, _, c := serve(t, Roles{})
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != api.Version || s.Cluster.Name != "hospital" || s.Cluster.Config != 7 || s.Self.Name != "alpha" || *s.Self.Lease != 2.5 {
		t.Errorf("status %+v", s)
	}
	if n := s.Nodes[1]; n.NetAge != nil || n.DiskAge.Duration() != 200*time.Millisecond {
		t.Errorf("node %+v: a silence that is not known must be left out", n)
	}
	if n := s.Nodes[0]; len(n.Services) != 1 || n.Services[0] != "orders" {
		t.Errorf("node %+v", n)
	}
	if s.Disks[0].Path != "/dev/sdq" || s.Services[0].State != "running" || s.Services[0].Node != "alpha" {
		t.Errorf("status %+v", s)
	}
}

func TestHealth(t *testing.T) {
	timed := func(f *Facts) { f.View.Timing.B = 10 * time.Second }
	for name, c := range map[string]struct {
		change func(*Facts)
		want   api.Health
	}{
		"all well":               {timed, api.Healthy},
		"no timeouts":            {func(*Facts) {}, api.Warning},
		"emulated alone":         {func(f *Facts) { timed(f); f.Emulated = true }, api.Healthy},
		"a silent link":          {func(f *Facts) { timed(f); f.Links = []api.Link{{Peer: "beta"}} }, api.Warning},
		"a service starting":     {func(f *Facts) { timed(f); f.View.Services[0].State = cluster.Starting }, api.Warning},
		"a service down":         {func(f *Facts) { timed(f); f.View.Services[0].State = cluster.Down }, api.Critical},
		"stopped by request":     {func(f *Facts) { timed(f); f.View.Services[0].State, f.View.Services[0].Stopped = cluster.Down, true }, api.Healthy},
		"a broken service":       {func(f *Facts) { timed(f); f.View.Services[0].State = cluster.Broken }, api.Critical},
		"a node being fenced":    {func(f *Facts) { timed(f); f.View.Nodes[1].Fencing = true }, api.Warning},
		"no quorum of disks":     {func(f *Facts) { timed(f); f.View.Disks[0].Err = "gone" }, api.Critical},
		"the guard is gone":      {func(f *Facts) { timed(f); f.Guard = "gone" }, api.Critical},
		"this node is no member": {func(f *Facts) { timed(f); f.View.Stage = "joining" }, api.Critical},
	} {
		f := sampleFacts()
		c.change(&f)
		if s := StatusOf(&f, time.Now()); s.Health != c.want {
			t.Errorf("%s: health %s, want %s; warnings %q", name, s.Health, c.want, s.Warnings)
		}
	}
}

// TestSilentOwner: what a node said last of its service is not what is, once it is
// silent; what to do stands in the answer.
func TestSilentOwner(t *testing.T) {
	f := sampleFacts()
	f.View.Timing.B, f.View.Timing.Tsus = 10*time.Second, 3*time.Second
	f.View.Services[0].Owner = 2
	if s := StatusOf(&f, time.Now()); s.Services[0].State != "running" || s.Health != api.Healthy || len(s.Next) != 0 {
		t.Errorf("heard, and yet %+v, %s, %+v", s.Services[0], s.Health, s.Next)
	}
	f.View.Nodes[1].DiskAge, f.View.Nodes[1].Fencing, f.View.Nodes[1].Left = 4*time.Second, true, 5*time.Second
	s := StatusOf(&f, time.Now())
	if s.Services[0].State != unknown || s.Health != api.Critical || len(s.Next) != 1 || s.Next[0].Left.Duration() != 5*time.Second || !strings.Contains(s.Next[0].What, "orders waits for a proof") {
		t.Errorf("silent, and yet %+v, %s, %+v", s.Services[0], s.Health, s.Next)
	}
}

func TestVerbsBecomeRequests(t *testing.T) {
	d, _, c := serve(t, Roles{})
	ctx := t.Context()
	service := func(verb, to string) func() (*api.Result, error) {
		return func() (*api.Result, error) { return c.Service(ctx, "orders", verb, api.ServiceRequest{To: to}) }
	}
	node := func(verb string, r api.NodeRequest) func() (*api.Result, error) {
		return func() (*api.Result, error) { return c.Node(ctx, "beta", verb, r) }
	}
	whole := func(verb string, length api.Seconds) func() (*api.Result, error) {
		return func() (*api.Result, error) { return c.Cluster(ctx, verb, api.ClusterRequest{For: length}) }
	}
	who := "root"
	if uid := os.Getuid(); uid != 0 {
		who = fmt.Sprintf("uid %d", uid)
	}
	for _, one := range []struct {
		do   func() (*api.Result, error)
		want cluster.Request
	}{
		{service(api.ServiceMove, "beta"), cluster.MoveService{Service: "orders", To: "beta"}},
		{service(api.ServiceFailback, ""), cluster.MoveService{Service: "orders", To: "beta"}},
		{service(api.ServiceFreeze, ""), cluster.FreezeService{Service: "orders", On: true}},
		{service(api.ServiceUnfreeze, ""), cluster.FreezeService{Service: "orders"}},
		{service(api.ServiceClear, ""), cluster.ClearService{Service: "orders"}},
		{service(api.ServiceStart, ""), cluster.StartService{Service: "orders"}},
		{node(api.NodeStandby, api.NodeRequest{}), cluster.StandbyNode{Node: "beta", On: true}},
		{node(api.NodeOnline, api.NodeRequest{}), cluster.StandbyNode{Node: "beta"}},
		{node(api.NodeFence, api.NodeRequest{Why: "drill"}), cluster.FenceNode{Node: "beta", Why: "drill"}},
		{node(api.NodeConfirmOff, api.NodeRequest{Operator: "eva", How: "PDU"}), cluster.ConfirmOff{Node: "beta", Operator: "eva", How: "PDU"}},
		{node(api.NodeRemove, api.NodeRequest{}), cluster.RemoveNode{Node: "beta"}},
		{node(api.NodeMaintenance, api.NodeRequest{For: 7200}), cluster.Maintain{Node: "beta", For: 2 * time.Hour, By: who}},
		{service(api.ServiceMaintenance, ""), cluster.Maintain{Service: "orders", By: who}},
		{whole(api.ClusterMaintenance, 60), cluster.Maintain{For: time.Minute, By: who}},
		{whole(api.ClusterStop, 0), cluster.StopCluster{By: who}},
		{whole(api.ClusterStart, 0), cluster.StartCluster{}},
		{func() (*api.Result, error) { return c.Leave(ctx) }, cluster.LeaveCluster{}},
		{service(api.ServiceRestart, ""), cluster.StartService{Service: "orders"}}, // after the stop was verified
	} {
		r, err := one.do()
		if err != nil || r.State != 13 || d.last() != one.want {
			t.Errorf("want %#v: asked %#v, result %+v, %v", one.want, d.last(), r, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	d, _, c := serve(t, Roles{})
	ctx := t.Context()
	code := func(err error) string {
		var e *api.Error
		if !errors.As(err, &e) {
			return fmt.Sprint(err)
		}
		return e.Code
	}
	_, err := c.Service(ctx, "order", api.ServiceStop, api.ServiceRequest{})
	if code(err) != api.CodeNotFound || !strings.Contains(err.Error(), "orders") {
		t.Errorf("an unknown service: %v", err)
	}
	if _, err = c.Service(ctx, "orders", "explode", api.ServiceRequest{}); code(err) != api.CodeNotFound {
		t.Errorf("an unknown verb: %v", err)
	}
	if _, err = c.Node(ctx, "beta", api.NodeConfirmOff, api.NodeRequest{Operator: "eva"}); code(err) != api.CodeInvalid {
		t.Errorf("a word without how: %v", err)
	}
	if d.last() != nil {
		t.Errorf("the core was asked %#v", d.last())
	}
	d.reply = cluster.Reply{Err: "it is frozen"}
	if _, err = c.Service(ctx, "orders", api.ServiceMove, api.ServiceRequest{}); code(err) != api.CodeRefused || err.Error() != "it is frozen" {
		t.Errorf("a refusal: %v", err)
	}
	d.mute = true
	if _, err = c.Service(ctx, "orders", api.ServiceMove, api.ServiceRequest{}); code(err) != api.CodeUnknown {
		t.Errorf("no reply must not read as a refusal: %v", err)
	}
}

func TestRoles(t *testing.T) {
	r := Roles{Read: []int{40}, Operate: []int{50}, Admin: []int{60}}
	for _, c := range []struct {
		peer Peer
		want Role
	}{
		{Peer{UID: 0}, Admin},
		{Peer{UID: 1 << 20, Groups: []int{60}}, Admin},
		{Peer{UID: 1 << 20, Groups: []int{7, 50, 40}}, Operate},
		{Peer{UID: 1 << 20, Groups: []int{7, 40}}, Read},
		{Peer{UID: 1 << 20, Groups: []int{7}}, NoRole},
	} {
		if got := r.Of(c.peer); got != c.want {
			t.Errorf("%+v is %s, want %s", c.peer, got, c.want)
		}
	}
	// A connection that is no Unix socket has no peer, and so no role.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(&fakeDaemon{facts: sampleFacts()}, &fakeStore{}, Roles{}, nil, nil).Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, path := range []string{"/v1/status", "/v1/events", "/v1/config"} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s over TCP: %s", path, resp.Status)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPlanAndApply(t *testing.T) {
	d, _, c := serve(t, Roles{})
	ctx := t.Context()
	p, err := c.Plan(ctx, api.ApplyRequest{Config: "new", Expect: 7})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range p.Actions {
		got = append(got, fmt.Sprint(a.Service, " ", a.Action, " ", a.From, ">", a.To))
	}
	if want := "orders move alpha>beta, reports start >alpha"; strings.Join(got, ", ") != want {
		t.Errorf("actions %q, want %q", got, want)
	}
	if d.last() != nil {
		t.Errorf("a plan asked %#v", d.last())
	}
	if _, err := c.Apply(ctx, api.ApplyRequest{Config: "new", Expect: 6}); err == nil || !strings.Contains(err.Error(), "version 7") {
		t.Errorf("applied on a stale version: %v", err)
	}
	if _, err := c.Apply(ctx, api.ApplyRequest{Config: "wrong", File: "a.yaml"}); err == nil || !strings.HasPrefix(err.Error(), "a.yaml:1:1") {
		t.Errorf("a wrong file: %v", err)
	}
	if _, err := c.Apply(ctx, api.ApplyRequest{Config: "new"}); err != nil {
		t.Fatal(err)
	}
	if a, ok := d.last().(cluster.ApplyConfig); !ok || a.Expect != 7 || string(a.Config) != "new" || a.Conf == nil {
		t.Errorf("asked %#v: what was planned must be what is applied", d.last())
	}
}

func TestConfigAndHistory(t *testing.T) {
	_, _, c := serve(t, Roles{})
	ctx := t.Context()
	for version, want := range map[uint64]string{0: "newest", 7: "newest", 6: "older"} {
		if got, err := c.Config(ctx, version); err != nil || got.Text != want {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
	var e *api.Error
	if _, err := c.Config(ctx, 5); !errors.As(err, &e) || e.Code != api.CodeNotFound {
		t.Errorf("version 5: %v", err)
	}
	if h, err := c.History(ctx); err != nil || len(h) != 1 || h[0].Config != 6 {
		t.Errorf("history %+v, %v", h, err)
	}
}

func TestEventsFollow(t *testing.T) {
	_, s, c := serve(t, Roles{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	enough := errors.New("enough")
	go func() { s.more <- api.Event{ID: 3, Service: "orders", Text: "later"} }()
	var ids []uint64
	err := c.Events(ctx, api.EventQuery{Follow: true, Service: "orders"}, func(e api.Event) error {
		if ids = append(ids, e.ID); e.ID == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || fmt.Sprint(ids) != "[2 3]" {
		t.Errorf("events %v, %v", ids, err)
	}
	count := 0
	if err := c.Events(ctx, api.EventQuery{Since: time.Unix(150, 0)}, func(api.Event) error { count++; return nil }); err != nil || count != 1 {
		t.Errorf("%d events since, %v", count, err)
	}
}

// TestExplainWhoFencedIt: a node that has come back is told about in one line.
func TestExplainWhoFencedIt(t *testing.T) {
	inc := ident.Incarnation{N: 4}
	f := sampleFacts()
	s := f.View.State.Clone()
	beta := s.NodeNamed("beta")
	beta.Proof = cluster.Proof{Kind: cluster.ProofTime, Inc: inc}
	beta.Life = cluster.NodeLife{
		Fenced:      cluster.Fenced{Inc: inc, By: 1, Ver: 9, Why: "silent on every link"},
		Quarantine:  cluster.Quarantine{Until: time.Hour, Why: "it crashed 3 times"},
		Maintenance: cluster.Maintenance{Until: 30 * time.Minute, By: "eva"},
	}
	s.Life.Clock, f.View.State = 10*time.Minute, s
	n := nodeOf(&f, &f.View.Nodes[1])
	text := strings.Join(courseText(&n), "\n")
	for _, want := range []string{"alpha had it fenced last", "silent on every link", "E3 time", "has come back", "quarantined for another 50m0s: it crashed 3 times", "maintenance for another 20m0s, asked for by eva", "holdfast node online beta"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

func TestExplain(t *testing.T) {
	_, _, c := serve(t, Roles{})
	ctx := t.Context()
	e, err := c.ExplainService(ctx, "orders")
	if err != nil || len(e.Candidates) != 2 || len(e.Events) != 1 || !strings.Contains(e.Text[0], "running on alpha") {
		t.Errorf("service: %+v, %v", e, err)
	}
	if e, err = c.ExplainNode(ctx, "beta"); err != nil || len(e.Events) != 1 || e.Node.Name != "beta" {
		t.Errorf("node: %+v, %v", e, err)
	}
	if e, err = c.ExplainEvent(ctx, 1); err != nil || e.Text[0] != "silent" {
		t.Errorf("event: %+v, %v", e, err)
	}
	if _, err = c.ExplainEvent(ctx, 9); err == nil {
		t.Error("an event that is not there was explained")
	}
}

func (d *fakeDaemon) upgrade(_ context.Context, dry bool) (string, error) {
	if !dry {
		return "", errors.New("holdfast-guard cannot take over, and nothing was changed: it is older")
	}
	return "both can", nil
}

// TestUpgrade: an upgrade is asked for by whoever is admin, and what the programs
// say against it is the answer.
func TestUpgrade(t *testing.T) {
	_, _, c := serve(t, Roles{})
	if r, err := c.Upgrade(t.Context(), api.UpgradeRequest{DryRun: true}); err != nil || r.Text != "both can" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := c.Upgrade(t.Context(), api.UpgradeRequest{}); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a refused upgrade: %v", err)
	}
}
