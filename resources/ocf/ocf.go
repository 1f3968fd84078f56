// Package ocf runs unchanged OCF resource agents (Open Cluster Framework, Resource
// Agent API 1.1) as members of a service.
//
//	ocf: heartbeat:nginx
//	with: {configfile: /srv/orders/nginx.conf}
//
// The agent is /usr/lib/ocf/resource.d/heartbeat/nginx. Its metadata are asked on
// the node that is to run it: unknown, missing and impossible parameters are
// refused before the start, and the timeouts that it advertises hold where the
// configuration has none.
//
// Exit codes reach as far as in Pacemaker's code: 1, and whatever is not listed,
// may go better at another try; 2, 3, 4 and 5 will fail again on this node; 6 will
// fail on every one. 190 and 191 run, degraded. What the agent gives as its reason
// (lines that begin with ocf-exit-reason:) is the text of a failure.
//
// An agent that is asked whether something runs that was never started often
// answers that it cannot tell, because a program or a configuration file is not
// there. Whether a start was tried on this node since its boot is therefore kept
// in a note of our own. With it, such an answer is unknown; without it, or once the
// agent has said that its stop is complete, it is not running.
package ocf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of an ocf member.
type Spec struct {
	Agent string            `json:"agent"` // provider:type, such as heartbeat:nginx
	With  map[string]string `json:"with,omitempty"`
	// CheckLevel is OCF_CHECK_LEVEL of the check: 0 (default), 10 or 20; what that
	// means is in the agent's documentation.
	CheckLevel int `json:"check_level,omitempty"`
}

// Exit codes of the API.
const (
	exitOK            = 0
	exitGeneric       = 1
	exitArgs          = 2
	exitUnimplemented = 3
	exitPermission    = 4
	exitInstalled     = 5
	exitConfigured    = 6
	exitNotRunning    = 7
	exitPromoted      = 8
	exitFailedPromote = 9
	exitDegraded      = 190
	exitDegradedProm  = 191
)

const (
	usualRoot      = "/usr/lib/ocf"
	usualNotes     = "/run/holdfast"
	reasonPrefix   = "ocf-exit-reason:"
	metadataWithin = 10 * time.Second
	// interval is what an agent is told of the period of its checks, in ms: any but
	// zero, by which it knows a probe.
	interval = 10_000
)

// Agent is the kind "ocf".
type Agent struct{}

var (
	_ resources.Agent   = Agent{}
	_ resources.Fitter  = Agent{}
	_ resources.Adviser = Agent{}

	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if report, ok := spec.judge(ctx, req); !ok {
		return report
	}
	if err := spec.note(req); err != nil {
		return resources.Failure("note that it is being started: %v", err)
	}
	res, err := spec.call(ctx, req, "start", 0)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if res.Code == exitOK {
		return resources.Done("%s has started it", spec.Agent)
	}
	return spec.failure("start", res)
}

// Stop implements resources.Agent. The agent's word that it is stopped ends what
// was noted of the start.
func (a Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if _, err := os.Stat(spec.path()); errors.Is(err, fs.ErrNotExist) && !noted(req) {
		return resources.Done("%s is not installed, and was not used here", spec.Agent)
	}
	res, err := spec.call(ctx, req, "stop", 0)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code == exitOK, res.Code == exitNotRunning:
		if err := os.Remove(notePath(req)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return resources.Failure("stopped, but: %v", err)
		}
		return resources.Done("%s has stopped it", spec.Agent)
	}
	return spec.failure("stop", res)
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	res, err := spec.call(ctx, req, "monitor", interval)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	switch res.Code {
	case exitOK, exitPromoted:
		return resources.Done("%s says that it runs", spec.Agent)
	case exitDegraded, exitDegradedProm:
		return resources.Done("%s says that it runs, degraded: %s", spec.Agent, reason(res))
	case exitNotRunning:
		return resources.Absent("%s says that it does not run%s", spec.Agent, because(res))
	case exitUnimplemented:
		return resources.Unsure("%s cannot be checked: it has no monitor", spec.Agent)
	}
	return spec.failure("monitor", res)
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if _, err := os.Stat(spec.path()); errors.Is(err, fs.ErrNotExist) && !noted(req) {
		return resources.Absent("%s is not installed, and was not used here", spec.Agent)
	}
	res, err := spec.call(ctx, req, "monitor", 0)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	switch res.Code {
	case exitOK, exitPromoted, exitDegraded, exitDegradedProm:
		return resources.Done("%s says that it runs", spec.Agent)
	case exitNotRunning:
		return resources.Absent("%s says that it does not run", spec.Agent)
	case exitGeneric, exitFailedPromote:
		return spec.failure("monitor", res)
	case exitArgs, exitInstalled, exitConfigured:
		if !noted(req) {
			return resources.Absent("%s cannot tell, but it was not started here, or has been stopped%s", spec.Agent, because(res))
		}
	}
	return resources.Unsure("%s", spec.failure("monitor", res).Text)
}

