package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// wrecker notes what it is asked to break, and to keep.
type wrecker struct {
	began []api.DrillStart
	kept  []api.DrillRecord
}

func (*wrecker) Step(context.Context, *cluster.View, string, api.DrillRequest) (*api.DrillStep, error) {
	return &api.DrillStep{}, nil
}

func (w *wrecker) Begin(_ context.Context, _ *cluster.View, q api.DrillStart) (*api.DrillRun, error) {
	w.began = append(w.began, q)
	return &api.DrillRun{Kind: q.Kind}, nil
}

func (w *wrecker) Record(r api.DrillRecord) error {
	w.kept = append(w.kept, r)
	return nil
}

// TestDrillRoutes: who may read learns of drills, and other nodes do; only who
// administers this node breaks anything, and nobody from another node.
func TestDrillRoutes(t *testing.T) {
	t.Parallel()
	f, w := sampleFacts(), &wrecker{}
	f.Drills = &api.Drills{
		Running: &api.DrillRun{Kind: api.DrillCutDisk, Ends: time.Now().Add(time.Minute)}, Overdue: []string{api.DrillMove, api.DrillKillNode}, Every: 90 * 24 * 3600,
	}
	s := New(&fakeDaemon{facts: f}, &fakeStore{}, Roles{}, nil, w)
	ask := func(h http.Handler, role Role, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), givenRole{}, role)))
		return answer
	}
	const start, record = `{"kind":"cut-disk","node":"beta","for_seconds":9}`, `{"kind":"move","service":"orders","ok":true,"text":"well","time":"2026-11-23T10:00:00Z","by":"alpha"}`
	for _, c := range []struct {
		h            http.Handler
		role         Role
		method, path string
		body         string
		code         int
	}{
		{s.Handler(), Read, http.MethodGet, "/v1/drills", "", http.StatusOK},
		{s.Handler(), Operate, http.MethodPost, "/v1/drills", start, http.StatusForbidden},
		{s.Handler(), Operate, http.MethodPost, "/v1/drills/record", record, http.StatusForbidden},
		{s.Handler(), Admin, http.MethodPost, "/v1/drills", `{"kin":"cut-disk"}`, http.StatusBadRequest},
		{s.PeerHandler(), Admin, http.MethodPost, "/v1/drills", start, http.StatusForbidden},
		{s.PeerHandler(), NoRole, http.MethodGet, "/v1/drills", "", http.StatusOK},
	} {
		if got := ask(c.h, c.role, c.method, c.path, c.body); got.Code != c.code {
			t.Errorf("%s %s as %s: %d %s, want %d", c.method, c.path, c.role, got.Code, got.Body, c.code)
		}
	}
	if len(w.began)+len(w.kept) > 0 {
		t.Errorf("refused, and yet %+v, %+v", w.began, w.kept)
	}
	for path, body := range map[string]string{"/v1/drills": start, "/v1/drills/record": record} {
		if got := ask(s.Handler(), Admin, http.MethodPost, path, body); got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	if len(w.began) != 1 || w.began[0].For != 9 || len(w.kept) != 1 || !w.kept[0].OK {
		t.Errorf("%+v, %+v", w.began, w.kept)
	}
	words := strings.Join(StatusOf(&f, time.Now()).Warnings, "\n")
	for _, want := range []string{"the drill cut-disk is under way", "drills are overdue: move, kill-node (wanted every 90 days"} {
		if !strings.Contains(words, want) {
			t.Errorf("the status does not say %q: %s", want, words)
		}
	}
}
