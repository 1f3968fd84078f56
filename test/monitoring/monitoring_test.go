// Package monitoring holds the dashboard and the alerting rules against the metrics
// that the daemons serve, with the real promtool.
package monitoring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/guardwire/gauge"
	"github.com/holdfast-ha/holdfast/internal/metrics"
)

const (
	rulesFile     = "../../packaging/monitoring/holdfast.rules.yml"
	dashboardFile = "../../packaging/monitoring/holdfast.dashboard.json"
	manual        = "../../docs/manual/monitor.md"
)

func sec(s float64) *api.Seconds { v := api.Seconds(s); return &v }

// healthy is what a node of a cluster that lacks nothing says.
func healthy(self string) *api.Status {
	other := map[string]string{"alpha": "beta", "beta": "alpha"}[self]
	return &api.Status{
		Version: 1, Health: api.Healthy, Cluster: api.ClusterInfo{Name: "hospital", State: 41, Config: 3, Membership: 7, Coordinator: "alpha"},
		Self:      api.Self{Name: self, Build: "1.0", Lease: sec(5.5), LeaseLength: sec(6), Guard: "connected"},
		Nodes:     []api.Node{{Name: "alpha", Phase: "member", DiskAge: sec(.2), NetAge: sec(.1)}, {Name: "beta", Phase: "member", DiskAge: sec(.2), NetAge: sec(.1)}},
		Services:  []api.Service{{Name: "orders", State: "running", Node: "alpha", Term: 4}},
		Disks:     []api.Disk{{Path: "/dev/a", Age: sec(.2), Latency: .001}},
		Links:     []api.Link{{Peer: other, Up: true, Age: sec(.1)}},
		Watchdogs: []api.Watchdog{{Path: "/dev/watchdog0", Class: "qualified", Timeout: 2, TMax: 2.2}},
		Fencing:   []api.Readiness{{Node: other, Ways: []api.Way{{Way: "bmc", State: "works", Age: sec(3), Took: sec(.8), Tried: &api.Tally{Proven: 2}}}}},
		Failover: api.Failover{
			Within: 10, Expected: []api.Expected{{Proof: "E3 time", Known: true, Typical: 8.9, Worst: 10}},
			Last: &api.Measured{Service: "orders", From: "beta", To: "alpha", Proof: "E3 time", Granted: 9.1, Time: time.Unix(60, 0)},
		},
		Notes: api.Notes{Drills: &api.Drills{Every: 90 * 86400, Last: []api.DrillRecord{{Kind: api.DrillMove, Service: "orders", Time: time.Unix(60, 0), OK: true, Predicted: sec(.5), Measured: sec(.6), Bound: sec(1)}}}},
	}
}

// fault is something wrong at alpha: with what it says (nil: it says nothing at all), or
// with what it has counted.
type fault struct {
	says   func(s *api.Status) *api.Status
	series map[string]string // by name, in the notation of promtool
}

func in(change func(*api.Status)) fault {
	return fault{says: func(s *api.Status) *api.Status { change(s); return s }}
}

// grows is a series that grows by so much a minute.
func grows(series string, by float64) fault {
	return fault{series: map[string]string{series: fmt.Sprintf("0+%gx%d", by, samples-1)}}
}

