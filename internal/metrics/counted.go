package metrics

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Counted is what a daemon counts as it happens, where status shows only what is now.
// It begins at zero with every life of the daemon. Its methods may be called from any
// goroutine, and never wait.
type Counted struct {
	disks struct {
		beat, read, request *prometheus.HistogramVec
		failed              *prometheus.CounterVec
	}
	beats   *prometheus.HistogramVec
	commits *prometheus.CounterVec
	service struct {
		took *prometheus.HistogramVec
		all  *prometheus.CounterVec
		last *prometheus.GaugeVec
	}
	fence             *prometheus.HistogramVec
	granted, restored *prometheus.HistogramVec

	all  []prometheus.Collector
	docs []described
}

// described is a family for the manual.
type described struct {
	name, help, kind string
	labels           []string
}

// NewCounted makes one that has counted nothing.
func NewCounted() *Counted {
	c := &Counted{}
	request := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	apart := []float64{.05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10}
	work := []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	over := []float64{.5, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 60, 120}
	d := &c.disks
	d.beat = c.histogram("holdfast_disk_beat_seconds", "From before a beat of this node was written to a quorum disk until the beats of all nodes were read after it.", request, "disk")
	d.read = c.histogram("holdfast_disk_read_seconds", "How long a read of the beats of all nodes took.", request, "disk")
	d.failed = c.counter("holdfast_disk_failures_total", "Requests to a quorum disk that failed: beats, and by kind what the register asked.", "disk", "request")
	d.request = c.histogram("holdfast_register_seconds", "How long a request of the register to a quorum disk took.", request, "disk", "request")
	c.beats = c.histogram("holdfast_beat_gap_seconds", "Between two beats of a peer, of all peers, as they arrive over a disk or a link.", apart, "over")
	c.commits = c.counter("holdfast_register_commits_total", "Commits to the register that this node has learned of, whoever made them.")
	c.service.took = c.histogram("holdfast_operation_seconds", "How long operations on services took on this node.", work, "operation", "outcome")
	c.service.all = c.counter("holdfast_operations_total", "Operations on a service on this node, by what came of them.", "service", "operation", "outcome")
	c.service.last = c.gauge("holdfast_operation_last_seconds", "How long the latest operation of its kind on a service took on this node.", "service", "operation")
	c.fence = c.histogram("holdfast_fence_seconds", "How long attempts of this node took: to cut a node's power (off), to give it back (on), or to check a way.", work, "way", "attempt", "outcome")
	c.granted = c.histogram("holdfast_failover_granted_seconds", "Of takeovers that this node granted: from the last beat to the permission to start, by proof.", over, "proof")
	c.restored = c.histogram("holdfast_failover_started_seconds", "Of those that it granted to itself: from the last beat until the service ran again.", over, "proof")
	return c
}

func (c *Counted) add(v prometheus.Collector, d described) {
	c.all, c.docs = append(c.all, v), append(c.docs, d)
}

func (c *Counted) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	c.add(v, described{name, help, "histogram", labels})
	return v
}

func (c *Counted) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	c.add(v, described{name, help, "counter", labels})
	return v
}

func (c *Counted) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	c.add(v, described{name, help, "gauge", labels})
	return v
}

// Describe implements prometheus.Collector.
func (c *Counted) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range c.all {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c *Counted) Collect(ch chan<- prometheus.Metric) {
	for _, v := range c.all {
		v.Collect(ch)
	}
}

// disk is the label of a disk, numbered as people count.
func disk(index int) string { return fmt.Sprint(index + 1) }

// Beat counts one beat of this node on a disk, numbered from 0 on: what writing it and
// reading all took, and what the reading alone did.
func (c *Counted) Beat(index int, whole, read time.Duration) {
	c.disks.beat.WithLabelValues(disk(index)).Observe(whole.Seconds())
	c.Looked(index, read)
}

// Looked counts a reading of the beats of all nodes.
func (c *Counted) Looked(index int, took time.Duration) {
	c.disks.read.WithLabelValues(disk(index)).Observe(took.Seconds())
}

// BeatFailed counts a beat, or a reading, that came to nothing.
func (c *Counted) BeatFailed(index int) { c.disks.failed.WithLabelValues(disk(index), "beat").Inc() }

// Heard counts a beat of a peer, so long after the one before over the same way:
// "disk 1", "link 2".
func (c *Counted) Heard(over string, after time.Duration) {
	c.beats.WithLabelValues(over).Observe(after.Seconds())
}

// Register counts a request of the register to a disk.
func (c *Counted) Register(index int, request string, took time.Duration, ok bool) {
	if !ok {
		c.disks.failed.WithLabelValues(disk(index), request).Inc()
		return
	}
	c.disks.request.WithLabelValues(disk(index), request).Observe(took.Seconds())
}

// Committed counts commits.
func (c *Counted) Committed(n uint64) { c.commits.WithLabelValues().Add(float64(n)) }

// Operation counts an operation on a service.
func (c *Counted) Operation(service, operation, outcome string, took time.Duration) {
	c.service.took.WithLabelValues(operation, outcome).Observe(took.Seconds())
	c.service.all.WithLabelValues(service, operation, outcome).Inc()
	c.service.last.WithLabelValues(service, operation).Set(took.Seconds())
}

// Attempt counts an attempt to fence a node, or a check of a way.
func (c *Counted) Attempt(way, attempt, outcome string, took time.Duration) {
	c.fence.WithLabelValues(way, attempt, outcome).Observe(took.Seconds())
}

// Granted counts a takeover by what it was granted by.
func (c *Counted) Granted(proof string, after time.Duration) {
	c.granted.WithLabelValues(proof).Observe(after.Seconds())
}

// Started counts that one of them was complete.
func (c *Counted) Started(proof string, after time.Duration) {
	c.restored.WithLabelValues(proof).Observe(after.Seconds())
}
