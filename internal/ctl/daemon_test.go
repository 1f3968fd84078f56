package ctl_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// fakeDaemon answers on a socket with what a test put in, and keeps what it was
// asked to do.
type fakeDaemon struct {
	socket string

	mu      sync.Mutex
	answers map[string][]any // by method and path; the last one stays
	asked   []string         // method, path and body
}

func newDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	d := &fakeDaemon{socket: filepath.Join(dir, "api.sock"), answers: map[string][]any{}}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with ErrServerClosed
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

// ServeHTTP answers an *api.Error as one, events line by line, and else JSON.
func (d *fakeDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	d.asked = append(d.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	list := d.answers[key]
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(api.Errorf(api.CodeNotFound, "the test has no answer to %s", key))
		return
	}
	if len(list) > 1 {
		d.answers[key] = list[1:]
	}
	switch v := list[0].(type) {
	case *api.Error:
		w.WriteHeader(v.Status)
		_ = json.NewEncoder(w).Encode(v)
	case []api.Event:
		for _, e := range v {
			_ = json.NewEncoder(w).Encode(e)
		}
	default:
		_ = json.NewEncoder(w).Encode(v)
	}
}

func (d *fakeDaemon) answer(key string, values ...any) { d.answers[key] = values }

// holdfast runs a command line against the daemon.
func (d *fakeDaemon) holdfast(stdin string, args ...string) result {
	return holdfast(stdin, append([]string{"--socket", d.socket}, args...)...)
}

// was fails the test unless the daemon was asked this.
func (d *fakeDaemon) was(t *testing.T, asked string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.asked {
		if strings.Contains(a, asked) {
			return
		}
	}
	t.Errorf("the daemon was not asked %q but:\n%s", asked, strings.Join(d.asked, "\n"))
}

// wasNot fails the test if the daemon was asked to change something.
func (d *fakeDaemon) wasNot(t *testing.T, asked string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.asked {
		if strings.Contains(a, asked) {
			t.Errorf("the daemon was asked %q", a)
		}
	}
}

func status(h api.Health, services ...api.Service) *api.Status {
	return &api.Status{
		Version: 1, Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Health: h,
		Cluster: api.ClusterInfo{Name: "hospital", Config: 3}, Self: api.Self{Name: "alpha", ID: 1, Stage: "member"},
		Nodes: []api.Node{{ID: 1, Name: "alpha", Phase: "member"}}, Services: services,
	}
}

func TestStatusExitCodes(t *testing.T) {
	t.Parallel()
	for health, code := range map[api.Health]int{api.Healthy: 0, api.Warning: 1, api.Critical: 2, "": 3} {
		d := newDaemon(t)
		d.answer("GET /v1/status", status(health))
		d.answer("GET /v1/events", []api.Event{})
		d.holdfast("", "status").says(t, code, "cluster hospital", "alpha (here)")
		d.holdfast("", "status", "--json").says(t, code, `"name": "hospital"`)
	}
	holdfast("", "--socket", "/nonexistent/api.sock", "status").says(t, 3, "holdfastd does not run here", "systemctl start holdfastd")
	holdfast("", "--config", "/nonexistent/node.yaml", "status").says(t, 3, "belongs to no cluster yet", "holdfast init", "holdfast join")
	holdfast("", "--socket", "/nonexistent/api.sock", "history").says(t, 3, "holdfastd does not run here")
}

func TestStatusSince(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	s := status(api.Healthy, api.Service{Name: "orders", State: "running", Node: "alpha", Why: "prefers alpha"})
	d.answer("GET /v1/status", s)
	d.answer("GET /v1/events", []api.Event{{ID: 7, Kind: "started", Service: "orders", Time: s.Time.Add(-3 * time.Hour)}})
	d.holdfast("", "status").says(t, 0, "orders", "running", "3 h", "prefers alpha")
}

