package drivers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// maxOutput bounds what is kept of a program's output, in bytes.
const maxOutput = 1 << 20

// killTime is how long the output of a killed program is waited for. Whoever
// still holds the pipe then has left the program's process group.
const killTime = time.Second

// program is a program to run, with what it is told where others cannot see it.
type program struct {
	path  string
	args  []string
	env   []string // the whole environment
	input string   // standard input
}

// run runs the program in a process group of its own, which is killed as a
// whole when ctx ends. It gives the exit status and the two outputs; err is set
// if there was no exit status: not started, killed, timed out.
func (p program) run(ctx context.Context) (status int, output, complaints string, err error) {
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Env, cmd.Dir = p.env, "/"
	cmd.Stdin = strings.NewReader(p.input)
	var out, bad bounded
	cmd.Stdout, cmd.Stderr = &out, &bad
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killTime
	err = cmd.Run()
	output, complaints = out.String(), bad.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, output, complaints, fmt.Errorf("%s did not finish in time and was killed", p.path)
	case err == nil:
		return 0, output, complaints, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), output, complaints, nil
	}
	return 0, output, complaints, fmt.Errorf("%s: %w", p.path, err)
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ bytes.Buffer }

// Write keeps what fits and takes everything.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// searchPath is where programs find their own helpers; the daemon's environment
// is not passed on.
const searchPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