// Fit implements resources.Fitter. What the agent's own validation finds is told,
// but counts only where it is a program that is not installed: a configuration file
// on a disk that is elsewhere now is missing, too.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	report, ok := spec.judge(ctx, req)
	if !ok {
		return report
	}
	m, err := spec.metadata(ctx, req)
	if err != nil || !m.Has("validate-all") {
		return resources.Done("%s is installed, and takes these parameters", spec.Agent)
	}
	res, err := spec.call(ctx, req, "validate-all", 0)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code == exitOK:
		return resources.Done("%s is installed, and finds nothing wrong", spec.Agent)
	case res.Code == exitInstalled && strings.Contains(reason(res), "couldn't find command"):
		return spec.failure("validate-all", res)
	}
	return resources.Done("%s is installed; before the rest of the stack is there it says: %s", spec.Agent, reason(res))
}

// Usual implements resources.Adviser: the timeouts that the agent advertises.
func (Agent) Usual(ctx context.Context, req resources.Request) (resources.Limits, error) {
	spec, err := parse(req)
	if err != nil {
		return resources.Limits{}, err
	}
	m, err := spec.metadata(ctx, req)
	return m.Usual(), err
}

// Reload makes a running member take over its new parameters, if all that have
// changed since its start can be; a report with the outcome NotRunning means that it
// has to be restarted for them.
func (Agent) Reload(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	var was Spec
	text, err := os.ReadFile(notePath(req))
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return resources.Absent("with which parameters it was started is not known: %v", err)
	}
	m, err := spec.metadata(ctx, req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if was.Agent == spec.Agent && maps.Equal(was.With, spec.With) {
		return resources.Done("only how it is checked has changed")
	}
	action := m.Reloadable(was.With, spec.With)
	if action == "" || was.Agent != spec.Agent {
		return resources.Absent("%s has to be restarted for a change of these parameters", spec.Agent)
	}
	if err := m.Judge(spec.With); err != nil {
		return fatal(err)
	}
	res, err := spec.call(ctx, req, action, 0)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != exitOK:
		return spec.failure(action, res)
	}
	if err := spec.note(req); err != nil {
		return resources.Failure("reloaded, but: %v", err)
	}
	return resources.Done("%s has reloaded it", spec.Agent)
}

func parse(req resources.Request) (Spec, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	provider, kind, ok := strings.Cut(s.Agent, ":")
	name := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	switch {
	case !ok || !name.MatchString(provider) || !name.MatchString(kind):
		return s, fmt.Errorf("ocf: agent %q; want provider:type, such as heartbeat:nginx", s.Agent)
	case s.CheckLevel < 0 || s.CheckLevel > 30:
		return s, fmt.Errorf("ocf: check_level %d; want 0, 10 or 20", s.CheckLevel)
	}
	return s, nil
}

// judge refuses what the agent cannot be started with.
func (s Spec) judge(ctx context.Context, req resources.Request) (resources.Report, bool) {
	info, err := os.Stat(s.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return resources.Missing("there is no agent %s (%s) on this node; those of heartbeat are in Debian's package resource-agents", s.Agent, s.path()), false
	case err != nil:
		return resources.Failure("agent %s: %v", s.Agent, err), false
	case info.IsDir() || info.Mode()&0o111 == 0:
		return resources.Missing("%s is no program", s.path()), false
	}
	m, err := s.metadata(ctx, req)
	switch {
	case ctx.Err() != nil:
		return resources.Unsure("%v", err), false
	case err != nil:
		return resources.Missing("%v", err), false
	}
	if err := m.Judge(s.With); err != nil {
		return fatal(fmt.Errorf("%s: %w", s.Agent, err)), false
	}
	if err := s.unique(m, req); err != nil {
		return resources.Missing("%s: %v", s.Agent, err), false
	}
	return resources.Report{}, true
}

// unique refuses what the agent wants no two resources to share, such as a pid file
// or an address, with one that was started on this node.
func (s Spec) unique(m Metadata, req resources.Request) error {
	own := m.Identity(s.With)
	notes, _ := os.ReadDir(filepath.Dir(notePath(req)))
	for _, n := range notes {
		var other Spec
		text, err := os.ReadFile(filepath.Join(filepath.Dir(notePath(req)), n.Name()))
		if n.Name() == instance(req) || strings.HasSuffix(n.Name(), ".new") || err != nil || json.Unmarshal(text, &other) != nil || other.Agent != s.Agent {
			continue
		}
		for _, theirs := range m.Identity(other.With) {
			if slices.Contains(own, theirs) {
				return fmt.Errorf("%s is also that of %s, which runs here; it has to be unique", theirs, n.Name())
			}
		}
	}
	return nil
}

