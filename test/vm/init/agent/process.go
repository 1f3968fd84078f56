package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// run runs a program to its end, and its whole process group no longer than the request may take.
func (a *agent) run(r wire.Request) (output []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	cmd := command(ctx, r.Args, r.Env)
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	output, err = cmd.CombinedOutput()
	if ctx.Err() != nil {
		return output, -1, fmt.Errorf("%s: not in %v: killed", r.Args[0], r.Timeout)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return output, exit.ExitCode(), nil
	}
	return output, 0, err
}

func command(ctx context.Context, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), "HOME=/"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// start starts a program that may outlive the request, and tells the rig of its end.
func (a *agent) start(r wire.Request) error {
	if len(r.Args) < 2 {
		return errors.New("a name without a program")
	}
	name := r.Args[0]
	cmd := command(context.Background(), r.Args[1:], r.Env)
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = in, in
	ear, err := cmd.StdinPipe() // closed with the program's end
	if err == nil {
		err = cmd.Start()
	}
	if err = errors.Join(err, in.Close()); err != nil {
		return errors.Join(err, out.Close())
	}
	a.mu.Lock()
	a.started[name], a.ears[name] = cmd.Process.Pid, ear
	a.mu.Unlock()
	go prefix(name, out, a.log) // ends with the last process that has the pipe
	go func() {                 // ends with the program
		_ = cmd.Wait()
		a.send(wire.Answer{Event: wire.Ended, Name: name, Code: cmd.ProcessState.ExitCode(), Output: []byte(cmd.ProcessState.String())})
	}()
	return nil
}

// signal sends a signal to everything that a started program consists of.
func (a *agent) signal(name string, s unix.Signal) error {
	a.mu.Lock()
	pid, known := a.started[name]
	a.mu.Unlock()
	if !known {
		return fmt.Errorf("no program %q was started", name)
	}
	return unix.Kill(-pid, s)
}

// tell writes to a started program's standard input.
func (a *agent) tell(name string, words []byte) error {
	a.mu.Lock()
	ear := a.ears[name]
	a.mu.Unlock()
	if ear == nil {
		return fmt.Errorf("no program %q was started", name)
	}
	_, err := ear.Write(words)
	return err
}

// prefix copies lines and puts a name before each.
func prefix(name string, from io.ReadCloser, to io.Writer) {
	defer from.Close()
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			_, _ = fmt.Fprintf(to, "%s: %s\n", name, bytes.TrimRight(line, "\n"))
		}
		if err != nil {
			return
		}
	}
}

// lines lets many write whole lines to one place.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}
