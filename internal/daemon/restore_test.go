package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// TestRestoreFromACopy: a cluster whose disks are lost is made anew, and gets its
// configuration back from the dated copy that a node of the old one has kept.
func TestRestoreFromACopy(t *testing.T) {
	lost := newRig(t)
	lost.guard()
	old := lost.begin()
	old.runs(t)
	changed := strings.Replace(firstConfig, "failover_within: 10s", "failover_within: 20s", 1)
	changed += "  reports:\n    after: [orders]\n    stack:\n      - exec: {start: [/bin/true]}\n"
	_, err := old.Apply(t.Context(), api.ApplyRequest{Config: changed, Expect: 1})
	must(t, err)
	var copies []string
	waitFor(t, "a dated copy of version 2", func() bool {
		copies, err = filepath.Glob(filepath.Join(lost.node.Dirs.State, "versions", "0002-20*Z.yaml"))
		return err == nil && len(copies) == 1
	})
	text, err := os.ReadFile(copies[0])
	must(t, err)
	list, err := old.History(t.Context())
	if err != nil || len(list) != 2 || list[1].Config != 2 || list[1].Time.IsZero() {
		t.Errorf("history: %+v, %v", list, err)
	}
	old.stop()
	must(t, <-old.ended)

	made := newRig(t)
	made.guard()
	life := made.begin()
	life.runs(t)
	_, err = life.Apply(t.Context(), api.ApplyRequest{Config: string(text), File: copies[0], Expect: 1})
	must(t, err)
	waitFor(t, "both services to run by the configuration that was restored", func() bool {
		s, err := life.Status(t.Context())
		must(t, err)
		up := 0
		for i := range s.Services {
			if s.Services[i].State == "running" {
				up++
			}
		}
		return up == 2 && s.Failover.Within == 20
	})
	if conf, err := life.Config(t.Context(), 0); err != nil || conf.Text != changed {
		t.Errorf("the configuration is %q, %v", conf.Text, err)
	}
}
