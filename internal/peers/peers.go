// Package peers lets the daemons of a cluster ask each other what people want to
// see of all nodes at once: statuses, events, the doctor's findings. Nothing is
// decided by it, no safety rests on it, and all that a node can change on another is
// the cluster's key itself, step by step (package keyring of the daemon).
//
// It is HTTP over TLS 1.3 on the TCP ports of the heartbeat links. Both ends show
// the same key, which is derived from the cluster key: who has that is a node, as
// on the quorum disks and for the heartbeats. The join service for strangers, who
// have no key yet but a token, stands behind the same door (Door): nodes begin with
// a preface, strangers with their TLS.
package peers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is what a node shows and accepts. It may be used by several goroutines.
type Identity struct {
	now atomic.Pointer[shown]

	mu      sync.Mutex
	changed []func() // under mu: called when it shows or accepts something else
}

// shown is an identity by the keys of one moment.
type shown struct {
	cert     tls.Certificate
	accepted []ed25519.PublicKey
}

// info separates the key of this use from all others that are derived from the
// cluster key (RFC 5869).
const info = "holdfast daemons asking each other, version 1"

// NewIdentity derives an identity from the cluster key. previous is accepted as
// well unless it is zero: while a key is exchanged, a peer may show the other one.
func NewIdentity(current, previous [32]byte) (*Identity, error) {
	id := &Identity{}
	return id, id.Set(current, previous)
}

// Set exchanges the keys. Connections that were made before go on for as long as the
// key that the other end has shown is accepted.
func (id *Identity) Set(current, previous [32]byte) error {
	key, err := derive(current)
	if err != nil {
		return err
	}
	now := &shown{accepted: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}}
	if previous != ([32]byte{}) {
		other, err := derive(previous)
		if err != nil {
			return err
		}
		now.accepted = append(now.accepted, other.Public().(ed25519.PublicKey))
	}
	// Nobody looks at the dates: the key is what is compared, and it ends when it is exchanged.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key) // Ed25519 signs without chance
	if err != nil {
		return fmt.Errorf("certificate of the cluster key: %w", err)
	}
	now.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	id.now.Store(now)
	id.mu.Lock()
	defer id.mu.Unlock()
	for _, f := range id.changed {
		f()
	}
	return nil
}

// knows says whether the other end has shown a key that is accepted now.
func (id *Identity) knows(s *tls.ConnectionState) bool {
	if s == nil || len(s.PeerCertificates) != 1 {
		return false
	}
	shown, is := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	for _, a := range id.now.Load().accepted {
		if is && subtle.ConstantTimeCompare(shown, a) == 1 {
			return true
		}
	}
	return false
}

// guarded asks with every request what the handshake asked: a connection that was
// made with a key which is no longer accepted is over.
func (id *Identity) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !id.knows(r.TLS) {
			w.Header().Set("Connection", "close")
			http.Error(w, ErrStranger.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func derive(key [32]byte) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, key[:], nil, info, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive from the cluster key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// ErrStranger says that the other end does not have the cluster's key.
var ErrStranger = errors.New("the other end does not have this cluster's key")

// config is for both ends: the names and dates in certificates mean nothing, their
// key does. A clock that is wrong, by any number of years, shuts nobody out.
func (id *Identity) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &id.now.Load().cert, nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.now.Load().cert, nil },
		InsecureSkipVerify:   true, // VerifyConnection takes its place
		VerifyConnection: func(s tls.ConnectionState) error {
			if !id.knows(&s) {
				return ErrStranger
			}
			return nil
		},
	}
}

// preface is how a node begins; TLS begins with the byte 22.
const preface = "HFPEER1\n"

// dialWithin bounds one attempt to reach a peer by one of its addresses.
const dialWithin = 3 * time.Second

// Client asks other nodes. It may be used by several goroutines.
type Client struct {
	http *http.Client
}

// NewClient makes a client with the node's identity.
func NewClient(id *Identity) *Client {
	conf := id.config()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialWithin)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if deadline, has := ctx.Deadline(); has {
			_ = c.SetWriteDeadline(deadline)
		}
		_, err = c.Write([]byte(preface))
		t := tls.Client(c, conf)
		if err == nil {
			err = t.HandshakeContext(ctx)
		}
		_ = c.SetWriteDeadline(time.Time{})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return t, nil
	}
	c := &Client{&http.Client{Transport: &http.Transport{DialTLSContext: dial, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}}}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.changed = append(id.changed, c.Close) // the next question shows the new key
	return c
}

// Get asks the node behind the addresses, one after the other until one answers.
// The caller closes the answer's body.
func (c *Client) Get(ctx context.Context, addresses []netip.AddrPort, path string) (*http.Response, error) {
	return c.ask(ctx, http.MethodGet, addresses, path, nil)
}

// Post is Get with a question in JSON. It may reach the node more than once.
func (c *Client) Post(ctx context.Context, addresses []netip.AddrPort, path string, question []byte) (*http.Response, error) {
	return c.ask(ctx, http.MethodPost, addresses, path, question)
}

func (c *Client) ask(ctx context.Context, method string, addresses []netip.AddrPort, path string, question []byte) (*http.Response, error) {
	failed := []error{}
	for _, a := range addresses {
		if !a.IsValid() {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, method, "https://"+a.String()+path, bytes.NewReader(question))
		if err != nil {
			return nil, err
		}
		resp, err := c.http.Do(req)
		if err == nil {
			return resp, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 0 {
		return nil, errors.New("no address of it is known")
	}
	return nil, errors.Join(failed...)
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
