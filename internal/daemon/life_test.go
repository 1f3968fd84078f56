package daemon

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/core"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/decisions"
)

// TestLives is the story of one node: it joins an empty cluster, runs a service,
// is restarted with the service left running, lets a second node in, and leaves.
// At the end its decisions are replayed.
func TestLives(t *testing.T) {
	r := newRig(t)
	r.guard()
	first := r.begin()
	before := first.runs(t)
	checkStatus(t, before)
	if n := r.runner.count("start orders"); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
	changeConfig(t, r, first)
	first.stop()
	if err := <-first.ended; err != nil {
		t.Fatalf("a daemon that was asked to end: %v", err)
	}
	if n := r.runner.count("stop orders") + r.runner.count("kill orders"); n != 0 {
		t.Error("the daemon's end has stopped a service")
	}

	second := r.begin()
	after := second.runs(t)
	if n := r.runner.count("start orders"); n != 1 || after.Self.Incarnation != before.Self.Incarnation {
		t.Errorf("after a restart: %d starts, incarnation %s, was %s", n, after.Self.Incarnation, before.Self.Incarnation)
	}
	letIn(t, r, second)

	if _, err := second.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-second.ended; err != nil {
		t.Fatalf("a clean leave: %v", err)
	}
	if len(r.runner.running) != 0 {
		t.Errorf("left behind: %v", r.runner.running)
	}
	replay(t, r)
}

func checkStatus(t *testing.T, s *api.Status) {
	t.Helper()
	if s.Cluster.Name != "hospital" || s.Self.Holder != "process" || len(s.Watchdogs) != 2 || s.Watchdogs[0].Class != "qualified" {
		t.Errorf("status %+v", s)
	}
	if s.Failover.Within != 10 || len(s.Failover.Expected) != 7 || s.Self.Lease == nil || *s.Self.Lease <= 0 {
		t.Errorf("failover %+v, lease %v", s.Failover, s.Self.Lease)
	}
	if s.Services[0].Node != "alpha" || s.Disks[0].Path != "memory" || s.Disks[0].Error != "" {
		t.Errorf("services %+v, disks %+v", s.Services, s.Disks)
	}
}

func changeConfig(t *testing.T, r *rig, l *life) {
	t.Helper()
	_, err := l.Apply(t.Context(), api.ApplyRequest{Config: strings.Replace(firstConfig, "services:", "services: # of the ward", 1), Expect: 1})
	must(t, err)
	waitFor(t, "both configurations to be kept", func() bool {
		list, err := l.History(t.Context())
		must(t, err)
		return len(list) == 2
	})
	if old, err := l.Config(t.Context(), 1); err != nil || old.Text != firstConfig {
		t.Errorf("the first configuration: %+v, %v", old, err)
	}
	_, err = l.Plan(t.Context(), api.ApplyRequest{File: "new.yaml", Config: strings.Replace(firstConfig, "    stack:", "    prefer: [gamma]\n    stack:", 1)})
	if err == nil || !strings.Contains(err.Error(), "new.yaml:6") || !strings.Contains(err.Error(), "gamma") {
		t.Errorf("a node that is not there: %v", err)
	}
	var kinds []string
	must(t, l.Events(t.Context(), api.EventQuery{}, func(e api.Event) error { kinds = append(kinds, e.Kind); return nil }))
	for _, want := range []string{"daemon", "joined", "grant", "starting", "started", "admin"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no event of kind %s in %v", want, kinds)
		}
	}
}

