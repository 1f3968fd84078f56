package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/build"
	"github.com/holdfast-ha/holdfast/internal/metrics"
)

const (
	askWithin = 30 * time.Second // for a commit; a register without a majority gives no answer
	mostBody  = 4 << 20          // bytes of a request: the longest configuration, quoted
)

// Server answers on the daemon's Unix socket.
type Server struct {
	daemon Daemon
	store  Store
	roles  Roles
	newer  Upgrader
	drills Drills
	around Around
	now    func() time.Time
	busy   sync.Mutex // held while something is simulated
	counts []prometheus.Collector
}

// Upgrader has the newer programs of this node take over from those that run, or
// with dry asks whether they could, and says which they are.
type Upgrader func(ctx context.Context, dry bool) (string, error)

// New makes a server. Times in its answers are the wall clock's.
func New(d Daemon, s Store, r Roles, u Upgrader, x Drills) *Server {
	return &Server{daemon: d, store: s, roles: r, newer: u, drills: x, now: time.Now}
}

// Listen makes the socket at path, for everybody, whose role is asked for with
// each request, in place of one that a dead daemon left. The caller holds the daemon's lock.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("api socket: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers until ctx ends, then waits a moment for what is under way.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:    log.New(io.Discard, "", 0), // clients that go away
		ConnContext: withPeer, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if h.Shutdown(last) != nil {
			_ = h.Close() // nothing is left to be told
		}
	})
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// handler answers one request with a value, or an error.
type handler func(r *http.Request) (any, error)

// Handler gives the routes; the requests' contexts carry the Peer.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, need Role, h handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if have := s.role(r); have < need {
				answer(w, nil, api.Errorf(api.CodeForbidden, "%s %s needs the role %s, you have %s: run it as root, or as a member of the group %s", r.Method, r.URL.Path, need, have, need.group()))
				return
			}
			v, err := h(r)
			answer(w, v, err)
		})
	}
	route("GET /v1/status", Read, s.facts(func(_ context.Context, f *Facts, _ *http.Request) (any, error) { return StatusOf(f, s.now()), nil }))
	route("GET /v1/timing", Read, s.facts(func(_ context.Context, f *Facts, _ *http.Request) (any, error) { return TimingOf(f), nil }))
	route("GET /v1/explain/service/{name}", Read, s.facts(func(ctx context.Context, f *Facts, r *http.Request) (any, error) {
		return ExplainService(ctx, f, s.store, r.PathValue("name"))
	}))
	route("GET /v1/explain/node/{name}", Read, s.facts(func(ctx context.Context, f *Facts, r *http.Request) (any, error) {
		return ExplainNode(ctx, f, s.store, r.PathValue("name"))
	}))
	route("GET /v1/explain/event/{id}", Read, func(r *http.Request) (any, error) {
		id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "event %q: want a number", r.PathValue("id"))
		}
		return ExplainEvent(r.Context(), s.store, id)
	})
	route("POST /v1/simulate", Read, s.facts(s.simulate))
	route("GET /v1/config", Admin, s.facts(s.config))
	route("GET /v1/history", Read, func(*http.Request) (any, error) { return s.store.Versions() })
	route("POST /v1/config", Admin, s.facts(s.apply))
	route("POST /v1/service/{name}/{verb}", Operate, s.facts(s.service))
	route("POST /v1/node/{name}/{verb}", Operate, s.facts(s.node))
	route("POST /v1/node/{name}/drill", Admin, s.facts(func(ctx context.Context, f *Facts, r *http.Request) (any, error) {
		var q api.DrillRequest
		if err := body(r, &q); err != nil {
			return nil, err
		}
		return s.drills.Step(ctx, &f.View, r.PathValue("name"), q)
	}))
	route("GET /v1/drills", Read, s.facts(func(_ context.Context, f *Facts, _ *http.Request) (any, error) { return f.Drills, nil }))
	route("POST /v1/drills", Admin, s.facts(s.beginDrill))
	route("POST /v1/drills/record", Admin, s.recordDrill)
	route("POST /v1/cluster/{verb}", Admin, s.whole)
	route("POST /v1/disks/{verb}", Admin, s.diskSet)
	route("POST /v1/leave", Admin, func(r *http.Request) (any, error) { return s.ask(r.Context(), cluster.LeaveCluster{}, askWithin) })
	route("POST /v1/token", Admin, s.token)
	s.keyRoutes(route)
	route("POST /v1/upgrade", Admin, s.upgrade)
	route("GET /v1/doctor", Read, s.doctor)
	route("POST /v1/alerts/test", Operate, s.alertTest)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/of/{node}/{what}", s.neighbour)
	figures := s.Metrics()
	mux.HandleFunc("GET /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		if have := s.role(r); have < Read {
			answer(w, nil, api.Errorf(api.CodeForbidden, "metrics need the role %s, you have %s: run it as root, or join the group %s", Read, have, readGroup))
			return
		}
		figures.ServeHTTP(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, api.Errorf(api.CodeNotFound, "%s %s: this daemon (%s) knows nothing of that kind; the paths begin with /v%d/. If holdfast is newer than the daemon: holdfast node upgrade", r.Method, r.URL.Path, build.Version(), api.Version))
	})
	return mux
}

