package resources

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-ha/holdfast/resources/secret"
)

// Agent is one kind of member. Its methods run in a child process that may be
// killed at any moment, so each is safe to repeat: a start of what runs is OK,
// a stop of what does not run is OK.
type Agent interface {
	// Start brings the member up and returns when it can be used.
	Start(ctx context.Context, req Request) Report
	// Stop takes it down and verifies that. With req.Emergency it asks nobody.
	Stop(ctx context.Context, req Request) Report
	// Check says whether it runs and is well.
	Check(ctx context.Context, req Request) Report
	// Probe says only whether it runs here: OK, NotRunning, or Unknown.
	Probe(ctx context.Context, req Request) Report
}

// Fitter is what every kind of this module implements beside Agent.
type Fitter interface {
	// Fit says whether the member could run here, before anything is stopped
	// elsewhere: OK, Failed with what is missing and how to get it, or Unknown. It
	// changes nothing, and it does not ask whether the member runs somewhere: it is
	// asked while the member runs on another node, and its disks may be held there.
	Fit(ctx context.Context, req Request) Report
}

// Adviser is a kind that only on the spot knows how long its operations take.
type Adviser interface {
	// Usual returns the limits that hold where the configuration has none.
	Usual(ctx context.Context, req Request) (Limits, error)
}

// Reloader is a kind whose running members may take over new settings.
type Reloader interface {
	// Reload has a running member take over what its specification says now: OK, or
	// NotRunning if it has to be restarted for that, or why it failed.
	Reload(ctx context.Context, req Request) Report
}

// Glancer is a kind of which some members can be checked at a glance.
type Glancer interface {
	// Glance checks a running member in the daemon's own process, and says what Check
	// would: it asks nobody, starts nothing, and reads only what the kernel tells at
	// once of processes. False: this member takes a Check.
	Glance(req Request) (Report, bool)
}

// Limits are how long operations may take; zero is not known.
type Limits struct {
	Start time.Duration `json:"start_ns,omitempty"`
	Stop  time.Duration `json:"stop_ns,omitempty"`
	Check time.Duration `json:"check_ns,omitempty"`
}

// Request is what an agent is told: one JSON document on standard input. It may come
// a while after the agent was started, and does nothing until then.
type Request struct {
	Service string          `json:"service"`
	Term    uint32          `json:"term"`
	Member  string          `json:"member"`
	Spec    json.RawMessage `json:"spec"`
	// Guarded says that reservations guard its disks: then the node holds the way to
	// them, and an agent neither makes nor ends it.
	Guarded bool `json:"guarded,omitempty"`
	// Was is what Spec has said so far; only with the verb "reload".
	Was json.RawMessage `json:"was,omitempty"`
	// Handed says that another node has released the member a moment ago, verified
	// stopped: what it uses there, nobody else uses; only with the verb "start".
	Handed bool `json:"handed,omitempty"`
	// Goal is the node to which the service goes: a member that can be handed to it as
	// it runs is; only with the verb "stop". Empty: it goes nowhere.
	Goal string `json:"goal,omitempty"`
	// Resume says that another node has released the member, verified stopped, and that
	// nobody has stopped the service by request since: what was handed to this node in
	// the term before may go on; only with the verb "start".
	Resume bool `json:"resume,omitempty"`
	// Left are the processes that earlier starts of this member left running.
	Left []int `json:"left,omitempty"`
	// Above are the kinds of the members above this one in the stack; only with the
	// verb "fit": what they bring need not be there yet.
	Above []string `json:"above,omitempty"`
	// Timeout is when the runner kills the agent; the context ends a little
	// earlier, so that the agent can still say what it was waiting for.
	Timeout   time.Duration `json:"timeout_ns"`
	Emergency bool          `json:"-"` // set by the verb "kill"
	// Stderr and Output belong to the process, not to the document. Stderr is
	// kept for the text of a failure, up to a limit; Output is where programs
	// that stay may write for as long as they run.
	Stderr io.Writer `json:"-"`
	Output *os.File  `json:"-"`
}

// Report is an agent's answer: one JSON line on descriptor 3.
type Report struct {
	Outcome Outcome  `json:"outcome"`
	Text    string   `json:"text,omitempty"`
	Holders []string `json:"holders,omitempty"`
	// Severity says how far a failure reaches; only with Failed.
	Severity Severity `json:"severity,omitempty"`
	// Main is the process whose end is the member's, where that is none of those which
	// its operations left running, as a container's, whose parent is its engine's; only
	// with OK of the verbs "start" and "check". It is watched, and nothing more.
	Main int `json:"main,omitempty"`
	// Notable says that the text is worth telling although all went well.
	Notable bool `json:"notable,omitempty"`
	// Usual is the answer of the verb "usual" alone.
	Usual *Limits `json:"usual,omitempty"`
}

// Severity is how far a failure reaches, beyond that it happened.
type Severity string

const (
	// Soft means that another try, here or elsewhere, may well succeed.
	Soft Severity = ""
	// Hard means that another try on this node will fail in the same way.
	Hard Severity = "hard"
	// Fatal means that it will fail on every node: its own settings are wrong.
	Fatal Severity = "fatal"
)

// Kinds is the table of all kinds by name.
type Kinds map[string]Agent

// Advised says whether a kind's limits are to be asked for, with the verb "usual".
func (k Kinds) Advised(kind string) bool {
	_, can := k[kind].(Adviser)
	return can
}

// Glance checks a member at a glance, if its kind can do so.
func (k Kinds) Glance(kind string, req Request) (Report, bool) {
	g, can := k[kind].(Glancer)
	if !can {
		return Report{}, false
	}
	return g.Glance(req)
}