// letIn plays the new node's side of the exchange.
func letIn(t *testing.T, r *rig, l *life) {
	t.Helper()
	ctx := t.Context()
	reply, err := l.Token(ctx)
	must(t, err)
	token, err := api.ParseToken(reply.Token)
	must(t, err)
	stranger := token
	stranger.Fingerprint[0]++
	if _, err := api.DialJoin(ctx, stranger); err == nil {
		t.Error("another certificate was accepted")
	}
	c, err := api.DialJoin(ctx, token)
	must(t, err)
	defer c.Close()
	request := api.JoinRequest{Name: "beta", Host: uuid(0xbb).String(), Links: []string{"10.0.0.2:7320"}, Time: time.Now()}
	for what, change := range map[string]func(*api.JoinRequest){
		"a clock that is off":    func(q *api.JoinRequest) { q.Time = q.Time.Add(-time.Hour) },
		"a name that is taken":   func(q *api.JoinRequest) { q.Name = "alpha" },
		"a name that is none":    func(q *api.JoinRequest) { q.Name = "../beta" },
		"no host":                func(q *api.JoinRequest) { q.Host = "" },
		"no links":               func(q *api.JoinRequest) { q.Links = nil },
		"a disk that is missing": func(q *api.JoinRequest) { q.Disks = []string{uuid(1).String()} },
	} {
		q := request
		change(&q)
		var e *api.Error
		if _, err := c.Begin(ctx, q); !errors.As(err, &e) || e.Code != api.CodeRefused {
			t.Errorf("%s: %v", what, err)
		}
	}
	offer, err := c.Begin(ctx, request)
	must(t, err)
	if offer.ID != 2 || offer.Server != 1 || offer.Sector != 512 || len(offer.Disks) != 1 || len(offer.Peers) != 1 || offer.Key == "" {
		t.Fatalf("offer %+v", offer)
	}
	v := r.volume()
	nonce, ok, err := v.ReadProbe(1, time.Second)
	must(t, err)
	if !ok || hex.EncodeToString(nonce[:]) != offer.Disks[0].Nonce {
		t.Error("the nonce of the offer is not on the disk")
	}
	mine := [32]byte{1, 2, 3}
	proof := api.JoinProof{Session: offer.Session, Nonces: map[string]string{offer.Disks[0].ID: hex.EncodeToString(mine[:])}}
	if _, err := c.Finish(ctx, proof); err == nil {
		t.Error("a node was let in that has not proven to see the disk")
	}
	must(t, v.WriteProbe(ident.NodeID(offer.ID), mine, time.Second))
	done, err := c.Finish(ctx, proof)
	must(t, err)
	if done.ID != 2 {
		t.Errorf("entered as node %d", done.ID)
	}
	if _, err := c.Begin(ctx, request); err == nil {
		t.Error("a used token was accepted")
	}
	s, err := l.Status(ctx)
	must(t, err)
	if len(s.Nodes) != 2 || s.Nodes[1].Name != "beta" {
		t.Errorf("nodes %+v", s.Nodes)
	}
}

// replay runs what was recorded through fresh cores.
func replay(t *testing.T, r *rig) {
	t.Helper()
	files, err := decisions.Files(filepath.Join(r.node.Dirs.State, decisions.Folder))
	must(t, err)
	fresh := func(s core.Settings) decisions.Core { return core.New(s) }
	p := decisions.Replay{Fresh: fresh}
	if err := p.ReadFiles(files); err != nil || p.Done.Lives != 2 || p.Done.Steps < 50 || p.Done.Marks == 0 || p.Done.Skip > 0 || len(p.Done.Notes) > 0 {
		t.Errorf("replayed %+v, %v", p.Done, err)
	}
	var all bytes.Buffer
	for i := range files {
		f, err := files[i].Open()
		must(t, err)
		_, err = io.Copy(&all, f)
		must(t, err)
		must(t, f.Close())
	}
	other := bytes.Replace(all.Bytes(), []byte(`"Text":"moved there`), []byte(`"Text":"driven there`), 1)
	other = bytes.Replace(other, []byte(`"Kind":"starting"`), []byte(`"Kind":"stopping"`), 1)
	p = decisions.Replay{Fresh: fresh}
	if err := p.Read("changed", bytes.NewReader(other)); !errors.Is(err, decisions.ErrDiffers) {
		t.Errorf("a changed action was not noticed: %v", err)
	}
}
