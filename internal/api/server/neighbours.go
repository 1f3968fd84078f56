package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// Around is what the server reaches beyond its daemon.
type Around struct {
	// Get asks the daemon of another node, by the first of its addresses that answers.
	Get func(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error)
	// Post asks it a question in JSON.
	Post func(ctx context.Context, addresses []netip.AddrPort, path string, question []byte) (*http.Response, error)
	// Fit says whether services could run here.
	Fit func(ctx context.Context, ask *api.FitRequest) *api.FitReply
	// Doctor is the doctor's report of this machine, as JSON.
	Doctor func(ctx context.Context) ([]byte, error)
	// Alerts tells the receivers of alerts, or those of that name or kind, that this
	// is a test.
	Alerts func(ctx context.Context, only string) ([]api.AlertTried, error)
	// Keys exchanges the cluster's key.
	Keys Keys
}

// Reach gives the server the other nodes and the doctor; it is called before Handler.
func (s *Server) Reach(a Around) { s.around = a }

// askable are the paths below /v1/ that one node answers another: what people want
// to see of all nodes. Nothing can be changed by them, and the configuration, which
// may hold passwords, is none of them. Only keys can be changed from another node
// (keysOf).
func askable() []string { return []string{"status", "timing", "events", "doctor", "drills"} }

// givenRole is the place of a role in a request's context that does not follow from
// the user at the other end of the socket.
type givenRole struct{}

// PeerHandler answers the daemons of other nodes, which have shown that they have the
// cluster's key.
func (s *Server) PeerHandler() http.Handler {
	h := s.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == fitPath && s.around.Fit != nil {
			s.judge(w, r)
			return
		}
		if s.keysOf(w, r) {
			return
		}
		what, is := strings.CutPrefix(r.URL.Path, "/v1/")
		if !is || r.Method != http.MethodGet || !slices.Contains(askable(), what) {
			answer(w, nil, api.Errorf(api.CodeForbidden, "%s %s: a node does not ask another one that", r.Method, r.URL.Path))
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), givenRole{}, Read)))
	})
}

// peerWithin bounds the wait for the first word of another node's answer.
const peerWithin = 2 * time.Minute

// neighbour has another node answer a request, whose answer it passes on as it comes.
func (s *Server) neighbour(w http.ResponseWriter, r *http.Request) {
	if have := s.role(r); have < Read {
		answer(w, nil, api.Errorf(api.CodeForbidden, "%s needs the role %s, you have %s: run it as root", r.URL.Path, Read, have))
		return
	}
	what, name := r.PathValue("what"), r.PathValue("node")
	if !slices.Contains(askable(), what) {
		answer(w, nil, api.Errorf(api.CodeNotFound, "%s: of another node there is %s", r.URL.Path, join(askable())))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	patience := time.AfterFunc(peerWithin, cancel)
	resp, err := s.askNode(ctx, name, "/v1/"+what+"?"+r.URL.RawQuery)
	patience.Stop()
	if err != nil {
		answer(w, nil, err)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	pass(w, resp.Body)
}

// askNode asks a node by its name.
func (s *Server) askNode(ctx context.Context, name, path string) (*http.Response, error) {
	f, err := s.daemon.Facts(ctx)
	if err != nil {
		return nil, api.Errorf(api.CodeNotReady, "%v", err)
	}
	if f.View.State == nil {
		return nil, api.Errorf(api.CodeNotReady, "the quorum disk was not read yet")
	}
	n := f.View.State.NodeNamed(name)
	switch {
	case n == nil:
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q", name)
	case s.around.Get == nil:
		return nil, api.Errorf(api.CodeNotReady, "this daemon asks no other nodes")
	}
	resp, err := s.around.Get(ctx, addressesOf(n), path)
	if err != nil {
		return nil, api.Errorf(api.CodeNotReady, "the daemon of %s does not answer by any of its links (TCP, on the ports of the heartbeats): %v", name, err)
	}
	return resp, nil
}

// addressesOf are where a node's daemon answers; one that does not parse is left out.
func addressesOf(n *cluster.NodeState) []netip.AddrPort {
	var list []netip.AddrPort
	for _, l := range n.Links {
		if a, err := netip.ParseAddrPort(l); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// pass copies an answer piece by piece, so that events that are followed come at once.
func pass(w http.ResponseWriter, from io.Reader) {
	flush := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, failed := w.Write(buf[:n]); failed != nil || flush.Flush() != nil {
				return // the client went away
			}
		}
		if err != nil {
			return // the end, or a node that went away: the client sees where it ends
		}
	}
}

// doctor is the doctor's report of this machine.
func (s *Server) doctor(r *http.Request) (any, error) {
	if s.around.Doctor == nil {
		return nil, api.Errorf(api.CodeNotReady, "this daemon has no doctor")
	}
	text, err := s.around.Doctor(r.Context())
	if err != nil {
		return nil, api.Errorf(api.CodeNotReady, "the doctor: %v", err)
	}
	return json.RawMessage(text), nil
}

// alertTest has the receivers of alerts told that this is a test.
func (s *Server) alertTest(r *http.Request) (any, error) {
	var q api.AlertTest
	if err := body(r, &q); err != nil {
		return nil, err
	}
	if s.around.Alerts == nil {
		return nil, api.Errorf(api.CodeNotReady, "this daemon tells nobody")
	}
	tried, err := s.around.Alerts(r.Context(), q.Receiver)
	if err != nil {
		return nil, api.Errorf(api.CodeNotReady, "%v", err)
	}
	return tried, nil
}
