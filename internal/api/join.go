package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// JoinVersion is the version of the exchange below. Nodes that differ in it
// cannot join each other.
const JoinVersion = 1

// mostJoin bounds a message of the exchange, bytes.
const mostJoin = 1 << 20

// A node joins in two steps, over TLS that is pinned by the token:
//
//	POST /join/begin   JoinRequest -> JoinOffer
//	POST /join/finish  JoinProof   -> JoinDone
//
// Between the two both sides prove that they see the same disks: the cluster's
// node has written a nonce into its own probe sector on each of them, the new
// node finds it there through its own path, and leaves a nonce of its own in the
// probe sector of the slot that it was offered. Only then is it entered into the
// membership.

// JoinRequest is what a new node says of itself.
type JoinRequest struct {
	Version int       `json:"version"`
	Build   string    `json:"build"`
	Secret  string    `json:"secret"` // of the token, hexadecimal
	Name    string    `json:"name"`
	Host    string    `json:"host"`  // UUID
	Links   []string  `json:"links"` // its own address:port on each heartbeat network
	Disks   []string  `json:"disks"` // UUIDs of the quorum disks that it found; may be empty
	Time    time.Time `json:"time"`  // its wall clock
	// Switch is where its power switch is, for the other nodes: a reference, # and
	// the GUID that answered there. It holds no secret.
	Switch string `json:"switch,omitempty"`
}

// JoinOffer is everything that the new node needs to write its files.
type JoinOffer struct {
	Version int        `json:"version"`
	Session string     `json:"session"`
	Cluster JoinRef    `json:"cluster"`
	Key     string     `json:"key"`       // the cluster's key file: text
	ID      int        `json:"id"`        // the slot that is kept for it
	Server  int        `json:"server_id"` // whose probe sectors hold the nonces
	Sector  int        `json:"sector"`    // layout of the quorum disks: bytes
	Nmax    int        `json:"nmax"`      // and slots
	Disks   []JoinDisk `json:"disks"`     // in the order of the set
	Peers   []JoinPeer `json:"peers"`
}

// JoinRef names the cluster.
type JoinRef struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Epoch uint32 `json:"epoch,omitempty"` // of the set of quorum disks
}

// JoinDisk is one quorum disk and the nonce that the server has left on it.
type JoinDisk struct {
	ID    string `json:"id"`
	Path  string `json:"path"`  // on the server
	Nonce string `json:"nonce"` // 32 bytes, hexadecimal
}

// JoinPeer is a node that is in already.
type JoinPeer struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Links []string `json:"links"`
}

// JoinProof says that the nonces were found, and which ones were left.
type JoinProof struct {
	Session string            `json:"session"`
	Secret  string            `json:"secret"`
	Nonces  map[string]string `json:"nonces"` // by disk UUID: what stands in the new node's probe sector now
}

// JoinDone says that the node is entered.
type JoinDone struct {
	ID    int    `json:"id"`
	State uint64 `json:"state_version"`
}

// JoinClient is the new node's side of the exchange.
type JoinClient struct {
	http   *http.Client
	base   string
	secret string
}

// DialJoin connects to the first address of the token that answers with the
// token's certificate. The error says of each address why it did not.
func DialJoin(ctx context.Context, t Token) (*JoinClient, error) {
	var failed []error
	for _, a := range t.Addresses {
		c := &JoinClient{
			base: "https://" + a.String(), secret: hex.EncodeToString(t.Secret[:]),
			http: &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(t.Fingerprint)}, Timeout: 30 * time.Second},
		}
		if err := c.reach(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", a, err))
			continue
		}
		return c, nil
	}
	return nil, fmt.Errorf("no answer from the node that gave the token (is it up, is the token younger than an hour and unused, does a firewall drop TCP on the heartbeat port?): %w", errors.Join(failed...))
}

// pinned accepts the one certificate that the token names, and TLS 1.3 only.
// There is no authority to ask: the token came by another way.
func pinned(fingerprint [fingerSize]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyPeerCertificate below is stricter
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errors.New("the join service shows no certificate")
			}
			have := sha256.Sum256(raw[0])
			if subtle.ConstantTimeCompare(have[:], fingerprint[:]) != 1 {
				return errors.New("another certificate than the token names: not the node that gave the token, or an older token")
			}
			return nil
		},
	}
}

func (c *JoinClient) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/join", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Begin asks for an offer. It fills in version and secret.
func (c *JoinClient) Begin(ctx context.Context, r JoinRequest) (*JoinOffer, error) {
	r.Version, r.Secret = JoinVersion, c.secret
	var offer JoinOffer
	if err := c.post(ctx, "/join/begin", r, &offer); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return &offer, nil
}

// Finish reports that the server's nonces were found, and which ones stand in
// the new node's probe sectors. It fills in the secret.
func (c *JoinClient) Finish(ctx context.Context, p JoinProof) (*JoinDone, error) {
	p.Secret = c.secret
	var done JoinDone
	if err := c.post(ctx, "/join/finish", p, &done); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return &done, nil
}

// Close ends the connection.
func (c *JoinClient) Close() { c.http.CloseIdleConnections() }

func (c *JoinClient) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	return exchange(c.http, req, out)
}

// exchange sends a request and decodes the answer, or the Error in it.
func exchange(client *http.Client, req *http.Request, out any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return decodeError(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64*mostJoin)).Decode(out); err != nil {
		return fmt.Errorf("%s: answer: %w", req.URL.Path, err)
	}
	return nil
}

func decodeError(resp *http.Response) error {
	e := &Error{}
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostJoin))
	if err != nil || json.Unmarshal(text, e) != nil || e.Message == "" {
		e = &Error{Code: CodeNotReady, Message: fmt.Sprintf("%s: %s", resp.Status, bytes.TrimSpace(text))}
	}
	e.Status = resp.StatusCode
	return e
}
