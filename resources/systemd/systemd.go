// Package systemd runs units of the system's service manager as members of a
// service.
//
//	systemd: postgresql@15-main.service
//
// Units are started and stopped by jobs over D-Bus, and a job counts when the
// manager says how it ended. A runtime drop-in, in force from the first start here
// until the next boot, leaves restarts to the cluster, orders the unit before the
// daemon, so that a host that shuts down stops it only after the cluster has let it
// go, and has the manager refuse every start for which Holdfast has not put a mark:
// a socket, a dependency or a person does not start it beside its owner. A unit
// that is enabled would be started at the next boot, without anybody's grant: it is
// refused until it is disabled.
//
// A stop is verified: the unit is inactive, no job is queued for it, and its
// control group is empty. A start that an earlier life of the daemon left in the
// manager's queue is unknown to a probe, and cancelled by a stop.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
)

// Spec is what the configuration says of a systemd member.
type Spec struct {
	Unit string `json:"unit"` // with its suffix; .service if it has none
}

// Agent is the kind "systemd".
type Agent struct{}

var (
	_ resources.Agent  = Agent{}
	_ resources.Fitter = Agent{}
)

// pollEvery is how often a state is looked at for which no job can be waited for.
const pollEvery = 50 * time.Millisecond

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	m, report := open(ctx, req)
	if m == nil {
		return report
	}
	defer m.conn.Close()
	s, err := look(ctx, m.conn, m.unit)
	if err != nil {
		return resources.Failure("%v", err)
	}
	if report, ok := m.startable(s); !ok {
		return report
	}
	if err := m.guard(ctx); err != nil {
		return resources.Failure("%v", err)
	}
	if s.running() && !s.job {
		return resources.Done("%s was running already", m.unit)
	}
	if s.active == "failed" { // also forgets a start limit that was hit
		_ = m.conn.ResetFailedUnitContext(ctx, m.unit)
	}
	result, err := m.job(ctx, m.conn.StartUnitContext)
	if err != nil {
		return resources.Unsure("start %s: %v", m.unit, err)
	}
	s, err = m.settled(ctx)
	switch {
	case err != nil:
		return resources.Unsure("start %s: job %s, but then: %v", m.unit, result, err)
	case s.running():
		return resources.Done("%s is %s (%s)", m.unit, s.active, s.sub)
	case !s.condition:
		return resources.Failure("%s was not started: a condition of its is not met; systemctl status %s", m.unit, m.unit)
	}
	return resources.Failure("%s was not started: job %s, it is %s", m.unit, result, s.cause(m.unit))
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	m, report := open(ctx, req)
	if m == nil {
		return report
	}
	defer m.conn.Close()
	// Without the mark nothing starts it again meanwhile.
	if err := os.Remove(m.mark()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resources.Failure("%v", err)
	}
	s, err := look(ctx, m.conn, m.unit)
	switch {
	case err != nil:
		return resources.Failure("%v", err)
	case s.load == "not-found" && s.dead():
		return resources.Done("there is no unit %s here", m.unit)
	}
	if req.Emergency {
		_ = m.conn.KillUnitWithTarget(ctx, m.unit, dbus.All, int32(unix.SIGKILL))
	}
	if !s.dead() {
		if result, err := m.job(ctx, m.conn.StopUnitContext); err != nil {
			return resources.Unsure("stop %s: %v", m.unit, err)
		} else if result != "done" {
			return resources.Failure("stop %s: the job ended as %s; journalctl -u %s", m.unit, result, m.unit)
		}
	}
	return m.verify(ctx)
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	m, report := open(ctx, req)
	if m == nil {
		return report
	}
	defer m.conn.Close()
	s, err := m.settled(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case s.running():
		return resources.Done("%s is %s (%s)", m.unit, s.active, s.sub)
	}
	return resources.Absent("%s is %s", m.unit, s.cause(m.unit))
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	m, report := open(ctx, req)
	if m == nil {
		report.Outcome, report.Severity = resources.Unknown, resources.Soft
		return report
	}
	defer m.conn.Close()
	s, err := look(ctx, m.conn, m.unit)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	left, err := s.left()
	switch {
	case err != nil:
		return resources.Unsure("control group of %s: %v", m.unit, err)
	case s.dead() && len(left) == 0:
		return resources.Absent("%s is %s", m.unit, s.active)
	case s.dead():
		return resources.Unsure("%s is %s, but left processes %v", m.unit, s.active, left)
	case s.job && !s.running():
		return resources.Unsure("%s is %s, and a job for it is queued", m.unit, s.active)
	}
	return resources.Done("%s is %s (%s)", m.unit, s.active, s.sub)
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	m, report := open(ctx, req)
	if m == nil {
		return report
	}
	defer m.conn.Close()
	s, err := look(ctx, m.conn, m.unit)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if report, ok := m.startable(s); !ok {
		return report
	}
	return resources.Done("%s is installed here", m.unit)
}

// member is a unit and the way to its manager.
type member struct {
	unit string
	conn *dbus.Conn
}

func open(ctx context.Context, req resources.Request) (*member, resources.Report) {
	unit, err := parse(req)
	if err != nil {
		return nil, resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
	}
	conn, err := Dial(ctx)
	if err != nil {
		return nil, resources.Missing("%v", err)
	}
	return &member{unit: unit, conn: conn}, resources.Report{}
}

func parse(req resources.Request) (string, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return "", err
	}
	return UnitName(s.Unit)
}

