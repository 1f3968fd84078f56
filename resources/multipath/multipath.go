// Package multipath watches the paths to a service's disk as a member of it: the
// service moves before the last path is gone, not after.
//
//	multipath: {map: mpatha, least: 2}
//
// It makes and takes away nothing: the map is multipathd's, on every node. A start
// wants at least so many working paths, and a check goes on wanting them. That it
// was started is a note of our own, gone with the boot.
package multipath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/multipath"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of a multipath member.
type Spec struct {
	Map   string `json:"map"`             // its name below /dev/mapper, or its WWID
	Least int    `json:"least,omitempty"` // working paths; default 1
}

// Agent is the kind "multipath".
type Agent struct{}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

func tool() multipath.Tool {
	sysfs := "/sys"
	if d := os.Getenv("HOLDFAST_SYSFS"); d != "" {
		sysfs = d
	}
	return multipath.Tool{Run: program.Run, Sysfs: sysfs}
}

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	r := s.judge(ctx)
	if r.Outcome != resources.OK {
		return r
	}
	path := note(req)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		return resources.Failure("%v", err)
	}
	return r
}

// Stop implements resources.Agent.
func (Agent) Stop(_ context.Context, req resources.Request) resources.Report {
	if _, err := parse(req); err != nil {
		return fatal(err)
	}
	if err := os.Remove(note(req)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resources.Failure("%v", err)
	}
	return resources.Done("its paths are not watched any more")
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if _, err := os.Stat(note(req)); err != nil {
		return resources.Absent("its paths are not watched")
	}
	return s.judge(ctx)
}

// Probe implements resources.Agent.
func (Agent) Probe(_ context.Context, req resources.Request) resources.Report {
	if _, err := parse(req); err != nil {
		return resources.Unsure("%v", err)
	}
	switch _, err := os.Stat(note(req)); {
	case err == nil:
		return resources.Done("its paths are watched")
	case errors.Is(err, fs.ErrNotExist):
		return resources.Absent("its paths are not watched")
	default:
		return resources.Unsure("%v", err)
	}
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if r := s.judge(ctx); r.Outcome == resources.OK || !slices.Contains(req.Above, "iscsi") {
		return r
	}
	return resources.Done("its paths come with the iscsi member above it")
}

// Reload implements resources.Reloader: how many paths have to work may change.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Least = 0 })
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

func parse(req resources.Request) (Spec, error) {
	s := Spec{Least: 1}
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	s.Map = strings.TrimPrefix(s.Map, "/dev/mapper/")
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9_.:+#-]+$`).MatchString(s.Map):
		return s, fmt.Errorf("multipath needs map, the name or the WWID of a multipath map (have %q)", s.Map)
	case s.Least < 1:
		return s, fmt.Errorf("multipath: least %d; want 1 or more", s.Least)
	}
	return s, nil
}

func (s Spec) judge(ctx context.Context) resources.Report {
	m, found, err := tool().Find(ctx, s.Map)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case !found:
		return resources.Failure("there is no multipath map %s on this node; multipath -ll", s.Map)
	}
	good, bad := m.Working()
	text := fmt.Sprintf("%s has %d of %d paths", m.Name, len(good), len(m.Paths))
	if len(bad) > 0 {
		text += ", without " + strings.Join(bad, ", ")
	}
	if m.Queueing == "on" {
		text += "; without any it would hold back I/O for ever: no_path_retry fail, or a number, in multipath.conf"
	}
	if len(good) < s.Least {
		return resources.Failure("%s; wanted are %d", text, s.Least)
	}
	return resources.Done("%s", text)
}

// note says that the member was started, until the next boot.
func note(req resources.Request) string {
	dir := "/run/holdfast"
	if d := os.Getenv("HOLDFAST_RUN"); d != "" {
		dir = d
	}
	return filepath.Join(dir, "multipath", req.Service+"-"+req.Member)
}