// upgrade answers once the guard is the newer program.
func (s *Server) upgrade(r *http.Request) (any, error) {
	var ask api.UpgradeRequest
	if err := body(r, &ask); err != nil {
		return nil, err
	}
	text, err := s.newer(r.Context(), ask.DryRun)
	if err != nil {
		return nil, api.Errorf(api.CodeRefused, "%v", err)
	}
	return &api.Result{Version: api.Version, Text: text}, nil
}

// beginDrill breaks something.
func (s *Server) beginDrill(ctx context.Context, f *Facts, r *http.Request) (any, error) {
	var q api.DrillStart
	if err := body(r, &q); err != nil {
		return nil, err
	}
	return s.drills.Begin(ctx, &f.View, q)
}

// recordDrill keeps what came of a drill.
func (s *Server) recordDrill(r *http.Request) (any, error) {
	var q api.DrillRecord
	if err := body(r, &q); err != nil {
		return nil, err
	}
	if err := s.drills.Record(q); err != nil {
		return nil, err
	}
	return &api.Result{Version: api.Version, Text: "kept"}, nil
}

// Metrics answers scrapes of Prometheus from whoever reaches it.
func (s *Server) Metrics() http.Handler {
	return metrics.Handler(s.look, s.counts...)
}

// Count adds to the metrics what status does not show. It comes before Serve and Metrics.
func (s *Server) Count(more ...prometheus.Collector) { s.counts = more }

// look is the status of now.
func (s *Server) look() (*api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	f, err := s.daemon.Facts(ctx)
	if err != nil {
		return nil, err
	}
	return StatusOf(&f, s.now()), nil
}

// facts hands the daemon's knowledge to a handler.
func (s *Server) facts(h func(context.Context, *Facts, *http.Request) (any, error)) handler {
	return func(r *http.Request) (any, error) {
		f, err := s.daemon.Facts(r.Context())
		if err != nil {
			return nil, api.Errorf(api.CodeNotReady, "%v", err)
		}
		return h(r.Context(), &f, r)
	}
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var e *api.Error
		if !errors.As(err, &e) {
			e = api.Errorf(api.CodeRefused, "%v", err)
		}
		w.WriteHeader(e.Status)
		v = e
	}
	// A client that went away is not told; nobody else is concerned.
	_ = json.NewEncoder(w).Encode(v)
}

// body reads a request's JSON strictly; none at all is the zero value.
func body(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, mostBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return api.Errorf(api.CodeInvalid, "request: %v", err)
	}
	return nil
}

// ask puts a request to the core.
func (s *Server) ask(ctx context.Context, r cluster.Request, within time.Duration) (*api.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	reply, err := s.daemon.Ask(ctx, r)
	switch {
	case err != nil:
		return nil, api.Errorf(api.CodeUnknown, "no answer within %v: it may still take effect; look at `holdfast status` before you repeat it (%v)", within, err)
	case reply.Err != "":
		return nil, api.Errorf(api.CodeRefused, "%s", reply.Err)
	}
	return &api.Result{Version: api.Version, Text: reply.Text, State: reply.Ver}, nil
}

func (s *Server) token(r *http.Request) (any, error) {
	t, valid, err := s.daemon.Token(r.Context())
	if err != nil {
		return nil, api.Errorf(api.CodeNotReady, "join token: %v", err)
	}
	return &api.TokenReply{Version: api.Version, Token: t.String(), Expires: s.now().Add(valid).UTC(), Valid: api.Of(valid)}, nil
}

// events streams one event per line.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.role(r) < Read {
		answer(w, nil, api.Errorf(api.CodeForbidden, "the events need the role %s", Read))
		return
	}
	q, err := parseQuery(r)
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	if q.Follow && flush.Flush() != nil {
		return
	}
	out := json.NewEncoder(w)
	// The only failure is a client that went away.
	_ = s.store.Events(r.Context(), q, func(e api.Event) error {
		if err := out.Encode(e); err != nil || !q.Follow {
			return err
		}
		return flush.Flush()
	})
}

func parseQuery(r *http.Request) (api.EventQuery, error) {
	v := r.URL.Query()
	q := api.EventQuery{Kind: v.Get("kind"), Service: v.Get("service"), Node: v.Get("node"), Follow: v.Get("follow") == "1"}
	var err error
	if text := v.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return q, api.Errorf(api.CodeInvalid, "since=%s: want a time such as 2026-01-31T12:00:00Z", text)
		}
	}
	if text := v.Get("after"); text != "" {
		if q.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, api.Errorf(api.CodeInvalid, "after=%s: want an event's number", text)
		}
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 0 {
			return q, api.Errorf(api.CodeInvalid, "limit=%s: want a number", text)
		}
	}
	return q, nil
}
