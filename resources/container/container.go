// Package container runs a container of podman or docker as a member of a
// service, through the command line that both have in common.
//
//	container: {image: registry.example/shop:7, options: [--network=host, --volume=/srv/shop:/data]}
//
// The container is made anew at each start and removed at each stop, so that
// nothing but its volumes moves from node to node, and neither engine restarts it
// by itself. It carries a label; one of the same name without it belongs to
// somebody else and is left alone. A stop counts when the engine knows the container
// no more and the process that it consisted of has ended.
package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of a container member.
type Spec struct {
	Image   string   `json:"image"`
	Engine  string   `json:"engine,omitempty"`  // podman or docker; without it, the first of these that is installed
	Name    string   `json:"name,omitempty"`    // default: holdfast-SERVICE-MEMBER
	Options []string `json:"options,omitempty"` // of "run", each as one word: --network=host
	Command []string `json:"command,omitempty"` // default: the image's own
	// Check is executed inside and exits with 0 when all is well; without it the
	// image's own health check counts, if it has one.
	Check []string `json:"check,omitempty"`
	// Grace is from SIGTERM to SIGKILL, default 10 s and never more than half the
	// stop's limit.
	Grace resources.Duration `json:"grace,omitempty"`
}

const (
	label        = "holdfast"
	defaultGrace = 10 * time.Second
	pollEvery    = 100 * time.Millisecond
	// settle is how long a container must have stayed up for the start to count.
	settle = 500 * time.Millisecond
)

// Agent is the kind "container".
type Agent struct{}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Reloader = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if err := s.choose(); err != nil {
		return resources.Missing("%v", err)
	}
	found, there, err := s.inspect(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case there && found.Config.Labels[label] == "":
		return resources.Missing("a container %s is here that Holdfast has not made; remove it, or give this one another name", s.Name)
	case there && found.runs():
		return found.leading(resources.Done("%s was running already", s.Name))
	case there:
		if res, err := s.engine(ctx, "rm", "--force", s.Name); err != nil || res.Code != 0 {
			return resources.Failure("remove the container of a former start: %s", said(res, err))
		}
	}
	argv := []string{"run", "--detach", "--name=" + s.Name, "--restart=no", "--label=" + label + "=" + req.Service + "/" + req.Member}
	argv = append(append(append(argv, s.Options...), s.Image), s.Command...)
	res, err := s.engine(ctx, argv...)
	if err == nil && res.Code != 0 && !there && strings.Contains(res.Stderr, "in use") {
		res, err = s.again(ctx, req, argv)
	}
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != 0:
		return resources.Failure("%s run %s exits with %d: %s", s.Engine, s.Image, res.Code, res.Said())
	}
	return s.healthy(ctx)
}

// again runs it once more after podman called the name in use although it knows no
// such container: a run that was killed half-way left it in its store alone. Under a
// name that the administrator chose it may be somebody else's, as buildah's, and
// stays.
func (s Spec) again(ctx context.Context, req resources.Request, argv []string) (program.Result, error) {
	if s.Name != usualName(req) {
		return program.Result{Code: 125, Stderr: "the name " + s.Name + " is in use in the engine's store; " + s.Engine + " rm --force " + s.Name}, nil
	}
	if res, err := s.engine(ctx, "rm", "--force", s.Name); err != nil {
		return res, err
	}
	return s.engine(ctx, argv...)
}

