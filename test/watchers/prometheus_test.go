package watchers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/demo/wires"
)

const (
	rulesFile     = "../../packaging/monitoring/holdfast.rules.yml"
	dashboardFile = "../../packaging/monitoring/holdfast.dashboard.json"
	metricsPort   = 9640
	apiAt         = "10.77.2.254:9090" // of those outside of the nodes
)

// scale is by how much the times of the rules are divided, and patience how long a rule
// waits at most before it speaks: an hour is a minute, which no test has to spare.
const (
	scale    = 60
	patience = 20 * time.Second
)

// spans are the times in a rules file: after for and offset, and in the brackets of a range.
var spans = regexp.MustCompile(`(for: |offset |\[)(\d+[smh])`)

// scaled are the rules with their times divided by scale.
func scaled(text string) string {
	return spans.ReplaceAllStringFunc(text, func(s string) string {
		m := spans.FindStringSubmatch(s)
		d, err := time.ParseDuration(m[2])
		if err != nil {
			panic(err) // the pattern has let it through
		}
		if d /= scale; m[1] == "for: " {
			d = min(d, patience)
		}
		return fmt.Sprintf("%s%dms", m[1], d.Milliseconds())
	})
}

// settings are Prometheus's: who is scraped, and how often.
func settings(s *stage.Stage, c *cards) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: 1500ms, scrape_timeout: 1500ms, evaluation_interval: 500ms}\nrule_files: [rules.yml]\nscrape_configs:\n")
	fmt.Fprintf(&b, "  - job_name: holdfast\n    scheme: https\n    tls_config: {ca_file: %s, cert_file: %s, key_file: %s}\n    static_configs:\n", c.authority, c.scraper, c.scraperKey)
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "      - {targets: ['10.77.2.%d:%d'], labels: {instance: %s}}\n", n.ID, metricsPort, n.Name)
	}
	return b.String()
}

// prometheus is the server, which runs outside of all nodes.
type prometheus struct{ client *http.Client }

// watchPrometheus starts it; it ends with the test.
func watchPrometheus(t *testing.T, s *stage.Stage, c *cards) *prometheus {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(rulesFile)
	if err == nil {
		err = errors.Join(
			os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(scaled(string(text))), 0o600),
			os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(settings(s, c)), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, filepath.Join(dir, "log"), "nsenter", "--net="+s.Outside(), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+apiAt)
	return &prometheus{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return wires.Dial(s.Outside(), apiAt) },
	}}}
}

// ask gets what the API says to a path.
func (p *prometheus) ask(path string, q url.Values, data any) error {
	resp, err := p.client.Get("http://" + apiAt + "/api/v1/" + path + "?" + q.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return err
	}
	if said.Status != "success" {
		return fmt.Errorf("%s: %s", q, said.Error)
	}
	return nil
}

// query gives the label sets of an expression's result.
func (p *prometheus) query(expr string) ([]map[string]string, error) {
	var d struct {
		Result []struct{ Metric map[string]string }
	}
	if err := p.ask("query", url.Values{"query": {expr}}, &d); err != nil {
		return nil, err
	}
	list := []map[string]string{}
	for _, r := range d.Result {
		list = append(list, r.Metric)
	}
	return list, nil
}

// fired are the alerts that have fired since an instant, or that do now.
func (p *prometheus) fired(since time.Time) ([]string, error) {
	expr := `ALERTS{alertstate="firing"}`
	if !since.IsZero() {
		expr = fmt.Sprintf("max_over_time(%s[%ds])", expr, max(1, int(time.Since(since).Seconds())))
	}
	found, err := p.query(expr)
	var names []string
	for _, f := range found {
		names = append(names, f["alertname"])
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// names are the families that were ever scraped, but for those of processes.
func (p *prometheus) names() ([]string, error) {
	var all, ours []string
	if err := p.ask("label/__name__/values", nil, &all); err != nil {
		return nil, err
	}
	for _, n := range all {
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			n = strings.TrimSuffix(n, end)
		}
		if strings.HasPrefix(n, "holdfast_") || strings.HasPrefix(n, "ha_cluster_") {
			ours = append(ours, n)
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours), nil
}

// expressions are those of the dashboard, by the titles of its panels.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$service", ".*", "$__rate_interval", "5s", "[1m]", "[5s]", "[5m]", "[5s]")
	all := map[string][]string{"annotations": {fill.Replace(d.Annotations.List[0].Expr)}}
	for _, p := range d.Panels {
		for _, x := range p.Targets {
			all[p.Title] = append(all[p.Title], fill.Replace(x.Expr))
		}
	}
	return all
}
