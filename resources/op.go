package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/holdfast-ha/holdfast/resources/exchange"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// operation is one verb on one member, in a child process and group of its own.
type operation struct {
	svc    string
	term   uint32
	member Member
	verb   Verb
	left   []int
	limit  time.Duration
	above  []string
	was    json.RawMessage
	handed bool
	goal   string
	resume bool

	waiting   *child // its agent, which was launched before and waits for its request; nil: it has none yet
	meanwhile func() // called when the agent works; nil: nothing is done meanwhile
}

// answer is what came of it.
type answer struct {
	outcome Outcome
	text    string
	holders []string
	reach   Severity
	main    int
	notable bool
	usual   *Limits
}

// operate runs the agent and returns what is known afterwards, without the secrets
// that the agent was given. When it returns, no process of the operation is left, or
// the answer says so.
func (r *Runner) operate(ctx context.Context, op operation) answer {
	a := r.carryOut(ctx, op)
	a.text = r.cfg.Secrets.Hide(op.member.Spec, a.text)
	return a
}

func (r *Runner) carryOut(ctx context.Context, op operation) answer {
	p := op.waiting
	request, err := op.request()
	if p == nil && err == nil {
		p, err = r.launch(op)
	}
	if err != nil {
		r.dismiss(p)
		if op.verb == VerbStart {
			return answer{outcome: Failed, text: err.Error()} // nothing began
		}
		return answer{outcome: Unknown, text: err.Error()}
	}
	defer p.files.Close()
	limit := time.NewTimer(op.limit)
	defer limit.Stop()
	p.files.Ask(request, op.limit)
	if op.meanwhile != nil {
		op.meanwhile()
	}
	select {
	case err = <-p.ended:
		return r.settle(op, p, p.answer(err))
	case <-limit.C:
		return r.abort(op, p, fmt.Sprintf("no answer within %v", op.limit))
	case <-ctx.Done():
		return r.abort(op, p, "interrupted: "+context.Cause(ctx).Error())
	}
}

// settle deals with the processes that outlive the agent: a start that worked
// keeps them, everything else ends them.
func (r *Runner) settle(op operation, p *child, a answer) answer {
	var err error
	if op.verb == VerbStart && a.outcome == OK {
		err = r.cfg.Groups.Move(p.group, Group{Service: op.svc, Term: op.term, Part: groups.RunPart + "/" + op.member.ID})
	} else {
		err = r.cfg.Groups.Kill(p.group, r.cfg.KillWithin)
	}
	if err != nil {
		return answer{outcome: Unknown, text: joinText(a.text, err.Error()), holders: a.holders, reach: a.reach}
	}
	return a
}

// abort kills the operation. A stop whose process cannot be killed has failed:
// nothing short of a reset will end it. Anything else is simply not known.
func (r *Runner) abort(op operation, p *child, why string) answer {
	a := answer{outcome: Unknown}
	if err := r.cfg.Groups.Kill(p.group, r.cfg.KillWithin); err != nil {
		if op.verb == VerbStop || op.verb == VerbKill {
			a.outcome = Failed
		}
		why = joinText(why, err.Error())
	} else {
		<-p.ended
	}
	a.text = joinText(why, p.files.Printed())
	return a
}

// child is an agent under way.
type child struct {
	group Group
	files *exchange.Files
	ended <-chan error
}

// request is what the agent is to be told.
func (op *operation) request() ([]byte, error) {
	text, err := json.Marshal(Request{
		Service: op.svc, Term: op.term, Member: op.member.ID, Spec: op.member.Spec, Guarded: op.member.Guarded,
		Left: op.left, Above: op.above, Was: op.was, Handed: op.handed, Goal: op.goal, Resume: op.resume, Timeout: op.limit,
	})
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	return text, nil
}

// launch starts the agent, which waits for its request. The one goroutine it makes
// waits for the process and ends with it; if the process is stuck in the kernel, so is
// the goroutine.
func (r *Runner) launch(op operation) (*child, error) {
	files, err := exchange.New()
	if err != nil {
		return nil, err
	}
	for {
		part := fmt.Sprintf("%s%d-%s-%s", groups.OpPrefix, r.count.Add(1), op.verb, op.member.ID)
		p := &child{group: Group{Service: op.svc, Term: op.term, Part: part}, files: files}
		if op.verb == VerbFit || op.verb == VerbUsual {
			p.group.Service = fitPrefix + op.svc
		}
		cmd := r.command(op, files)
		err := r.cfg.Groups.Launch(p.group, cmd)
		if errors.Is(err, groups.ErrGroupExists) {
			continue // left by a former daemon life; the next number is free
		}
		if err != nil {
			files.Close()
			return nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		p.ended = ended
		return p, nil
	}
}

// dismiss ends an agent that waits for its request. One that cannot be killed is found
// by the next operation on the service, in its group.
func (r *Runner) dismiss(p *child) {
	if p == nil {
		return
	}
	if r.cfg.Groups.Kill(p.group, r.cfg.KillWithin) == nil {
		<-p.ended
	}
	p.files.Close()
}

func (r *Runner) command(op operation, files *exchange.Files) *exec.Cmd {
	argv := append(append([]string(nil), r.cfg.AgentCommand...), op.member.Kind, string(op.verb))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		"HOLDFAST_SERVICE=" + op.svc,
		"HOLDFAST_TERM=" + strconv.FormatUint(uint64(op.term), 10),
		"HOLDFAST_MEMBER=" + op.member.ID,
		r.cfg.Secrets.Environ(),
	}, r.cfg.Env...)
	files.Give(cmd, r.cfg.Output)
	// A session of its own: no terminal signal meant for the daemon reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// answer reads the report after the agent ended with err.
func (p *child) answer(err error) answer {
	tail := p.files.Printed()
	line, readErr := p.files.Report()
	var report Report
	if readErr == nil {
		readErr = json.Unmarshal(line, &report)
	}
	switch {
	case err != nil:
		return answer{outcome: Unknown, text: joinText("the agent ended without a report: "+err.Error(), tail)}
	case readErr != nil:
		return answer{outcome: Unknown, text: joinText("the agent's report: "+readErr.Error(), tail)}
	}
	a := answer{outcome: report.Outcome, text: report.Text, holders: report.Holders, reach: report.Severity, main: report.Main, notable: report.Notable, usual: report.Usual}
	if report.Outcome != OK && report.Outcome != NotRunning {
		a.text = joinText(report.Text, tail)
	}
	return a
}

// joinText puts two texts together, either of which may be empty.
func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
