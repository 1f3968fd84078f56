package metrics

import (
	"bytes"
	"errors"
	"flag"
	"net/http/httptest"
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
		Version: 1, Health: api.Warning,
		Cluster:  api.ClusterInfo{Name: "hospital", State: 41, Config: 3, Membership: 7, Coordinator: "alpha"},
		Self:     api.Self{Name: "alpha", ID: 1, Build: "1.0", Lease: sec(5.5), LeaseLength: sec(6), Guard: "connected"},
		Nodes:    []api.Node{{Name: "alpha", Phase: "member"}, {Name: "beta", Phase: "out", Fencing: true, DiskAge: sec(4), NetAge: sec(5)}},
		Services: []api.Service{{Name: "orders", State: "running", Node: "alpha", Term: 4}},
		Disks:    []api.Disk{{Path: "/dev/a", Age: sec(.2), Latency: .001}, {Index: 1, Path: "/dev/b", Error: "gone"}},
		Links: []api.Link{
			{Peer: "beta", Local: "10.0.0.1:7320", Up: true, Age: sec(.1), Traffic: api.Traffic{Received: 9, Missed: 3}},
			{Peer: "gamma", Local: "10.0.0.1:7320"},
		},
		Watchdogs: []api.Watchdog{{Path: "/dev/watchdog0", Class: "qualified", Timeout: 2, TMax: 2.2}},
		Fencing:   []api.Readiness{{Node: "beta", Ways: []api.Way{{Way: "bmc", State: "works", Age: sec(3), Took: sec(.8), Tried: &api.Tally{Unknown: 2}}, {Way: "disk", State: "works", Stale: true}}}, {Node: "alpha", Ways: []api.Way{{Way: "bmc", State: "not checked yet"}}}},
		Failover: api.Failover{
			Within: 10, Expected: []api.Expected{{Proof: "E3 time", Known: true, Typical: 8.9, Worst: 10}},
			Last: &api.Measured{Service: "orders", From: "beta", To: "alpha", Proof: "E3 time", Granted: 9.1, Time: time.Unix(1763800000, 0)},
		},
		Notes: api.Notes{Warnings: []string{"one"}, Drills: &api.Drills{Last: []api.DrillRecord{
			{Kind: api.DrillMove, Time: time.Unix(1763800100, 0), OK: true, Predicted: sec(.5), Measured: sec(.7), Bound: sec(1)},
			{Kind: api.DrillFence, Node: "beta", Time: time.Unix(1763800050, 0)},
			{Kind: api.DrillFence, Node: "gamma", Time: time.Unix(1763800000, 0), OK: true},
		}, Overdue: []string{api.DrillFence, api.DrillCutDisk}}},
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
		`holdfast_fencing_way_works{node="beta",way="disk"} 0`, `holdfast_fencing_attempts_total{node="beta",outcome="unknown",way="bmc"} 2`, `# TYPE holdfast_fencing_attempts_total counter`, `holdfast_failover_expected_seconds{case="worst",proof="E3 time"} 10`,
		`ha_cluster_sbd_devices{device="/dev/b",status="unhealthy"} 1`, `ha_cluster_pacemaker_nodes{node="beta",status="unclean",type="member"} 1`,
		`ha_cluster_pacemaker_resources{agent="holdfast:service",clone="",group="",managed="true",node="alpha",resource="orders",role="started",status="active"} 1`,
		`ha_cluster_corosync_rings{address="10.0.0.1",node_id="1",number="0",ring_id="7"} 0`, `ha_cluster_corosync_ring_errors 1`, `ha_cluster_corosync_quorate 1`,
		`holdfast_link_messages_total{fate="missed",link="1",peer="beta"} 3`, `process_resident_memory_bytes`,
		`holdfast_drill_last_time_seconds{kind="fence"} 1.76380005e+09`, `holdfast_drill_ok{kind="fence"} 0`, `holdfast_drill_ok{kind="move"} 1`, `holdfast_drill_overdue{kind="cut-disk"} 1`,
		`holdfast_drill_overdue{kind="move"} 0`, `holdfast_drill_running 0`, `holdfast_drill_seconds{kind="move",what="measured"} 0.7`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, `holdfast_drill_ok{kind="cut-disk"}`) {
		t.Error("a drill that nobody has run has a verdict")
	}
	if strings.Contains(text, `holdfast_fencing_way_works{node="alpha"`) {
		t.Error("a way that nobody has checked counts as broken")
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
