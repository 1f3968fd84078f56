package metrics

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// write is set by who changes the table.
var write = flag.Bool("write", false, "write docs/METRICS.md anew")

func sec(s float64) *api.Seconds { v := api.Seconds(s); return &v }

func sample() *api.Status {
	return &api.Status{
		Version: 1, Health: api.Warning, Warnings: []string{"one"},
		Cluster:   api.ClusterInfo{Name: "hospital", State: 41, Config: 3, Membership: 7, Coordinator: "alpha"},
		Self:      api.Self{Name: "alpha", Build: "1.0", Lease: sec(5.5), Guard: "connected"},
		Nodes:     []api.Node{{Name: "alpha", Phase: "member"}, {Name: "beta", Phase: "out", Fencing: true, DiskAge: sec(4), NetAge: sec(5)}},
		Services:  []api.Service{{Name: "orders", State: "running", Node: "alpha", Term: 4}},
		Disks:     []api.Disk{{Path: "/dev/a", Age: sec(.2), Latency: .001}, {Index: 1, Path: "/dev/b", Error: "gone"}},
		Links:     []api.Link{{Peer: "beta", Up: true, Age: sec(.1)}},
		Watchdogs: []api.Watchdog{{Path: "/dev/watchdog0", Class: "qualified", Timeout: 2, TMax: 2.2}},
		Fencing:   []api.Readiness{{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works", Age: sec(3), Took: sec(.8), Tried: &api.Tally{Unknown: 2}}, {Way: "disk", State: "works", Stale: true}}}},
		Failover: api.Failover{
			Within: 10, Expected: []api.Expected{{Proof: "E3 time", Known: true, Typical: 8.9, Worst: 10}},
			Last: &api.Measured{Service: "orders", From: "beta", To: "alpha", Proof: "E3 time", Granted: 9.1, Time: time.Unix(1763800000, 0)},
		},
	}
}

// TestEveryMetric: each family of the table has a value in a status that has
// everything, and keeps the rules for names.
func TestEveryMetric(t *testing.T) {
	s := newSource(func() (*api.Status, error) { return sample(), nil })
	problems, err := testutil.CollectAndLint(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range table() {
		if testutil.CollectAndCount(s, m.name) == 0 {
			t.Errorf("%s has no value", m.name)
		}
	}
}

func TestScrape(t *testing.T) {
	scrape := func(status func() (*api.Status, error)) string {
		w := httptest.NewRecorder()
		Handler(status).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	text := scrape(func() (*api.Status, error) { return sample(), nil })
	for _, want := range []string{
		`holdfast_up 1`, `holdfast_health{health="warning"} 1`, `holdfast_health{health="ok"} 0`, `holdfast_node_fencing{node="beta"} 1`,
		`holdfast_service_owner{node="alpha",service="orders"} 1`, `holdfast_disk_up{disk="2",path="/dev/b"} 0`, `holdfast_lease_seconds 5.5`,
		`holdfast_fencing_way_works{node="beta",way="disk"} 0`, `holdfast_fencing_attempts{node="beta",outcome="unknown",way="bmc"} 2`, `holdfast_failover_expected_seconds{case="worst",proof="E3 time"} 10`,
		`ha_cluster_sbd_devices{device="/dev/b",status="unhealthy"} 1`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	text = scrape(func() (*api.Status, error) { return nil, errors.New("it ends") })
	if !strings.Contains(text, "holdfast_up 0") || strings.Contains(text, "holdfast_lease_seconds") {
		t.Errorf("a daemon that cannot say: %s", text)
	}
}

// table in docs/METRICS.md, between these lines, is the program's.
var marked = regexp.MustCompile(`(?s)(<!-- table: go test ./internal/metrics -write -->\n).*?(<!-- end of table -->)`)

func TestManualIsCurrent(t *testing.T) {
	const page = "../../docs/METRICS.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var now bytes.Buffer
	if err := Manual(&now); err != nil {
		t.Fatal(err)
	}
	want := marked.ReplaceAll(text, []byte("${1}"+now.String()+"${2}"))
	if !marked.Match(text) {
		t.Fatal("no place for the table")
	}
	if bytes.Equal(text, want) {
		return
	}
	if !*write {
		t.Fatal("docs/METRICS.md is out of date: go test ./internal/metrics -write")
	}
	if err := os.WriteFile(page, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestServe: an address of the machine answers scrapes, and one that is taken is
// named.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	h := Handler(func() (*api.Status, error) { return sample(), nil })
	if err := Serve(t.Context(), at, h); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := errors.Join(l.Close(), Serve(t.Context(), netip.AddrPort{}, h)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, at, h) }()
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := http.Get("http://" + at.String() + "/metrics")
		if err == nil {
			text, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(text), "holdfast_up 1") {
				t.Errorf("%v: %s", err, text)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens at %s: %v", at, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