// faults has what each rule is for.
func faults() map[string]fault {
	return map[string]fault{
		"HoldfastDown":                 {says: func(*api.Status) *api.Status { return nil }},
		"HoldfastCritical":             in(func(s *api.Status) { s.Health = api.Critical }),
		"HoldfastServiceDown":          in(func(s *api.Status) { s.Services[0].State = "broken" }),
		"HoldfastNodeFenced":           in(func(s *api.Status) { s.Nodes[0].Fencing = true }),
		"HoldfastNodeOut":              in(func(s *api.Status) { s.Nodes[0].Phase = "out" }),
		"HoldfastQuorumDiskDown":       in(func(s *api.Status) { s.Disks[0].Error = "gone" }),
		"HoldfastQuorumDiskSlow":       in(func(s *api.Status) { s.Disks[0].Latency = 1.5 }),
		"HoldfastLeaseShort":           in(func(s *api.Status) { s.Self.Lease = sec(1.2) }),
		"HoldfastLinkDown":             in(func(s *api.Status) { s.Links[0].Up = false }),
		"HoldfastFencingBroken":        in(func(s *api.Status) { s.Fencing[0].Ways[0].State = "failed" }),
		"HoldfastGuardGone":            in(func(s *api.Status) { s.Self.Guard = "gone" }),
		"HoldfastWarnings":             in(func(s *api.Status) { s.Warnings = []string{"one"} }),
		"HoldfastTookOver":             in(func(s *api.Status) { s.Failover.Last.Time = time.Unix(5000, 0) }), // the test looks at 5700
		"HoldfastVersionsDiffer":       in(func(s *api.Status) { s.Self.Build = "1.1" }),
		"HoldfastConfigurationsDiffer": in(func(s *api.Status) { s.Cluster.Config = 4 }),
		"HoldfastNoLease":              in(func(s *api.Status) { s.Self.Lease = nil }),
		"HoldfastQuorumDiskFailing":    grows(`holdfast_disk_failures_total{instance="alpha",disk="1",request="beat"}`, 2),
		"HoldfastFedLate":              {series: map[string]string{`holdfast_feed_gap_longest_seconds{instance="alpha",device="/dev/watchdog0"}`: fmt.Sprintf("1.2+0x%d", samples-1)}},
		"HoldfastOperationFailed":      grows(`holdfast_operations_total{instance="alpha",operation="stop",outcome="unknown",service="orders"}`, .1),
		"HoldfastFencingFailed":        grows(`holdfast_fencing_attempts_total{instance="alpha",node="beta",outcome="unknown",way="bmc"}`, .1),
		"HoldfastDrillFailed":          in(func(s *api.Status) { s.Drills.Last[0].OK = false }),
		"HoldfastDrillOverdue":         in(func(s *api.Status) { s.Drills.Overdue = []string{api.DrillFence} }),
		"HoldfastStalled":              grows(`holdfast_host_pressure_seconds_total{instance="alpha",tasks="full",want="io"}`, 30),
	}
}

// rule is what is read of a rule.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("%d groups, %v", len(file.Groups), err)
	}
	return file.Groups[0].Rules
}

// sample is one series of a scrape.
var sample = regexp.MustCompile(`(?m)^((?:holdfast|ha_cluster)_[a-z_]+)(?:\{(.*)\})? (\S+)$`)

// counts is what a daemon, its guard and its kernel count where there is something of
// everything.
func counts(t *testing.T) []prometheus.Collector {
	t.Helper()
	c := metrics.NewCounted()
	c.Beat(0, 3*time.Millisecond, time.Millisecond)
	c.BeatFailed(0)
	c.Heard("link 1", 250*time.Millisecond)
	c.Register(0, "write", 4*time.Millisecond, true)
	c.Committed(2)
	c.Operation("orders", "start", "ok", 2*time.Second)
	c.Attempt("bmc", "check", "proven", time.Second)
	c.Granted("E3 time", 4*time.Second)
	c.Started("E3 time", 6*time.Second)
	var m gauge.Meter
	for at := range int64(3) {
		m.Fed(0, (at+1)*1e8)
		m.Lease((at+30)*1e8, (at+1)*1e8)
	}
	run, proc, services := t.TempDir(), t.TempDir(), t.TempDir()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	gauge.Keep(done, run, &m)
	const stalled = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n"
	for file, text := range map[string]string{
		proc + "/stat": "cpu  2 0 3 40 5 0 0 0\n", proc + "/meminfo": "MemTotal: 10 kB\nMemAvailable: 4 kB\n", proc + "/pressure/io": stalled,
		services + "/orders/cpu.stat": "usage_usec 15\n", services + "/orders/memory.current": "81\n", services + "/orders/io.pressure": stalled,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []prometheus.Collector{
		c, &metrics.Guard{Run: run, Dogs: func() []string { return []string{"/dev/watchdog0"} }}, &metrics.Host{Proc: proc, Services: services},
	}
}

// scrape gives the series that a daemon serves, with the label of its instance.
func scrape(t *testing.T, self string, s *api.Status) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(func() (*api.Status, error) {
		if s == nil {
			return nil, errors.New("it ends")
		}
		return s, nil
	}, counts(t)...).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	series := map[string]string{}
	for _, m := range sample.FindAllStringSubmatch(w.Body.String(), -1) {
		labels := `instance="` + self + `"`
		if m[2] != "" {
			labels += "," + m[2]
		}
		series[m[1]+"{"+labels+"}"] = m[3]
	}
	return series
}

// samples is how many a test has, one every minute.
const samples = 100

