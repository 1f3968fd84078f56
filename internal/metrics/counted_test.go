package metrics

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/guardwire/gauge"
)

// full is something of everything.
func full() *Counted {
	c := NewCounted()
	c.Beat(0, 3*time.Millisecond, time.Millisecond)
	c.BeatFailed(1)
	c.Heard("link 1", 250*time.Millisecond)
	c.Register(0, "write", 4*time.Millisecond, true)
	c.Register(0, "body", 4*time.Millisecond, false)
	c.Committed(2)
	c.Operation("orders", "start", "ok", 2*time.Second)
	c.Attempt("bmc", "off", "proven", time.Second)
	c.Granted("E3 time", 4*time.Second)
	c.Started("E3 time", 6*time.Second)
	return c
}

// machine makes the files of a kernel that tells everything, and of one service.
func machine(t *testing.T) *Host {
	t.Helper()
	proc, services := t.TempDir(), t.TempDir()
	const psi = "some avg10=1.00 avg60=0.00 avg300=0.00 total=5000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"
	for name, text := range map[string]string{
		filepath.Join(proc, "stat"):            "cpu  200 0 300 4000 50 0 0 0 0 0\ncpu0 1 2 3\n",
		filepath.Join(proc, "meminfo"):         "MemTotal:  1000 kB\nMemFree: 5 kB\nMemAvailable:   400 kB\n",
		filepath.Join(proc, "pressure/io"):     psi,
		filepath.Join(proc, "pressure/cpu"):    psi,
		filepath.Join(proc, "pressure/memory"): psi,
		filepath.Join(proc, "41/status"):       "Name:\tx\nVmRSS:\t  30 kB\n",
		filepath.Join(proc, "42/status"):       "Name:\tx\nVmRSS:\t  12 kB\n",

		filepath.Join(services, "orders/cpu.stat"):                  "usage_usec 1500000\nuser_usec 1\n",
		filepath.Join(services, "orders/cgroup.procs"):              "",
		filepath.Join(services, "orders/7/run/server/cgroup.procs"): "41\n42\n",
		filepath.Join(services, "orders/io.pressure"):               psi,
		filepath.Join(services, "reports/memory.current"):           "8192\n",
		filepath.Join(services, "reports/3/run/x/cgroup.procs"):     "41\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Host{Proc: proc, Services: services}
}

// fed is the file of a guard that has fed its watchdog at these instants.
func fed(t *testing.T, at ...time.Duration) *Guard {
	t.Helper()
	var m gauge.Meter
	for _, a := range at {
		m.Fed(0, int64(a))
		m.Lease(int64(a+3*time.Second), int64(a))
	}
	run := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	gauge.Keep(ctx, run, &m)
	return &Guard{Run: run, Dogs: func() []string { return []string{"/dev/watchdog0"} }}
}

// families are the names of a scrape, but for those of the process.
var families = regexp.MustCompile(`(?m)^# TYPE ((?:holdfast|ha_cluster)_\S+) (\S+)$`)

// TestAll: what a scrape of a node exports that has something of everything is what
// the manual describes, by name and type, and no more.
func TestAll(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(func() (*api.Status, error) { return sample(), nil }, full(), machine(t), fed(t, time.Second, 1100*time.Millisecond)).
		ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var exported, described []string
	for _, m := range families.FindAllStringSubmatch(w.Body.String(), -1) {
		exported = append(exported, m[1]+" "+m[2])
	}
	for _, d := range all() {
		described = append(described, d.name+" "+d.kind)
		if d.help == "" || strings.HasSuffix(d.name, "_total") != (d.kind == "counter") {
			t.Errorf("%s, a %s: %q", d.name, d.kind, d.help)
		}
	}
	slices.Sort(exported)
	slices.Sort(described)
	if !slices.Equal(exported, described) {
		t.Errorf("exported:\n%s\ndescribed:\n%s", strings.Join(exported, "\n"), strings.Join(described, "\n"))
	}
	for _, want := range []string{
		`holdfast_disk_beat_seconds_bucket{disk="1",le="0.0025"} 0`, `holdfast_disk_beat_seconds_bucket{disk="1",le="0.005"} 1`, `holdfast_disk_read_seconds_count{disk="1"} 1`,
		`holdfast_disk_failures_total{disk="2",request="beat"} 1`, `holdfast_disk_failures_total{disk="1",request="body"} 1`, `holdfast_register_commits_total 2`,
		`holdfast_operations_total{operation="start",outcome="ok",service="orders"} 1`, `holdfast_operation_last_seconds{operation="start",service="orders"} 2`,
		`holdfast_fence_seconds_sum{attempt="off",outcome="proven",way="bmc"} 1`, `holdfast_failover_granted_seconds_sum{proof="E3 time"} 4`,
		`holdfast_feed_gap_seconds_bucket{device="/dev/watchdog0",le="0.1"} 1`, `holdfast_feed_gap_longest_seconds{device="/dev/watchdog0"} 0.1`, `holdfast_lease_margin_least_seconds 2.9`,
		`holdfast_host_cpu_seconds_total{mode="idle"} 40`, `holdfast_host_memory_bytes{kind="available"} 409600`, `holdfast_host_pressure_seconds_total{tasks="full",want="io"} 2`,
		`holdfast_service_cpu_seconds_total{service="orders"} 1.5`, `holdfast_service_processes{service="orders"} 2`,
		`holdfast_service_memory_bytes{service="orders"} 43008`, `holdfast_service_memory_bytes{service="reports"} 8192`, `holdfast_service_pressure_seconds_total{service="orders",tasks="some",want="io"} 5`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %q", want)
		}
	}
}

// TestSilent: where kernel and guard tell nothing, nothing is told.
func TestSilent(t *testing.T) {
	nothing := &Host{Proc: t.TempDir(), Services: filepath.Join(t.TempDir(), "none")}
	if n := testutil.CollectAndCount(nothing); n != 0 {
		t.Errorf("%d figures of no kernel", n)
	}
	if n := testutil.CollectAndCount(&Guard{Run: t.TempDir(), Dogs: func() []string { return nil }}); n != 0 {
		t.Errorf("%d figures of no guard", n)
	}
}
