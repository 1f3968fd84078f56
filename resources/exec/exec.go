// Package exec runs plain programs as members of a service. It knows two forms.
//
// With start and stop, both are commands that return; whatever the start command
// leaves behind belongs to the member:
//
//	exec: {start: /srv/app/up, stop: /srv/app/down, check: /srv/app/ok}
//
// With run, one program stays in the foreground for as long as the member runs;
// it is stopped with SIGTERM and, after the grace, SIGKILL. It needs no pid file
// and no stop command:
//
//	exec: {run: [/usr/bin/caddy, run, --config, /srv/app/Caddyfile]}
//
// A command given as a string goes to /bin/sh -c, a list is executed as it is.
// What a command prints is kept for the text of a failure; what the run program
// prints goes where the daemon's own log goes.
//
// The check command exits 0 when all is well and 7 (or 3, as init scripts do)
// when the thing is not running; everything else means that it runs, badly.
// With start and stop this difference is what makes a stop verifiable, so a
// check that says neither before the first start is refused. Without a check, the
// stop command's exit code and the end of all its processes have to do.
package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
)

// Spec is what the configuration says of an exec member. Either Run or Start is
// set.
type Spec struct {
	Start Command           `json:"start,omitempty"`
	Stop  Command           `json:"stop,omitempty"`  // default: SIGTERM to what start left
	Check Command           `json:"check,omitempty"` // default: is anything of it left running
	Run   Command           `json:"run,omitempty"`
	Env   map[string]string `json:"env,omitempty"`
	Dir   string            `json:"dir,omitempty"` // working directory, default /
	// Grace is from SIGTERM to SIGKILL, default 10 s and never more than half
	// the stop's limit.
	Grace resources.Duration `json:"grace,omitempty"`
	// Settle is how long a run program must have stayed up for the start to
	// count, when there is no check to say so; default 300 ms.
	Settle resources.Duration `json:"settle,omitempty"`
}

// Command is a shell line or a list of arguments.
type Command []string

// UnmarshalJSON reads a string or a list of strings.
func (c *Command) UnmarshalJSON(text []byte) error {
	var line string
	if json.Unmarshal(text, &line) == nil {
		*c = nil
		if line != "" {
			*c = Command{"/bin/sh", "-c", line}
		}
		return nil
	}
	var argv []string
	if err := json.Unmarshal(text, &argv); err != nil {
		return errors.New("a command is a string for the shell or a list of arguments")
	}
	*c = argv
	return nil
}

const (
	defaultGrace  = 10 * time.Second
	defaultSettle = 300 * time.Millisecond
	pollEvery     = 20 * time.Millisecond
	checkEvery    = 200 * time.Millisecond
)

// Agent is the kind "exec".
type Agent struct{}

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	if len(spec.Run) > 0 {
		return spec.startRun(ctx, req)
	}
	if len(spec.Check) > 0 {
		switch code, err := spec.command(ctx, spec.Check, req); {
		case err != nil:
			return resources.Failure("check before the start: %v", err)
		case code == 0:
			return resources.Done("was running already")
		case !notRunning(code):
			return resources.Failure("the check exits with %d although nothing was started; "+
				"it must exit with 7 when the program is not running, or its stop could not be verified", code)
		}
	}
	switch code, err := spec.command(ctx, spec.Start, req); {
	case err != nil:
		return resources.Failure("start: %v", err)
	case code != 0:
		return resources.Failure("the start command exits with %d", code)
	}
	return resources.Done("started")
}

// startRun starts the program and waits until its check is satisfied, or until
// it has stayed up for a while.
func (s Spec) startRun(ctx context.Context, req resources.Request) resources.Report {
	if leaderOf(req.Left) != 0 {
		return resources.Done("was running already")
	}
	cmd := s.prepare(s.Run, req)
	cmd.Stdout, cmd.Stderr = req.Output, req.Output
	if req.Output == nil {
		cmd.Stdout, cmd.Stderr = nil, nil
	}
	// A session of its own, which also is how it is known again later.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return resources.Failure("start %s: %v", s.Run[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with this agent process
	settled := time.After(s.Settle.Or(defaultSettle))
	if len(s.Check) > 0 {
		settled = nil
	}
	again := time.NewTicker(checkEvery)
	defer again.Stop()
	for {
		select {
		case err := <-ended:
			return resources.Failure("%s ended at once (%s); its output is in the daemon's log", s.Run[0], ending(err))
		case <-settled:
			return resources.Done("runs as process %d", cmd.Process.Pid)
		case <-ctx.Done():
			return resources.Failure("%s runs as process %d, but its check was not satisfied in time", s.Run[0], cmd.Process.Pid)
		case <-again.C:
			if len(s.Check) == 0 {
				continue
			}
			if code, err := s.command(ctx, s.Check, req); err == nil && code == 0 {
				return resources.Done("runs as process %d, and its check is satisfied", cmd.Process.Pid)
			}
		}
	}
}