// inputs are the series of both nodes, with the fault on alpha.
func inputs(t *testing.T, f fault) []map[string]string {
	t.Helper()
	var list []map[string]string
	for _, self := range []string{"alpha", "beta"} {
		says := scrape(t, self, healthy(self))
		if self == "alpha" && f.says != nil {
			says = scrape(t, self, f.says(healthy(self)))
		}
		for _, name := range slices.Sorted(maps.Keys(says)) {
			if f.series[name] == "" {
				list = append(list, map[string]string{"series": name, "values": fmt.Sprintf("%s+0x%d", says[name], samples-1)})
			}
		}
	}
	for name, values := range f.series {
		list = append(list, map[string]string{"series": name, "values": values})
	}
	return list
}

// question is an expression and whether it must be true.
func question(expr string, is bool) map[string]any {
	return map[string]any{"expr": expr, "eval_time": "95m", "exp_samples": []map[string]any{{"labels": "{}", "value": map[bool]int{true: 1}[is]}}}
}

// promtool runs it in a directory.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// dashboard gives the expressions of all panels by the panels' titles.
func dashboard(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{"annotations": {d.Annotations.List[0].Expr}}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if _, twice := all[p.Title]; twice || len(p.Targets) == 0 {
			t.Errorf("panel %q stands twice, or shows nothing", p.Title)
		}
		for _, x := range p.Targets {
			all[p.Title] = append(all[p.Title], strings.NewReplacer("$service", ".*", "$__rate_interval", "5m").Replace(x.Expr))
		}
	}
	return all
}

// used finds the names of our metrics in an expression.
var used = regexp.MustCompile(`\b(?:holdfast|ha_cluster)_[a-z_]+\b`)

// family is the name of a series without what it gets where it is a histogram's.
func family(name string) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if f, is := strings.CutSuffix(name, end); is {
			return f
		}
	}
	return name
}

// TestNames: rules and dashboard ask for metrics that there are, every metric is shown
// somewhere, and the manual tells what each alert means.
func TestNames(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for name := range scrape(t, "alpha", healthy("alpha")) {
		there[family(name[:strings.IndexByte(name, '{')])] = false
	}
	check := func(where, expr string) {
		names := used.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for none of our metrics: %s", where, expr)
		}
		for _, n := range names {
			n = family(n)
			if _, is := there[n]; !is {
				t.Errorf("%s: there is no metric %s", where, n)
			}
			there[n] = true
		}
	}
	page, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		check(r.Alert, r.Expr)
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["next"] == "" {
			t.Errorf("%s has no severity, summary or next step", r.Alert)
		}
		if !strings.Contains(string(page), "| `"+r.Alert+"` |") {
			t.Errorf("%s: no line for %s", manual, r.Alert)
		}
		if f := faults()[r.Alert]; f.says == nil && f.series == nil {
			t.Errorf("%s: no test has its fault", r.Alert)
		}
	}
	for title, list := range dashboard(t) {
		for _, expr := range list {
			check(title, expr)
		}
	}
	for name, shown := range there {
		if !shown && !strings.HasPrefix(name, "ha_cluster_") { // those are there for dashboards that others have made
			t.Errorf("%s is shown nowhere", name)
		}
	}
}

// TestRules: every rule is silent on a cluster that lacks nothing, and fires on its
// fault; every expression of the dashboard shows something.
func TestRules(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is missing: test/setup.sh installs it (package prometheus)")
	}
	dir := t.TempDir()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	const firing = `ALERTS{alertstate="firing"%s}`
	shows := []map[string]any{question(fmt.Sprintf("count("+firing+") or vector(0)", ""), false)}
	for _, list := range dashboard(t) {
		for _, expr := range list {
			if expr != dashboard(t)["annotations"][0] { // a takeover, of which there is none lately
				shows = append(shows, question("count("+expr+") > bool 0", true))
			}
		}
	}
	tests := []map[string]any{{"interval": "1m", "input_series": inputs(t, fault{}), "promql_expr_test": shows}}
	for _, r := range rules(t) {
		tests = append(tests, map[string]any{
			"interval": "1m", "input_series": inputs(t, faults()[r.Alert]),
			"promql_expr_test": []map[string]any{question(fmt.Sprintf("count("+firing+") > bool 0", `,alertname="`+r.Alert+`"`), true)},
		})
	}
	out, err := json.Marshal(map[string]any{"rule_files": []string{"rules.yml"}, "evaluation_interval": "1m", "tests": tests}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"rules.yml": text, "tests.yml": out} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, dir, "check", "rules", "rules.yml")
	promtool(t, dir, "test", "rules", "tests.yml")
}
