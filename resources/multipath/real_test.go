package multipath_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/multipath"
)

// state sets what the kernel thinks of a path of a SCSI disk.
func state(t *testing.T, path, what string) {
	t.Helper()
	if err := os.WriteFile("/sys/block/"+path+"/device/state", []byte(what+"\n"), 0); err != nil {
		t.Fatal(err)
	}
}

// The promises of every kind, and the health of the paths as the real multipathd and the
// kernel's device mapper have it.
func TestRealMultipathd(t *testing.T) {
	name := os.Getenv("HOLDFAST_MULTIPATH_MAP")
	if name == "" {
		t.Skip("HOLDFAST_MULTIPATH_MAP names no map: it takes one of two paths, and multipathd; make vm RUN=TestKindsOnRealThings has both")
	}
	run := t.TempDir()
	t.Setenv("HOLDFAST_RUN", run)
	s := &setting{t: t}
	spec, one := map[string]any{"map": name, "least": 2}, map[string]any{"map": name}
	a := multipath.Agent{}
	label, err := os.Readlink("/dev/mapper/" + name)
	if err != nil {
		t.Fatalf("udev and multipathd made no /dev/mapper/%s: %v", name, err)
	}
	paths, err := filepath.Glob("/sys/block/" + filepath.Base(label) + "/slaves/*")
	if err != nil || len(paths) != 2 {
		t.Fatalf("paths of %s: %v, %v", name, paths, err)
	}
	lost := filepath.Base(paths[1])
	awaits := func(spec map[string]any, outcome resources.Outcome, words string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			r := s.once(a.Fit, spec)
			if r.Outcome == outcome && strings.Contains(r.Text, words) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
			}
		}
	}
	awaits(spec, resources.OK, "2 of 2 paths")
	agenttest.Run(t, a, spec)
	agenttest.Lives(t, agenttest.Case{Kind: "multipath", Spec: spec, Env: []string{"HOLDFAST_RUN=" + run}, Brief: true, Lose: func(t *testing.T) {
		state(t, lost, "offline")
	}, After: func(t *testing.T) {
		awaits(spec, resources.Failed, "without "+lost+" (failed); wanted are 2")
		awaits(one, resources.OK, "1 of 2 paths, without "+lost+" (failed)")
		state(t, lost, "running")
		awaits(spec, resources.OK, "2 of 2 paths")
	}})
}