// Stop implements resources.Agent. Whatever it leaves running is killed by the
// runner afterwards.
func (a Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	if len(spec.Stop) == 0 {
		grace := min(spec.Grace.Or(defaultGrace), req.Timeout/2)
		if req.Emergency {
			grace = 0
		}
		return terminate(ctx, req.Left, grace)
	}
	// What the check calls not running needs no stop command: it was never
	// started here, or an emergency has killed it already. Without a check only
	// the command knows whether something runs elsewhere, as in a container.
	if len(spec.Check) > 0 && len(req.Left) == 0 && a.Probe(ctx, req).Outcome == resources.NotRunning {
		return resources.Done("nothing is left to stop")
	}
	switch code, err := spec.command(ctx, spec.Stop, req); {
	case err != nil:
		return resources.Failure("stop: %v", err)
	case code != 0:
		return resources.Failure("the stop command exits with %d", code)
	}
	return resources.Done("stopped")
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Failure("%v", err)
	}
	return spec.check(ctx, req)
}

func (s Spec) check(ctx context.Context, req resources.Request) resources.Report {
	if len(s.Run) > 0 && leaderOf(req.Left) == 0 {
		return resources.Absent("the program has ended; its last words are in the daemon's log")
	}
	if len(s.Check) == 0 {
		if len(req.Left) == 0 {
			return resources.Absent("no process is left of it; if it lives elsewhere, as in a container, give it a check")
		}
		return resources.Done("%d processes", len(req.Left))
	}
	switch code, err := s.command(ctx, s.Check, req); {
	case ctx.Err() != nil:
		return resources.Unsure("the check gave no answer in time")
	case err != nil:
		return resources.Failure("check: %v", err)
	case code == 0:
		return resources.Done("check is satisfied")
	case notRunning(code):
		return resources.Absent("the check exits with %d: not running", code)
	default:
		return resources.Failure("the check exits with %d", code)
	}
}

// Glance implements resources.Glancer: whether a program that stays does stay is to
// be seen in the table of processes, unless it has a check of its own.
func (Agent) Glance(req resources.Request) (resources.Report, bool) {
	spec, err := parse(req)
	if err != nil || len(spec.Run) == 0 || len(spec.Check) > 0 {
		return resources.Report{}, false
	}
	return spec.check(context.Background(), req), true
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	if len(spec.Run) > 0 || len(spec.Check) == 0 {
		if len(req.Left) > 0 {
			return resources.Done("%d processes", len(req.Left))
		}
		return resources.Absent("no process is left of it")
	}
	switch code, err := spec.command(ctx, spec.Check, req); {
	case err != nil:
		return resources.Unsure("check: %v", err)
	case code == 0:
		return resources.Done("check is satisfied")
	case notRunning(code):
		return resources.Absent("the check exits with %d: not running", code)
	default:
		return resources.Unsure("the check exits with %d, which is neither 0 (running) nor 7 (not running)", code)
	}
}

// Reload implements resources.Reloader: how it is checked and stopped may change.
func (Agent) Reload(_ context.Context, req resources.Request) resources.Report {
	return resources.TakesOver(req, func(s *Spec) { s.Check, s.Stop, s.Grace, s.Settle = nil, nil, 0, 0 })
}

// Fit implements resources.Fitter. A command that stands on a file system of the
// service cannot be seen before that is mounted: of those that are missing, only
// what is looked for along the search path is missing for certain.
func (Agent) Fit(_ context.Context, req resources.Request) resources.Report {
	spec, err := parse(req)
	if err != nil {
		return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
	}
	for _, c := range []Command{spec.Run, spec.Start, spec.Stop, spec.Check} {
		if len(c) == 0 || strings.Contains(c[0], "/") {
			continue
		}
		if _, err := osexec.LookPath(c[0]); err != nil {
			return resources.Missing("%s is not installed on this node", c[0])
		}
	}
	return resources.Done("its programs can be started here, as far as can be seen")
}