// Stop implements resources.Agent.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if err := s.choose(); err != nil {
		return resources.Failure("%v", err)
	}
	found, there, err := s.inspect(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case !there || found.Config.Labels[label] == "":
		return resources.Done("there is no container %s of ours", s.Name)
	}
	main := processOf(found.State.Pid)
	if found.runs() {
		grace := min(s.Grace.Or(defaultGrace), req.Timeout/2)
		if req.Emergency {
			grace = 0
		}
		res, err := s.engine(ctx, "stop", "--time="+strconv.Itoa(int(grace/time.Second)), s.Name)
		if err != nil || res.Code != 0 {
			_ = main.kill() // its monitor may be gone; what counts is below
		}
	}
	if res, err := s.engine(ctx, "rm", "--force", s.Name); err != nil || res.Code != 0 {
		return resources.Failure("remove %s: %s", s.Name, said(res, err))
	}
	for main.exists() {
		_ = main.kill()
		select {
		case <-ctx.Done():
			return resources.Failure("%s knows %s no more, but its process %d has not ended", s.Engine, s.Name, main.pid)
		case <-time.After(pollEvery):
		}
	}
	return resources.Done("%s is stopped and removed", s.Name)
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	found, report := s.find(ctx)
	if found == nil {
		return report
	}
	if !found.runs() {
		return resources.Absent("%s", found.State.epitaph(s.Name))
	}
	if health := found.State.health(); health == "unhealthy" {
		return resources.Failure("%s is unhealthy by its own check; %s inspect %s", s.Name, s.Engine, s.Name)
	}
	if len(s.Check) == 0 {
		return found.leading(resources.Done("%s runs", s.Name))
	}
	res, err := s.engine(ctx, append([]string{"exec", s.Name}, s.Check...)...)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != 0:
		return resources.Failure("the check inside %s exits with %d: %s", s.Name, res.Code, res.Said())
	}
	return found.leading(resources.Done("%s runs, and its check is satisfied", s.Name))
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	found, report := s.find(ctx)
	switch {
	case found == nil && report.Outcome == resources.Failed:
		return resources.Unsure("%s", report.Text)
	case found == nil:
		return report
	case found.runs():
		return resources.Done("%s is %s", s.Name, found.State.Status)
	case processOf(found.State.Pid).exists():
		return resources.Unsure("%s is %s, but its process %d exists", s.Name, found.State.Status, found.State.Pid)
	}
	return resources.Absent("%s", found.State.epitaph(s.Name))
}

// Fit implements resources.Fitter.
func (Agent) Fit(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if err := s.choose(); err != nil {
		return resources.Missing("%v", err)
	}
	res, err := s.engine(ctx, "image", "inspect", "--format={{.Id}}", s.Image)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case res.Code != 0 && absent(res):
		return resources.Missing("image %s is not on this node; %s pull %s", s.Image, s.Engine, s.Image)
	case res.Code != 0:
		return resources.Failure("%s does not answer: %s", s.Engine, res.Said())
	}
	return resources.Done("%s and image %s are here", s.Engine, s.Image)
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

// Reload implements resources.Reloader: how it is checked and stopped may change.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Check, s.Grace = nil, 0 })
}

func said(res program.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	return res.Said()
}

