package watchers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// commandFile is the check's command as it is packaged.
const commandFile = "../../packaging/monitoring/holdfast.icinga2.conf"

// icinga is the daemon, which notes every change of state that holdfast check brings it.
type icinga struct{ events string }

// seen is one change as Icinga's event handler was told it.
type seen struct{ host, service, state, output, performance string }

// watchIcinga starts it: two services for each node, all of it and one service alone.
func watchIcinga(t *testing.T, s *stage.Stage, service string) *icinga {
	t.Helper()
	dir := t.TempDir()
	i := &icinga{filepath.Join(dir, "events")}
	commands, err := filepath.Abs(commandFile)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `const NodeName = "here"
const ZoneName = "here"
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
include %q
object EventCommand "note" {
  command = [ "/bin/sh", "-c", "printf '%%s\\t' \"$$@\" >>%s; echo >>%s", "note", "$host.name$", "$service.name$", "$service.state$", "$service.output$", "$service.perfdata$" ]
}
template Service "holdfast" {
  check_command = "holdfast"
  check_interval = 1s
  retry_interval = 1s
  max_check_attempts = 1
  enable_event_handler = true
  event_command = "note"
}
`, commands, i.events, i.events)
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, `object Host %q {
  check_command = "holdfast"
  enable_active_checks = false
  vars.holdfast_config = %q
  vars.holdfast_latency_warning = "60s"
  vars.holdfast_latency_critical = "120s"
}
object Service "cluster" {
  import "holdfast"
  host_name = %q
  volatile = true
}
object Service %q {
  import "holdfast"
  host_name = %q
  vars.holdfast_service = %q
}
`, n.Name, n.Config(), n.Name, service, n.Name, service)
	}
	file := filepath.Join(dir, "icinga2.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"daemon", "-c", file, "-x", "warning", "-D", "Configuration.RunAsUser=root", "-D", "Configuration.RunAsGroup=root", "-D", "Configuration.PidPath=" + filepath.Join(dir, "pid")}
	for _, place := range []string{"DataDir", "CacheDir", "SpoolDir", "LogDir", "InitRunDir"} {
		args = append(args, "-D", "Configuration."+place+"="+t.TempDir())
	}
	t.Setenv("PATH", s.Bin+":"+os.Getenv("PATH")) // where it finds holdfast
	run(t, filepath.Join(dir, "log"), "icinga2", args...)
	return i
}

// story is what it has seen so far, the oldest first.
func (i *icinga) story() ([]seen, error) {
	text, err := os.ReadFile(i.events)
	if err != nil {
		return nil, err
	}
	var all []seen
	for line := range strings.Lines(string(text)) {
		if w := strings.Split(line, "\t"); len(w) >= 5 {
			all = append(all, seen{w[0], w[1], w[2], w[3], w[4]})
		}
	}
	return all, nil
}
