package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-ha/holdfast/internal/guardwire/gauge"
)

// Guard tells how punctual the guard is, as it has counted itself. A guard that does
// not tell is left out.
type Guard struct {
	Run  string          // its run directory
	Dogs func() []string // paths of the watchdogs, in the order in which it feeds them
}

// guardFamilies are what is told of it.
func guardFamilies() []described {
	return []described{
		{"holdfast_feed_gap_seconds", "Between two feeds of a watchdog, since the guard began.", "histogram", []string{"device"}},
		{"holdfast_feed_gap_longest_seconds", "The longest of them.", "gauge", []string{"device"}},
		{"holdfast_lease_margin_seconds", "What was left of this node's lease whenever a beat renewed it, since the guard began.", "histogram", nil},
		{"holdfast_lease_margin_least_seconds", "The least of that.", "gauge", nil},
	}
}

func guardDescs() []*prometheus.Desc {
	var list []*prometheus.Desc
	for _, f := range guardFamilies() {
		list = append(list, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return list
}

// Describe implements prometheus.Collector.
func (g *Guard) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range guardDescs() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *Guard) Collect(ch chan<- prometheus.Metric) {
	f, err := gauge.Read(g.Run)
	if err != nil {
		return
	}
	d, dogs := guardDescs(), g.Dogs()
	for i := range f.Gaps {
		if i < len(dogs) && f.Gaps[i].Count() > 0 {
			ch <- told(d[0], &f.Gaps[i], dogs[i])
			ch <- prometheus.MustNewConstMetric(d[1], prometheus.GaugeValue, f.Gaps[i].Extreme.Seconds(), dogs[i])
		}
	}
	if f.Left.Count() > 0 {
		ch <- told(d[2], &f.Left)
		ch <- prometheus.MustNewConstMetric(d[3], prometheus.GaugeValue, f.Left.Extreme.Seconds())
	}
}

// told makes a histogram of Prometheus, whose buckets count all that is below them.
func told(d *prometheus.Desc, h *gauge.Histogram, labels ...string) prometheus.Metric {
	below, n := map[float64]uint64{}, uint64(0)
	for i, bound := range gauge.Bounds() {
		n += h.In[i]
		below[time.Duration(bound).Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum.Seconds(), below, labels...)
}
