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

// Handler answers scrapes with what status gives, and with figures of this
// process. A status that cannot be had is holdfast_up 0, and nothing else.
func Handler(status func() (*api.Status, error)) http.Handler {
	r := prometheus.NewRegistry()
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
			m, err := prometheus.NewConstMetric(f.desc, prometheus.GaugeValue, v, labels...)
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

// Manual writes the table of all metrics as Markdown.
func Manual(w io.Writer) error {
	row := func(m metric) error {
		_, err := fmt.Fprintf(w, "| `%s` | %s | %s |\n", m.name, strings.Join(m.labels, ", "), m.help)
		return err
	}
	if _, err := fmt.Fprintf(w, "| name | labels | meaning |\n|---|---|---|\n"); err != nil {
		return err
	}
	if err := row(metric{name: "holdfast_up", help: upHelp}); err != nil {
		return err
	}
	for _, m := range table() {
		if err := row(m); err != nil {
			return err
		}
	}
	return nil
}
