package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoDaemon says that nothing listens on the socket.
var ErrNoDaemon = errors.New("holdfastd does not run here")

// Client talks to the local daemon. It is used by any number of goroutines.
type Client struct {
	http   *http.Client
	socket string
	of     string // a node whose daemon is asked through this one; empty: this one
}

// Of is a client of the daemon of another node, which is asked through this one.
// It answers Status, Timing, Events and Doctor. Close is the first client's.
func (c *Client) Of(node string) *Client { return &Client{http: c.http, socket: c.socket, of: node} }

// path is where a path of the API is reached.
func (c *Client) path(p string) string {
	if c.of == "" {
		return p
	}
	return strings.Replace(p, "/v1/", "/v1/of/"+url.PathEscape(c.of)+"/", 1)
}

// Doctor asks for what the doctor finds on the daemon's machine.
func (c *Client) Doctor(ctx context.Context) (json.RawMessage, error) {
	text, err := get[json.RawMessage](ctx, c, "/v1/doctor", nil)
	if err != nil {
		return nil, err
	}
	return *text, nil
}

// Dial makes a client of the daemon that listens on the Unix socket at path. It
// connects once, to say at once if nobody is there: the error wraps ErrNoDaemon
// where the socket is missing or dead, and os.ErrPermission where it may not be
// used.
func Dial(socket string) (*Client, error) {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s): start it with `systemctl start holdfastd`", ErrNoDaemon, socket)
	case err != nil:
		return nil, fmt.Errorf("holdfastd: %w", err)
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("holdfastd: %w", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, socket: socket}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks for the world as this node sees it.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Timing asks for the derived timeouts.
func (c *Client) Timing(ctx context.Context) (*Timing, error) {
	return get[Timing](ctx, c, "/v1/timing", nil)
}

// ExplainService asks why a service is where it is.
func (c *Client) ExplainService(ctx context.Context, name string) (*Explanation, error) {
	return get[Explanation](ctx, c, "/v1/explain/service/"+url.PathEscape(name), nil)
}

// ExplainNode asks why a node is what it is.
func (c *Client) ExplainNode(ctx context.Context, name string) (*Explanation, error) {
	return get[Explanation](ctx, c, "/v1/explain/node/"+url.PathEscape(name), nil)
}

// ExplainEvent asks what led to an event.
func (c *Client) ExplainEvent(ctx context.Context, id uint64) (*Explanation, error) {
	return get[Explanation](ctx, c, "/v1/explain/event/"+strconv.FormatUint(id, 10), nil)
}

// Config asks for a version of the configuration; 0 is the current one. Older
// ones come from this node's own copies.
func (c *Client) Config(ctx context.Context, version uint64) (*Config, error) {
	q := url.Values{}
	if version != 0 {
		q.Set("version", strconv.FormatUint(version, 10))
	}
	return get[Config](ctx, c, "/v1/config", q)
}

// History lists the versions of the configuration that this node has kept, the
// oldest first.
func (c *Client) History(ctx context.Context) ([]ConfigVersion, error) {
	list, err := get[[]ConfigVersion](ctx, c, "/v1/history", nil)
	if err != nil {
		return nil, err
	}
	return *list, nil
}

// Plan says what applying a configuration would do.
func (c *Client) Plan(ctx context.Context, r ApplyRequest) (*Plan, error) {
	r.DryRun = true
	return post[Plan](ctx, c, "/v1/config", r)
}

// Apply replaces the configuration.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (*Result, error) {
	r.DryRun = false
	return post[Result](ctx, c, "/v1/config", r)
}

// Service carries out a verb on a service.
func (c *Client) Service(ctx context.Context, name, verb string, r ServiceRequest) (*Result, error) {
	return post[Result](ctx, c, "/v1/service/"+url.PathEscape(name)+"/"+verb, r)
}

// Node carries out a verb on a node.
func (c *Client) Node(ctx context.Context, name, verb string, r NodeRequest) (*Result, error) {
	return post[Result](ctx, c, "/v1/node/"+url.PathEscape(name)+"/"+verb, r)
}

// Cluster carries out a verb on the whole cluster.
func (c *Client) Cluster(ctx context.Context, verb string, r ClusterRequest) (*Result, error) {
	return post[Result](ctx, c, "/v1/cluster/"+verb, r)
}

// Disks carries out a verb on the set of quorum disks.
func (c *Client) Disks(ctx context.Context, verb string, r DisksRequest) (*Result, error) {
	return post[Result](ctx, c, "/v1/disks/"+verb, r)
}

// Leave begins to take this node out of the cluster: its services are stopped
// or moved first. The daemon ends when that is done; Dial then fails with
// ErrNoDaemon.
func (c *Client) Leave(ctx context.Context) (*Result, error) {
	return post[Result](ctx, c, "/v1/leave", struct{}{})
}

// Upgrade has the newer programs of this node take over from the running guard
// and daemon. It returns when the guard has followed; the daemon does so then.
func (c *Client) Upgrade(ctx context.Context, r UpgradeRequest) (*Result, error) {
	return post[Result](ctx, c, "/v1/upgrade", r)
}

// Token makes a new join token; an older one that was not used is void.
func (c *Client) Token(ctx context.Context) (*TokenReply, error) {
	return post[TokenReply](ctx, c, "/v1/token", struct{}{})
}

// Events calls each for every event that fits, oldest first, and with q.Follow
// goes on until ctx ends or each fails, which is then the error.
func (c *Client) Events(ctx context.Context, q EventQuery, each func(Event) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://holdfast"+c.path("/v1/events")+"?"+q.values().Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return decodeError(resp)
	}
	d := json.NewDecoder(resp.Body)
	for {
		var e Event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set := func(name, text string) {
		if text != "" {
			v.Set(name, text)
		}
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	set("kind", q.Kind)
	set("service", q.Service)
	set("node", q.Node)
	return v
}

// failed tells a daemon that went away from other failures.
func (c *Client) failed(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (%s): %w", ErrNoDaemon, c.socket, err)
	}
	return err
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (*T, error) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return call[T](ctx, c, http.MethodGet, path, nil)
}

func post[T any](ctx context.Context, c *Client, path string, in any) (*T, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return call[T](ctx, c, http.MethodPost, path, body)
}

func call[T any](ctx context.Context, c *Client, method, path string, body []byte) (*T, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://holdfast"+c.path(path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out := new(T)
	if err := exchange(c.http, req, out); err != nil {
		return nil, c.failed(err)
	}
	return out, nil
}