func parse(req resources.Request) (Spec, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	if s.Name == "" {
		s.Name = usualName(req)
	}
	switch {
	case s.Image == "" || strings.HasPrefix(s.Image, "-"):
		return s, errors.New("container needs image")
	case s.Engine != "" && s.Engine != "podman" && s.Engine != "docker":
		return s, fmt.Errorf("container: engine %q: want podman or docker", s.Engine)
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`).MatchString(s.Name):
		return s, fmt.Errorf("container: %q is no name of a container", s.Name)
	}
	for _, o := range s.Options {
		name, _, _ := strings.Cut(o, "=")
		switch {
		case !strings.HasPrefix(o, "-"):
			return s, fmt.Errorf("container: option %q does not begin with a hyphen; write options and values as one word, --volume=/a:/b", o)
		case slices.Contains([]string{"--name", "--restart", "--rm", "--detach", "-d", "--label=" + label, "-it", "-i", "-t"}, name):
			return s, fmt.Errorf("container: option %s is Holdfast's to decide; remove it", name)
		}
	}
	return s, nil
}

func usualName(req resources.Request) string {
	return "holdfast-" + req.Service + "-" + strings.ReplaceAll(req.Member, ":", "_")
}

// choose finds the engine.
func (s *Spec) choose() error {
	engines := []string{"podman", "docker"}
	if s.Engine != "" {
		engines = []string{s.Engine}
	}
	for _, e := range engines {
		if _, err := exec.LookPath(e); err == nil {
			s.Engine = e
			return nil
		}
	}
	return fmt.Errorf("%s is not installed on this node", strings.Join(engines, " nor "))
}

func (s Spec) engine(ctx context.Context, args ...string) (program.Result, error) {
	return program.Run(ctx, program.Command{Argv: append([]string{s.Engine}, args...)})
}

// details are what both engines print of a container.
type details struct {
	State  status
	Config struct{ Labels map[string]string }
}

type status struct {
	Status    string
	Pid       int
	ExitCode  int
	OOMKilled bool
	Error     string
	// docker and later versions of podman; older ones of podman.
	Health, Healthcheck struct{ Status string }
}

func (d *details) runs() bool {
	return slices.Contains([]string{"running", "paused", "restarting", "stopping", "removing"}, d.State.Status)
}

// leading tells, beside what is reported, which process the container consists of.
func (d *details) leading(r resources.Report) resources.Report {
	r.Main = d.State.Pid
	return r
}

func (s status) health() string {
	if s.Health.Status != "" {
		return s.Health.Status
	}
	return s.Healthcheck.Status
}

func (s status) epitaph(name string) string {
	text := fmt.Sprintf("%s is %s, exit status %d", name, s.Status, s.ExitCode)
	if s.OOMKilled {
		text += ", killed for its use of memory"
	}
	if s.Error != "" {
		text += ": " + s.Error
	}
	return text
}

// inspect returns what the engine knows of the container.
func (s Spec) inspect(ctx context.Context) (found details, there bool, err error) {
	res, err := s.engine(ctx, "container", "inspect", s.Name)
	switch {
	case err != nil:
		return found, false, err
	case res.Code != 0 && absent(res):
		return found, false, nil
	case res.Code != 0:
		return found, false, fmt.Errorf("%s container inspect %s exits with %d: %s", s.Engine, s.Name, res.Code, res.Said())
	}
	var list []details
	if err := json.Unmarshal([]byte(res.Stdout), &list); err != nil || len(list) != 1 {
		return found, false, fmt.Errorf("%s container inspect %s: %d containers (%w)", s.Engine, s.Name, len(list), err)
	}
	return list[0], true, nil
}

// absent tells "there is none" from every other failure, as both engines word it.
func absent(res program.Result) bool {
	text := strings.ToLower(res.Stderr)
	return strings.Contains(text, "no such") || strings.Contains(text, "not known") || strings.Contains(text, "not found")
}

// find is inspect for questions: nil and the answer if there is no container of
// ours.
func (s *Spec) find(ctx context.Context) (*details, resources.Report) {
	if err := s.choose(); err != nil {
		return nil, resources.Missing("%v", err)
	}
	found, there, err := s.inspect(ctx)
	switch {
	case err != nil:
		return nil, resources.Unsure("%v", err)
	case !there || found.Config.Labels[label] == "":
		return nil, resources.Absent("there is no container %s of ours", s.Name)
	}
	return &found, resources.Report{}
}

// healthy waits until the container has run for a moment and, where it can say so, is
// well.
func (s Spec) healthy(ctx context.Context) resources.Report {
	settled := time.Now().Add(settle)
	for {
		found, there, err := s.inspect(ctx)
		switch {
		case err != nil:
			return resources.Unsure("%v", err)
		case !there || !found.runs():
			logs, _ := s.engine(ctx, "logs", "--tail=5", s.Name)
			return resources.Failure("%s; its last words: %s", found.State.epitaph(s.Name), logs.Said())
		case found.State.health() != "starting" && time.Now().After(settled):
			return found.leading(resources.Done("%s runs", s.Name))
		}
		select {
		case <-ctx.Done():
			return resources.Failure("%s runs, but its health check is not satisfied yet", s.Name)
		case <-time.After(pollEvery):
		}
	}
}

// process is a process that can be told from a later one with its number.
type process struct {
	pid   int
	began string
}

func processOf(pid int) process {
	return process{pid: pid, began: beginOf(pid)}
}

// beginOf is the start time of a process, field 22 of /proc/PID/stat, empty if
// there is none.
func beginOf(pid int) string {
	if pid <= 0 {
		return ""
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	end := strings.LastIndexByte(string(stat), ')')
	if err != nil || end < 0 {
		return ""
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

func (p process) exists() bool { return p.began != "" && beginOf(p.pid) == p.began }

func (p process) kill() error {
	if !p.exists() {
		return nil
	}
	return unix.Kill(p.pid, unix.SIGKILL)
}