// failure turns an exit code into a report: how far it reaches is in Pacemaker's
// lib/pengine/unpack.c, from which the table of its manual differs for 1.
func (s Spec) failure(action string, res program.Result) resources.Report {
	words, reach := "", resources.Soft
	switch res.Code {
	case exitArgs:
		words, reach = " (its parameters cannot be used on this node)", resources.Hard
	case exitUnimplemented:
		words, reach = " (it cannot do this)", resources.Hard
	case exitPermission:
		words, reach = " (not permitted)", resources.Hard
	case exitInstalled:
		words, reach = " (something that it needs is not installed)", resources.Hard
	case exitConfigured:
		words, reach = " (its parameters are wrong)", resources.Fatal
	}
	r := resources.Failure("%s: %s exits with %d%s: %s", s.Agent, action, res.Code, words, reason(res))
	r.Severity = reach
	return r
}

func fatal(err error) resources.Report {
	return resources.Report{
		Outcome: resources.Failed, Severity: resources.Fatal, Text: strings.ReplaceAll(err.Error(), "\n", "; "),
	}
}

// reason is the last reason that the agent gave, or the end of what it printed.
func reason(res program.Result) string {
	last := ""
	for line := range strings.Lines(res.Stderr) {
		if text, is := strings.CutPrefix(strings.TrimSpace(line), reasonPrefix); is {
			last = strings.TrimSpace(text)
		}
	}
	switch {
	case last != "":
		return last
	case res.Said() != "":
		return res.Said()
	}
	return "it gave no reason"
}

func because(res program.Result) string {
	if text := reason(res); text != "it gave no reason" {
		return ": " + text
	}
	return ""
}

func root() string {
	if r := os.Getenv("OCF_ROOT"); r != "" {
		return r
	}
	return usualRoot
}

func (s Spec) path() string {
	provider, kind, _ := strings.Cut(s.Agent, ":")
	return filepath.Join(root(), "resource.d", provider, kind)
}

// call runs one action. period is the interval of the monitor in ms, 0 for
// everything that is done once, -1 for what needs no parameters.
func (s Spec) call(ctx context.Context, req resources.Request, action string, period int) (program.Result, error) {
	provider, kind, _ := strings.Cut(s.Agent, ":")
	level := 0
	if period > 0 {
		level = s.CheckLevel
	}
	node, _ := os.Hostname()
	env := []string{
		"OCF_ROOT=" + root(), "OCF_RA_VERSION_MAJOR=1", "OCF_RA_VERSION_MINOR=1",
		"OCF_RESOURCE_INSTANCE=" + instance(req), "OCF_RESOURCE_PROVIDER=" + provider, "OCF_RESOURCE_TYPE=" + kind,
		"OCF_CHECK_LEVEL=" + strconv.Itoa(level), "OCF_OUTPUT_FORMAT=text", "OCF_EXIT_REASON_PREFIX=" + reasonPrefix,
		"OCF_RESKEY_crm_feature_set=3.19.0", "OCF_RESKEY_CRM_meta_name=" + action,
		"OCF_RESKEY_CRM_meta_timeout=" + strconv.FormatInt(req.Timeout.Milliseconds(), 10),
		"OCF_RESKEY_CRM_meta_interval=" + strconv.Itoa(max(0, period)), "OCF_RESKEY_CRM_meta_on_node=" + node,
		"HA_RSCTMP=/run/resource-agents", "HA_debug=0", "HA_LOGFACILITY=none", "HA_logfacility=none",
	}
	if period >= 0 {
		for _, name := range sorted(s.With) {
			env = append(env, "OCF_RESKEY_"+name+"="+s.With[name])
		}
	}
	return program.Run(ctx, program.Command{Argv: []string{s.path(), action}, Env: env})
}

// instance names the resource to its agent. A colon would make it a clone.
func instance(req resources.Request) string {
	return strings.ReplaceAll(req.Service+"-"+req.Member, ":", "_")
}

// notePath is the note of a start that was tried, with the parameters.
func notePath(req resources.Request) string {
	dir := usualNotes
	if d := os.Getenv("HOLDFAST_RUN"); d != "" {
		dir = d
	}
	return filepath.Join(dir, "ocf", instance(req))
}

func noted(req resources.Request) bool {
	_, err := os.Lstat(notePath(req))
	return !errors.Is(err, fs.ErrNotExist) // what cannot be read counts as there
}

// note keeps that a start is tried, and with what.
func (s Spec) note(req resources.Request) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := notePath(req)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
