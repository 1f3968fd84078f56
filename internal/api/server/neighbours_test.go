package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// TestOfAnotherNode: one daemon passes on what another one answers, as it comes; and
// a node may be asked to tell, and nothing else.
func TestOfAnotherNode(t *testing.T) {
	t.Parallel()
	beta := sampleFacts()
	beta.Name = "beta"
	store := &fakeStore{more: make(chan api.Event)}
	other := New(&fakeDaemon{facts: beta}, store, Roles{}, nil, nil)
	other.Reach(Around{Doctor: func(context.Context) ([]byte, error) { return []byte(`{"node":"beta"}`), nil }})
	remote := httptest.NewServer(other.PeerHandler())
	defer remote.Close()

	here := sampleFacts()
	here.View.State.Nodes[1].Links = []string{"10.0.0.12:7320", "nonsense"}
	here.View.State.Nodes = append(here.View.State.Nodes, cluster.NodeState{ID: 3, Name: "gamma"})
	s := New(&fakeDaemon{facts: here}, &fakeStore{}, Roles{}, nil, nil)
	s.Reach(Around{Get: func(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error) {
		if len(addresses) != 1 || addresses[0].String() != "10.0.0.12:7320" {
			return nil, errors.New("nobody is there")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, remote.URL+path, nil)
		if err != nil {
			return nil, err
		}
		return http.DefaultClient.Do(req)
	}})
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c, err := api.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	st, err := c.Of("beta").Status(t.Context())
	if err != nil || st.Self.Name != "beta" {
		t.Errorf("%+v, %v", st, err)
	}
	if text, err := c.Of("beta").Doctor(t.Context()); err != nil || string(text) != `{"node":"beta"}` {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := c.Doctor(t.Context()); err == nil {
		t.Errorf("a daemon without a doctor says %s", text)
	}
	follow, stop := context.WithCancel(t.Context())
	seen := 0
	err = c.Of("beta").Events(follow, api.EventQuery{Follow: true}, func(e api.Event) error {
		if seen++; seen == 2 { // the stored ones have come; the next comes while we listen
			go func() { store.more <- api.Event{ID: 3, Text: "new"} }()
		}
		if e.Text == "new" {
			stop()
		}
		return nil
	})
	stop()
	if seen != 3 {
		t.Errorf("%d events, %v", seen, err)
	}
	if _, err := c.Of("gamma").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "the daemon of gamma does not answer") {
		t.Error(err)
	}
	if _, err := c.Of("delta").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no node") {
		t.Error(err)
	}
	if _, err := c.Of("beta").Config(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "there is") {
		t.Error(err)
	}
	for _, ask := range []struct{ method, path string }{{"GET", "/v1/config"}, {"POST", "/v1/leave"}, {"POST", "/v1/status"}, {"GET", "/v1/of/alpha/status"}} {
		req, err := http.NewRequestWithContext(t.Context(), ask.method, remote.URL+ask.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s, %v", ask.method, ask.path, resp.Status, err)
		}
	}
}