// Names returns the kinds in order.
func (k Kinds) Names() []string {
	names := make([]string, 0, len(k))
	for name := range k {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Stdio is what an agent process has open.
type Stdio struct {
	Stdin  io.Reader // the Request
	Result io.Writer // the Report
	Stderr io.Writer
	Output *os.File // may be nil: nothing that stays running can be heard
}

// ProcessStdio takes the descriptors that the runner gave to an agent process:
// 0 request, 2 errors, 3 result, 4 output. The last two are closed on exec, so
// that no program started by the agent holds them.
func ProcessStdio() Stdio {
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	return Stdio{
		Stdin:  os.Stdin,
		Result: os.NewFile(3, "result"),
		Stderr: os.Stderr,
		Output: os.NewFile(4, "output"),
	}
}

// AgentMain is the whole life of an agent process: it reads the request, does
// the verb and writes the report. It returns the exit code: 0 when a report was
// written, whatever it says, and 2 when it could not be.
func (k Kinds) AgentMain(kind, verb string, stdio Stdio) int {
	report := k.run(kind, Verb(verb), stdio)
	line, err := json.Marshal(report)
	if err == nil {
		_, err = stdio.Result.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintf(stdio.Stderr, "agent %s %s: result: %v\n", kind, verb, err)
		return 2
	}
	return 0
}

func (k Kinds) run(kind string, verb Verb, stdio Stdio) Report {
	agent, found := k[kind]
	if !found {
		return Failure("kind %q is not known; this build has %s", kind, strings.Join(k.Names(), ", "))
	}
	var req Request
	if err := json.NewDecoder(stdio.Stdin).Decode(&req); err != nil {
		return Failure("request on standard input: %v", err)
	}
	if req.Timeout <= 0 {
		return Failure("request without a timeout")
	}
	if report, ok := req.reveal(verb); !ok {
		return report
	}
	req.Stderr, req.Output = stdio.Stderr, stdio.Output
	ctx, cancel := context.WithTimeout(context.Background(), req.Timeout-req.Timeout/10)
	defer cancel()
	switch verb {
	case VerbStart:
		return agent.Start(ctx, req)
	case VerbStop:
		return agent.Stop(ctx, req)
	case VerbKill:
		req.Emergency = true
		return agent.Stop(ctx, req)
	case VerbCheck:
		return agent.Check(ctx, req)
	case VerbProbe:
		return agent.Probe(ctx, req)
	case VerbFit:
		if f, can := agent.(Fitter); can {
			return f.Fit(ctx, req)
		}
		return Unsure("the kind %s cannot say whether it could run here", kind)
	case VerbUsual:
		return usual(ctx, agent, req)
	case VerbReload:
		if r, can := agent.(Reloader); can {
			return r.Reload(ctx, req)
		}
		return Absent("a %s has to be restarted for new settings", kind)
	}
	return Failure("verb %q: want start, stop, kill, check, probe, fit, usual or reload", verb)
}

// reveal puts secrets in the place of their names. Without them nothing is begun, and
// nothing is known; what runs is stopped as well as that can be done.
func (r *Request) reveal(verb Verb) (Report, bool) {
	places := secret.Here()
	filled, err := places.Fill(r.Spec)
	r.Spec = filled
	r.Was, _ = places.Fill(r.Was) // one that is gone is another one
	switch {
	case err == nil, verb == VerbStop, verb == VerbKill, verb == VerbProbe: // a probe shows that a start which failed has left nothing
		return Report{}, true
	case verb == VerbStart, verb == VerbFit:
		return Missing("%s", strings.ReplaceAll(err.Error(), "\n", "; ")), false
	}
	return Unsure("%s", strings.ReplaceAll(err.Error(), "\n", "; ")), false
}

func usual(ctx context.Context, agent Agent, req Request) Report {
	a, can := agent.(Adviser)
	if !can {
		return Report{Outcome: OK, Usual: &Limits{}}
	}
	limits, err := a.Usual(ctx, req)
	if err != nil {
		return Unsure("%v", err)
	}
	return Report{Outcome: OK, Usual: &limits}
}

// Failure is a Report with the outcome Failed.
func Failure(format string, args ...any) Report {
	return Report{Outcome: Failed, Text: fmt.Sprintf(format, args...)}
}

// Done is a Report with the outcome OK.
func Done(format string, args ...any) Report {
	return Report{Outcome: OK, Text: fmt.Sprintf(format, args...)}
}

// Missing is a Report with the outcome Failed and the severity Hard: what is
// missing on this node will still be missing at the next try.
func Missing(format string, args ...any) Report {
	return Report{Outcome: Failed, Severity: Hard, Text: fmt.Sprintf(format, args...)}
}

// Absent is a Report with the outcome NotRunning.
func Absent(format string, args ...any) Report {
	return Report{Outcome: NotRunning, Text: fmt.Sprintf(format, args...)}
}

// Unsure is a Report with the outcome Unknown.
func Unsure(format string, args ...any) Report {
	return Report{Outcome: Unknown, Text: fmt.Sprintf(format, args...)}
}

// DecodeSpec reads a member's specification into the struct that into points
// to. Unknown fields and trailing text are errors.
func DecodeSpec(spec json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(spec))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("specification: text after its end")
	}
	return nil
}

// Duration is a time.Duration that reads "1.5s" in a specification.
type Duration time.Duration

// MarshalText is the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads, and nothing below zero.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %s is below zero", text)
	}
	*d = Duration(v)
	return nil
}

// Or is the duration itself, or usual if it was not given.
func (d Duration) Or(usual time.Duration) time.Duration {
	if d == 0 {
		return usual
	}
	return time.Duration(d)
}
