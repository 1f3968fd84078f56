// Package enlist is the join service: it lets a new node into the cluster, once
// for each token, over TLS that the token pins (the exchange is in package api).
//
// It answers only while a token is outstanding; the port is that of a door which
// other nodes use too (package peers). Before a node is entered into the
// membership it must have proven that it sees the same disks: it has found the
// nonce that this node left on each of them, through its own path, and this node
// finds the one that the new node left.
package enlist

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
)

// Valid is how long a token can be used.
const Valid = time.Hour

// clockSkew is how far the wall clocks of two nodes may differ: nothing is
// decided by them, but logs and certificates would make no sense.
const clockSkew = time.Minute

// Cluster is what the service needs of the node that it runs on.
type Cluster interface {
	// State is the committed state, and this node.
	State(ctx context.Context) (*cluster.State, error)
	// Ask puts a request to the core and waits for the reply.
	Ask(ctx context.Context, r cluster.Request) (cluster.Reply, error)
	// Leave writes a nonce into this node's own probe sector of a disk.
	Leave(ctx context.Context, disk int, nonce [32]byte) error
	// Find reads the nonce of a node's probe sector; ok is false if there is none.
	Find(ctx context.Context, disk int, node ident.NodeID) (nonce [32]byte, ok bool, err error)
}

// Settings is what does not change.
type Settings struct {
	Self      ident.NodeID
	Name      string // of the cluster
	ID        ident.UUID
	KeyFile   string           // is given to the new node
	Addresses []netip.AddrPort // to listen on; those that fail are left out
	DiskPaths []string
	Layout    func() (sector, nmax int, ok bool) // of the quorum disks, once one was opened
	Wall      func() time.Time
	Log       zerolog.Logger
	// Hold keeps the cluster's key as it is until release is called, or fails.
	Hold func() (release func(), err error)
	// Listen waits for strangers on one of the addresses, until it is closed.
	Listen func(netip.AddrPort) (net.Listener, error)
}

// Service lets nodes in.
type Service struct {
	set     Settings
	cluster Cluster
	orders  chan *pass

	mu   sync.Mutex
	pass *pass // under mu; nil: none is outstanding
}

// pass is a token that is outstanding, and what was done with it.
type pass struct {
	token     api.Token
	cert      tls.Certificate
	listeners []net.Listener

	mu    sync.Mutex
	offer *offer // under mu
	used  bool   // under mu: the node is entered
}

// New makes a service that lets nobody in yet.
func New(set Settings, c Cluster) *Service {
	return &Service{set: set, cluster: c, orders: make(chan *pass)}
}

// Issue makes a token and begins to listen for whoever has it. An older token is
// void.
func (s *Service) Issue(ctx context.Context) (api.Token, error) {
	p := &pass{}
	if err := p.certify(s.set.Wall()); err != nil {
		return api.Token{}, fmt.Errorf("join token: %w", err)
	}
	if _, err := rand.Read(p.token.Secret[:]); err != nil {
		return api.Token{}, fmt.Errorf("join token: %w", err)
	}
	s.retire()
	var failed []error
	for _, a := range s.set.Addresses {
		l, err := s.set.Listen(a)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		p.token.Addresses = append(p.token.Addresses, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		p.listeners = append(p.listeners, tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.cert}}))
	}
	if len(p.listeners) == 0 {
		return api.Token{}, fmt.Errorf("join token: no link address can be listened on: %w", errors.Join(failed...))
	}
	select {
	case s.orders <- p:
		return p.token, nil
	case <-ctx.Done():
		p.close()
		return api.Token{}, fmt.Errorf("join token: %w", ctx.Err())
	}
}

// retire ends the outstanding token, so that its addresses are free.
func (s *Service) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pass != nil {
		s.pass.close()
		s.pass = nil
	}
}

func (p *pass) close() {
	for _, l := range p.listeners {
		_ = l.Close() // closing twice is harmless
	}
}

// Run is the task that answers, one token after the other, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.retire()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-s.orders:
			s.mu.Lock()
			s.pass = p
			s.mu.Unlock()
			s.serve(ctx, p)
		}
	}
}

// serve answers while the token is good: until it was used, replaced, or its
// hour is over.
func (s *Service) serve(ctx context.Context, p *pass) {
	ctx, cancel := context.WithTimeout(ctx, Valid)
	defer cancel()
	done := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /join", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /join/begin", func(w http.ResponseWriter, r *http.Request) { reply(w, r, p, s.begin) })
	mux.HandleFunc("POST /join/finish", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, p, s.finish)
		if p.isUsed() {
			select {
			case done <- struct{}{}:
			default:
			}
		}
	})
	h := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		ErrorLog:    log.New(s.set.Log, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var wait sync.WaitGroup
	for _, l := range p.listeners {
		wait.Go(func() { // task "join service": ends with its listener
			_ = h.Serve(l) // its error is that the listener was closed
			select {
			case done <- struct{}{}:
			default:
			}
		})
	}
	s.set.Log.Info().Int("addresses", len(p.listeners)).Msg("a join token is outstanding; the join service listens")
	select {
	case <-ctx.Done():
	case <-done:
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if h.Shutdown(last) != nil {
		_ = h.Close() // a client that does not go away
	}
	wait.Wait()
	s.set.Log.Info().Bool("used", p.isUsed()).Msg("the join token is void; the join service ends")
}

func (p *pass) isUsed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// certify makes the self-signed certificate that the token pins.
func (p *pass) certify(now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-clockSkew), NotAfter: now.Add(Valid + clockSkew),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	p.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	p.token.Fingerprint = sha256.Sum256(der)
	return nil
}
