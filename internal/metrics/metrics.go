// Package metrics tells Prometheus what status tells people: the same facts,
// taken at the same moment, under names that carry their unit. The list is the
// table below; docs/METRICS.md is made from it.
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// metric is one family: its name, what it says, its labels, and its values now.
type metric struct {
	name, help string
	labels     []string
	values     func(s *api.Status, add func(v float64, labels ...string))
}

// kind is its type, which its name tells.
func (m *metric) kind() string {
	if strings.HasSuffix(m.name, "_total") {
		return "counter"
	}
	return "gauge"
}

// family is a metric as Prometheus describes it.
type family struct {
	metric
	desc *prometheus.Desc
}

// source asks for the status at each scrape.
type source struct {
	status   func() (*api.Status, error)
	up       *prometheus.Desc
	families []family
}

// Handler answers scrapes with what status gives, with more (Counted, Host and Guard are
// such), and with figures of this process. A status that cannot be had is holdfast_up
// 0, and nothing else of it.
func Handler(status func() (*api.Status, error), more ...prometheus.Collector) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(more...)
	r.MustRegister(newSource(status), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 2})
}

func newSource(status func() (*api.Status, error)) *source {
	s := &source{status: status, up: prometheus.NewDesc("holdfast_up", upHelp, nil, nil)}
	for _, m := range table() {
		s.families = append(s.families, family{m, prometheus.NewDesc(m.name, m.help, m.labels, nil)})
	}
	return s
}

const upHelp = "1 if the daemon could say how the cluster is, else 0."

// Describe implements prometheus.Collector.
func (s *source) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.up
	for _, f := range s.families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (s *source) Collect(ch chan<- prometheus.Metric) {
	st, err := s.status()
	ch <- prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, yes(err == nil))
	if err != nil {
		return
	}
	for _, f := range s.families {
		f.values(st, func(v float64, labels ...string) {
			kind := prometheus.GaugeValue
			if f.kind() == "counter" {
				kind = prometheus.CounterValue
			}
			m, err := prometheus.NewConstMetric(f.desc, kind, v, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(f.desc, err) // the scrape fails and says which
			}
			ch <- m
		})
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// oneOf gives 1 for the word that is, and 0 for the others.
func oneOf(is string, words []string, add func(v float64, labels ...string), labels ...string) {
	for _, w := range words {
		add(yes(w == is), append(append([]string(nil), labels...), w)...)
	}
}

// seconds gives a duration that may be unknown, and then nothing.
func seconds(v *api.Seconds, add func(v float64, labels ...string), labels ...string) {
	if v != nil {
		add(float64(*v), labels...)
	}
}

func diskLabels(d *api.Disk) []string { return []string{strconv.Itoa(d.Index + 1), d.Path} }

// all describes every family that a daemon exports, but for those of its process.
func all() []described {
	list := []described{{"holdfast_up", upHelp, "gauge", nil}}
	for _, m := range table() {
		list = append(list, described{m.name, m.help, m.kind(), m.labels})
	}
	list = append(append(list, NewCounted().docs...), guardFamilies()...)
	for _, r := range readings() {
		list = append(list, described{r.name, r.help, r.kind, r.labels})
	}
	return list
}

// Names lists every family that a daemon exports, but for those of its process.
func Names() []string {
	var list []string
	for _, d := range all() {
		list = append(list, d.name)
	}
	return list
}

// unit is what a value is counted in, which the name tells (as the naming rules of
// Prometheus want it), or else the meaning.
func (d *described) unit() string {
	name := strings.TrimSuffix(d.name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	case strings.HasPrefix(d.help, "1"), strings.HasPrefix(d.name, "ha_cluster_"):
		return "0 or 1"
	case strings.Contains(d.name, "version"):
		return "version"
	}
	return "number"
}

// Manual writes the table of all metrics as Markdown.
func Manual(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, d := range all() {
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", d.name, d.kind, d.unit(), strings.Join(d.labels, ", "), d.help); err != nil {
			return err
		}
	}
	return nil
}
