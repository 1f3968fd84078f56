package screen_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
)

func TestCheck(t *testing.T) {
	broken := healthy()
	broken.Health = api.Critical
	broken.Services[0].State, broken.Services[0].Why = "broken", "its stop failed | twice\non alpha"
	broken.Nodes[1].Fencing = true
	broken.Warnings = []string{"the way bmc of beta fails"}
	slow := healthy()
	slow.Disks[0].Latency = 1.5
	for name, c := range map[string]struct {
		status *api.Status
		limits screen.Limits
		health api.Health
		says   []string
	}{
		"well":       {healthy(), screen.Limits{}, api.Healthy, []string{"HOLDFAST OK - hospital: 3 nodes, 3 services, 1 quorum disk | members=3;;;0;3", "failover_worst=10.000s"}},
		"broken":     {broken, screen.Limits{}, api.Critical, []string{"CRITICAL", "orders is broken: its stop failed / twice on alpha; beta is being fenced; the way bmc of beta fails"}},
		"slow":       {slow, screen.Limits{LatencyWarning: time.Second}, api.Warning, []string{"WARNING", "takes 1.500 s, limit 1.000 s", "disk1_latency=1.500000s;1.000;;0"}},
		"too slow":   {slow, screen.Limits{LatencyWarning: time.Second, LatencyCritical: 1500 * time.Millisecond}, api.Critical, []string{"CRITICAL"}},
		"one":        {broken, screen.Limits{Services: []string{"reports"}}, api.Healthy, []string{"OK"}},
		"other":      {broken, screen.Limits{Services: []string{"orders"}}, api.Critical, []string{"orders is broken"}},
		"none":       {healthy(), screen.Limits{Services: []string{"nothing"}}, api.Critical, []string{"there is no service nothing"}},
		"nobody yet": {&api.Status{}, screen.Limits{}, "", []string{"UNKNOWN"}},
	} {
		line, health := screen.Check(c.status, c.limits)
		if health != c.health {
			t.Errorf("%s: %q, want %q: %s", name, health, c.health, line)
		}
		for _, w := range c.says {
			if !strings.Contains(line, w) {
				t.Errorf("%s: no %q in %s", name, w, line)
			}
		}
		plugin(t, line)
	}
}

// datum is one figure of performance data: 'label'=value[UOM];[warn];[crit];[min];[max].
var datum = regexp.MustCompile(`^[a-z0-9_]+=[0-9.]+s?(;[0-9.]*){0,4}$`)

// plugin holds a line against what monitors expect.
func plugin(t *testing.T, line string) {
	t.Helper()
	text, data, ok := strings.Cut(line, " | ")
	if !ok || strings.Contains(data, "|") || strings.Contains(line, "\n") || text == "" {
		t.Errorf("not one line with performance data: %q", line)
	}
	for _, d := range strings.Fields(data) {
		if !datum.MatchString(d) {
			t.Errorf("no performance data: %q", d)
		}
	}
}
