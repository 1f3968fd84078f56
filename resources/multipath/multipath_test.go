package multipath_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/multipath"
)

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"multipath": multipath.Agent{}}) }

// shown is what multipathd 0.9.4 prints, shortened.
const shown = `{"major_version": 0, "minor_version": 1, "maps": [{
 "name": "mpatha", "uuid": "3600a098000ac36ab", "sysfs": "dm-0", "failback": "immediate", "queueing": "off", "paths": 2,
 "path_groups": [
  {"selector": "service-time 0", "pri": 50, "dm_st": "active", "group": 1, "paths": [
    {"dev": "sdb", "dev_t": "8:16", "dm_st": "active", "dev_st": "running", "chk_st": "ready", "checker": "tur"}]},
  {"selector": "service-time 0", "pri": 10, "dm_st": "enabled", "group": 2, "paths": [
    {"dev": "sdc", "dev_t": "8:32", "dm_st": "active", "dev_st": "running", "chk_st": "ready", "checker": "tur"}]}]}]}
`

type setting struct {
	t   *testing.T
	dir string
	env []string
}

// newSetting is a machine with a multipathd that says what stands in a file; no
// file, no answer.
func newSetting(t *testing.T) *setting {
	t.Helper()
	s := &setting{t: t, dir: t.TempDir()}
	for _, d := range []string{"bin", "sys/block"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("bin/multipathd", "#!/bin/sh\nexec cat $DIR/shown\n")
	s.write("shown", shown)
	s.env = []string{"PATH=" + s.dir + "/bin:" + os.Getenv("PATH"), "DIR=" + s.dir, "HOLDFAST_SYSFS=" + s.dir + "/sys", "HOLDFAST_RUN=" + s.dir}
	for _, e := range s.env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	return s
}

func (s *setting) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setting) ask(v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) {
	s.t.Helper()
	if r := s.once(v, spec); r.Outcome != outcome || !strings.Contains(r.Text, words) {
		s.t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
}

func (s *setting) once(v func(context.Context, resources.Request) resources.Report, spec map[string]any) resources.Report {
	s.t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 20 * time.Second})
}

func TestLives(t *testing.T) {
	s := newSetting(t)
	spec := map[string]any{"map": "mpatha", "least": 2}
	agenttest.Run(t, multipath.Agent{}, spec)
	agenttest.Lives(t, agenttest.Case{Kind: "multipath", Spec: spec, Env: s.env, Lose: func(*testing.T) {
		s.write("shown", `{"maps": []}`)
	}, After: func(*testing.T) { s.write("shown", shown) }})
}

func TestHealth(t *testing.T) {
	s := newSetting(t)
	a := multipath.Agent{}
	two, one := map[string]any{"map": "/dev/mapper/mpatha", "least": 2}, map[string]any{"map": "3600a098000ac36ab"}
	s.ask(a.Start, two, resources.OK, "2 of 2 paths")
	s.write("shown", strings.Replace(shown, `"dm_st": "active", "dev_st": "running", "chk_st": "ready", "checker": "tur"}]}]}]}`, `"dm_st": "failed", "dev_st": "running", "chk_st": "faulty"}]}]}]}`, 1))
	s.ask(a.Check, two, resources.Failed, "mpatha has 1 of 2 paths, without sdc (failed); wanted are 2")
	s.ask(a.Check, one, resources.OK, "1 of 2")
	s.write("shown", strings.Replace(shown, `"queueing": "off"`, `"queueing": "on"`, 1))
	s.ask(a.Check, one, resources.OK, "no_path_retry")
	s.ask(a.Fit, map[string]any{"map": "mpathz"}, resources.Failed, "multipath -ll")
	// Without multipathd the kernel is asked.
	if err := os.Remove(filepath.Join(s.dir, "shown")); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Check, one, resources.Failed, "no multipath map")
	s.write("sys/block/dm-0/dm/uuid", "mpath-3600a098000ac36ab\n")
	s.write("sys/block/dm-0/dm/name", "mpatha\n")
	s.write("sys/block/dm-0/slaves/sdb/device/state", "running\n")
	s.write("sys/block/dm-0/slaves/sdc/device/state", "offline\n")
	s.ask(a.Check, one, resources.OK, "1 of 2 paths, without sdc (offline)")
	s.ask(a.Check, two, resources.Failed, "wanted are 2")
	if err := os.RemoveAll(filepath.Join(s.dir, "sys")); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Check, one, resources.Unknown, "")
	s.ask(a.Stop, one, resources.OK, "")
}