// TestStatusStarting: while a service starts, how long that takes still is told by its
// last start, and when it takes longer, that is said.
func TestStatusStarting(t *testing.T) {
	t.Parallel()
	for ago, want := range map[time.Duration]string{4 * time.Second: "4 s about 8 s left: the last start took 12 s", time.Minute: "60 s longer than the last start, which took 12 s"} {
		d := newDaemon(t)
		s := status(api.Warning, api.Service{Name: "orders", State: "starting", Node: "alpha", Term: 5})
		begun := s.Time.Add(-ago)
		before := begun.Add(-time.Hour)
		d.answer("GET /v1/status", s)
		d.answer("GET /v1/events", []api.Event{{Kind: "grant", Service: "orders", Term: 4, Time: before}, {Kind: "grant", Service: "orders", Term: 5, Time: begun}},
			[]api.Event{{Kind: "started", Service: "orders", Term: 4, Time: before.Add(12 * time.Second)}, {Kind: "started", Service: "orders", Term: 4, Time: before.Add(50 * time.Minute)}})
		d.holdfast("", "status").says(t, 1, "starting", want)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.answer("GET /v1/explain/service/orders", &api.Explanation{
		Version: 1, Subject: "service orders", Text: []string{"runs on alpha, which it prefers"},
		Candidates: []api.Candidate{{Node: "alpha", Able: true, Reason: "preferred"}, {Node: "beta", Reason: "on standby", Remedy: "holdfast node online beta"}},
		Events:     []api.Event{{ID: 9, Kind: "grant", Text: "granted to alpha", Service: "orders", Term: 4}},
	})
	d.answer("GET /v1/explain/node/beta", &api.Explanation{
		Subject: "node beta", Proof: &api.Proof{Kind: "E3 time", Node: "beta", By: "alpha", Text: "silent for 9.2 s"},
	})
	d.answer("GET /v1/explain/event/9", &api.Explanation{Subject: "event 9"})
	d.holdfast("", "explain", "orders").says(t, 0, "beta: rejected: on standby", "to change that: holdfast node online beta", "granted to alpha", "term 4")
	d.holdfast("", "explain", "node", "beta").says(t, 0, "E3 time of beta, found by alpha", "silent for 9.2 s")
	d.holdfast("", "explain", "event", "9").says(t, 0, "event 9")
	d.holdfast("", "explain", "orders", "--json").says(t, 0, `"remedy": "holdfast node online beta"`)
	d.holdfast("", "explain", "event", "nine").says(t, 2, "holdfast events")
	d.holdfast("", "explain", "disk", "0").says(t, 2, "explain SERVICE")
	d.holdfast("", "explain", "node").says(t, 2, "which one? holdfast explain node NODE")
	d.holdfast("", "explain", "gamma").says(t, 1, "holdfast explain node gamma")
}

func TestEvents(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.answer("GET /v1/events", []api.Event{
		{ID: 1, Kind: "fencing", Node: "beta", Text: "silent for 2.5 s"},
		{ID: 2, Kind: "proof", Node: "beta", Proof: "E3 time", Text: "beta is known to have ended"},
	})
	d.holdfast("", "events", "--local", "--kind", "proof", "--follow", "-n", "5").says(t, 0, "silent for 2.5 s (beta)", "beta is known to have ended (proof E3 time)")
	d.was(t, "follow=1")
	d.was(t, "kind=proof")
	d.holdfast("", "events", "--since", "yesterday").says(t, 2, "90s, 30m or 2h")
	d.holdfast("", "events", "-n", "-3").says(t, 2, "above 0")
	none := newDaemon(t)
	none.answer("GET /v1/events", []api.Event{})
	none.holdfast("", "events", "--local", "--kind", "nonsense").says(t, 0, "nothing that was noted fits")
	r := d.holdfast("", "events", "--local", "--json", "--since", "2h")
	r.says(t, 0)
	d.was(t, "since=")
	var first api.Event
	if line, _, _ := strings.Cut(r.out, "\n"); json.Unmarshal([]byte(line), &first) != nil || first.ID != 1 {
		t.Errorf("no event on the first line: %q", line)
	}
}

// TestEventsOfAllNodes: what the nodes have noted comes in the order of the register,
// whatever their wall clocks say, and a node that cannot be asked is said and left out.
func TestEventsOfAllNodes(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	at := func(s int) time.Time { return time.Date(2026, 11, 22, 12, 0, s, 0, time.UTC) }
	s := status(api.Healthy)
	s.Nodes = append(s.Nodes, api.Node{ID: 2, Name: "beta"}, api.Node{ID: 3, Name: "gamma"})
	d.answer("GET /v1/status", s)
	d.answer("GET /v1/events", []api.Event{
		{ID: 1, Time: at(1), Kind: "grant", Service: "orders", Node: "beta", Term: 2, State: 7, Text: "granted"},
		{ID: 2, Time: at(9), Kind: "fencing", Node: "beta", Incarnation: "1/af", State: 9, Text: "silent"},
	})
	d.answer("GET /v1/of/beta/status", &api.Status{Version: 1, Time: time.Now(), Self: api.Self{Name: "beta"}})
	d.answer("GET /v1/of/beta/events", []api.Event{{ID: 4, Time: at(30), Kind: "started", Service: "orders", Term: 2, State: 7, Text: "started"}})
	d.answer("GET /v1/of/gamma/status", api.Errorf(api.CodeNotReady, "gamma does not answer"))
	r := d.holdfast("", "events")
	r.says(t, 0, "alpha:1", "beta:4", "alpha:2", "without what gamma has noted: gamma does not answer")
	if first, second, third := strings.Index(r.out, "alpha:1"), strings.Index(r.out, "beta:4"), strings.Index(r.out, "alpha:2"); first > second || second > third {
		t.Errorf("not in the order of the register:\n%s", r.out)
	}
	d.holdfast("", "events", "--by", "beta", "--json").says(t, 0, `"told_by":"beta"`)
	d.holdfast("", "events", "--by", "delta").says(t, 1, "no node \"delta\"")
	d.holdfast("", "explain", "incident").says(t, 0, "9-beta", "node beta was lost", "goes on")
	d.holdfast("", "explain", "incident", "last").says(t, 0, "incident 9-beta", "holdfast node confirm-off beta", "timeline")
	d.holdfast("", "explain", "incident", "9-beta", "--json").says(t, 0, `"kind": "node lost"`)
	d.holdfast("", "explain", "incident", "8-beta").says(t, 1, "holdfast explain incident lists")
}

// TestEventsFollow: what happens on any node comes as it comes, after what was noted
// before and without repeating it; a node that tells no more is said.
func TestEventsFollow(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	s := status(api.Healthy)
	s.Nodes = append(s.Nodes, api.Node{ID: 2, Name: "beta"})
	d.answer("GET /v1/status", s)
	d.answer("GET /v1/of/beta/status", &api.Status{Version: 1, Time: time.Now(), Self: api.Self{Name: "beta"}})
	d.answer("GET /v1/events", []api.Event{{ID: 1, Kind: "fencing", Node: "gamma", Text: "silent", State: 4}}, []api.Event{{ID: 2, Kind: "proof", Node: "gamma", Text: "it has ended", State: 5}})
	d.answer("GET /v1/of/beta/events", []api.Event{{ID: 7, Kind: "grant", Service: "orders", Text: "granted", State: 5}}, api.Errorf(api.CodeNotReady, "beta does not answer"))
	r := d.holdfast("", "events", "--follow", "--node", "gamma")
	r.says(t, 1, "alpha:1", "beta:7", "alpha:2", "it has ended", "beta tells no more: beta does not answer")
	if strings.Count(r.out, "alpha:1") != 1 || strings.Index(r.out, "alpha:2") < strings.Index(r.out, "beta:7") {
		t.Errorf("not in order, or twice:\n%s", r.out)
	}
	d.was(t, "after=1")
	d.was(t, "after=7")
	d.was(t, "node=gamma")
}

// TestAlertTest: a receiver that did not take a test alert is a failure, and so is
// having nobody to tell.
func TestAlertTest(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	good, bad := api.AlertTried{Receiver: "mail to ops@example.org", OK: true, Text: "took it", Took: 0.5}, api.AlertTried{Receiver: "script /x", Text: "it exits with 3"}
	d.answer("POST /v1/alerts/test", []api.AlertTried{good}, []api.AlertTried{good, bad}, []api.AlertTried{bad}, []api.AlertTried{})
	d.holdfast("", "alert", "test").says(t, 0, "ok       mail to ops@example.org: took it (500 ms)")
	d.holdfast("", "alert", "test").says(t, 1, "failed   script /x: it exits with 3")
	d.holdfast("", "alert", "test", "script", "--json").says(t, 1, `"receiver": "script /x"`)
	d.was(t, `{"receiver":"script"}`)
	d.holdfast("", "alert", "test").says(t, 1, "holdfast config export")
}

func TestPlanAndApply(t *testing.T) {
	t.Parallel()
	const conf = "cluster:\n  name: hospital\n  failover_within: 10s\nservices: {}\n"
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	wait := api.Seconds(3.5)
	plan := &api.Plan{
		Version: 1, Config: 3, Changes: []api.Change{{What: "service orders", Kind: "remove", Text: "is removed"}},
		Actions: []api.PlanAction{{Service: "orders", Action: "stop", From: "alpha", Text: "no longer configured", Interruption: &wait}},
	}
	done := &api.Result{Version: 1, Text: "configuration 4 is committed", State: 42}
	d := newDaemon(t)
	d.answer("POST /v1/config", plan, plan, done)
	d.holdfast("", "plan", "-f", file).says(t, 0, "compared with configuration 3", "- service orders: is removed", "1. stop orders from alpha", "interrupted for about 3.5 s")
	d.holdfast("yes\n", "apply", "-f", file).says(t, 0, "apply this? Type yes:", "configuration 4 is committed (state 42)")
	d.was(t, `"expect_version":3`)

	d = newDaemon(t)
	d.answer("POST /v1/config", plan)
	d.holdfast("no\n", "apply", "-f", file).says(t, 1, `"no" was typed`, "nothing was changed")
	d.holdfast("", "apply", "-f", file, "--dry-run").says(t, 0, "stop orders")
	d.holdfast("", "apply", "-f", file, "--yes", "--expect-version", "2").says(t, 1, "version 3, not 2", "holdfast history")
	d.holdfast(conf, "apply", "-f", "-").says(t, 2, "--yes is needed")
	d.holdfast(conf, "plan", "-f", "-", "--json").says(t, 0, `"action": "stop"`)
	d.wasNot(t, `"expect_version":3`)

	d = newDaemon(t)
	d.answer("POST /v1/config", &api.Plan{Config: 3, Problems: []string{"beta cannot see /dev/vg/data"}, Advice: []string{"reservation is not used"}})
	d.holdfast("", "apply", "-f", file, "--yes").says(t, 1, "refused, nothing was changed: beta cannot see /dev/vg/data", "advice: reservation is not used")
	d.answer("POST /v1/config", &api.Plan{Config: 3})
	d.holdfast("", "apply", "-f", file, "--yes").says(t, 0, "no changes")
	d.holdfast("", "plan").says(t, 2, "-f FILE", "holdfast config export")
	d.holdfast("", "plan", "-f", "/nonexistent").says(t, 1, "/nonexistent")
}

// TestUnknownKey: a key that is silently ignored is a service that is not
// protected.
func TestUnknownKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte("cluster:\n  name: hospital\n  failover_wihtin: 10s\nservices: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t)
	for _, args := range [][]string{{"plan", "-f", file}, {"apply", "-f", file, "--yes"}, {"config", "check", file}} {
		d.holdfast("", args...).says(t, 1, file+":3:3:", "failover_wihtin", "did you mean failover_within?")
	}
	d.wasNot(t, "POST")
}

func TestConfigHistoryRollback(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.answer("GET /v1/config", &api.Config{Version: 1, Config: 2, Text: "cluster: {}\n"})
	d.answer("GET /v1/history", []api.ConfigVersion{{Config: 1, State: 1, Bytes: 70}, {Config: 2, State: 17, Bytes: 3000}})
	if r := d.holdfast("", "config", "export", "--version", "2"); r.out != "cluster: {}\n" || r.code != 0 {
		t.Errorf("not byte for byte: %q", r.out)
	}
	d.was(t, "version=2")
	d.holdfast("", "history").says(t, 0, "VERSION", "17", "2 KiB", "holdfast rollback")
	d.answer("POST /v1/config", &api.Plan{Config: 3, Changes: []api.Change{{What: "cluster", Kind: "change", Text: "name"}}}, &api.Result{Text: "done", State: 50})
	d.holdfast("yes\n", "rollback", "2").says(t, 0, "~ cluster: name", "done (state 50)")
	d.was(t, `"expect_version":3`)
	d.holdfast("", "rollback", "zero").says(t, 2, "holdfast history")
	for _, args := range [][]string{{"config", "schema"}, {"config", "schema", "node"}} {
		r := d.holdfast("", args...)
		if schema := (map[string]any{}); r.code != 0 || json.Unmarshal([]byte(r.out), &schema) != nil || schema["$schema"] == nil {
			t.Errorf("%v: no JSON Schema, exit status %d: %.100s", args, r.code, r.out)
		}
	}
	d.holdfast("", "config", "schema", "guard").says(t, 2, "want nothing")
}

func TestServiceVerbs(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	here := api.Service{Name: "orders", State: "running", Node: "alpha"}
	there := api.Service{Name: "orders", State: "running", Node: "beta"}
	moving := api.Service{Name: "orders", State: "stopping", Node: "alpha", Wanted: "beta", Why: "stops first"}
	d.answer("POST /v1/service/orders/move", &api.Result{Text: "moves to beta", State: 44})
	d.answer("GET /v1/status", status(api.Healthy, here), status(api.Healthy, moving), status(api.Healthy, there))
	d.holdfast("", "service", "move", "orders", "--to", "beta", "--wait", "30s").says(t, 0, "moves to beta (state 44)")
	d.was(t, `{"to":"beta"}`)
	d.answer("GET /v1/status", status(api.Healthy, moving))
	d.holdfast("", "service", "move", "orders", "--to", "beta", "--wait", "1ms").says(t, 4, "not there yet", "stopping on alpha", "holdfast explain orders")
	d.answer("GET /v1/status", status(api.Healthy, here), status(api.Healthy, here), status(api.Healthy, there))
	d.holdfast("", "service", "move", "orders", "--wait", "30s").says(t, 0, "moves to beta")
	for _, verb := range []string{"start", "stop", "restart", "freeze", "unfreeze", "clear", "failback"} {
		d.answer("POST /v1/service/orders/"+verb, &api.Result{State: 45})
		d.holdfast("", "service", verb, "orders").says(t, 0, "orders", "state 45")
	}
	d.answer("POST /v1/service/reports/move", api.Errorf(api.CodeRefused, "beta cannot run reports: unit reports.service is not installed there"))
	d.holdfast("", "service", "move", "reports", "--to", "beta").says(t, 1, "unit reports.service is not installed there")
	d.holdfast("", "service", "move").says(t, 2, "SERVICE is missing", "holdfast service move SERVICE")
	d.holdfast("", "service", "move", "orders", "beta").says(t, 2, `"beta" is one word too many`)
	d.holdfast("", "service", "mvoe", "orders").says(t, 2, "did you mean move?")
}

func TestNodeVerbs(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	for _, verb := range []string{"standby", "online", "remove", "fence", "confirm-off"} {
		d.answer("POST /v1/node/beta/"+verb, &api.Result{State: 46})
	}
	for _, verb := range []string{"standby", "online", "remove"} {
		d.holdfast("", "node", verb, "beta").says(t, 0, "beta", "state 46")
	}
	d.holdfast("beta\n", "node", "fence", "beta").says(t, 0, "Type beta", "is being fenced")
	d.holdfast("gamma\n", "node", "fence", "beta").says(t, 1, "nothing was changed")
	d.answer("GET /v1/status", status(api.Healthy))
	d.answer("POST /v1/leave", &api.Result{Text: "alpha has left"})
	d.holdfast("", "node", "leave", "beta").says(t, 1, "run it on beta", "holdfast node standby beta")
	d.wasNot(t, "/v1/leave")
	d.holdfast("", "node", "leave", "alpha").says(t, 0, "alpha has left")
	// With --wait it is done when the node is out, by the daemon's word, or when the daemon has ended and no guard is bound.
	gone := status(api.Healthy)
	for i := range gone.Nodes {
		gone.Nodes[i].Phase = "out"
	}
	d.answer("GET /v1/status", status(api.Healthy), status(api.Healthy), status(api.Healthy), gone)
	d.holdfast("", "node", "leave", "--wait", "1m").says(t, 0, "alpha has left", "watchdogs are safe")
	d.answer("GET /v1/status", status(api.Healthy))
	d.holdfast("", "node", "leave", "--wait", "1ns").says(t, 4, "not there yet", "phase is member")
	d.holdfast("", "node").says(t, 0, "confirm-off", "standby")
}

func TestConfirmOff(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.answer("POST /v1/node/beta/confirm-off", &api.Result{State: 47})
	d.holdfast("yes\n", "node", "confirm-off", "beta").says(t, 1, "nothing was changed")
	d.holdfast("beta\n\n", "node", "confirm-off", "beta").says(t, 1, "no answer")
	d.holdfast("", "node", "confirm-off", "beta", "--yes").says(t, 2, "--operator", "--how")
	d.wasNot(t, "confirm-off")
	d.holdfast("beta\nboth cords pulled\nJ. Doe\n", "node", "confirm-off", "beta").says(t, 0, "services run twice", "How was that verified", "by the word of J. Doe")
	d.was(t, `"operator":"J. Doe","how":"both cords pulled"`)
	d.holdfast("", "node", "confirm-off", "beta", "--yes", "--operator", "Jane", "--how", "dark").says(t, 0)
	d.was(t, `"operator":"Jane","how":"dark"`)
}

func TestTokenAndTiming(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.answer("POST /v1/token", &api.TokenReply{Token: "hf1-secret", Valid: 3600})
	d.holdfast("", "token").says(t, 0, "holdfast join hf1-secret", "60 min")
	d.answer("GET /v1/timing", &api.Timing{
		Within: 10, Rows: []api.Row{{Name: "F", Value: 5.8, Why: "what remains"}, {Name: "W", Value: 9.2, Why: "proves"}},
		Expected: []api.Expected{{Proof: "E3 time", Known: true, Typical: 9, Worst: 9.9, Why: "W 9.2 s"}},
	})
	d.holdfast("", "timing").says(t, 0, "as the daemon uses it", "5.800 s", "9 s, at worst 9.9 s")
	d.holdfast("", "timing", "-f", "explain").says(t, 0, "what remains")
	d.holdfast("", "timing", "--json").says(t, 0, `"value_seconds": 5.8`)
	d.holdfast("", "timing", "-f", "chart").says(t, 2, "table or explain")
}

// TestCheckCommand: whatever happens, a monitor gets one line and a number from 0 to 3.
func TestCheckCommand(t *testing.T) {
	t.Parallel()
	holdfast("", "check", "--socket", filepath.Join(t.TempDir(), "none.sock")).says(t, 3, "HOLDFAST UNKNOWN - ")
	holdfast("", "check", "--nonsense").says(t, 3, "HOLDFAST UNKNOWN - ", "--nonsense")
	holdfast("", "check", "--latency-warning", "2s", "--latency-critical", "1s").says(t, 3, "HOLDFAST UNKNOWN - ", "is below")
	d := newDaemon(t)
	d.answer("GET /v1/status", &api.Status{Version: 1, Health: api.Warning, Cluster: api.ClusterInfo{Name: "hospital"}, Self: api.Self{Stage: "member"}, Notes: api.Notes{Warnings: []string{"one link is down"}}})
	d.holdfast("", "check").says(t, 1, "HOLDFAST WARNING - hospital: one link is down | members=0;;;0;0")
}
