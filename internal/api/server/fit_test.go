package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// TestPlanAsksTheNodes: a plan asks every member about what is new to it, and what a
// member that gives no answer could run is not known.
func TestPlanAsksTheNodes(t *testing.T) {
	t.Parallel()
	answerTo := func(verdict, text string, asked *[]string) func(context.Context, *api.FitRequest) *api.FitReply {
		return func(_ context.Context, ask *api.FitRequest) *api.FitReply {
			var reply api.FitReply
			for _, s := range ask.Services {
				*asked = append(*asked, s.Name+":"+string(s.Stack[0].Spec))
				reply.Services = append(reply.Services, api.Fitness{Service: s.Name, Verdict: verdict, Text: text})
			}
			return &reply
		}
	}
	var here, there []string
	other := New(&fakeDaemon{facts: sampleFacts()}, &fakeStore{}, Roles{}, nil, nil)
	other.Reach(Around{Fit: answerTo(api.FitLacks, "exec: x is not installed", &there)})
	remote := httptest.NewServer(other.PeerHandler())
	defer remote.Close()

	f := sampleFacts()
	f.View.State.Nodes[1].Links = []string{"10.0.0.12:7320"}
	up := true
	s := New(&fakeDaemon{facts: f}, &fakeStore{}, Roles{}, nil, nil)
	s.Reach(Around{Fit: answerTo(api.Fits, "", &here), Post: func(ctx context.Context, _ []netip.AddrPort, path string, q []byte) (*http.Response, error) {
		if !up {
			return nil, errors.New("nobody is there")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, remote.URL+path, bytes.NewReader(q))
		if err != nil {
			return nil, err
		}
		return http.DefaultClient.Do(req)
	}})
	next := *f.View.State.Conf
	next.Services = append(next.Services[:0:0], next.Services...)
	next.Services[0].Stack = append(next.Services[0].Stack[:0:0], next.Services[0].Stack...)
	if got := s.fits(t.Context(), &f.View, &next); len(got) != 0 {
		t.Errorf("nothing is new, but %v", got)
	}
	next.Services[0].Stack[0].Spec = []byte(`{"run":"x"}`)
	got := s.fits(t.Context(), &f.View, &next)
	if strings.Join(here, " ") != `orders:{"run":"x"}` || strings.Join(there, " ") != strings.Join(here, " ") {
		t.Errorf("asked here %q, there %q", here, there)
	}
	if a, b := got["alpha"], got["beta"]; len(a) != 1 || a[0].Verdict != api.Fits || len(b) != 1 || b[0].Verdict != api.FitLacks || b[0].Text != "exec: x is not installed" {
		t.Errorf("%+v", got)
	}
	next.Services[0].Never = []string{"alpha"}
	up, here = false, nil
	got = s.fits(t.Context(), &f.View, &next)
	if b := got["beta"]; len(here) > 0 || len(b) != 1 || b[0].Verdict != api.FitUnknown || !strings.Contains(b[0].Text, "nobody is there") {
		t.Errorf("asked here %q; %+v", here, got)
	}
	w := httptest.NewRecorder() // whoever has the socket cannot ask that
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, fitPath, strings.NewReader("{}")))
	if w.Code != http.StatusNotFound {
		t.Errorf("the socket answers %d: %s", w.Code, w.Body)
	}
}