// UnitName completes the name of a unit, and refuses what is none that can be
// started by itself.
func UnitName(name string) (string, error) {
	if !strings.Contains(name, ".") || typeOf(name) == "" && !strings.HasSuffix(name, ".target") {
		name += ".service"
	}
	if !regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|mount|timer|path|target)$`).MatchString(name) {
		return "", fmt.Errorf("systemd: %q is no unit that can be started: want NAME.service, NAME@INSTANCE.service or the like", name)
	}
	return name, nil
}

// startable refuses a unit that is not there, or that is started by somebody else.
func (m *member) startable(s state) (resources.Report, bool) {
	switch {
	case s.load == "not-found":
		return resources.Missing("there is no unit %s on this node; install what brings it, then: systemctl daemon-reload", m.unit), false
	case s.load == "masked":
		return resources.Missing("%s is masked; systemctl unmask %s", m.unit, m.unit), false
	case s.load != "loaded":
		return resources.Missing("%s cannot be loaded (%s); systemctl status %s", m.unit, s.load, m.unit), false
	case s.enabled == "enabled" || s.enabled == "enabled-runtime":
		return resources.Missing("%s is enabled: at the next boot it would run without being granted; systemctl disable %s", m.unit, m.unit), false
	}
	return resources.Report{}, true
}

// job has the manager do something and waits for its verdict: done, failed,
// timeout, canceled, dependency, skipped. If the time is over first the job goes on
// without us, and how it ends is not known.
func (m *member) job(ctx context.Context, what func(context.Context, string, string, chan<- string) (int, error)) (string, error) {
	result := make(chan string, 1) // an unread result would block the whole connection
	if _, err := what(ctx, m.unit, "replace", result); err != nil {
		return "", err
	}
	lost := time.NewTicker(pollEvery)
	defer lost.Stop()
	for {
		select {
		case r := <-result:
			return r, nil
		case <-ctx.Done():
			return "", errors.New("the job had not ended when its time was over")
		case <-lost.C:
			if m.conn.Connected() {
				continue
			}
			if err := m.reconnect(ctx); err != nil {
				return "", err
			}
			return m.outcome(ctx)
		}
	}
}

// reconnect dials until the manager answers, which it does not for a moment while
// it executes itself anew.
func (m *member) reconnect(ctx context.Context) error {
	for {
		conn, err := Dial(ctx)
		if err == nil {
			m.conn.Close()
			m.conn = conn
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the connection was lost before the job ended: %w", err)
		case <-time.After(pollEvery):
		}
	}
}

// outcome stands in for the verdict that went lost with the connection.
func (m *member) outcome(ctx context.Context) (string, error) {
	for {
		s, err := look(ctx, m.conn, m.unit)
		switch {
		case err == nil && !s.job:
			return "done", nil // the state of the unit is what is judged
		case ctx.Err() != nil:
			return "", errors.New("the connection was lost, and the job had not ended when its time was over")
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

// settled waits until the unit is not on its way from one state to another.
func (m *member) settled(ctx context.Context) (state, error) {
	for {
		s, err := look(ctx, m.conn, m.unit)
		switch {
		case err != nil:
			return s, err
		case s.running() || s.dead():
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%s is still %s (%s)", m.unit, s.active, s.sub)
		case <-time.After(pollEvery):
		}
	}
}

// verify waits until the unit is inactive and its control group empty, killing what
// it left behind.
func (m *member) verify(ctx context.Context) resources.Report {
	for {
		s, err := look(ctx, m.conn, m.unit)
		if err != nil {
			return resources.Unsure("after the stop: %v", err)
		}
		left, err := s.left()
		if err == nil && s.dead() && len(left) == 0 {
			return resources.Done("%s is %s", m.unit, s.active)
		}
		if s.dead() && len(left) > 0 {
			_ = m.conn.KillUnitWithTarget(ctx, m.unit, dbus.All, int32(unix.SIGKILL))
		}
		select {
		case <-ctx.Done():
			return resources.Failure("after the stop %s is %s, with processes %v (%v)", m.unit, s.active, left, err)
		case <-time.After(pollEvery):
		}
	}
}

// runDir is where the manager looks for drop-ins that end with the boot.
func runDir() string { return dirOr("HOLDFAST_SYSTEMD_RUN", "/run/systemd/system") }

func dirOr(variable, usual string) string {
	if d := os.Getenv(variable); d != "" {
		return d
	}
	return usual
}

// mark is the file without which the manager does not start the unit.
func (m *member) mark() string {
	return filepath.Join(dirOr("HOLDFAST_RUN", "/run/holdfast"), "units", m.unit)
}

// guard puts the mark and the drop-in.
func (m *member) guard(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(m.mark()), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(m.mark(), nil, 0o644); err != nil {
		return err
	}
	dir := filepath.Join(runDir(), m.unit+".d")
	path, want := filepath.Join(dir, "50-holdfast.conf"), m.dropIn()
	if have, err := os.ReadFile(path); err == nil && string(have) == want {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("drop-in: %w", err)
	}
	next := path + ".new" // the manager reads only names that end in .conf
	if err := os.WriteFile(next, []byte(want), 0o644); err != nil {
		return fmt.Errorf("drop-in: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("drop-in: %w", err)
	}
	if err := m.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("daemon-reload for the drop-in %s: %w", path, err)
	}
	return nil
}

// dropIn is what the unit is changed by.
func (m *member) dropIn() string {
	var b strings.Builder
	b.WriteString("# Written by Holdfast, which alone starts, stops and restarts this unit.\n" +
		"# To run it by hand, take it out of the cluster's configuration, remove this\n" +
		"# file and run: systemctl daemon-reload\n" +
		"[Unit]\nBefore=holdfastd.service\nConditionPathExists=" + m.mark() + "\n")
	if strings.HasSuffix(m.unit, ".service") {
		b.WriteString("[Service]\nRestart=no\n")
	}
	return b.String()
}
