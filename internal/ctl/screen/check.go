package screen

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// Limits are what a monitor finds worth a word beyond the health that the daemon
// sees itself. Zero switches one off.
type Limits struct {
	LatencyWarning, LatencyCritical time.Duration // of the last beat on a quorum disk
	Services                        []string      // look at these alone; empty: at all
}

// Check is a status as the line of a monitoring plugin (Monitoring Plugins
// Development Guidelines, "plugin output" and "performance data"): one line, and
// what it rests on behind the bar.
func Check(s *api.Status, l Limits) (string, api.Health) {
	health, reasons := s.Health, problems(s)
	if len(l.Services) > 0 {
		health, reasons = servicesAlone(s, l.Services)
	}
	for i := range s.Disks {
		d := &s.Disks[i]
		switch took := d.Latency.Duration(); {
		case l.LatencyCritical > 0 && took >= l.LatencyCritical:
			health, reasons = api.Critical, append(reasons, slow(d, l.LatencyCritical))
		case l.LatencyWarning > 0 && took >= l.LatencyWarning:
			if health == api.Healthy {
				health = api.Warning
			}
			reasons = append(reasons, slow(d, l.LatencyWarning))
		}
	}
	word := map[api.Health]string{api.Healthy: "OK", api.Warning: "WARNING", api.Critical: "CRITICAL"}[health]
	if word == "" {
		word = "UNKNOWN"
	}
	text := strings.Join(reasons, "; ")
	if text == "" {
		text = allWell(s)
	}
	text = strings.NewReplacer("|", "/", "\n", " ").Replace(text)
	return fmt.Sprintf("HOLDFAST %s - %s: %s | %s", word, s.Cluster.Name, text, strings.Join(performance(s, l), " ")), health
}

func slow(d *api.Disk, limit time.Duration) string {
	return fmt.Sprintf("quorum disk %d (%s) takes %.3f s, limit %.3f s", d.Index+1, d.Path, float64(d.Latency), limit.Seconds())
}

// problems names what is not as it should be, the worst first.
func problems(s *api.Status) (out []string) {
	if s.Self.Stage != "member" {
		out = append(out, fmt.Sprintf("%s is %s", s.Self.Name, s.Self.Stage))
	}
	if s.Self.Waiting != "" {
		out = append(out, "waits for "+s.Self.Waiting)
	}
	for i := range s.Services {
		if v := &s.Services[i]; v.State != "running" && !v.Stopped && !s.Cluster.Stopped {
			out = append(out, fmt.Sprintf("%s is %s: %s", v.Name, v.State, firstOf(v.Why, v.Text, "holdfast explain "+v.Name)))
		}
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Fencing {
			out = append(out, n.Name+" is being fenced")
		} else if n.Phase != "member" {
			out = append(out, fmt.Sprintf("%s is %s", n.Name, n.Phase))
		}
	}
	for i := range s.Disks {
		if d := &s.Disks[i]; d.Error != "" {
			out = append(out, fmt.Sprintf("quorum disk %d (%s): %s", d.Index+1, d.Path, d.Error))
		}
	}
	if s.Failover.Problem != "" {
		out = append(out, s.Failover.Problem)
	}
	return append(out, s.Warnings...)
}

// servicesAlone is the health of some services.
func servicesAlone(s *api.Status, names []string) (api.Health, []string) {
	health, reasons := api.Healthy, []string(nil)
	for _, name := range names {
		v := find(s, name)
		switch {
		case v == nil:
			health, reasons = api.Critical, append(reasons, "there is no service "+name)
		case v.State == "running":
		case v.State == "starting" || v.State == "stopping" || v.State == "partly running":
			reasons = append(reasons, name+" is "+v.State)
			if health == api.Healthy {
				health = api.Warning
			}
		default:
			health, reasons = api.Critical, append(reasons, fmt.Sprintf("%s is %s: %s", name, v.State, firstOf(v.Why, v.Text)))
		}
	}
	return health, reasons
}

func find(s *api.Status, name string) *api.Service {
	for i := range s.Services {
		if s.Services[i].Name == name {
			return &s.Services[i]
		}
	}
	return nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func allWell(s *api.Status) string {
	return strings.Join([]string{Plural(len(s.Nodes), "node"), Plural(len(s.Services), "service"), Plural(len(s.Disks), "quorum disk")}, ", ")
}

// performance is 'label'=value[unit];warn;crit;min;max for each figure.
func performance(s *api.Status, l Limits) []string {
	members, running := 0, 0
	for i := range s.Nodes {
		if s.Nodes[i].Phase == "member" {
			members++
		}
	}
	for i := range s.Services {
		if s.Services[i].State == "running" {
			running++
		}
	}
	out := []string{
		fmt.Sprintf("members=%d;;;0;%d", members, len(s.Nodes)),
		fmt.Sprintf("services_running=%d;;;0;%d", running, len(s.Services)),
	}
	limit := func(d time.Duration) string {
		if d <= 0 {
			return ""
		}
		return fmt.Sprintf("%.3f", d.Seconds())
	}
	for i := range s.Disks {
		d := &s.Disks[i]
		out = append(out, fmt.Sprintf("disk%d_latency=%.6fs;%s;%s;0", d.Index+1, float64(d.Latency), limit(l.LatencyWarning), limit(l.LatencyCritical)))
		if d.Age != nil {
			out = append(out, fmt.Sprintf("disk%d_age=%.3fs;;;0", d.Index+1, float64(*d.Age)))
		}
	}
	if s.Self.Lease != nil {
		out = append(out, fmt.Sprintf("lease=%.3fs;;;0", float64(*s.Self.Lease)))
	}
	for _, e := range s.Failover.Expected {
		if e.Known && strings.HasPrefix(e.Proof, "E3") {
			out = append(out, fmt.Sprintf("failover_worst=%.3fs;;;0", float64(e.Worst)))
		}
	}
	return out
}
