package resources

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources/groups"
)

const (
	// stderrKept is how much of what an operation writes is held in memory, and
	// stderrTold how much of its end goes into a text. Both in bytes.
	stderrKept = 64 << 10
	stderrTold = 4 << 10
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
}

// answer is what came of it.
type answer struct {
	outcome Outcome
	text    string
	holders []string
	reach   Severity
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
	p, err := r.launch(op)
	if err != nil && op.verb == VerbStart {
		return answer{outcome: Failed, text: err.Error()} // nothing began
	} else if err != nil {
		return answer{outcome: Unknown, text: err.Error()}
	}
	defer p.files.close()
	limit := time.NewTimer(op.limit)
	defer limit.Stop()
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
	a.text = joinText(why, p.files.stderrTail())
	return a
}

// child is an agent under way.
type child struct {
	group Group
	files opFiles
	ended <-chan error
}

// launch starts the agent. The one goroutine it makes waits for the process and
// ends with it; if the process is stuck in the kernel, so is the goroutine.
func (r *Runner) launch(op operation) (*child, error) {
	request, err := json.Marshal(Request{
		Service: op.svc, Term: op.term, Member: op.member.ID, Spec: op.member.Spec, Guarded: op.member.Guarded,
		Left: op.left, Above: op.above, Was: op.was, Handed: op.handed, Timeout: op.limit,
	})
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	files, err := newOpFiles(request)
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
			files.close()
			return nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		p.ended = ended
		return p, nil
	}
}

func (r *Runner) command(op operation, files opFiles) *exec.Cmd {
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
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.request, files.stderr, files.stderr
	cmd.ExtraFiles = []*os.File{files.result, r.cfg.Output}
	// A session of its own: no terminal signal meant for the daemon reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// answer reads the report after the agent ended with err.
func (p *child) answer(err error) answer {
	tail := p.files.stderrTail()
	line, readErr := p.files.read(p.files.result)
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
	a := answer{outcome: report.Outcome, text: report.Text, holders: report.Holders, reach: report.Severity, usual: report.Usual}
	if report.Outcome != OK && report.Outcome != NotRunning {
		a.text = joinText(report.Text, tail)
	}
	return a
}

// opFiles are what an agent process reads and writes. All three are files in
// memory, not pipes: a program that stays running may hold the error output
// open for ever, and must neither keep the daemon waiting for its end nor die of
// a closed pipe.
type opFiles struct{ request, result, stderr *os.File }

func newOpFiles(request []byte) (opFiles, error) {
	var f opFiles
	var err error
	if f.request, err = memoryFile("request"); err != nil {
		return f, err
	}
	if f.result, err = memoryFile("result"); err != nil {
		f.close()
		return f, err
	}
	if f.stderr, err = memoryFile("stderr"); err != nil {
		f.close()
		return f, err
	}
	if _, err = f.request.WriteAt(request, 0); err == nil {
		// Fixed in size: what stays running cannot fill the memory.
		err = f.stderr.Truncate(stderrKept)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.stderr.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		f.close()
		return f, fmt.Errorf("memory file: %w", err)
	}
	return f, nil
}

func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("holdfast-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (f opFiles) close() {
	for _, file := range []*os.File{f.request, f.result, f.stderr} {
		if file != nil {
			file.Close()
		}
	}
}

func (f opFiles) read(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, errors.New("it is empty")
	}
	buf := make([]byte, info.Size())
	_, err = file.ReadAt(buf, 0)
	return buf, err
}

// stderrTail is the end of what the operation wrote, on one line.
func (f opFiles) stderrTail() string {
	buf, err := f.read(f.stderr)
	if err != nil {
		return ""
	}
	if end := bytes.IndexByte(buf, 0); end >= 0 {
		buf = buf[:end]
	}
	buf = bytes.TrimSpace(buf)
	if len(buf) > stderrTold {
		buf = append([]byte("..."), buf[len(buf)-stderrTold:]...)
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(buf), "\n", " / "), "?")
}

// joinText puts two texts together, either of which may be empty.
func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
