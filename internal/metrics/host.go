package metrics

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Host tells what the machine and every service on it use, as the kernel counts it:
// /proc/stat, /proc/meminfo, /proc/pressure (Documentation/accounting/psi.rst), and
// the files of the services' cgroups (Documentation/admin-guide/cgroup-v2.rst). What
// the kernel does not tell is left out. It reads at each scrape, and keeps nothing.
type Host struct {
	Proc     string // "": /proc
	Services string // the folder with a cgroup for each service; "": there is none
}

// hostTicks are the kernel's clock ticks in a second: USER_HZ, which is 100 on every
// platform that Go knows.
const hostTicks = 100

// reading is one family of Host.
type reading struct {
	name, help, kind string
	labels           []string
	values           func(h *Host, add adder)
}

func readings() []reading {
	return []reading{
		{"holdfast_host_cpu_seconds_total", "Time of this machine's processors, by what they did.", "counter", []string{"mode"}, (*Host).processors},
		{"holdfast_host_memory_bytes", "Memory of this machine: all of it, and what programs could still have.", "gauge", []string{"kind"}, (*Host).memory},
		{"holdfast_host_pressure_seconds_total", "How long some of this machine's tasks, or all of them (full), have stood still for want of something.", "counter", []string{"want", "tasks"}, func(h *Host, add adder) {
			pressures(func(want string) string { return filepath.Join(h.proc(), "pressure", want) }, add)
		}},
		{"holdfast_service_cpu_seconds_total", "Processor time of what a service's members run on this node; without units of the service manager.", "counter", []string{"service"}, func(h *Host, add adder) {
			h.each(func(name, dir string) {
				if v, is := field(filepath.Join(dir, "cpu.stat"), "usage_usec"); is {
					add(v/1e6, name)
				}
			})
		}},
		{"holdfast_service_memory_bytes", "Memory of what a service's members run on this node: as its cgroup counts it, or else the sum of what its processes have resident.", "gauge", []string{"service"}, func(h *Host, add adder) {
			h.each(func(name, dir string) { add(h.held(dir), name) })
		}},
		{"holdfast_service_processes", "Processes that a service's members run on this node.", "gauge", []string{"service"}, func(h *Host, add adder) {
			h.each(func(name, dir string) { add(float64(len(processes(dir))), name) })
		}},
		{"holdfast_service_pressure_seconds_total", "How long some tasks of a service, or all of them (full), have stood still on this node for want of something.", "counter", []string{"service", "want", "tasks"}, func(h *Host, add adder) {
			h.each(func(name, dir string) {
				pressures(func(want string) string { return filepath.Join(dir, want+".pressure") }, func(v float64, labels ...string) {
					add(v, append([]string{name}, labels...)...)
				})
			})
		}},
	}
}

// Describe implements prometheus.Collector.
func (h *Host) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range readings() {
		ch <- prometheus.NewDesc(r.name, r.help, r.labels, nil)
	}
}

// Collect implements prometheus.Collector.
func (h *Host) Collect(ch chan<- prometheus.Metric) {
	for _, r := range readings() {
		desc, kind := prometheus.NewDesc(r.name, r.help, r.labels, nil), prometheus.GaugeValue
		if r.kind == "counter" {
			kind = prometheus.CounterValue
		}
		r.values(h, func(v float64, labels ...string) { ch <- prometheus.MustNewConstMetric(desc, kind, v, labels...) })
	}
}

func (h *Host) proc() string {
	if h.Proc == "" {
		return "/proc"
	}
	return h.Proc
}

// processors adds the times of the line "cpu  user nice system idle iowait irq softirq
// steal ..." of /proc/stat (proc(5)).
func (h *Host) processors(add adder) {
	text, err := os.ReadFile(filepath.Join(h.proc(), "stat"))
	if err != nil {
		return
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(line)
	for i, mode := range []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"} {
		if i+1 < len(words) {
			if v, err := strconv.ParseFloat(words[i+1], 64); err == nil {
				add(v/hostTicks, mode)
			}
		}
	}
}

func (h *Host) memory(add adder) {
	for kind, word := range map[string]string{"total": "MemTotal:", "available": "MemAvailable:"} {
		if v, is := field(filepath.Join(h.proc(), "meminfo"), word); is {
			add(v*1024, kind)
		}
	}
}

// pressures adds what the files of pressure stall information say, which at gives:
// "some avg10=0.00 avg60=0.00 avg300=0.00 total=67482002", in microseconds.
func pressures(at func(want string) string, add adder) {
	for _, want := range []string{"cpu", "io", "memory"} {
		text, err := os.ReadFile(at(want))
		if err != nil {
			continue // a kernel without it, or one that has it switched off
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			if total, is := strings.CutPrefix(words[len(words)-1], "total="); is {
				if v, err := strconv.ParseFloat(total, 64); err == nil {
					add(v/1e6, want, words[0])
				}
			}
		}
	}
}

// field finds a number behind a word at the beginning of a line.
func field(path, word string) (float64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == word {
			v, err := strconv.ParseFloat(words[1], 64)
			return v, err == nil
		}
	}
	return 0, false
}

// each calls for every service that has processes here, or had some a moment ago.
func (h *Host) each(one func(name, dir string)) {
	if h.Services == "" {
		return
	}
	entries, err := os.ReadDir(h.Services)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			one(e.Name(), filepath.Join(h.Services, e.Name()))
		}
	}
}

// processes are those in a cgroup and below it.
func processes(dir string) []string {
	var pids []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "cgroup.procs" {
			return nil // a cgroup that goes away meanwhile has none
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			pids = append(pids, lines.Text())
		}
		return nil
	})
	return pids
}

// held is the memory of a cgroup. Where no controller counts it, the processes are
// asked: what they share counts more than once.
func (h *Host) held(dir string) float64 {
	if text, err := os.ReadFile(filepath.Join(dir, "memory.current")); err == nil {
		if v, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil {
			return v
		}
	}
	var sum float64
	for _, pid := range processes(dir) {
		if v, is := field(filepath.Join(h.proc(), pid, "status"), "VmRSS:"); is {
			sum += v * 1024
		}
	}
	return sum
}