func parse(req resources.Request) (Spec, error) {
	var s Spec
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch {
	case len(s.Run) == 0 && len(s.Start) == 0:
		return s, errors.New("exec needs run (a program that stays) or start (a command that returns)")
	case len(s.Run) > 0 && (len(s.Start) > 0 || len(s.Stop) > 0):
		return s, errors.New("exec has either run, or start and stop, not both")
	case len(s.Start) > 0 && len(s.Stop) == 0 && len(s.Check) > 0:
		return s, errors.New("exec with start and check needs stop: ending its processes says nothing about what the check looks at")
	}
	return s, nil
}

func notRunning(code int) bool { return code == 7 || code == 3 }

func (s Spec) prepare(argv Command, req resources.Request) *osexec.Cmd {
	cmd := osexec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	if s.Dir != "" {
		cmd.Dir = s.Dir
	}
	cmd.Env = os.Environ()
	for _, name := range sortedKeys(s.Env) {
		cmd.Env = append(cmd.Env, name+"="+s.Env[name])
	}
	cmd.Stdout, cmd.Stderr = req.Stderr, req.Stderr
	return cmd
}

// command runs one command to its end and returns its exit code. When the
// context ends first the command is left to the runner, which kills the whole
// operation.
func (s Spec) command(ctx context.Context, argv Command, req resources.Request) (int, error) {
	cmd := s.prepare(argv, req)
	if _, file := cmd.Stderr.(*os.File); !file && cmd.Stderr != nil {
		cmd.WaitDelay = time.Second // what stays running holds the pipe open
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with this agent process
	select {
	case err := <-ended:
		var exit *osexec.ExitError
		switch {
		case err == nil || errors.Is(err, osexec.ErrWaitDelay):
			return 0, nil
		case errors.As(err, &exit) && exit.Exited():
			return exit.ExitCode(), nil
		}
		return 0, fmt.Errorf("%s: %s", strings.Join(argv, " "), ending(err))
	case <-ctx.Done():
		return 0, fmt.Errorf("%s: still running at the end of the time given", strings.Join(argv, " "))
	}
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// terminate sends SIGTERM and waits for the grace. It kills nobody: the runner
// does, and knows the processes that were made meanwhile too.
func terminate(ctx context.Context, pids []int, grace time.Duration) resources.Report {
	deadline := time.Now().Add(grace)
	for first := true; ; first = false {
		left := 0
		for _, pid := range pids {
			if !runs(pid) {
				continue
			}
			left++
			if first && grace > 0 {
				_ = unix.Kill(pid, unix.SIGTERM)
			}
		}
		switch {
		case left == 0:
			return resources.Done("all processes have ended")
		case time.Now().After(deadline) || ctx.Err() != nil:
			return resources.Done("%d processes did not end within %v and are killed", left, grace)
		}
		time.Sleep(pollEvery)
	}
}

// runs says whether the process exists and is not merely waiting to be reaped.
func runs(pid int) bool {
	state := stateOf(pid)
	return state != "" && state != "Z" && state != "X"
}

// leaderOf returns the process among pids that leads its session, which the run
// program does from its start; 0 if there is none.
func leaderOf(pids []int) int {
	i := slices.IndexFunc(pids, func(pid int) bool {
		session, err := unix.Getsid(pid)
		return err == nil && session == pid
	})
	if i < 0 {
		return 0
	}
	return pids[i]
}

// stateOf reads the state from /proc/PID/stat, field 3 (proc(5)); empty if there is no
// such process.
func stateOf(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	end := strings.LastIndexByte(string(stat), ')')
	if err != nil || end < 0 {
		return ""
	}
	state, _, _ := strings.Cut(strings.TrimSpace(string(stat[end+1:])), " ")
	return state
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var (
	_ resources.Agent    = Agent{}
	_ resources.Fitter   = Agent{}
	_ resources.Glancer  = Agent{}
	_ resources.Reloader = Agent{}
)
